#pragma once
/// Functions of the normal distribution: gelu = x Phi(x), erf.
#include <actium/device/activation_op.cuh>

namespace actium::device {

/// E = exp(-k t^2) = (1 + (r + tail)) 2^n, with the power as scaled_power = 2^n * Constants<T>::scale.
template <class T>
struct NormalDecay {
  Real<T> r, tail, scaled_power;
  ACTIUM_HD Real<T> significand() const { return Real<T>(1) + (r + tail); }
};

/// For k = 1 or 1/2. The exponent is needed as hi + lo.
template <class T>
ACTIUM_HD NormalDecay<T> normal_decay(Real<T> t, T k) {
  using C = Constants<T>;
  const Pair<T> a = two_product(t, t * Real<T>(-k));
  const Real<T> biased = fma(a.hi, C::log2_e, C::round_to_integer), n = biased - C::round_to_integer;
  const Real<T> r = fma(-n, C::ln2_hi, a.hi) + fma(-n, C::ln2_lo, a.lo);
  return {r, r * r * polynomial<coefficients::DecayTail<T>>(r),
          from_bits(to_bits(biased.number) << C::mantissa_bits)};
}

/// With t = |x|, E = exp(-t^2/2), g = Phi(-t) / E and h = (Phi(-t) - t phi(t)) / E / (root - t), which are
/// smooth:
///   x >= 0: x - t g E        slope 1 - (root - t) h E
///   x <  0:   - t g E        slope     (root - t) h E      (its zero is a factor, so nothing cancels)
///   curvature phi(x) (2 - x^2) = (sqrt(2) - t) (sqrt(2) + t) E / sqrt(2 pi)
template <>
struct Op<ActivationKind::gelu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    using Variable = coefficients::GeluVariable<T>;
    using Root = coefficients::GeluRoot<T>;
    using Tail = coefficients::GeluTail<T>;
    using Two = coefficients::SquareRootOfTwo<T>;
    const Real<T> x(x_number), one(1), t = min_nan(absolute(x), Variable::largest);
    const bool negative = sign_bit(x);  // so that -0 stays -0
    const NormalDecay<T> e = normal_decay(t, T(0.5));

    // r = 1 / (t + shift) as hi + lo, and w = 1 - stretch r
    const Real<T> d = t + Variable::shift, d_rest = t - (d - Variable::shift);
    const Real<T> r = approximate_reciprocal(d);
    const Real<T> r_rest = fma(-d_rest, r, fma(-d, r, one)) * r;
    const Real<T> leading = fma(-Variable::stretch, r, one), w = fma(-Variable::stretch, r_rest, leading);

    // t g E. The factor t comes last: t / (t + shift) would lose bits of a subnormal t.
    const Real<T> slanted = polynomial<Tail, 1>(w), tail = fma(slanted, w, Tail::values[0]);
    Real<T> tail_rest = fma(slanted, w, Tail::values[0] - tail);
    if constexpr (sizeof(T) == 8)  // what w leaves, too: it would double the error next to 0
      tail_rest = fma(slanted, fma(-Variable::stretch, r_rest, leading - w), tail_rest);
    const Pair<T> g = two_product(tail, r);
    const Real<T> g_rest = fma(tail_rest, r, fma(tail, r_rest, g.lo));
    const Pair<T> ge = fast_two_sum(g.hi, fma(g.hi, e.r, fma(g.hi, e.tail, fma(g_rest, e.r, g_rest))));
    const Pair<T> tge = multiply(ge, t);
    const Real<T> loss = unscale((tge.hi + tge.lo) * e.scaled_power);
    const Real<T> value = negative ? -loss : x - loss;

    // The same for the slope.
    const Real<T> distance = (Real<T>(Root::hi) - t) + Root::lo;
    const Pair<T> h = two_product(polynomial<coefficients::GeluSlope<T>>(w), distance);
    const Pair<T> he = multiply(h, e.significand());
    const Real<T> scaled_slope = (he.hi + he.lo) * e.scaled_power;
    const Real<T> general = negative ? unscale(scaled_slope) : one - unscale(scaled_slope);
    // Round 0 it is 1/2 + 2 phi(0) x: 1/2 itself at 0.
    constexpr T kRound0 = sizeof(T) == 4 ? T(0x1p-12) : T(0x1p-27);
    const Real<T> slope = t < kRound0 ? fma(x, T(0.79788456080286535588), T(0.5)) : general;

    const Real<T> factors = ((Real<T>(Two::hi) - t) + Two::lo) * (Real<T>(Two::hi) + t);
    const Real<T> density = e.significand() * T(0.39894228040143267794);
    return {value.number, slope.number, unscale(factors * density * e.scaled_power).number};
  }
};

/// The same with E = H^2, of which the last factor comes last, so that nothing underflows too early.
template <>
struct Op16<ActivationKind::gelu> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    using Variable = coefficients::GeluVariable<float>;
    using Root = coefficients::GeluRoot<float>;
    using Two = coefficients::SquareRootOfTwo<float>;
    const Real<float> x(x_number), t = min_nan(absolute(x), Variable::largest);
    const bool negative = sign_bit(x);
    const Real<float> h = approximate_exp2(t * t * (Constants<float>::log2_e * -0.25f));
    const Real<float> r = approximate_reciprocal(t + Variable::shift), w = fma(-Variable::stretch, r, 1.0f);

    const Real<float> loss = polynomial<coefficients::GeluTail16>(w) * (t * r) * h * h;
    const Real<float> value = negative ? -loss : x - loss;

    const Real<float> distance = (Real<float>(Root::hi) - t) + Root::lo;
    const Real<float> tail = polynomial<coefficients::GeluSlope16>(w) * distance * h * h;
    const Real<float> slope = negative ? tail : Real<float>(1) - tail;

    const Real<float> factors = ((Real<float>(Two::hi) - t) + Two::lo) * (Real<float>(Two::hi) + t);
    return {value.number, slope.number, (factors * 0.39894228f * h * h).number};
  }
};

/// With t = |x| and E = exp(-x^2):
///   t <  1: x + x P(x^2)     t >= 1: 1 - 2^L(t), L = log2(erfc(t))
///   slope 2/sqrt(pi) E       curvature -4/sqrt(pi) x E
template <>
struct Op<ActivationKind::erf> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    using C = Constants<T>;
    using Log2 = coefficients::ErfcLog2<T>;
    const Real<T> x(x_number), one(1), t = min_nan(absolute(x), Log2::largest);
    const Real<T> small = fma(t, polynomial<coefficients::ErfTail<T>>(t * t), t);
    const Real<T> log2 = polynomial<Log2>(t - Real<T>(T(2.5)));
    const Real<T> biased = log2 + C::round_to_integer, n = biased - C::round_to_integer;
    const Real<T> f = log2 - n, significand = fma(f, polynomial<coefficients::Exp2Tail<T>>(f), one);
    const Real<T> power = from_bits(to_bits(biased.number) << C::mantissa_bits);
    const Real<T> large = one - significand * unscale(power);
    const Real<T> value = copy_sign(t < one ? small : large, x);

    const Real<T> bounded = clamp_nan(x, Real<T>(Log2::decayed));
    const NormalDecay<T> e = normal_decay(bounded, T(1));
    const Real<T> density = e.significand() * T(1.1283791670955125739);
    return {value.number, unscale(density * e.scaled_power).number,
            unscale(Real<T>(-2) * bounded * density * e.scaled_power).number};
  }
};

/// The same with E = H^2.
template <>
struct Op16<ActivationKind::erf> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    using Log2 = coefficients::ErfcLog2<float>;
    const Real<float> x(x_number), one(1), t = min_nan(absolute(x), Log2::largest);
    const Real<float> small = fma(t, polynomial<coefficients::ErfTail16>(t * t), t);
    const Real<float> log2 = polynomial<coefficients::ErfcLog216>(t - Real<float>(2.5f));
    const Real<float> value = copy_sign(t < one ? small : one - approximate_exp2(log2), x);

    const Real<float> bounded = clamp_nan(x, Real<float>(Log2::decayed));
    const Real<float> h = approximate_exp2(bounded * bounded * (Constants<float>::log2_e * -0.5f));
    const Real<float> slope = h * 1.12837917f * h;
    return {value.number, slope.number, (Real<float>(-2.25675833f) * bounded * h * h).number};
  }
};

}  // namespace actium::device

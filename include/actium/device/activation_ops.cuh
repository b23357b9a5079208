#pragma once
/// The activations as functors: Op<kind>::eval(x, parameters) gives value and slope of one element, in float
/// or double. Header-only, for kernels of your own as much as for actium's; runs under nvcc and g++ alike.
/// What is not used of the result costs nothing: the compiler drops it.
///
/// Errors: activations.def and docs/accuracy.md. NaN in gives NaN out, limits hold at +-inf, no finite x
/// gives NaN, results go gradually into the subnormal range. Compile without -ftz=true and -use_fast_math.
///
/// Notation: E = exp(-|x|) or, for gelu and tanh, the exponential named there. Every formula divides by sums
/// of positive terms, is scaled so that E itself may underflow, and is chosen by the sign of x.
#include <actium/activation_kind.hpp>
#include <actium/device/math.cuh>

namespace actium::device {

/// An activation's parameters as hi + lo, so that float kernels use what the double said.
template <class T>
struct Parameters {
  Pair<T> p[2];
};

template <class T>
inline Parameters<T> make_parameters(double first, double second) {
  const auto split = [](double p) -> Pair<T> {
    const T hi = static_cast<T>(p);
    const double rest = p - static_cast<double>(hi);
    return {hi, rest - rest == 0 ? static_cast<T>(rest) : T(0)};
  };
  return {{split(first), split(second)}};
}
template <class T>
inline Parameters<T> make_parameters(const double (&parameters)[2]) {
  return make_parameters<T>(parameters[0], parameters[1]);
}

template <class T>
struct ValueSlope {
  T value, slope;
};

/// Left undefined: a line in activations.def without its Op is a compile error that names the kind.
template <ActivationKind>
struct Op;

template <>
struct Op<ActivationKind::identity> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x, const Parameters<T>&) {
    return {x, T(1)};
  }
};

template <>
struct Op<ActivationKind::relu> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x, const Parameters<T>&) {
    const T step = x > 0 ? T(1) : x <= 0 ? T(0) : x;  // the last is NaN
    return {x <= 0 ? T(0) : x, step};
  }
};

template <>
struct Op<ActivationKind::leaky_relu> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x, const Parameters<T>& parameters) {
    const Pair<T> slope = parameters.p[0];
    constexpr T kLargest = Constants<T>::largest;
    // 0 * inf has the limit 0 here. The product's second part is left out where it could only do harm: it
    // changes neither an infinity nor the sign of a zero.
    const Real<T> scaled = slope.hi * (slope.hi == 0 ? max_nan(Real<T>(x), -kLargest) : Real<T>(x));
    const bool exact = scaled == 0 || absolute(scaled) > kLargest;
    const Real<T> product = exact ? scaled : fma(slope.hi, x, slope.lo * x);
    const T slope_here = x > 0 ? T(1) : x <= 0 ? slope.hi.number : x;
    return {x > 0 ? x : product.number, slope_here};
  }
};

/// sigmoid = 1 / (1 + E) or, for x < 0, E / (1 + E); slope = E / (1 + E)^2.
template <>
struct Op<ActivationKind::sigmoid> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x, const Parameters<T>&) {
    const Exponential<T> e = exponential_decay(Real<T>(x));
    const Real<T> numerator = x < 0 ? e.scaled : Real<T>(Constants<T>::scale);
    const Real<T> value = unscale(divide(numerator, e.plus_one));
    const Real<T> slope = unscale(divide(e.scaled, square(e.plus_one)));
    return {value.number, slope.number};
  }
};

/// With E = exp(-2|x|): tanh|x| = -expm1(-2|x|) / (2 + expm1(-2|x|)), slope = 4 E / (1 + E)^2.
template <>
struct Op<ActivationKind::tanh> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x, const Parameters<T>&) {
    const Real<T> a = max_nan(Real<T>(-2) * absolute(Real<T>(x)), Constants<T>::smallest_exponent);
    const ExpParts<T> parts = exp_parts<T>({a, Real<T>(0)});

    // expm1(a) = 2^n expm1_r + (2^n - 1) keeps its relative accuracy down to x = 0, where n = 0.
    const Real<T> power = unscale(parts.scaled_power), power_minus_one = power - Real<T>(1);
    const Real<T> expm1 = fma(power, parts.expm1_r, power_minus_one);
    const Real<T> expm1_rest = fma(power, parts.expm1_r, power_minus_one - expm1);
    const Pair<T> two_plus = fast_two_sum(Real<T>(2), expm1);
    const Real<T> magnitude = divide<T>({-expm1, -expm1_rest}, {two_plus.hi, two_plus.lo + expm1_rest});

    const Real<T> scaled = parts.significand * parts.scaled_power;
    const Pair<T> plus_one = fast_two_sum(Real<T>(1), unscale(scaled));
    const Real<T> slope = divide(scaled, square(plus_one)) * (4 * Constants<T>::inverse_scale);
    return {copy_sign(magnitude, Real<T>(x)).number, slope.number};
  }
};

/// softplus = max(x, 0) + log1p(E); slope = sigmoid(x).
template <>
struct Op<ActivationKind::softplus> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number);
    const Exponential<T> e = exponential_decay(x);
    // log1p(E) = E (1 + u), as head + rest
    const Real<T> u = e.value * polynomial<coefficients::Log1pTail<T>>(e.value);
    const Real<T> scaled_head = fma(e.scaled, u, e.scaled);
    const Real<T> scaled_rest = fma(e.scaled, u, e.scaled - scaled_head);
    const Real<T> head = unscale(scaled_head);
    const Pair<T> sum = two_sum(x, head);
    const Real<T> positive = sum.hi + (sum.lo + unscale(scaled_rest));
    // Past the largest exponent the sum is x, and inf - inf must not arise.
    const Real<T> value = x < 0 ? head : x > -Constants<T>::smallest_exponent ? x : positive;
    return {value.number, Op<ActivationKind::sigmoid>::eval(x_number, parameters).value};
  }
};

/// x * sigmoid(z) for an odd, increasing z(x), from E = exp(-|z|) and from xdz = x z'(x) as hi + lo.
///   x >= 0: x / (1 + E)          slope (1 + E + xdz E) / (1 + E)^2
///   x <  0: x E / (1 + E)        slope E (1 + xdz + E) / (1 + E)^2
template <class T>
ACTIUM_HD ValueSlope<T> times_sigmoid(Real<T> x, const Exponential<T>& e, Pair<T> xdz) {
  const bool negative = x < 0;
  const Real<T> unscale_factor = negative ? Constants<T>::inverse_scale : T(1);

  // The product x E comes before the underflow of E can do harm; at -inf a large finite x does.
  const Pair<T> tail = two_product(max_nan(x, 2 * Constants<T>::smallest_exponent), e.scaled);
  const Pair<T> numerator = {negative ? tail.hi : x, negative ? tail.lo : Real<T>(0)};
  const Real<T> quotient = copy_sign(divide(numerator, e.plus_one) * unscale_factor, x);
  const Real<T> value = x > -Constants<T>::smallest_exponent ? x : quotient;

  const Real<T> sum = negative ? (Real<T>(1) + xdz.hi) + (e.value + xdz.lo)
                               : fma(e.value, xdz.hi, e.plus_one.hi) + fma(e.value, xdz.lo, e.plus_one.lo);
  const Pair<T> scaled_sum = two_product(sum, negative ? e.scaled : Real<T>(1));
  const Real<T> slope = divide(scaled_sum, square(e.plus_one)) * unscale_factor;
  return {value.number, slope.number};
}

/// silu = x sigmoid(x).
template <>
struct Op<ActivationKind::silu> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number);
    const Real<T> bounded = clamp_nan(x, Real<T>(-Constants<T>::smallest_exponent));
    const ValueSlope<T> general = times_sigmoid<T>(x, exponential_decay(x), {bounded, Real<T>(0)});
    return {general.value, near_root<coefficients::SiluRoot<T>>(x, Real<T>(general.slope)).number};
  }
};

/// gelu_tanh = x sigmoid(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3) = linear x + cubic x^3; E = exp(-|z|).
template <>
struct Op<ActivationKind::gelu_tanh> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x_number, const Parameters<T>&) {
    using C = coefficients::GeluTanhCubic<T>;
    const Real<T> x(x_number), linear(C::linear_hi), cubic(C::cubic_hi);
    const Real<T> t = min_nan(absolute(x), C::largest);

    // z(t) = t (linear + cubic t^2) as hi + lo: an error of z is an error of E, |z| times larger.
    const Pair<T> t2 = two_product(t, t);
    const Real<T> factor = fma(cubic, t2.hi, linear);
    const Real<T> factor_rest = fma(cubic, t2.lo, fma(cubic, t2.hi, linear - factor)) +
                                fma(Real<T>(C::cubic_lo), t2.hi, C::linear_lo);
    const Pair<T> z = multiply<T>({factor, factor_rest}, t);
    const Exponential<T> e = exponential<T>({-z.hi, -z.lo});

    // x z' = 3 z - 2 linear x
    const Pair<T> twice = multiply<T>({2 * C::linear_hi, 2 * C::linear_lo}, t);
    const Real<T> hi = fma(Real<T>(3), z.hi, -twice.hi), lo = fma(Real<T>(3), z.lo, -twice.lo);
    const Pair<T> xdz = {copy_sign(hi, x), x < 0 ? -lo : lo};

    const ValueSlope<T> general = times_sigmoid<T>(x, e, xdz);
    return {general.value, near_root<coefficients::GeluTanhRoot<T>>(x, Real<T>(general.slope)).number};
  }
};

/// With t = |x|, E = exp(-t^2/2), g = Phi(-t) / E and h = (Phi(-t) - t phi(t)) / E / (root - t), which are
/// smooth:
///   x >= 0: x - t g E        slope 1 - (root - t) h E
///   x <  0:   - t g E        slope     (root - t) h E      (its zero is a factor, so nothing cancels)
template <>
struct Op<ActivationKind::gelu> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x_number, const Parameters<T>&) {
    using Variable = coefficients::GeluVariable<T>;
    using Root = coefficients::GeluRoot<T>;
    const Real<T> x(x_number), t = min_nan(absolute(x), Variable::largest), half_t = t * T(0.5);
    const bool negative = sign_bit(x);  // so that -0 stays -0
    const Pair<T> half_square = two_product(half_t, t);
    const ExpParts<T> e = exp_parts<T>({-half_square.hi, -half_square.lo});

    // r = 1 / (t + shift) as hi + lo, and w = stretch t r - offset
    const Real<T> d = t + Variable::shift, d_rest = t - (d - Variable::shift);
    const Real<T> r = approximate_reciprocal(d);
    const Real<T> r_rest = fma(-d_rest, r, fma(-d, r, Real<T>(1))) * r;
    const Real<T> w = fma(fma(t, r, t * r_rest), Variable::stretch, -Variable::offset);

    // t g E. The factor t comes last: t / (t + shift) would lose bits of a subnormal t.
    const Real<T> tail = polynomial<coefficients::GeluTail<T>>(w);
    const Pair<T> g = two_product(tail, r);
    const Pair<T> ge = multiply<T>({g.hi, fma(tail, r_rest, g.lo)}, e.significand);
    const Pair<T> tge = multiply(ge, t);
    const Real<T> loss = unscale((tge.hi + tge.lo) * e.scaled_power);
    const Real<T> value = negative ? -loss : x - loss;

    // The same for the slope.
    const Real<T> distance = (Real<T>(Root::hi) - t) + Root::lo;
    const Pair<T> h = two_product(polynomial<coefficients::GeluSlope<T>>(w), distance);
    const Pair<T> he = multiply(h, e.significand);
    const Real<T> scaled_slope = (he.hi + he.lo) * e.scaled_power;
    const Real<T> slope = negative ? unscale(scaled_slope) : Real<T>(1) - unscale(scaled_slope);
    return {value.number, slope.number};
  }
};

/// With D = (1 + E)^2 + 1 for x < 0 and (1 + E)^2 + E^2 for x >= 0:
///   x >= 0: x - x 2 E^2 / D              slope ((1 + 2E) D + 4 x E^2 (1 + E)) / D^2
///   x <  0: x E - x E (E + E^2) / D      slope E (4 (1 + E) (1 + x) + E (2 + 4 E + E^2)) / D^2
template <>
struct Op<ActivationKind::mish> {
  template <class T>
  ACTIUM_HD static ValueSlope<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number), one(1), two(2), four(4);
    const bool negative = x < 0;
    const Exponential<T> decay = exponential_decay(x);
    const Real<T> e = decay.value, scale_or_one = negative ? decay.scaled : one;
    const Real<T> unscale_factor = negative ? Constants<T>::inverse_scale : T(1);

    const Real<T> k = negative ? e : e + e;  // D = k E + (2 E + (2 or 1))
    const Real<T> partial = fma(two, e, negative ? two : one);
    const Pair<T> d = {fma(k, e, partial), fma(k, e, partial - fma(k, e, partial))};

    const Real<T> share = divide(fma(k, e, negative ? e : Real<T>(0)), d.hi);
    const Real<T> whole = negative ? max_nan(x, 2 * Constants<T>::smallest_exponent) * decay.scaled : x;
    const Real<T> difference = copy_sign(fma(-whole, share, whole) * unscale_factor, x);
    const Real<T> value = x > -Constants<T>::smallest_exponent ? x : difference;

    const Real<T> bounded = clamp_nan(x, Real<T>(-Constants<T>::smallest_exponent));
    const Real<T> below = fma(four * decay.plus_one.hi, one + bounded, e * fma(e, e + four, two));
    const Real<T> above = fma(four * bounded * e, e * decay.plus_one.hi, fma(two, e, one) * d.hi);
    const Pair<T> numerator = two_product(negative ? below : above, scale_or_one);
    const Real<T> general = divide(numerator, square(d)) * unscale_factor;
    return {value.number, near_root<coefficients::MishRoot<T>>(x, general).number};
  }
};

}  // namespace actium::device

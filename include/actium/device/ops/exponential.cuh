#pragma once
/// The exponential and what is made of it on one side of 0.
#include <actium/device/activation_op.cuh>
#include <cmath>
#include <limits>
#include <type_traits>

namespace actium::device {

/// exp(a) - 1 for smallest_exponent <= a <= 0, and the parts of exp(a).
template <class T>
struct Expm1 {
  Pair<T> value;
  ExpParts<T> parts;
};

template <class T>
ACTIUM_HD Expm1<T> expm1_parts(Pair<T> a) {
  const ExpParts<T> parts = exp_parts(a);
  // 2^n (expm1_r + rest) + (2^n - 1): keeps its relative accuracy down to a = 0, where n = 0.
  const Real<T> rest = (parts.r - parts.expm1_r) + parts.tail;
  const Real<T> power = unscale(parts.scaled_power), power_minus_one = power - Real<T>(1);
  const Real<T> hi = fma(power, parts.expm1_r, power_minus_one);
  const Real<T> lo = fma(power, parts.expm1_r, power_minus_one - hi);
  return {{hi, fma(power, rest, lo)}, parts};
}

/// The least argument of exp_parts.
template <class T>
inline constexpr T kLeastArgument = std::is_same_v<T, float> ? T(-131) : T(-1060);

/// min(x, 0), but not below what exp_parts takes.
template <class T>
ACTIUM_HD Real<T> negative_part(Real<T> x) {
  return min_nan(max_nan(x, kLeastArgument<T>), Real<T>(0));
}

/// a * b, rounded nearly correctly.
template <class T>
ACTIUM_HD Real<T> rounded_product(Pair<T> a, Pair<T> b) {
  return fma(a.hi, b.hi, fma(a.hi, b.lo, a.lo * b.hi));
}

/// A factor of scaled powers, so that neither a large factor overflows nor a small power is rounded early:
/// multiplied by `before`; the product is to be multiplied by `after`.
template <class T>
struct Scaled {
  Real<T> hi, lo, before, after;
};
template <class T>
ACTIUM_HD Scaled<T> scaled(Pair<T> a, bool large) {
  const Real<T> before = large ? Constants<T>::inverse_scale : T(1);
  return {a.hi * before, a.lo * before, before, large ? T(1) : Constants<T>::inverse_scale};
}

/// factor * exp(.)
template <class T>
ACTIUM_HD Real<T> times_exp(Pair<T> factor, const ExpParts<T>& parts) {
  const Scaled<T> a = scaled(factor, absolute(factor.hi) > Real<T>(1));
  return fma(a.hi, parts.significand, a.lo * parts.significand) * parts.scaled_power * a.after;
}

/// For 16-bit results, x <= 0: exp(x) = half^2, which does not end early in the subnormal range, expm1(x) = x
/// ratio next to 0, and next_to_zero says where that is.
struct Exponential16 {
  Real<float> half, ratio;
  bool next_to_zero;

  ACTIUM_HD explicit Exponential16(Real<float> x)
      : half(approximate_exp2(x * (0.5f * Constants<float>::log2_e))),
        ratio(fma(x, polynomial<coefficients::ExpTail16<float>>(x), Real<float>(1))),
        next_to_zero(absolute(x) < Real<float>(0.25f)) {}
  /// factor * expm1(x), given factor * x
  ACTIUM_HD Real<float> times_expm1(Real<float> factor, Real<float> product) const {
    return next_to_zero ? product * ratio : factor * fma(half, half, Real<float>(-1));
  }
  /// factor * exp(x)
  ACTIUM_HD Real<float> times_exp(Real<float> factor) const { return factor * half * half; }
};

/// exp(x) = exp(x - k ln(2)) 2^k, where k > 0 keeps large powers finite; next to k ln(2) the difference is
/// exact.
template <>
struct Op<ActivationKind::exp> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    using C = Constants<T>;
    constexpr bool kFloat = std::is_same_v<T, float>;
    constexpr T kHuge = kFloat ? T(89) : T(710), kLarge = kFloat ? T(40) : T(300);
    constexpr T kShift = kFloat ? T(96) : T(768), kAfter = kFloat ? T(0x1p+32) : T(0x1p+256);
    const Real<T> bounded = min_nan(max_nan(x, C::smallest_exponent), kHuge);
    const bool large = bounded > kLarge;
    const Real<T> k = large ? kShift : T(0);
    const ExpParts<T> parts = exp_parts<T>({fma(-k, C::ln2_hi, bounded), -k * C::ln2_lo});
    const Real<T> y = parts.significand * parts.scaled_power * (large ? kAfter : C::inverse_scale);
    return {y.number, y.number, y.number};
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>&) {
    return y;
  }
};

/// As half^2, with what rounding left out of the exponent.
template <>
struct Op16<ActivationKind::exp> : Op<ActivationKind::exp> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>&) {
    using C = Constants<float>;
    const Real<float> bounded = clamp_nan(Real<float>(x), Real<float>(120));
    const Real<float> log2_half = bounded * (0.5f * C::log2_e);
    const Real<float> rest = fma(bounded, 0.5f * C::log2_e, -log2_half);
    const Real<float> half = approximate_exp2(log2_half);
    const Real<float> y = fma(half, fma(bounded, kLog2ERest, rest) * (2 * C::ln2_hi), half) * half;
    return {y.number, y.number, y.number};
  }

 private:
  static constexpr float kLog2ERest = 0x1.4ae0cp-27f;  // log2(e) / 2 less the float
};

/// x <= 0: alpha expm1(x), slope and curvature alpha exp(x).
template <>
struct Op<ActivationKind::elu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const Pair<T> alpha = parameters.p[0];
    const Real<T> bounded = negative_part(Real<T>(x));
    const Expm1<T> e = expm1_parts<T>({bounded, Real<T>(0)});
    const Real<T> value = copy_sign(rounded_product(alpha, e.value), alpha.hi * bounded);
    const Real<T> slope = times_exp(alpha, e.parts);
    return {x > 0 ? x : value.number, x > 0 ? T(1) : slope.number, x > 0 ? T(0) : slope.number};
  }
  /// expm1(x) for x <= 0
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>&) {
    const Expm1<T> e = expm1_parts<T>({negative_part(Real<T>(x)), Real<T>(0)});
    return {{(e.value.hi + e.value.lo).number}};
  }
};

template <>
struct Op16<ActivationKind::elu> : Op<ActivationKind::elu> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const Real<float> alpha = parameters.p[0].hi;
    const Exponential16 e{Real<float>(x)};
    const float slope = e.times_exp(alpha).number;
    return {x > 0 ? x : e.times_expm1(alpha, alpha * x).number, x > 0 ? 1 : slope, x > 0 ? 0 : slope};
  }
};

/// With z = x / alpha, x <= 0: alpha expm1(z), slope exp(z), curvature exp(z) / alpha.
template <>
struct Op<ActivationKind::celu> {
  /// 1 / alpha
  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    constexpr double kLargest = Constants<double>::largest;
    const double alpha = parameters[0], inverse = 1 / alpha;
    derived.hi[0] = inverse < kLargest ? inverse : kLargest;
    derived.lo[0] = inverse < kLargest ? std::fma(-alpha, inverse, 1.0) / alpha : 0;
  }

  template <class T>
  ACTIUM_HD static Pair<T> inverse(const Parameters<T>& parameters) {
    const Pair<T> inverse = parameters.derived[0];  // may be 0 in float
    constexpr T kLeast = std::is_same_v<T, float> ? T(0x1p-149) : T(0x1p-1074);
    return {max_nan(inverse.hi, kLeast), inverse.lo};
  }
  template <class T>
  ACTIUM_HD static Pair<T> quotient(Real<T> x, const Parameters<T>& parameters) {
    const Pair<T> z = multiply(inverse(parameters), x);
    const bool small = z.hi < Real<T>(kLeastArgument<T>);
    return {negative_part(z.hi), small || z.hi > Real<T>(0) ? Real<T>(0) : z.lo};
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    constexpr T kTiny = std::is_same_v<T, float> ? T(-0x1p-26) : T(-0x1p-55);
    const Pair<T> z = quotient(Real<T>(x), parameters);
    const Expm1<T> e = expm1_parts(z);
    const Real<T> value = rounded_product(parameters.p[0], e.value);
    const Real<T> slope = unscale(e.parts.significand * e.parts.scaled_power);
    const Real<T> curvature = times_exp(inverse(parameters), e.parts);
    const bool tiny = z.hi > Real<T>(kTiny);  // z may be subnormal, so not alpha z
    return {x > 0 || tiny ? x : value.number, x > 0 ? T(1) : slope.number, x > 0 ? T(0) : curvature.number};
  }

  /// expm1(z) - z exp(z), next to 0 as (expm1(z) - z) - z expm1(z)
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    const Pair<T> z = quotient(Real<T>(x), parameters);
    const Expm1<T> e = expm1_parts(z);
    const bool next_to_zero = z.hi > Real<T>(T(-0.34));
    const Real<T> exp = unscale(e.parts.significand * e.parts.scaled_power);
    const Real<T> exp_rest = unscale(e.parts.significand_rest * e.parts.scaled_power);
    const Real<T> r = e.parts.r;  // z; what it lacks changes both terms alike
    const Real<T> near = fma(-r, e.value.hi, e.parts.curve) - r * e.value.lo;
    const Real<T> far = fma(-z.hi, exp, e.value.hi) + (e.value.lo - fma(z.hi, exp_rest, z.lo * exp));
    return {{(next_to_zero ? near : far).number}};
  }
};

template <>
struct Op16<ActivationKind::celu> : Op<ActivationKind::celu> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const Real<float> alpha = parameters.p[0].hi, reciprocal = inverse(parameters).hi;
    const Exponential16 e(reciprocal * x);
    return {x > 0 ? x : e.times_expm1(alpha, x).number, x > 0 ? 1 : e.times_exp(1).number,
            x > 0 ? 0 : e.times_exp(reciprocal).number};
  }
};

/// scale x or, x <= 0, scale alpha expm1(x).
template <>
struct Op<ActivationKind::selu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    using C = coefficients::SeluConstants<T>;
    const Real<T> x(x_number), bounded = negative_part(x);
    const Pair<T> scale = {C::scale_hi, C::scale_lo}, scale_alpha = {C::scale_alpha_hi, C::scale_alpha_lo};
    const Expm1<T> e = expm1_parts<T>({bounded, Real<T>(0)});
    const Real<T> above = fma(scale.hi, x, scale.lo * min_nan(x, Constants<T>::largest));
    const Real<T> below = copy_sign(rounded_product(scale_alpha, e.value), x);
    const Real<T> slope =
        unscale(fma(scale_alpha.hi, e.parts.significand, scale_alpha.lo * e.parts.significand) *
                e.parts.scaled_power);
    return {x > 0 ? above.number : below.number, x > 0 ? scale.hi.number : slope.number,
            x > 0 ? T(0) : slope.number};
  }
};

template <>
struct Op16<ActivationKind::selu> : Op<ActivationKind::selu> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>&) {
    using C = coefficients::SeluConstants<float>;
    const Real<float> scale = C::scale_hi, scale_alpha = C::scale_alpha_hi;
    const Exponential16 e{Real<float>(x)};
    const float slope = e.times_exp(scale_alpha).number;
    return {x > 0 ? (scale * x).number : e.times_expm1(scale_alpha, scale_alpha * x).number,
            x > 0 ? C::scale_hi : slope, x > 0 ? 0 : slope};
  }
};

/// The zeros of xielu and of its slope, in long double with a second one: next to a zero its low part needs
/// all its digits, which are those beyond 2^-106.
namespace detail {
struct Wide {
  long double hi, lo;
};
inline Wide sum(Wide a, Wide b) {
  const long double high = a.hi + b.hi, part = high - a.hi;
  const long double rest = ((a.hi - (high - part)) + (b.hi - part)) + (a.lo + b.lo), both = high + rest;
  return {both, rest - (both - high)};
}
inline Wide product(Wide a, Wide b) {
  // Halves of the factors have exact products; std::fma takes long where it is not an instruction.
  constexpr long double kSplit =
      1 + static_cast<long double>(1ULL << (std::numeric_limits<long double>::digits + 1) / 2);
  const long double a_part = a.hi * kSplit, b_part = b.hi * kSplit;
  const long double a_head = a_part - (a_part - a.hi), b_head = b_part - (b_part - b.hi);
  const long double a_rest = a.hi - a_head, b_rest = b.hi - b_head, high = a.hi * b.hi;
  const long double error = ((a_head * b_head - high) + a_head * b_rest + a_rest * b_head) + a_rest * b_rest;
  const long double rest = error + (a.hi * b.lo + a.lo * b.hi), both = high + rest;
  return {both, rest - (both - high)};
}
inline Wide quotient(Wide a, Wide b) {
  const long double first = a.hi / b.hi;
  return sum({first, 0}, {sum(a, product({-first, 0}, b)).hi / b.hi, 0});
}
/// (exp(x) - 1 - x) / x^2 for |x| < 1, by its series.
inline Wide exp_tail_of(Wide x) {
  Wide y = {0, 0};
  for (int k = 34; k > 1; --k) y = quotient(sum({1, 0}, product(x, y)), {static_cast<long double>(k), 0});
  return y;
}
/// expm1(x) for |x| < 1000: from x / 2^12, doubled 12 times; without where x is small.
inline Wide expm1_of(Wide x) {
  const bool small = x.hi > -1;
  const long double scale = small ? 1 : 0x1p-12L;
  const Wide y = {x.hi * scale, x.lo * scale};
  Wide e = sum(y, product(product(y, y), exp_tail_of(y)));
  for (int i = 0; i < 12 && !small; ++i) e = product(e, sum({2, 0}, e));
  return e;
}
}  // namespace detail

/// With c = alpha_n - beta, x <= 0: value alpha_n expm1(x) - c x, slope alpha_n expm1(x) + beta, curvature
/// alpha_n exp(x). For c > 0 value and slope have a zero each. Next to the value's, x0, with d = x - x0 and
/// expm1(d) = d + t: slope(x0) d + alpha_n exp(x0) t; next to the slope's, c expm1(d).
template <>
struct Op<ActivationKind::xielu> {
  enum { kZero, kSlopeZero, kSlopeAtZero, kDifference };  // of derived

  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    using detail::sum, detail::product, detail::quotient, detail::exp_tail_of, detail::expm1_of, detail::Wide;
    const double alpha = parameters[1], beta = parameters[2];
    const Wide wide_alpha = {alpha, 0}, wide_beta = {beta, 0}, c = sum(wide_alpha, {-beta, 0});
    Wide zero = {1, 0}, slope_zero = {1, 0}, slope = {1, 0};  // none: x <= 0 is far away
    const auto difference = static_cast<double>(c.hi);
    if (alpha > beta && difference > alpha * 0x1p-40) {
      // The value is convex, and positive at the start, so that Newton's method goes up to the zero.
      double x = -alpha / difference;
      for (int i = 0; i < 200; ++i) {
        const double next = x - (alpha * std::expm1(x) - difference * x) / (alpha * std::expm1(x) + beta);
        if (!(next > x && next < 0)) break;
        x = next;
      }
      zero = {x, 0};
      slope_zero = {std::log1p(-beta / alpha), 0};
      const double rise = alpha * std::expm1(x) + beta;
      for (int i = 0; i < 2; ++i) {
        // value / x, which next to 0 is well conditioned by its series
        const Wide value = zero.hi > -1
                               ? sum(wide_beta, product(wide_alpha, product(zero, exp_tail_of(zero))))
                               : sum(product(wide_alpha, quotient(expm1_of(zero), zero)), {-c.hi, -c.lo});
        zero = sum(zero, {-value.hi * zero.hi / rise, 0});
        const Wide there = sum(product(wide_alpha, expm1_of(slope_zero)), wide_beta);
        slope_zero = sum(slope_zero, {-there.hi / c.hi, 0});
      }
      slope = sum(product(wide_alpha, expm1_of(zero)), wide_beta);
    }
    const Wide all[] = {zero, slope_zero, slope, c};
    for (int i = 0; i < kMaxDerived; ++i) {
      derived.hi[i] = static_cast<double>(all[i].hi);
      derived.lo[i] = static_cast<double>((all[i].hi - derived.hi[i]) + all[i].lo);
    }
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number), bounded = negative_part(x), two(2);
    const Real<T> finite = clamp_nan(x, Real<T>(Constants<T>::largest));
    const Pair<T> alpha_p = parameters.p[0], alpha = parameters.p[1], beta = parameters.p[2];
    const Pair<T> c = parameters.derived[kDifference], zero = parameters.derived[kZero];
    const Pair<T> slope_zero = parameters.derived[kSlopeZero];
    const Pair<T> slope_at_zero = parameters.derived[kSlopeAtZero];

    // Next to the zero of the value and to that of the slope the exponential is that of the distance.
    // Below the zero both terms are positive; above it they cancel the more the nearer 0 is.
    const Real<T> difference = x - zero.hi, width(T(0.346));
    const Pair<T> d = fast_two_sum(difference, ((x - difference) - zero.hi) - zero.lo);
    const bool small = x > -width;
    const bool is_next = -width < d.hi && d.hi < (small ? min_nan(width, zero.hi * T(-0.5)) : width);
    const Expm1<T> e = expm1_parts<T>({is_next ? d.hi : bounded, Real<T>(0)});

    // Above 0, and below as alpha_n expm1(x) - c x or, where exp's reduction leaves x alone, alpha_n
    // (expm1(x) - x) + beta x.
    // The rests must not become -inf where the heads are inf.
    const Real<T> bound = alpha_p.hi == Real<T>(0) ? finite : x;
    const Real<T> linear = fma(alpha_p.hi, bound, beta.hi);
    const Real<T> linear_rest = finite * fma(alpha_p.lo, finite, beta.lo);
    const Real<T> above = fma(x, linear, max_nan(linear_rest, -Constants<T>::largest));
    const Pair<T> steepness = fast_two_sum(c.hi, slope_at_zero.hi);  // alpha_n exp(x0)
    const Real<T> steepness_rest = steepness.lo + (c.lo + slope_at_zero.lo);
    const Pair<T> bend = {is_next ? steepness.hi : alpha.hi, is_next ? steepness_rest : alpha.lo};
    const Pair<T> factor = {is_next ? slope_at_zero.hi
                            : small ? beta.hi
                                    : -c.hi,
                            is_next ? slope_at_zero.lo
                            : small ? beta.lo
                                    : -c.lo};
    const Real<T> u = is_next ? d.hi : x, u_lo = is_next ? d.lo : Real<T>(0);
    const Real<T> finite_u = is_next ? d.hi : finite;
    const bool near = is_next || small;
    const Pair<T> curved = {near ? e.parts.curve : e.value.hi,
                            near ? fma(e.value.hi, u_lo, e.parts.curve_rest)
                                 : fma(unscale(e.parts.scaled_power), e.parts.tail_rest, e.value.lo)};
    const Real<T> line = factor.hi * (factor.hi == Real<T>(0) ? finite : u);
    const Real<T> line_rest = fma(factor.lo, finite_u, fma(factor.hi, finite_u, -line));
    const Real<T> rest = fma(factor.hi, u_lo, line_rest) + fma(bend.hi, curved.lo, bend.lo * curved.hi);
    const bool infinite = absolute(line) > Real<T>(Constants<T>::largest);
    const Real<T> below = infinite ? line : fma(bend.hi, curved.hi, line) + rest;
    const Real<T> value = x > 0 ? above : below;

    const Real<T> slope_rest = fma(two * alpha_p.lo, finite, beta.lo);
    const Real<T> slope_above =
        fma(two * alpha_p.hi, bound, beta.hi) + max_nan(slope_rest, -Constants<T>::largest);
    const Real<T> slope_d = (x - slope_zero.hi) - slope_zero.lo;
    const bool is_next_slope = absolute(slope_d) < min_nan(Real<T>(T(0.34)), slope_zero.hi * T(-0.5));
    const Expm1<T> s = expm1_parts<T>({is_next_slope ? slope_d : bounded, Real<T>(0)});
    const Real<T> slope_next = fma(c.hi, s.value.hi, c.lo * slope_d);
    const Real<T> slope_small =
        fma(alpha.hi, s.value.hi, beta.hi) + (fma(alpha.hi, s.value.lo, alpha.lo * s.value.hi) + beta.lo);
    const Scaled<T> a = scaled(alpha, alpha.hi > Real<T>(1) || absolute(c.hi) > Real<T>(1));
    const Real<T> shift = a.before * Constants<T>::scale;
    const Pair<T> decayed = two_product(a.hi, s.parts.significand);
    const Real<T> decayed_rest =
        fma(a.hi, s.parts.significand_rest, fma(a.lo, s.parts.significand, decayed.lo));
    const Real<T> slope_far = (fma(decayed.hi, s.parts.scaled_power, -c.hi * shift) +
                               fma(decayed_rest, s.parts.scaled_power, -c.lo * shift)) *
                              a.after;
    const Real<T> slope = x > 0 ? slope_above : is_next_slope ? slope_next : small ? slope_small : slope_far;

    const Real<T> curvature = times_exp(alpha, exp_parts<T>({bounded, Real<T>(0)}));
    return {x_number == 0 ? x_number : value.number, slope.number,
            x > 0 ? (two * alpha_p.hi).number : curvature.number};
  }

  /// x^2 for x > 0, expm1(x) - x for x <= 0, x
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number);
    const Expm1<T> e = expm1_parts<T>({negative_part(x), Real<T>(0)});
    const Real<T> far = (e.value.hi - x) + e.value.lo;
    const Real<T> curved = x > Real<T>(T(-0.34)) ? e.parts.curve : far;
    return {{x > 0                  ? (x * x).number
             : x_number == x_number ? T(0)
                                    : x_number,
             x > 0 ? T(0) : curved.number, x_number}};
  }
};

template <>
struct Op16<ActivationKind::xielu> : Op<ActivationKind::xielu> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>& parameters) {
    using Tail = coefficients::XieluTail16<float>;
    const Real<float> x(x_number), one(1), reach(0.375f);
    const Real<float> finite = max_nan(x, -Constants<float>::largest);
    const Real<float> alpha_p = parameters.p[0].hi, alpha = parameters.p[1].hi, beta = parameters.p[2].hi;
    const Real<float> c = parameters.derived[kDifference].hi;
    const Pair<float> zero = parameters.derived[kZero], slope_zero = parameters.derived[kSlopeZero];
    const Real<float> slope_at_zero = parameters.derived[kSlopeAtZero].hi;
    const Real<float> half = approximate_exp2(x * (0.5f * Constants<float>::log2_e));
    const bool small = x > -reach;

    // Where alpha_n expm1(x) is a difference of small numbers, it is the polynomial's; also round the zeros.
    // Above 0 it is the same product.
    const Real<float> d = (x - zero.hi) - zero.lo;
    const bool positive = x > 0,
               is_next = -reach < d && d < (small ? min_nan(reach, zero.hi * -0.5f) : reach);
    const Real<float> u = is_next ? d : x, curve = positive ? x : polynomial<Tail>(u) * u;
    const Real<float> first = is_next ? slope_at_zero : beta;
    const Real<float> second = positive ? alpha_p : is_next ? slope_at_zero + c : alpha;
    const Real<float> near = u * fma(second, curve, first);
    const Real<float> far = fma(-c, c == Real<float>(0) ? finite : x, alpha * fma(half, half, -one));
    const Real<float> value = is_next || small ? near : far;

    const Real<float> e = (x - slope_zero.hi) - slope_zero.lo;
    const bool is_next_slope = absolute(e) < min_nan(reach, slope_zero.hi * -0.5f);
    const Real<float> v = is_next_slope ? e : x, expm1 = fma(polynomial<Tail>(v) * v, v, v);
    const Real<float> slope_near =
        fma(is_next_slope ? c : alpha, expm1, is_next_slope ? Real<float>(0) : beta);
    const Real<float> slope_far = fma(alpha * half, half, -c);
    const Real<float> slope = x > 0                    ? fma(alpha_p + alpha_p, x, beta)
                              : is_next_slope || small ? slope_near
                                                       : slope_far;
    const Real<float> curvature = x > 0 ? alpha_p + alpha_p : alpha * half * half;
    return {value.number, slope.number, curvature.number};
  }
};

}  // namespace actium::device

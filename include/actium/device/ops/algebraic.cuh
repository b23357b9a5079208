#pragma once
/// Rational functions and square roots.
#include <actium/device/activation_op.cuh>
#include <cmath>
#include <type_traits>

namespace actium::device {

/// softsign = x / (1 + |x|), slope r^2 and curvature -2 r^3 sign(x) with r = 1 / (1 + |x|).
template <>
struct Op<ActivationKind::softsign> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    constexpr T kLargest = Constants<T>::scale * 0x1p+30f;  // there the value is 1, slope and curvature are 0
    const Real<T> one(1), magnitude = min_nan(absolute(Real<T>(x)), kLargest);
    const Pair<T> d = fast_two_sum(max_nan(magnitude, one), min_nan(magnitude, one));
    const Real<T> value = divide(copy_sign(magnitude, Real<T>(x)), d);

    const Real<T> reciprocal = approximate_reciprocal(d.hi);
    const Real<T> rest = fma(-d.lo, reciprocal, fma(-d.hi, reciprocal, one));
    const Real<T> r = fma(rest, reciprocal, reciprocal), r_rest = fma(rest, reciprocal, reciprocal - r);
    const Real<T> slope = fma(r, r, (r + r) * r_rest);
    const Real<T> curvature = (slope * r) * T(-2);
    return {x == 0 ? x : value.number, slope.number, x == 0 ? T(0) : copy_sign(curvature.number, -x)};
  }
};

template <>
struct Op16<ActivationKind::softsign> : Op<ActivationKind::softsign> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>&) {
    const Real<float> magnitude = min_nan(absolute(x), 0x1p+94f);
    const Real<float> r = approximate_reciprocal(magnitude + Real<float>(1)), slope = r * r;
    const Real<float> value = copy_sign(magnitude, Real<float>(x)) * r;
    return {value.number, slope.number, x == 0 ? 0 : copy_sign((slope * r * 2.0f).number, -x)};
  }
};

/// With s = sqrt(x^2 + b): x >= 0: (x + s) / 2, x < 0: b/2 / (s + |x|); slope = value / s, curvature = b/2 /
/// s^3. All on x scaled by a power of two near 1 / sqrt(b); b = 0 is relu.
template <>
struct Op<ActivationKind::squareplus> {
  /// derived[0] = b scale^2, in [1, 4) unless b is extreme; derived[1] = the scale and its reciprocal.
  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    const double b = parameters[0];
    const int half_exponent = b > 0 ? static_cast<int>(std::floor(std::ilogb(b) / 2.0)) : 0;
    const int exponent = half_exponent < -126 ? -126 : half_exponent;
    derived.hi[0] = std::ldexp(std::ldexp(b, -exponent), -exponent);
    derived.hi[1] = std::ldexp(1.0, -exponent);
    derived.lo[1] = std::ldexp(1.0, exponent);
  }

  template <class T>
  struct Root {
    Real<T> magnitude, hi, lo;  // |x| and s
    Real<T> approximate_reciprocal, reciprocal,
        factor;  // 1 / s, and what |x| and s were multiplied by (0 for infinity)
    bool large;
  };

  /// s of the scaled x. Far from 0 it is |x|, and another scale keeps the square finite.
  template <class T>
  ACTIUM_HD static Root<T> root(Real<T> x, const Parameters<T>& parameters) {
    constexpr bool kFloat = std::is_same_v<T, float>;
    constexpr T kLarge = kFloat ? T(0x1p+40) : T(0x1p+450), kSmaller = kFloat ? T(0x1p-100) : T(0x1p-960);
    constexpr T kLargest = kFloat ? T(0x1p+62) : T(0x1p+510), kLeastScale = kFloat ? T(0x1p-80) : T(0x1p-600);
    constexpr T kLeast = kFloat ? T(0x1p-100) : T(0x1p-1000), kMost = kFloat ? T(0x1p+76) : T(0x1p+800);
    const Real<T> scale = parameters.derived[1].hi, unscale = parameters.derived[1].lo;
    const Real<T> b = min_nan(max_nan(parameters.derived[0].hi, kLeast), kMost);
    const Real<T> finite = min_nan(absolute(x), Constants<T>::largest);
    const bool large = finite > kLarge * unscale;
    const Real<T> smaller = max_nan(scale * kSmaller, kLeastScale);
    const Real<T> magnitude = min_nan(finite * (large ? smaller : scale), Real<T>(kLargest));
    const bool infinite = absolute(x) > Real<T>(Constants<T>::largest);
    const Real<T> factor = infinite ? Real<T>(0) : large ? smaller * unscale : Real<T>(1);
    const Real<T> square = fma(magnitude, magnitude, large ? Real<T>(0) : b);
    const Real<T> y = approximate_reciprocal_sqrt(square), half_y = y * T(0.5);
    // b's own rest counts in s and in 1 / s.
    const Real<T> b_rest = large ? Real<T>(0) : parameters.derived[0].lo;
    const Real<T> hi = square * y, lo = (fma(-hi, hi, square) + b_rest) * half_y;
    const Real<T> reciprocal = fma(y, fma(-(b_rest * y), half_y, fma(-hi, half_y, Real<T>(0.5))), y);
    return {magnitude, hi, lo, y, reciprocal, factor, large};
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number), scale = parameters.derived[1].hi, unscale = parameters.derived[1].lo;
    const Real<T> half_b = parameters.derived[0].hi * T(0.5), half_b_rest = parameters.derived[0].lo * T(0.5);
    const bool negative = x < 0;
    const Root<T> s = root(x, parameters);
    const Pair<T> whole = fast_two_sum(s.hi, s.magnitude);
    const Pair<T> sum = {whole.hi, whole.lo + s.lo};
    const Real<T> above = (sum.hi + sum.lo) * T(0.5), below = divide<T>({half_b, half_b_rest}, sum);

    const Real<T> value = negative ? below * unscale * s.factor : s.large ? x : above * unscale;
    const Real<T> slope_below = below * s.reciprocal * s.factor * s.factor;
    const Real<T> slope_above = s.large ? Real<T>(1) : min_nan(above * s.reciprocal, Real<T>(1));
    const Real<T> slope = negative ? slope_below : slope_above;
    const Real<T> r = s.reciprocal * s.factor;
    const Real<T> curvature = half_b * scale * r * r * r;

    return relu_for_zero(x_number, parameters, {value.number, slope.number, curvature.number});
  }

  template <class T>
  ACTIUM_HD static Jet<T> relu_for_zero(T x, const Parameters<T>& parameters, const Jet<T>& otherwise) {
    const T flat = x == x ? T(0) : x, step = x > 0 ? T(1) : flat;
    return parameters.p[0].hi == 0 ? Jet<T>{x <= 0 ? T(0) : x, step, flat} : otherwise;
  }

  /// 1 / (4 s); 0 for b = 0, where it would be infinite at x = 0.
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    const Root<T> s = root(Real<T>(x), parameters);
    const Real<T> r = s.reciprocal * (s.factor * parameters.derived[1].hi);
    return {{parameters.p[0].hi == 0 ? (x == x ? T(0) : x) : (r * T(0.25)).number}};
  }
};

template <>
struct Op16<ActivationKind::squareplus> : Op<ActivationKind::squareplus> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const Real<float> scale = parameters.derived[1].hi, unscale = parameters.derived[1].lo;
    const Real<float> half_b = parameters.derived[0].hi * 0.5f;
    const bool negative = x < 0;
    const auto s = root(Real<float>(x), parameters);
    const Real<float> sum = s.hi + s.magnitude, y = s.approximate_reciprocal;
    const Real<float> above = sum * 0.5f, below = half_b * approximate_reciprocal(sum);
    const Real<float> value = negative  ? below * unscale * s.factor
                              : s.large ? Real<float>(x)
                                        : above * unscale;
    const Real<float> factor = negative ? s.factor : Real<float>(1);
    const Real<float> slope = (negative ? below : above) * y * factor * factor, r = y * s.factor;
    const Real<float> curvature = half_b * scale * r * r * r;
    return relu_for_zero(x, parameters, {value.number, slope.number, curvature.number});
  }
};

}  // namespace actium::device

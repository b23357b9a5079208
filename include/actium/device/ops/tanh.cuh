#pragma once
/// tanh, and what it leaves of x.
#include <actium/device/ops/logistic.cuh>

namespace actium::device {

/// With E = exp(-2|x|): |tanh(x)| = -expm1(-2|x|) / (2 + expm1(-2|x|)), tanh'(x) = 4 E / (1 + E)^2.
template <class T>
struct TanhParts {
  Real<T> magnitude;
  Real<T> quarter_slope;  // tanh'(x) / 4 * Constants<T>::scale
  Real<T> decayed;        // 2 E / (1 + E)
};
template <class T>
ACTIUM_HD TanhParts<T> tanh_parts(Real<T> x) {
  const Real<T> a = max_nan(Real<T>(-2) * absolute(x), Constants<T>::smallest_exponent);
  const ExpParts<T> parts = exp_parts<T>({a, Real<T>(0)});

  // expm1(a) = 2^n expm1_r + (2^n - 1) keeps its relative accuracy down to x = 0, where n = 0.
  const Real<T> power = unscale(parts.scaled_power);
  const Pair<T> power_minus_one = fast_two_sum(Real<T>(-1), power);
  const Real<T> expm1 = fma(power, parts.expm1_r, power_minus_one.hi);
  const Real<T> expm1_rest = fma(power, parts.expm1_r, power_minus_one.hi - expm1) +
                             fma(power, parts.expm1_r_rest, power_minus_one.lo);
  const Pair<T> two_plus = fast_two_sum(Real<T>(2), expm1);
  const Real<T> magnitude = divide<T>({-expm1, -expm1_rest}, {two_plus.hi, two_plus.lo + expm1_rest});

  const Real<T> scaled = parts.significand * parts.scaled_power, e = unscale(scaled);
  const Pair<T> plus_one = fast_two_sum(Real<T>(1), e);
  const Real<T> rest = parts.significand_rest * parts.scaled_power;
  const Pair<T> exact_plus_one = {plus_one.hi, plus_one.lo + unscale(rest)};
  return {magnitude, divide(Pair<T>{scaled, rest}, square(exact_plus_one)), divide(e + e, plus_one)};
}

/// tanh'' = -2 tanh tanh'.
template <>
struct Op<ActivationKind::tanh> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    constexpr T kInverseScale = Constants<T>::inverse_scale;
    const Real<T> x(x_number);
    const TanhParts<T> t = tanh_parts(x);
    const Real<T> curvature = t.magnitude * t.quarter_slope * Real<T>(8 * kInverseScale);
    return {copy_sign(t.magnitude, x).number, (t.quarter_slope * Real<T>(4 * kInverseScale)).number,
            copy_sign(curvature, -x).number};
  }
};

/// tanhshrink = x - tanh(x); slope = tanh(x)^2, curvature = 2 tanh tanh'. |x| - tanh|x| is |x|^3 times a
/// polynomial in x^2 or, for |x| >= 1, (|x| - 1) + 2 E / (1 + E), where nothing cancels.
template <>
struct Op<ActivationKind::tanhshrink> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number), ax = absolute(x);
    const Pair<T> square = two_product(ax, ax);
    const TanhParts<T> t = tanh_parts(x);
    const Pair<T> factor = two_product(ax, polynomial<coefficients::Tanhshrink<T>>(square.hi));
    const Real<T> small = fma(factor.hi, square.hi, fma(factor.hi, square.lo, factor.lo * square.hi));
    const Real<T> large = (ax - Real<T>(1)) + t.decayed;
    const Real<T> value = ax < Real<T>(1) ? small : large;
    const Real<T> curvature = t.magnitude * t.quarter_slope * Real<T>(8 * Constants<T>::inverse_scale);
    return {copy_sign(value, x).number, (t.magnitude * t.magnitude).number, copy_sign(curvature, x).number};
  }
};

template <>
struct Op16<ActivationKind::tanh> : Op<ActivationKind::tanh> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    const Real<float> x(x_number), ax = absolute(x);
    const Decay16 d = decay16(ax * Real<float>(-2 * kHalfLog2E));
    const Real<float> magnitude = tanh16(ax, d), curvature = bell16(d, Real<float>(8) * magnitude);
    return {copy_sign(magnitude, x).number, bell16(d, Real<float>(4)).number,
            copy_sign(curvature, -x).number};
  }
};

template <>
struct Op16<ActivationKind::tanhshrink> : Op<ActivationKind::tanhshrink> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    const Real<float> x(x_number), ax = absolute(x), square = ax * ax;
    const Decay16 d = decay16(ax * Real<float>(-2 * kHalfLog2E));
    const Real<float> small = ax * polynomial<coefficients::Tanhshrink16<float>>(square) * square;
    const Real<float> large = fma(d.e + d.e, d.reciprocal, ax - Real<float>(1));
    const Real<float> value = ax < Real<float>(0.75f) ? small : large;
    const Real<float> magnitude = tanh16(ax, d), curvature = bell16(d, Real<float>(8) * magnitude);
    return {copy_sign(value, x).number, (magnitude * magnitude).number, copy_sign(curvature, x).number};
  }
};

}  // namespace actium::device

#pragma once
/// x times a sigmoid: silu, swish, quick_gelu, gelu_tanh.
#include <actium/device/ops/logistic.cuh>

namespace actium::device {

/// x * sigmoid(z) and its slope for an odd z(x), from E = exp(-|z|) and from xdz = x z'(x) as hi + lo, which
/// has the sign of z.
///   z >= 0: x / (1 + E)          slope (1 + E + xdz E) / (1 + E)^2
///   z <  0: x E / (1 + E)        slope E (1 + xdz + E) / (1 + E)^2
/// `bounded` is x within limits beyond which sigmoid(z) is 0 or 1.
template <class T>
struct SigmoidProduct {
  Real<T> value, slope;
};
template <class T>
ACTIUM_HD SigmoidProduct<T> times_sigmoid(Real<T> x, Real<T> bounded, bool negative, const Exponential<T>& e,
                                          Pair<T> xdz,
                                          Real<T> decay_unscale = Real<T>(Constants<T>::inverse_scale)) {
  const Real<T> unscale_factor = negative ? decay_unscale : Real<T>(1);

  // The product x E comes before the underflow of E can do harm.
  const Pair<T> tail = two_product(bounded, e.scaled);
  const Pair<T> numerator = {negative ? tail.hi : x, negative ? tail.lo : Real<T>(0)};
  const Real<T> quotient = copy_sign(divide(numerator, e.plus_one) * unscale_factor, x);
  const Real<T> value = !negative && e.plus_one.hi <= Real<T>(1) ? x : quotient;

  const Real<T> sum = negative ? (Real<T>(1) + xdz.hi) + (e.value + xdz.lo)
                               : fma(e.value, xdz.hi, e.plus_one.hi) + fma(e.value, xdz.lo, e.plus_one.lo);
  const Pair<T> scaled_sum = two_product(sum, negative ? e.scaled : Real<T>(1));
  const Real<T> slope = divide(scaled_sum, square(e.plus_one)) * unscale_factor;
  return {value, slope};
}

/// E (difference + E sum) / (1 + E)^3, times Constants<T>::scale: the curvatures of these products.
template <class T>
ACTIUM_HD Real<T> scaled_product_curvature(const Exponential<T>& e, Real<T> difference, Real<T> sum) {
  const Pair<T> squared = square(e.plus_one), cube = multiply(squared, e.plus_one.hi);
  const Pair<T> numerator = two_product(e.scaled, fma(e.value, sum, difference));
  return divide<T>(numerator, {cube.hi, fma(squared.hi, e.plus_one.lo, cube.lo)});
}

/// Whether x is near the root, and the function there, for a variable that is hi + lo: see near_root.
template <class Root, class T>
ACTIUM_HD bool is_near_root(Real<T> x) {
  return absolute(x - Real<T>(Root::root_hi)) < Real<T>(Root::radius);
}
template <class Root, class T>
ACTIUM_HD Pair<T> distance_from_root(Pair<T> x) {
  return {x.hi - Real<T>(Root::root_hi), x.lo - Real<T>(Root::root_lo)};  // the first is exact there
}
template <class Root, class T>
ACTIUM_HD Real<T> root_form(Pair<T> x) {
  const Pair<T> distance = distance_from_root<Root>(x);
  const Real<T> factor = polynomial<Root>(distance.hi);
  return fma(distance.hi, factor, distance.lo * factor);
}

/// silu''(z) = E ((2 - |z|) + E (2 + |z|)) / (1 + E)^3, times Constants<T>::scale, from |z|.
template <class T>
ACTIUM_HD Real<T> scaled_silu_curvature(const Exponential<T>& e, Pair<T> z) {
  using Root = coefficients::SiluCurvatureRoot<T>;
  const Real<T> two(2);
  const Real<T> general = scaled_product_curvature<T>(e, (two - z.hi) - z.lo, two + z.hi);
  return is_near_root<Root>(z.hi) ? root_form<Root>(z) * Real<T>(Constants<T>::scale) : general;
}

/// silu = x sigmoid(x).
template <>
struct Op<ActivationKind::silu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number), limit(-Constants<T>::smallest_exponent);
    const Real<T> bounded = clamp_nan(x, limit), magnitude = absolute(bounded);
    const Exponential<T> e = exponential<T>({-magnitude, Real<T>(0)});
    const SigmoidProduct<T> general = times_sigmoid<T>(x, bounded, x < 0, e, {bounded, Real<T>(0)});
    const Real<T> slope = near_root<coefficients::SiluRoot<T>>(x, general.slope);
    const Real<T> curvature = unscale(scaled_silu_curvature<T>(e, {magnitude, Real<T>(0)}));
    return {general.value.number, slope.number, curvature.number};
  }
};

/// swish = x sigmoid(z), z = beta x: slope = silu'(z), curvature = beta silu''(z). `root`, the zero of the
/// slope in x, has hi as its nearest number, so that the distance x - hi - lo keeps all its digits, which
/// that of z = hi + lo from the root of silu' does not: an x may be much nearer to the root than z is exact.
/// Only where the root is so small that its lo may be subnormal, z has to do.
template <class T>
struct Swish {
  Real<T> value, slope, scaled_silu_curvature;
};
template <class T>
ACTIUM_HD Swish<T> swish(Real<T> x, const Steepness<T>& s, Pair<T> root) {
  using Root = coefficients::SiluRoot<T>;
  const Real<T> bounded = clamp_nan(x, s.limit);
  const Pair<T> z = multiply(s.beta, bounded);
  const bool negative = z.hi < Real<T>(0);
  const Pair<T> magnitude = {absolute(z.hi), negative ? -z.lo : z.lo};
  Exponential<T> e = steep_decay(x, s, magnitude);
  const Real<T> curvature = scaled_silu_curvature(e, magnitude);

  // Where |x| may be so large that x E overflows with the factor, go without. Such beta are below 2^-30, and
  // where E is subnormal there the result has not the precision that it has elsewhere.
  const bool flat = s.limit > Real<T>(SteepnessRange<T>::largest_scaled);
  e.scaled = flat ? e.value : e.scaled;
  const SigmoidProduct<T> general =
      times_sigmoid(x, bounded, negative, e, z, Real<T>(flat ? T(1) : Constants<T>::inverse_scale));

  const Pair<T> product = multiply(s.beta, bounded - root.hi), of_z = distance_from_root<Root>(z);
  const bool exact = absolute(root.hi) > Real<T>(SteepnessRange<T>::smallest_root);
  const Pair<T> distance = {exact ? product.hi : of_z.hi,
                            exact ? fma(-s.beta.hi, root.lo, product.lo) : of_z.lo};
  const Real<T> factor = polynomial<Root>(of_z.hi + z.lo);
  const Real<T> slope = fma(distance.hi, factor, distance.lo * factor);
  const Real<T> value = negative || absolute(x) <= s.limit ? general.value : x;  // x / 2 for a beta of 0, too
  return {value, is_near_root<Root>(z.hi) ? slope : general.slope, curvature};
}

template <>
struct Op<ActivationKind::swish> {
  /// 1 / beta, and the zero of the slope, silu's over beta: NaN for a beta of 0, which has none.
  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    using Root = coefficients::SiluRoot<double>;
    using Rest = coefficients::SiluRootRest<double>;
    derive_inverse(parameters, derived);
    const double beta = parameters[0], first = Root::root_hi / beta;
    const double root = first + (std::fma(-beta, first, Root::root_hi) + Root::root_lo) / beta;
    // The first two terms may cancel; their sum is exact where they do.
    const double rest = ((std::fma(-beta, root, Root::root_hi) + Root::root_lo) + Rest::rest) / beta;
    derived.hi[1] = root;
    derived.lo[1] = rest - rest == 0 ? rest : 0;
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const Steepness<T> s = steepness(parameters);
    const Swish<T> y = swish(Real<T>(x), s, parameters.derived[1]);
    const Real<T> curvature = unscale_times(y.scaled_silu_curvature, s.beta, absolute(Real<T>(x)) > s.limit);
    return {y.value.number, y.slope.number, curvature.number};
  }

  /// d/dbeta = x^2 sigmoid'(z).
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    const Steepness<T> s = steepness(parameters);
    const Real<T> bounded = min_nan(absolute(Real<T>(x)), s.limit);
    const Pair<T> z =
        multiply<T>({absolute(s.beta.hi), s.beta.hi < Real<T>(0) ? -s.beta.lo : s.beta.lo}, bounded);
    const Exponential<T> e = steep_decay(Real<T>(x), s, z);
    const bool flat = s.limit > Real<T>(SteepnessRange<T>::largest_scaled);
    const Real<T> bell = divide(flat ? e.value : e.scaled, square(e.plus_one));
    return {{(bell * bounded * bounded * Real<T>(flat ? T(1) : Constants<T>::inverse_scale)).number}};
  }
};

/// quick_gelu = x sigmoid(1.702 x).
template <>
struct Op<ActivationKind::quick_gelu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    using C = coefficients::QuickGelu<T>;
    const Pair<T> beta = {C::hi, C::lo};
    constexpr T kExponent = SteepnessRange<T>::exponent;
    const Steepness<T> s = {beta, Real<T>(-Constants<T>::smallest_exponent * T(0.625)), Real<T>(kExponent)};
    const Swish<T> y = swish<T>(Real<T>(x), s, {C::root_hi, C::root_lo});
    return {y.value.number, y.slope.number, unscale_times(y.scaled_silu_curvature, beta).number};
  }
};

/// The same for f16 and bf16 results. `bounded` may not be infinite where negative; `difference` and `sum`
/// are those of scaled_product_curvature.
ACTIUM_HD Real<float> product_value16(Real<float> x, Real<float> bounded, bool negative, const Decay16& d) {
  const Real<float> factor = negative ? d.half : Real<float>(1);
  return (negative ? bounded : x) * factor * d.reciprocal * factor;
}
ACTIUM_HD Real<float> product_slope16(Real<float> xdz, bool negative, const Decay16& d) {
  const Real<float> one(1), factor = negative ? d.half : one;
  const Real<float> sum = negative ? (one + xdz) + d.e : fma(d.e, xdz, one + d.e);
  return sum * d.reciprocal * d.reciprocal * factor * factor;
}
ACTIUM_HD Real<float> product_curvature16(Real<float> difference, Real<float> sum, const Decay16& d,
                                          Real<float> factor) {
  const Real<float> root = d.reciprocal * d.half;
  return root * (fma(d.e, sum, difference) * d.reciprocal) * factor * root;
}

/// silu(z) / beta and its derivatives, from z = beta x as hi + lo.
ACTIUM_HD Jet<float> swish16(Real<float> x, Real<float> bounded, Pair<float> z, Real<float> beta,
                             const Decay16& d) {
  using Root = coefficients::SiluRoot16<float>;
  using CurvatureRoot = coefficients::SiluCurvatureRoot16<float>;
  const bool negative = z.hi < Real<float>(0);
  const Real<float> two(2), magnitude = absolute(z.hi), slope = product_slope16(z.hi, negative, d);
  const Real<float> curvature = product_curvature16(two - magnitude, two + magnitude, d, beta);
  const Pair<float> positive = {magnitude, negative ? -z.lo : z.lo};
  return {product_value16(x, bounded, negative, d).number,
          (is_near_root<Root>(z.hi) ? root_form<Root>(z) : slope).number,
          (is_near_root<CurvatureRoot>(magnitude) ? root_form<CurvatureRoot>(positive) * beta : curvature)
              .number};
}

template <>
struct Op16<ActivationKind::silu> : Op<ActivationKind::silu> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    const Real<float> x(x_number), bounded = clamp_nan(x, Real<float>(kExponentRange16));
    const Decay16 d = decay16(absolute(bounded) * Real<float>(-kHalfLog2E));
    return swish16(x, bounded, {bounded, Real<float>(0)}, Real<float>(1), d);
  }
};

template <>
struct Op16<ActivationKind::swish> : Op<ActivationKind::swish> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>& parameters) {
    const Real<float> x(x_number);
    const Steepness<float> s = steepness(parameters, kExponentRange16);
    const Real<float> bounded = clamp_nan(x, s.limit);
    return swish16(x, bounded, multiply(s.beta, bounded), s.beta.hi, steep_decay16(x, s));
  }
};

template <>
struct Op16<ActivationKind::quick_gelu> : Op<ActivationKind::quick_gelu> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    using C = coefficients::QuickGelu<float>;
    const Real<float> x(x_number), bounded = clamp_nan(x, Real<float>(kExponentRange16));
    const Pair<float> beta = {C::hi, C::lo};
    return swish16(x, bounded, multiply(beta, bounded), beta.hi, decay16(exponent16(bounded, beta)));
  }
};

/// gelu_tanh = x sigmoid(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3) = linear x + cubic x^3; E = exp(-|z|).
/// curvature = sigmoid'(z) (2 z' + x z'' - x z'^2 tanh(z / 2)), in which x z'' = 2 z' - 2 linear: that is
/// E ((a - b) + E (a + b)) / (1 + E)^3, a = 4 z' - 2 linear, b = |x| z'^2.
template <>
struct Op<ActivationKind::gelu_tanh> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    using C = coefficients::GeluTanhCubic<T>;
    const Real<T> x(x_number), linear(C::linear_hi), cubic(C::cubic_hi), limit(C::largest);
    const Real<T> t = min_nan(absolute(x), limit);

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

    const SigmoidProduct<T> general = times_sigmoid<T>(x, copy_sign(t, x), x < 0, e, xdz);
    const Real<T> slope = near_root<coefficients::GeluTanhRoot<T>>(x, general.slope);

    const Real<T> nearest_linear(C::linear_hi + C::linear_lo), minus_2_linear = Real<T>(-2) * nearest_linear;
    const Real<T> dz = fma(Real<T>(3) * cubic, t2.hi, nearest_linear);
    const Real<T> difference = fma(dz, (Real<T>(4) - hi) - lo, minus_2_linear);
    const Real<T> sum = fma(dz, (Real<T>(4) + hi) + lo, minus_2_linear);
    const Real<T> curvature = near_root<coefficients::GeluTanhCurvatureRoot<T>>(
        absolute(x), unscale(scaled_product_curvature(e, difference, sum)));
    return {general.value.number, slope.number, curvature.number};
  }
};

template <>
struct Op16<ActivationKind::gelu_tanh> : Op<ActivationKind::gelu_tanh> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    using C = coefficients::GeluTanh16<float>;
    const Real<float> x(x_number), t = min_nan(absolute(x), coefficients::GeluTanhCubic<float>::largest);
    const Real<float> square = t * t;
    const Decay16 d =
        decay16(t * fma(square, Real<float>(C::exponent_cubic), Real<float>(C::exponent_linear)));
    const bool negative = x < 0;

    const Real<float> dz = fma(square, Real<float>(C::slope_cubic), Real<float>(C::slope_linear)),
                      xdz = t * dz;
    const Real<float> slope = product_slope16(copy_sign(xdz, x), negative, d);
    const Real<float> four(4), minus_2_linear(-2 * C::slope_linear);
    const Real<float> curvature = product_curvature16(fma(dz, four - xdz, minus_2_linear),
                                                      fma(dz, four + xdz, minus_2_linear), d, Real<float>(1));
    return {product_value16(x, copy_sign(t, x), negative, d).number,
            near_root<coefficients::GeluTanhRoot16<float>>(x, slope).number,
            near_root<coefficients::GeluTanhCurvatureRoot16<float>>(absolute(x), curvature).number};
  }
};

}  // namespace actium::device

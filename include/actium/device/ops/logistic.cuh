#pragma once
/// sigmoid, its logarithm and its integral.
#include <actium/device/activation_op.cuh>

namespace actium::device {

/// A parameter beta as factor of x in an exponential: up to |x| = limit, exp(-|beta x|) is in reach of
/// exponential(), and beyond it the functions have come to their limits, at +-inf if nowhere else.
template <class T>
struct Steepness {
  Pair<T> beta;
  Real<T> limit;
  Real<T> farthest;  // what |beta x| counts as beyond it
};
template <class T>
struct SteepnessRange;
template <>
struct SteepnessRange<float> {
  static constexpr float exponent = 130;
  static constexpr float largest_scaled = 0x1p+37f;  // |x| up to here allow x E Constants<T>::scale
  static constexpr float smallest_root = 0x1p-100f;  // above it a number's low part has all its digits
};
template <>
struct SteepnessRange<double> {
  static constexpr double exponent = 1040;
  static constexpr double largest_scaled = 0x1p+400;
  static constexpr double smallest_root = 0x1p-960;
};

/// From the parameter beta and its derived 1 / beta (see derive_inverse), for |beta x| up to `exponent`.
template <class T>
ACTIUM_HD Steepness<T> steepness(const Parameters<T>& parameters, T exponent = SteepnessRange<T>::exponent) {
  const Real<T> limit = absolute(parameters.derived[0].hi) * Real<T>(exponent);
  return {parameters.p[0], min_nan(limit, Constants<T>::largest),
          parameters.p[0].hi == Real<T>(0) ? T(0) : exponent};
}

/// exp(-|z|) for z = beta x, of which `magnitude` is the absolute value.
template <class T>
ACTIUM_HD Exponential<T> steep_decay(Real<T> x, const Steepness<T>& s, Pair<T> magnitude) {
  return exponential<T>({-(absolute(x) > s.limit ? s.farthest : magnitude.hi), -magnitude.lo});
}

/// derived[0] = 1 / parameters[0].
inline void derive_inverse(const double (&parameters)[kMaxParameters], Derived& derived) {
  const double beta = parameters[0], inverse = 1 / beta;
  const double rest = std::fma(-beta, inverse, 1.0) * inverse;
  derived.hi[0] = inverse;
  derived.lo[0] = rest - rest == 0 ? rest : 0;
}

/// A factor divided by Constants<T>::scale, in two parts that do not leave the range of normal numbers.
template <class T>
struct Unscaling {
  Pair<T> first;
  Real<T> second;
};
template <class T>
ACTIUM_HD Unscaling<T> unscaling(Pair<T> factor) {
  const bool large = absolute(factor.hi) > Real<T>(1);
  const Real<T> first = large ? Constants<T>::inverse_scale : T(1);
  const Real<T> hi = clamp_nan(factor.hi, Real<T>(Constants<T>::largest));
  return {{hi * first, factor.lo * first}, large ? T(1) : Constants<T>::inverse_scale};
}

/// scaled * factor / Constants<T>::scale, or 0 where `vanished`.
template <class T>
ACTIUM_HD Real<T> unscale_times(Real<T> scaled, Pair<T> factor, bool vanished = false) {
  const Unscaling<T> u = unscaling(factor);
  return fma(scaled, u.first.hi, scaled * u.first.lo) * (vanished ? Real<T>(0) : u.second);
}

/// sigmoid(z) from E = exp(-|z|): 1 / (1 + E) or, for z < 0, E / (1 + E).
template <class T>
ACTIUM_HD Real<T> sigmoid(const Exponential<T>& e, bool negative) {
  return unscale(divide(negative ? e.scaled : Real<T>(Constants<T>::scale), e.plus_one));
}

/// 1 + E with what the rounding of E left.
template <class T>
ACTIUM_HD Pair<T> precise_plus_one(const Exponential<T>& e) {
  return {e.plus_one.hi, e.plus_one.lo + unscale(e.scaled_rest)};
}

/// sigmoid(z) with what the rounding of E left: half the error, for slopes, which have instructions to spare.
template <class T>
ACTIUM_HD Real<T> precise_sigmoid(const Exponential<T>& e, bool negative) {
  const Pair<T> numerator = {negative ? e.scaled : Real<T>(Constants<T>::scale),
                             negative ? e.scaled_rest : Real<T>(0)};
  return unscale(divide(numerator, precise_plus_one(e)));
}

/// sigmoid'(z) = E / (1 + E)^2, times Constants<T>::scale.
template <class T>
ACTIUM_HD Real<T> scaled_bell(const Exponential<T>& e) {
  return divide(Pair<T>{e.scaled, e.scaled_rest}, square(precise_plus_one(e)));
}

/// |sigmoid''(z)| = sigmoid'(z) tanh(|z| / 2), tanh(|z| / 2) = (1 - E) / (1 + E), times Constants<T>::scale.
template <class T>
ACTIUM_HD Real<T> scaled_bell_slope(const Exponential<T>& e) {
  return scaled_bell(e) * divide(e.one_minus, e.plus_one);
}

template <>
struct Op<ActivationKind::sigmoid> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number);
    const Exponential<T> e = exponential_decay(x);
    const Real<T> curvature = copy_sign(unscale(scaled_bell_slope(e)), -x);
    return {sigmoid(e, x < 0).number, unscale(scaled_bell(e)).number, curvature.number};
  }
};

/// E = exp(-|z|) for f16 and bf16 results, by one EX2 and one RCP. half = exp(-|z| / 2), and a result in the
/// tail is multiplied by it twice: E itself may be too small for the EX2.
struct Decay16 {
  Real<float> half, e, reciprocal;  // reciprocal = 1 / (1 + E)
};
inline constexpr float kHalfLog2E = 0.5f * Constants<float>::log2_e;
/// From the argument of the EX2, -log2(e) / 2 |z|.
ACTIUM_HD Decay16 decay16(Real<float> exponent) {
  const Real<float> half = approximate_exp2(exponent);
  return {half, half * half, approximate_reciprocal(fma(half, half, Real<float>(1)))};
}
ACTIUM_HD Real<float> sigmoid16(const Decay16& d, bool negative) {
  const Real<float> factor = negative ? d.half : Real<float>(1);
  return d.reciprocal * factor * factor;
}
/// sigmoid'(z) times a factor.
ACTIUM_HD Real<float> bell16(const Decay16& d, Real<float> factor = Real<float>(1)) {
  const Real<float> root = d.reciprocal * d.half;
  return root * factor * root;
}
/// tanh(y) for y >= 0, from E = exp(-2 y).
ACTIUM_HD Real<float> tanh16(Real<float> y, const Decay16& d) {
  const Real<float> square = y * y;
  const Real<float> small = fma(y * square, polynomial<coefficients::TanhTail16<float>>(square), y);
  return y < Real<float>(0.25f) ? small : (Real<float>(1) - d.e) * d.reciprocal;
}

template <>
struct Op16<ActivationKind::sigmoid> : Op<ActivationKind::sigmoid> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    const Real<float> x(x_number), magnitude = absolute(x);
    const Decay16 d = decay16(magnitude * Real<float>(-kHalfLog2E));
    const Real<float> curvature = bell16(d, tanh16(magnitude * Real<float>(0.5f), d));
    return {sigmoid16(d, x < 0).number, bell16(d).number, copy_sign(curvature, -x).number};
  }
};

/// log1p(E), times Constants<T>::scale, as hi + lo.
template <class T>
ACTIUM_HD Pair<T> scaled_log1p(const Exponential<T>& e) {
  // log1p(E) = E (3/4 + u), with u as a polynomial in 1 - E: small and all but constant round x = 0, where
  // many inputs in a row have nearly the same result. There what other forms round, or the rest of E, would
  // show as steps back.
  const Real<T> u = polynomial<coefficients::Log1pRatio<T>>(Real<T>(1) - e.value), most(T(0.75));
  const Real<T> rest = fma(e.scaled, u, e.scaled_rest), head = fma(e.scaled, most, rest);
  return {head, fma(e.scaled, most, -head) + rest};
}

/// max(x, 0) + log1p(E). The smaller part of the logarithm goes to x first, which is the smaller number
/// wherever the rounding of that sum counts.
template <class T>
ACTIUM_HD Real<T> softplus(Real<T> x, Pair<T> scaled_log1p, Real<T> unscale_factor) {
  const Real<T> rest = fma(scaled_log1p.lo, unscale_factor, max_nan(x, T(0)));
  return fma(scaled_log1p.hi, unscale_factor, rest);
}

/// log_sigmoid(x) = -softplus(-x); slope = sigmoid(-x).
template <>
struct Op<ActivationKind::log_sigmoid> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x = -Real<T>(x_number);
    const Exponential<T> e = exponential_decay(x);
    const Real<T> value = softplus(x, scaled_log1p(e), Real<T>(Constants<T>::inverse_scale));
    return {(-value).number, precise_sigmoid(e, x < 0).number, (-unscale(scaled_bell(e))).number};
  }

  /// 1 - exp(y).
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>&) {
    return exponential_decay(Real<T>(y)).one_minus.number;
  }
};

/// log1p(E) times a factor.
ACTIUM_HD Real<float> log1p16(const Decay16& d, Real<float> factor) {
  const Real<float> u = fma(d.e, polynomial<coefficients::Log1pTail16<float>>(d.e), Real<float>(1));
  return u * factor * d.half * d.half;
}

template <>
struct Op16<ActivationKind::log_sigmoid> : Op<ActivationKind::log_sigmoid> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    const Real<float> x(x_number), one(1);
    const Decay16 d = decay16(absolute(x) * Real<float>(-kHalfLog2E));
    const Real<float> value = min_nan(x, -0.0f) - log1p16(d, one);
    return {value.number, sigmoid16(d, Real<float>(0) < x).number, bell16(d, -one).number};
  }
};

/// softplus = (max(z, 0) + log1p(E)) / beta, z = beta x; slope = sigmoid(z), curvature = beta sigmoid'(z).
template <>
struct Op<ActivationKind::softplus> {
  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    derive_inverse(parameters, derived);
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number);
    const Steepness<T> s = steepness(parameters);
    const Exponential<T> e = decay(x, s);
    const Pair<T> log1p = scaled_log1p(e);
    const Unscaling<T> inverse = unscaling(parameters.derived[0]);
    const Pair<T> product = multiply(inverse.first, log1p.hi);
    const Pair<T> scaled = {product.hi, fma(log1p.lo, inverse.first.hi, product.lo)};
    // At -inf 1 / beta may be so large that what exp() can reach of the tail is not 0.
    const Real<T> value = softplus<T>(x, scaled, x < -s.limit ? Real<T>(0) : inverse.second);
    const Real<T> curvature = unscale_times(scaled_bell(e), s.beta, absolute(x) > s.limit);
    return {value.number, precise_sigmoid(e, x < 0).number, curvature.number};
  }

  /// d/dbeta = -(|z| E / (1 + E) + log1p(E)) / beta^2.
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x_number, const Parameters<T>& parameters) {
    const Steepness<T> s = steepness(parameters);
    const Exponential<T> e = decay(Real<T>(x_number), s);
    const Real<T> x = min_nan(absolute(Real<T>(x_number)), s.limit);
    const Pair<T> z = multiply(s.beta, x), log1p = scaled_log1p(e);
    const Real<T> share = divide(e.scaled, e.plus_one);
    const Real<T> entropy = fma(z.hi, share, log1p.hi + fma(z.lo, share, log1p.lo));

    // 1 / beta^2 is one factor, except where it would overflow.
    const Pair<T> inverse = parameters.derived[0];
    const bool large = inverse.hi > Real<T>(0x1p+30f);
    const Real<T> square = fma(inverse.hi, inverse.hi, Real<T>(2) * inverse.hi * inverse.lo);
    const Real<T> first = large ? inverse.hi : square;
    const Real<T> second = large ? inverse.hi : Real<T>(Constants<T>::inverse_scale);
    return {{(-((large ? unscale(entropy) : entropy) * first * second)).number}};
  }

  /// 1 - exp(-beta y).
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>& parameters) {
    return decay(Real<T>(y), steepness(parameters)).one_minus.number;
  }

 private:
  /// exp(-|beta x|).
  template <class T>
  ACTIUM_HD static Exponential<T> decay(Real<T> x, const Steepness<T>& s) {
    return steep_decay(x, s, multiply(s.beta, min_nan(absolute(x), s.limit)));
  }
};

inline constexpr float kExponentRange16 = 300;  // exp(-300 / 2) is 0
/// -log2(e) / 2 |beta x| as the argument of decay16, for a finite x.
ACTIUM_HD Real<float> exponent16(Real<float> x, Pair<float> beta) {
  constexpr float kHalfLog2ERest = 0x1.4ae0cp-27f;
  const Pair<float> factor = multiply(beta, Real<float>(kHalfLog2E));
  const Real<float> rest = fma(beta.hi, Real<float>(kHalfLog2ERest), factor.lo);
  return -absolute(fma(x, factor.hi, x * rest));
}
/// The same for every x, from the Steepness for kExponentRange16.
ACTIUM_HD Decay16 steep_decay16(Real<float> x, const Steepness<float>& s) {
  const Real<float> magnitude = absolute(x), farthest = s.farthest * Real<float>(-kHalfLog2E);
  return decay16(magnitude > s.limit ? farthest : exponent16(min_nan(magnitude, s.limit), s.beta));
}

template <>
struct Op16<ActivationKind::softplus> : Op<ActivationKind::softplus> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>& parameters) {
    const Real<float> x(x_number);
    const Steepness<float> s = steepness(parameters, kExponentRange16);
    const Decay16 d = steep_decay16(x, s);
    const Real<float> value = max_nan(x, 0.0f) + log1p16(d, parameters.derived[0].hi);
    return {value.number, sigmoid16(d, x < 0).number, bell16(d, s.beta.hi).number};
  }
};

}  // namespace actium::device

#pragma once
/// Arithmetic that the functors share: numbers that are rounded exactly where the code says, unevaluated
/// sums, polynomials, and the exponential of a number <= 0. One implementation for float and double.
#include <actium/device/coefficients.cuh>
#include <actium/device/intrinsics.cuh>

namespace actium::device {

/// A float or double whose every + - * is one rounding to nearest, never contracted into another operation.
template <class T>
struct Real {
  T number;
  Real() = default;
  ACTIUM_HD constexpr Real(T x) : number(x) {}
#ifdef ACTIUM_COPY_NUMBERS  // for host compilers: copies of whole structs keep them from vectorising loops
  Real(const Real& other) : number(other.number) {}
  Real& operator=(const Real& other) {
    number = other.number;
    return *this;
  }
#endif

  friend ACTIUM_HD Real operator+(Real a, Real b) { return add(a.number, b.number); }
  friend ACTIUM_HD Real operator-(Real a, Real b) { return subtract(a.number, b.number); }
  friend ACTIUM_HD Real operator*(Real a, Real b) { return multiply(a.number, b.number); }
  friend ACTIUM_HD Real operator-(Real a) { return -a.number; }
  friend ACTIUM_HD bool operator<(Real a, Real b) { return a.number < b.number; }
  friend ACTIUM_HD bool operator>(Real a, Real b) { return a.number > b.number; }
  friend ACTIUM_HD bool operator<=(Real a, Real b) { return a.number <= b.number; }
  friend ACTIUM_HD bool operator==(Real a, Real b) { return a.number == b.number; }

  /// a * b + c, rounded once.
  friend ACTIUM_HD Real fma(Real a, Real b, Real c) { return device::fma(a.number, b.number, c.number); }
  friend ACTIUM_HD Real absolute(Real a) { return device::absolute(a.number); }
  friend ACTIUM_HD Real copy_sign(Real magnitude, Real sign) {
    return device::copy_sign(magnitude.number, sign.number);
  }
  friend ACTIUM_HD bool sign_bit(Real a) { return device::sign_bit(a.number); }
  friend ACTIUM_HD Real max_nan(Real a, Real b) { return device::max_nan(a.number, b.number); }
  friend ACTIUM_HD Real min_nan(Real a, Real b) { return device::min_nan(a.number, b.number); }
  friend ACTIUM_HD Real approximate_reciprocal(Real a) { return device::approximate_reciprocal(a.number); }
  friend ACTIUM_HD Real approximate_reciprocal_sqrt(Real a) {
    return device::approximate_reciprocal_sqrt(a.number);
  }
  friend ACTIUM_HD Real approximate_exp2(Real a) { return device::approximate_exp2(a.number); }
};

/// The unevaluated sum hi + lo: about twice the precision.
template <class T>
struct Pair {
  Real<T> hi, lo;
};

template <class T>
struct Constants;
template <>
struct Constants<float> {
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2_hi = 0x1.62e43p-1f, ln2_lo = -0x1.05c61p-29f;
  // Powers of two travel multiplied by `scale`, so that they stay normal where the result does not.
  static constexpr float scale = 0x1p+64f, inverse_scale = 0x1p-64f;
  // n + 1.5 * 2^23 has the integer n in its low bits; with the bias they are the exponent field of 2^n *
  // scale.
  static constexpr float round_to_integer = 0x1.8p+23f + 127 + 64;
  static constexpr int mantissa_bits = 23;
  static constexpr float largest = 0x1.fffffep+127f;
  static constexpr float smallest_exponent = -115;  // x * exp(x) is 0 from here on down
};
template <>
struct Constants<double> {
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2_hi = 0x1.62e42fefa39efp-1, ln2_lo = 0x1.abc9e3b39803fp-56;
  static constexpr double scale = 0x1p+512, inverse_scale = 0x1p-512;
  static constexpr double round_to_integer = 0x1.8p+52 + 1023 + 512;
  static constexpr int mantissa_bits = 52;
  static constexpr double largest = 0x1.fffffffffffffp+1023;
  static constexpr double smallest_exponent = -760;
};

/// a + b = hi + lo exactly, where |a| >= |b|.
template <class T>
ACTIUM_HD Pair<T> fast_two_sum(Real<T> a, Real<T> b) {
  const Real<T> sum = a + b;
  return {sum, b - (sum - a)};
}

/// a + b = hi + lo exactly.
template <class T>
ACTIUM_HD Pair<T> two_sum(Real<T> a, Real<T> b) {
  const Real<T> sum = a + b, b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// a * b = hi + lo exactly.
template <class T>
ACTIUM_HD Pair<T> two_product(Real<T> a, Real<T> b) {
  const Real<T> product = a * b;
  return {product, fma(a, b, -product)};
}

template <class T>
ACTIUM_HD Pair<T> multiply(Pair<T> a, Real<T> b) {
  const Pair<T> product = two_product(a.hi, b);
  return {product.hi, fma(a.lo, b, product.lo)};
}

template <class T>
ACTIUM_HD Pair<T> square(Pair<T> a) {
  const Pair<T> product = two_product(a.hi, a.hi);
  return {product.hi, fma(a.hi + a.hi, a.lo, product.lo)};
}

/// n / d, rounded nearly correctly: the remainder of a first quotient corrects it, so that the error of the
/// approximate reciprocal does not reach the result.
template <class T>
ACTIUM_HD Real<T> divide(Pair<T> n, Pair<T> d) {
  const Real<T> reciprocal = approximate_reciprocal(d.hi);
  const Real<T> quotient = n.hi * reciprocal;
  const Real<T> remainder = fma(-d.lo, quotient, fma(-d.hi, quotient, n.hi)) + n.lo;
  return fma(remainder, reciprocal, quotient);
}
template <class T>
ACTIUM_HD Real<T> divide(Real<T> n, Pair<T> d) {
  const Real<T> reciprocal = approximate_reciprocal(d.hi);
  const Real<T> quotient = n * reciprocal;
  const Real<T> remainder = fma(-d.lo, quotient, fma(-d.hi, quotient, n));
  return fma(remainder, reciprocal, quotient);
}
template <class T>
ACTIUM_HD Real<T> divide(Real<T> n, Real<T> d) {
  const Real<T> reciprocal = approximate_reciprocal(d);
  const Real<T> quotient = n * reciprocal;
  return fma(fma(-d, quotient, n), reciprocal, quotient);
}

/// Sum of Coefficients::values[i] * x^(i - First) over i >= First, by Horner's rule. The recursion makes
/// every coefficient an immediate operand; an array and a loop could end up in local memory.
template <class Coefficients, int First = 0, class T>
ACTIUM_HD Real<T> polynomial(Real<T> x) {
  constexpr int kCount = static_cast<int>(sizeof(Coefficients::values) / sizeof(T));
  constexpr T kConstant = Coefficients::values[First];
  if constexpr (First + 1 == kCount)
    return kConstant;
  else
    return fma(polynomial<Coefficients, First + 1>(x), x, kConstant);
}

/// Takes the factor Constants<T>::scale out again. The only rounding of a subnormal result.
template <class T>
ACTIUM_HD Real<T> unscale(Real<T> x) {
  return x * Constants<T>::inverse_scale;
}

/// exp(a) = (1 + expm1_r) * 2^n with |expm1_r| < 0.42; `significand` is 1 + expm1_r and `scaled_power` is
/// 2^n * Constants<T>::scale, a normal number. expm1_r is r + tail rounded; r is a.hi itself
/// where n = 0 and a.lo = 0, curve = exp(r) - 1 - r, tail = curve with what rounding left out of r;
/// curve_rest and tail_rest are what rounding left of the two.
template <class T>
struct ExpParts {
  Real<T> expm1_r, expm1_r_rest;  // and what the rounding of it left
  Real<T> significand, significand_rest, scaled_power;
  Real<T> r, tail, tail_rest, curve, curve_rest;
};

/// The parts of exp(a.hi + a.lo), for smallest_exponent <= a <= 0 or NaN.
template <class T>
ACTIUM_HD ExpParts<T> exp_parts(Pair<T> a) {
  using C = Constants<T>;
  // a = n ln(2) + r. The leading difference is exact; the rest goes into r.lo.
  const Real<T> biased = fma(a.hi, C::log2_e, C::round_to_integer);
  const Real<T> n = biased - C::round_to_integer;
  const Pair<T> r = fast_two_sum(fma(-n, C::ln2_hi, a.hi), fma(-n, C::ln2_lo, a.lo));
  // exp(r) - 1 = r + tail, and 1 + r + tail with the rounding error of 1 + r carried along.
  const Real<T> square = r.hi * r.hi, factor = polynomial<coefficients::ExpTail<T>>(r.hi);
  const Real<T> tail = fma(square, factor, r.lo), square_rest = fma(r.hi, r.hi, -square) * factor;
  const Real<T> tail_rest = (fma(square, factor, -tail) + r.lo) + square_rest;
  const Real<T> curve = fma(square, factor, square_rest);
  const Real<T> curve_rest = fma(square, factor, -curve) + square_rest;
  const Pair<T> one_plus_r = fast_two_sum(Real<T>(1), r.hi);
  const Pair<T> expm1_r = fast_two_sum(r.hi, tail);
  const Real<T> significand = one_plus_r.hi + (one_plus_r.lo + tail);
  const Real<T> significand_rest = (one_plus_r.hi - significand) + (one_plus_r.lo + tail);
  const Real<T> scaled_power = from_bits(to_bits(biased.number) << C::mantissa_bits);
  return {expm1_r.hi, expm1_r.lo, significand, significand_rest, scaled_power, r.hi,
          tail,       tail_rest,  curve,       curve_rest};
}

/// E = exp(a) in the forms that quotients of exponentials need.
template <class T>
struct Exponential {
  Real<T> scaled;       // E * Constants<T>::scale
  Real<T> scaled_rest;  // and what the rounding of it left
  Real<T> value;        // E; may be subnormal or 0, so only good for adding to something larger
  Pair<T> plus_one;     // 1 + E
  Real<T> one_minus;    // 1 - E, good relatively up to E = 1
};

template <class T>
ACTIUM_HD Exponential<T> exponential(Pair<T> a) {
  const ExpParts<T> parts = exp_parts(a);
  const Real<T> scaled = parts.significand * parts.scaled_power, value = unscale(scaled);
  const Real<T> power = unscale(parts.scaled_power);
  return {scaled, parts.significand_rest * parts.scaled_power, value, fast_two_sum(Real<T>(1), value),
          fma(-power, parts.expm1_r, Real<T>(1) - power)};
}

/// exp(-|x|).
template <class T>
ACTIUM_HD Exponential<T> exponential_decay(Real<T> x) {
  return exponential<T>({max_nan(-absolute(x), Constants<T>::smallest_exponent), Real<T>(0)});
}

/// x within [-limit, limit], where f has long reached its limits, so that inf * 0 cannot arise. Keeps NaN.
template <class T>
ACTIUM_HD Real<T> clamp_nan(Real<T> x, Real<T> limit) {
  return min_nan(max_nan(x, -limit), limit);
}

/// A slope next to its zero, where the general formula cancels: (x - root) * polynomial; elsewhere
/// `otherwise`.
template <class Root, class T>
ACTIUM_HD Real<T> near_root(Real<T> x, Real<T> otherwise) {
  const Real<T> distance = x - Real<T>(Root::root_hi);  // exact there
  const Real<T> factor = polynomial<Root>(distance);
  return absolute(distance) < Real<T>(Root::radius) ? fma(distance, factor, -(Root::root_lo * factor))
                                                    : otherwise;
}

}  // namespace actium::device

#pragma once
/// A real number of 200 bits: MPFR behind the few operations that the reference's formulas call; and the
/// metric against it.
#include <mpfr.h>

#include <accuracy/metric.hpp>
#include <string>
#include <utility>

namespace actium::accuracy {

class MpReal {
 public:
  MpReal(double x = 0) : MpReal(Uninitialised{}) { mpfr_set_d(number_, x, MPFR_RNDN); }
  explicit MpReal(long double x) : MpReal(Uninitialised{}) { mpfr_set_ld(number_, x, MPFR_RNDN); }
  MpReal(const MpReal& other) : MpReal(Uninitialised{}) { mpfr_set(number_, other.number_, MPFR_RNDN); }
  MpReal(MpReal&& other) noexcept : MpReal(Uninitialised{}) { mpfr_swap(number_, other.number_); }
  MpReal& operator=(MpReal other) noexcept {
    mpfr_swap(number_, other.number_);
    return *this;
  }
  ~MpReal() { mpfr_clear(number_); }

  /// A decimal number.
  static MpReal parse(const std::string& text) {
    return make([&](mpfr_ptr y) { mpfr_set_str(y, text.c_str(), 10, MPFR_RNDN); });
  }

  mpfr_srcptr get() const { return number_; }
  double to_double() const { return mpfr_get_d(number_, MPFR_RNDN); }
  /// Exponent e of 2^e <= |x| < 2^(e+1); x must be finite and not 0.
  long exponent() const { return mpfr_get_exp(number_) - 1; }
  MpReal times_power_of_two(long exponent) const {
    return make([&](mpfr_ptr y) { mpfr_mul_2si(y, number_, exponent, MPFR_RNDN); });
  }

  friend MpReal operator+(const MpReal& a, const MpReal& b) { return binary<mpfr_add>(a, b); }
  friend MpReal operator-(const MpReal& a, const MpReal& b) { return binary<mpfr_sub>(a, b); }
  friend MpReal operator*(const MpReal& a, const MpReal& b) { return binary<mpfr_mul>(a, b); }
  friend MpReal operator/(const MpReal& a, const MpReal& b) { return binary<mpfr_div>(a, b); }
  friend MpReal operator-(const MpReal& a) { return unary<mpfr_neg>(a); }
  friend bool operator==(const MpReal& a, const MpReal& b) { return mpfr_equal_p(a.number_, b.number_) != 0; }
  friend bool operator<(const MpReal& a, const MpReal& b) { return mpfr_less_p(a.number_, b.number_) != 0; }
  friend bool operator>(const MpReal& a, const MpReal& b) { return b < a; }
  friend bool operator<=(const MpReal& a, const MpReal& b) {
    return mpfr_lessequal_p(a.number_, b.number_) != 0;
  }
  friend bool isinf(const MpReal& a) { return mpfr_inf_p(a.number_) != 0; }
  friend bool isnan(const MpReal& a) { return mpfr_nan_p(a.number_) != 0; }

  friend MpReal abs(const MpReal& a) { return unary<mpfr_abs>(a); }
  friend MpReal sqrt(const MpReal& a) { return unary<mpfr_sqrt>(a); }
  friend MpReal exp(const MpReal& a) { return unary<mpfr_exp>(a); }
  friend MpReal log1p(const MpReal& a) { return unary<mpfr_log1p>(a); }
  friend MpReal tanh(const MpReal& a) { return unary<mpfr_tanh>(a); }
  friend MpReal cosh(const MpReal& a) { return unary<mpfr_cosh>(a); }
  friend MpReal expm1(const MpReal& a) { return unary<mpfr_expm1>(a); }
  friend MpReal sinh(const MpReal& a) { return unary<mpfr_sinh>(a); }
  friend MpReal sin(const MpReal& a) { return unary<mpfr_sin>(a); }
  friend MpReal cos(const MpReal& a) { return unary<mpfr_cos>(a); }
  friend MpReal erf(const MpReal& a) { return unary<mpfr_erf>(a); }
  friend MpReal erfc(const MpReal& a) { return unary<mpfr_erfc>(a); }
  friend MpReal pi_like(const MpReal&) {
    return make([](mpfr_ptr y) { mpfr_const_pi(y, MPFR_RNDN); });
  }

 private:
  struct Uninitialised {};
  explicit MpReal(Uninitialised) { mpfr_init2(number_, 200); }

  template <class Fill>
  static MpReal make(const Fill& fill) {
    MpReal y{Uninitialised{}};
    fill(y.number_);
    return y;
  }
  template <auto Function>
  static MpReal unary(const MpReal& a) {
    return make([&](mpfr_ptr y) { Function(y, a.number_, MPFR_RNDN); });
  }
  template <auto Function>
  static MpReal binary(const MpReal& a, const MpReal& b) {
    return make([&](mpfr_ptr y) { Function(y, a.number_, b.number_, MPFR_RNDN); });
  }
  mpfr_t number_;
};

/// |y - exact| / ulp(exact); ulp is not taken below that of 2^floor_exponent (metric.hpp).
inline double ulp_error(double y, const MpReal& exact, Format format, int floor_exponent = kNoFloor) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (isnan(exact) || std::isnan(y)) return isnan(exact) && std::isnan(y) ? 0 : kInfinity;
  if (isinf(exact)) return y == exact.to_double() ? 0 : kInfinity;
  const MpReal overflow = MpReal(1.0).times_power_of_two(format.max_exponent + 1);
  const auto bounded = [&](const MpReal& z) {
    return z > overflow ? overflow : z < -overflow ? -overflow : z;
  };
  const MpReal target = bounded(exact);
  const long lowest = std::max(format.min_exponent, floor_exponent);
  const long exponent = target == MpReal(0.0) ? lowest : std::max(lowest, target.exponent());
  return abs(bounded(MpReal(y)) - target).times_power_of_two(format.mantissa_bits - exponent).to_double();
}

}  // namespace actium::accuracy

#pragma once
/// Arguments of exponentials in more than long double. exp(a) multiplies the rounding error of a by |a|,
/// which reaches 745 in f64 results: a long double argument would cost up to 1 ULP of f64. Only + - * / on
/// the argument are done in 128 bits; exp, erf and erfc are evaluated at the nearest long double and
/// corrected to first order.
#include <reference/dual.hpp>
#include <type_traits>

namespace actium::reference {

#if defined(__SIZEOF_FLOAT128__)
__extension__ typedef __float128 Quad;
#else
using Quad = long double;  // where long double is 128 bits wide, or nothing wider exists
#endif

class Extended {
 public:
  Extended(double x) : number_(x) {}
  Extended(long double x) : number_(x) {}

  friend Extended operator+(const Extended& a, const Extended& b) { return from(a.number_ + b.number_); }
  friend Extended operator-(const Extended& a, const Extended& b) { return from(a.number_ - b.number_); }
  friend Extended operator*(const Extended& a, const Extended& b) { return from(a.number_ * b.number_); }
  friend Extended operator/(const Extended& a, const Extended& b) { return from(a.number_ / b.number_); }
  friend Extended operator-(const Extended& a) { return from(-a.number_); }
  friend bool operator==(const Extended& a, const Extended& b) { return a.number_ == b.number_; }
  friend bool operator<(const Extended& a, const Extended& b) { return a.number_ < b.number_; }
  friend bool isinf(const Extended& a) { return std::isinf(static_cast<long double>(a.number_)); }

  /// The nearest long double, and what is left.
  friend long double narrow(const Extended& a) { return static_cast<long double>(a.number_); }
  long double rest() const {
    const long double nearest = narrow(*this);
    return std::isfinite(nearest) ? static_cast<long double>(number_ - nearest) : 0.0L;
  }

 private:
  static Extended from(Quad x) {
    Extended y(0.0);
    y.number_ = x;
    return y;
  }
  Quad number_;
};

/// One Newton step doubles the 64 bits of the long double root.
inline Extended sqrt(const Extended& a) {
  const Extended root(std::sqrt(narrow(a)));
  return root + (a - root * root) / (root + root);
}

inline Extended pi_like(const Extended&) {
  return Extended(0x3.243f6a8885a308d4p0L) + Extended(-0xe.ce675d1fc8f8cbbp-68L);
}

inline long double exp(const Extended& a) {
  const long double y = std::exp(narrow(a));
  return y + y * a.rest();
}

inline long double expm1(const Extended& a) { return std::expm1(narrow(a)) + std::exp(narrow(a)) * a.rest(); }

inline long double erfc(const Extended& a) {
  const long double y = std::erfc(narrow(a));
  return y - 2 / std::sqrt(pi_like(1.0L)) * exp(-(a * a)) * a.rest();
}

inline long double erf(const Extended& a) {
  const long double y = std::erf(narrow(a)), rest = a.rest();
  return rest == 0 ? y : y + 2 / std::sqrt(pi_like(1.0L)) * exp(-(a * a)) * rest;  // -0 stays -0
}

/// x ready to become the argument of an exponential.
template <class S>
const S& extended(const S& x) {
  return x;
}
inline Extended extended(long double x) { return x; }
template <class S>
auto extended(const Dual<S>& x) {
  using Argument = std::decay_t<decltype(extended(x.value))>;
  return Dual<Argument>(Argument(extended(x.value)), Argument(extended(x.slope)));
}

}  // namespace actium::reference

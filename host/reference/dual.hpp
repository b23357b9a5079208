#pragma once
/// Forward-mode differentiation: Dual<S>{value, slope} carries f(x) and f'(x) through a formula that was
/// written for a number; Dual<Dual<S>> carries f''(x) too. The reference's derivatives come from here, so
/// that they share no algebra with hand-derived kernels.
#include <cmath>
#include <type_traits>

namespace actium::reference {

template <class S>
struct Dual;

/// a * b, where an exact 0 beats an infinity: what has decayed to 0 did so faster than x grew. The signs are
/// those of any product.
template <class S>
S product(const S& a, const S& b) {
  using std::isinf;
  if (a == S(0.0) && isinf(b)) return b < S(0.0) ? -a : a;
  if (b == S(0.0) && isinf(a)) return a < S(0.0) ? -b : b;
  return a * b;
}
/// A product of duals is guarded by itself.
template <class S>
Dual<S> product(const Dual<S>& a, const Dual<S>& b);

template <class S>
struct Dual {
  S value, slope;

  Dual() = default;
  Dual(double constant) : value(constant), slope(0.0) {}
  Dual(const S& v, const S& s) : value(v), slope(s) {}

  friend Dual operator+(const Dual& a, const Dual& b) { return {a.value + b.value, a.slope + b.slope}; }
  friend Dual operator-(const Dual& a, const Dual& b) { return {a.value - b.value, a.slope - b.slope}; }
  friend Dual operator-(const Dual& a) { return {-a.value, -a.slope}; }
  friend Dual operator*(const Dual& a, const Dual& b) {
    return {reference::product(a.value, b.value),
            reference::product(a.value, b.slope) + reference::product(a.slope, b.value)};
  }
  friend Dual operator/(const Dual& a, const Dual& b) {
    const S quotient = a.value / b.value;
    return {quotient, (a.slope - reference::product(quotient, b.slope)) / b.value};
  }
  // Comparisons are those of the values.
  friend bool operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
  friend bool operator>(const Dual& a, const Dual& b) { return b.value < a.value; }
  friend bool operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
};

template <class S>
Dual<S> product(const Dual<S>& a, const Dual<S>& b) {
  return a * b;
}

/// pi, in the type of the argument.
inline double pi_like(double) { return 3.14159265358979323846; }
inline long double pi_like(long double) { return 3.14159265358979323846264338327950288L; }
template <class S>
Dual<S> pi_like(const Dual<S>& x) {
  return {pi_like(x.value), S(0.0)};
}

/// `x` for a scalar that needs no rounding to leave an extended argument (see extended.hpp).
template <class S>
const S& narrow(const S& x) {
  return x;
}
template <class S>
auto narrow(const Dual<S>& x) {
  using Narrow = std::decay_t<decltype(narrow(x.value))>;
  return Dual<Narrow>(Narrow(narrow(x.value)), Narrow(narrow(x.slope)));
}

// Each function: its value, and its derivative (evaluated by the same functions, so that it can be
// differentiated again) times the argument's slope. Results leave extended arguments rounded.

template <class S>
auto exp(const Dual<S>& x) {
  using std::exp;
  const auto y = exp(x.value);
  using Narrow = std::decay_t<decltype(y)>;
  return Dual<Narrow>(y, product(y, Narrow(narrow(x.slope))));
}

template <class S>
auto expm1(const Dual<S>& x) {
  using std::exp;
  using std::expm1;
  const auto y = expm1(x.value);
  using Narrow = std::decay_t<decltype(y)>;
  return Dual<Narrow>(y, product(Narrow(exp(x.value)), Narrow(narrow(x.slope))));
}

template <class S>
Dual<S> log1p(const Dual<S>& x) {
  using std::log1p;
  return {log1p(x.value), x.slope / (S(1.0) + x.value)};
}

template <class S>
Dual<S> sqrt(const Dual<S>& x) {
  using std::sqrt;
  const S y = sqrt(x.value);
  return {y, x.slope / (y + y)};
}

template <class S>
Dual<S> sinh(const Dual<S>& x);
template <class S>
Dual<S> cosh(const Dual<S>& x) {
  using std::cosh;
  using std::sinh;
  return {cosh(x.value), product(S(sinh(x.value)), x.slope)};
}
template <class S>
Dual<S> sinh(const Dual<S>& x) {
  using std::cosh;
  using std::sinh;
  return {sinh(x.value), product(S(cosh(x.value)), x.slope)};
}

template <class S>
Dual<S> tanh(const Dual<S>& x) {
  using std::cosh;
  using std::tanh;
  const S hyperbolic = cosh(x.value);  // 1 / cosh^2 keeps the accuracy that 1 - tanh^2 loses
  return {tanh(x.value), product(S(S(1.0) / hyperbolic / hyperbolic), x.slope)};
}

template <class S>
Dual<S> cos(const Dual<S>& x);
template <class S>
Dual<S> sin(const Dual<S>& x) {
  using std::cos;
  using std::sin;
  return {sin(x.value), product(S(cos(x.value)), x.slope)};
}
template <class S>
Dual<S> cos(const Dual<S>& x) {
  using std::cos;
  using std::sin;
  return {cos(x.value), -product(S(sin(x.value)), x.slope)};
}

/// erfc' = -2 / sqrt(pi) exp(-x^2).
template <class S>
auto erfc(const Dual<S>& x) {
  using std::erfc;
  using std::exp;
  using std::sqrt;
  const auto y = erfc(x.value);
  using Narrow = std::decay_t<decltype(y)>;
  const Narrow density = Narrow(2.0) / sqrt(pi_like(y)) * exp(-(x.value * x.value));
  return Dual<Narrow>(y, -product(density, Narrow(narrow(x.slope))));
}

template <class S>
auto erf(const Dual<S>& x) {
  using std::erf;
  using std::exp;
  using std::sqrt;
  const auto y = erf(x.value);
  using Narrow = std::decay_t<decltype(y)>;
  const Narrow density = Narrow(2.0) / sqrt(pi_like(y)) * exp(-(x.value * x.value));
  return Dual<Narrow>(y, product(density, Narrow(narrow(x.slope))));
}

}  // namespace actium::reference

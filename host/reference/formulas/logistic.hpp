#pragma once
// sigmoid, its integral, its product with x, and tanh.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

/// Round 0 by tanh, whose second derivative has its zero there exactly.
template <>
struct Formula<ActivationKind::sigmoid> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::tanh;
    if (S(-1.0) < x && x < S(1.0)) return 0.5 + 0.5 * tanh(0.5 * x);
    return detail::sigmoid(x);
  }
};

template <>
struct Formula<ActivationKind::log_sigmoid> {
  template <class S>
  static S value(const S& x, const S*) {
    return -detail::softplus(-x);
  }
};

template <>
struct Formula<ActivationKind::tanh> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::tanh;
    return tanh(x);
  }
};

/// x - tanh(x); next to 0 (x cosh(x) - sinh(x)) / cosh(x) with the series of the numerator, sum over k of
/// 2 k x^(2 k + 1) / (2 k + 1)!, which cancels nothing.
template <>
struct Formula<ActivationKind::tanhshrink> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::cosh;
    using std::tanh;
    if (x < S(-1.0) || S(1.0) < x) return x - tanh(x);
    S sum(0.0);
    for (int k = 23; k > 0; --k)  // each term by its ratio to the one before
      sum = S(1.0) + sum * (x * x) / S(2.0 * k * (2.0 * k + 3.0));
    return sum * (x * x) / S(3.0) * x / cosh(x);
  }
};

template <>
struct Formula<ActivationKind::softplus> {
  template <class S>
  static S value(const S& x, const S* p) {
    using std::exp;
    using std::log1p;
    const auto z = extended(p[0]) * extended(x);
    if (x < S(0.0)) return log1p(S(exp(z))) / p[0];
    return x + log1p(S(exp(-z))) / p[0];
  }
};

template <>
struct Formula<ActivationKind::silu> {
  template <class S>
  static S value(const S& x, const S*) {
    return product(x, detail::sigmoid(x));
  }
};

template <>
struct Formula<ActivationKind::swish> {
  template <class S>
  static S value(const S& x, const S* p) {
    return product(x, S(detail::sigmoid(product(extended(p[0]), extended(x)))));
  }
};

template <>
struct Formula<ActivationKind::quick_gelu> {
  template <class S>
  static S value(const S& x, const S*) {
    const auto z = extended(x);
    using Z = std::decay_t<decltype(z)>;
    return product(x, S(detail::sigmoid(Z(1702.0) / Z(1000.0) * z)));
  }
};

/// x/2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3): 1 + tanh would cancel for x < 0.
template <>
struct Formula<ActivationKind::gelu_tanh> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::sqrt;
    const auto z = extended(x);
    using Z = std::decay_t<decltype(z)>;
    const Z u = sqrt(2.0 / pi_like(z)) * (z + Z(44715.0) / Z(1000000.0) * z * z * z);
    return product(x, S(detail::sigmoid(2.0 * u)));
  }
};

}  // namespace actium::reference

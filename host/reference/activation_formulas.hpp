#pragma once
/// The activations as textbook formulas, generic over the scalar: double (for f32, f16 and bf16 results),
/// long double (for f64 results), Dual of these (for slopes) or a multiple-precision number (in tests).
/// Written for relative accuracy everywhere, tails included; limits at +-inf come out by themselves; NaN
/// propagates.
#include <actium/activation_kind.hpp>
#include <reference/dual.hpp>
#include <reference/extended.hpp>

namespace actium::reference {

/// Left undefined: a line in activations.def without its Formula is a compile error that names the kind.
template <ActivationKind>
struct Formula;

namespace detail {
/// 1 / (1 + exp(-z)) without overflow: the exponential is at most 1.
template <class S>
auto sigmoid(const S& z) {
  using std::exp;
  if (z < S(0.0)) {
    const auto e = exp(z);
    return e / (1.0 + e);
  }
  const auto e = exp(-z);
  return 1.0 / (1.0 + e);
}

/// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).
template <class S>
S softplus(const S& x) {
  using std::exp;
  using std::log1p;
  if (x < S(0.0)) return log1p(exp(x));
  return x + log1p(exp(-x));
}
}  // namespace detail

template <>
struct Formula<ActivationKind::identity> {
  template <class S>
  static S value(const S& x, const double*) {
    return x;
  }
};

template <>
struct Formula<ActivationKind::sigmoid> {
  template <class S>
  static S value(const S& x, const double*) {
    return detail::sigmoid(x);
  }
};

template <>
struct Formula<ActivationKind::tanh> {
  template <class S>
  static S value(const S& x, const double*) {
    using std::tanh;
    return tanh(x);
  }
};

template <>
struct Formula<ActivationKind::relu> {
  template <class S>
  static S value(const S& x, const double*) {
    if (x > S(0.0)) return x;
    if (x <= S(0.0)) return S(0.0);
    return x * x;  // NaN, and so is its slope
  }
};

template <>
struct Formula<ActivationKind::leaky_relu> {
  template <class S>
  static S value(const S& x, const double* parameters) {
    return x > S(0.0) ? x : product(S(parameters[0]), x);
  }
};

template <>
struct Formula<ActivationKind::softplus> {
  template <class S>
  static S value(const S& x, const double*) {
    return detail::softplus(x);
  }
};

/// x Phi(x) = x/2 erfc(-x / sqrt(2)): 1 + erf would cancel for x < 0.
template <>
struct Formula<ActivationKind::gelu> {
  template <class S>
  static S value(const S& x, const double*) {
    using std::erfc;
    using std::sqrt;
    const auto z = extended(x);
    using Z = std::decay_t<decltype(z)>;
    return product(x, S(0.5 * erfc(-(z * sqrt(Z(0.5))))));
  }
};

/// x/2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3): 1 + tanh would cancel for x < 0.
template <>
struct Formula<ActivationKind::gelu_tanh> {
  template <class S>
  static S value(const S& x, const double*) {
    using std::sqrt;
    const auto z = extended(x);
    using Z = std::decay_t<decltype(z)>;
    const Z u = sqrt(2.0 / pi_like(z)) * (z + Z(44715.0) / Z(1000000.0) * z * z * z);
    return product(x, S(detail::sigmoid(2.0 * u)));
  }
};

template <>
struct Formula<ActivationKind::silu> {
  template <class S>
  static S value(const S& x, const double*) {
    return product(x, detail::sigmoid(x));
  }
};

template <>
struct Formula<ActivationKind::mish> {
  template <class S>
  static S value(const S& x, const double*) {
    using std::tanh;
    return product(x, S(tanh(detail::softplus(x))));
  }
};

/// f(x) and f'(x).
template <ActivationKind K, class S>
Dual<S> value_and_slope(const S& x, const double* parameters) {
  return Formula<K>::value(Dual<S>(x, S(1.0)), parameters);
}

}  // namespace actium::reference

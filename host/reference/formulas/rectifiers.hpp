#pragma once
// Linear between kinks, and powers. The last branch is NaN's, whose slopes are NaN too.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

template <>
struct Formula<ActivationKind::identity> {
  template <class S>
  static S value(const S& x, const S*) {
    return x;
  }
};

template <>
struct Formula<ActivationKind::relu> {
  template <class S>
  static S value(const S& x, const S*) {
    if (x > S(0.0)) return x;
    if (x <= S(0.0)) return S(0.0);
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::relu6> {
  template <class S>
  static S value(const S& x, const S*) {
    if (x <= S(0.0)) return S(0.0);
    if (x < S(6.0)) return x;
    if (S(6.0) <= x) return S(6.0);
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::leaky_relu> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    return x > S(0.0) ? x : product(parameters[0], x);
  }
};

template <>
struct Formula<ActivationKind::prelu> : Formula<ActivationKind::leaky_relu> {};

template <>
struct Formula<ActivationKind::relu_squared> {
  template <class S>
  static S value(const S& x, const S*) {
    return x <= S(0.0) ? S(0.0) : S(x * x);
  }
};

template <>
struct Formula<ActivationKind::threshold> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    if (x > parameters[0]) return x;
    if (x <= parameters[0]) return parameters[1];
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::hardtanh> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    if (parameters[1] <= x) return parameters[1];
    if (x <= parameters[0]) return parameters[0];
    if (x < parameters[1]) return x;
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::hardsigmoid> {
  template <class S>
  static S value(const S& x, const S*) {
    if (x <= S(-3.0)) return S(0.0);
    if (S(3.0) <= x) return S(1.0);
    if (x < S(3.0)) return (x + 3.0) / 6.0;
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::hardswish> {
  template <class S>
  static S value(const S& x, const S*) {
    if (S(3.0) <= x) return x;
    if (x <= S(-3.0)) return S(-0.0);  // x * 0
    return x * (x + 3.0) / 6.0;
  }
};

template <>
struct Formula<ActivationKind::hardshrink> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    if (x > parameters[0] || x < -parameters[0]) return x;
    if (x <= parameters[0]) return S(0.0);
    return x * x;
  }
};

template <>
struct Formula<ActivationKind::softshrink> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    if (x > parameters[0]) return x - parameters[0];
    if (x < -parameters[0]) return x + parameters[0];
    if (x <= parameters[0]) return S(0.0);
    return x * x;
  }
};

}  // namespace actium::reference

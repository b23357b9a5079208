#pragma once
// The x with f(x) = y, for the activations that have a backward from the output (the registry says which):
// their slope at y is the formula's at that x. Where f is constant, any x there will do.
#include <actium/activation_kind.hpp>
#include <cmath>
#include <limits>

namespace actium::reference {

/// Left undefined: a registry line that says input_output without its Inverse is a compile error that names
/// the kind.
template <ActivationKind K>
struct Inverse;

/// y has the sign of x, or lies where the slope is the same.
struct RectifierInverse {
  template <class S>
  static S value(const S& y, const S*) {
    return y;
  }
};
template <>
struct Inverse<ActivationKind::identity> : RectifierInverse {};
template <>
struct Inverse<ActivationKind::relu> : RectifierInverse {};
template <>
struct Inverse<ActivationKind::relu6> : RectifierInverse {};
template <>
struct Inverse<ActivationKind::leaky_relu> : RectifierInverse {};
template <>
struct Inverse<ActivationKind::prelu> : RectifierInverse {};
template <>
struct Inverse<ActivationKind::hardtanh> : RectifierInverse {};
/// An output other than 0 came from beyond lambda, where it may lie no more once it is rounded.
template <>
struct Inverse<ActivationKind::hardshrink> {
  template <class S>
  static S value(const S& y, const S*) {
    return y == S(0.0) ? y : y * S(std::numeric_limits<double>::infinity());
  }
};

template <>
struct Inverse<ActivationKind::exp> {
  template <class S>
  static S value(const S& y, const S*) {
    using std::log;
    return log(y);
  }
};

/// beta y = log(1 + exp(beta x)).
template <>
struct Inverse<ActivationKind::softplus> {
  template <class S>
  static S value(const S& y, const S* parameters) {
    using std::expm1;
    using std::log;
    const S scaled = parameters[0] * y;
    return scaled > S(100.0) ? y : log(expm1(scaled)) / parameters[0];
  }
};

/// y = -softplus(-x).
template <>
struct Inverse<ActivationKind::log_sigmoid> {
  template <class S>
  static S value(const S& y, const S*) {
    using std::expm1;
    using std::log;
    return y < S(-100.0) ? y : -log(expm1(-y));
  }
};

}  // namespace actium::reference

#pragma once
// Functions with a sine.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

template <>
struct Formula<ActivationKind::sine> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::sin;
    return sin(x);
  }
};

namespace detail {
/// sin(x), and 0 at +-inf, where it stays bounded; its derivatives are NaN there all the same.
template <class S>
S bounded_sine(const S& x) {
  using std::isinf;
  using std::sin;
  if (isinf(x)) return S(0.0);
  return sin(x);
}
template <class S>
Dual<S> bounded_sine(const Dual<S>& x) {
  using std::cos;
  return {bounded_sine(x.value), S(cos(x.value)) * x.slope};
}
}  // namespace detail

/// x + sin^2(alpha x) / alpha.
template <>
struct Formula<ActivationKind::snake> {
  template <class S>
  static S value(const S& x, const S* p) {
    const S s = detail::bounded_sine(S(p[0] * x));
    return x + s * s / p[0];
  }
};

}  // namespace actium::reference

#pragma once
/// The activations as textbook formulas, generic over the scalar: double (for f32, f16 and bf16 results),
/// long double (for f64 results), Dual of these (for slopes), Dual of Dual (for curvatures) or a
/// multiple-precision number (in tests). Limits at +-inf come out by themselves; NaN propagates.
#include <array>
#include <reference/evaluate.hpp>
#include <reference/formulas/algebraic.hpp>
#include <reference/formulas/exponential.hpp>
#include <reference/formulas/logistic.hpp>
#include <reference/formulas/mish.hpp>
#include <reference/formulas/normal.hpp>
#include <reference/formulas/periodic.hpp>
#include <reference/formulas/rectifiers.hpp>

namespace actium::reference {

namespace detail {
/// The parameters as constants of type S; the one numbered `variable` as the variable of differentiation.
template <class S>
std::array<S, kMaxParameters> constants(const double* parameters) {
  return {S(parameters[0]), S(parameters[1]), S(parameters[2])};
}
}  // namespace detail

template <ActivationKind K, class S>
S value(const S& x, const double* parameters) {
  return Formula<K>::value(x, detail::constants<S>(parameters).data());
}

/// f(x) and f'(x).
template <ActivationKind K, class S>
Dual<S> value_and_slope(const S& x, const double* parameters) {
  return value<K>(Dual<S>(x, S(1.0)), parameters);
}

/// f(x), f'(x) and f''(x).
template <ActivationKind K, class S>
Derivatives<S> derivatives(const S& x, const double* parameters) {
  const Dual<S> inner(x, S(1.0));
  const Dual<Dual<S>> y = value<K>(Dual<Dual<S>>(inner, Dual<S>(1.0)), parameters);
  return {y.value.value, y.value.slope, y.slope.slope};
}

/// df/dp for the parameter numbered `index`.
template <ActivationKind K, class S>
S parameter_slope(const S& x, const double* parameters, int index) {
  auto p = detail::constants<Dual<S>>(parameters);
  p[static_cast<std::size_t>(index)].slope = S(1.0);
  return Formula<K>::value(Dual<S>(x, S(0.0)), p.data()).slope;
}

}  // namespace actium::reference

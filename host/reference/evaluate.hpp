#pragma once
// From an activation's kind to its formula and the formula's derivatives, for S = double and long double. One
// instantiation for the library: the formulas take a while to compile.
#include <actium/activation_kind.hpp>
#include <reference/dual.hpp>

namespace actium::reference {

/// f(x), f'(x) and f''(x).
template <class S>
struct Derivatives {
  S value, slope, curvature;
};

template <class S>
using ValueFunction = S (*)(const S& x, const double* parameters);
template <class S>
using SlopeFunction = Dual<S> (*)(const S& x, const double* parameters);
template <class S>
using CurvatureFunction = Derivatives<S> (*)(const S& x, const double* parameters);
template <class S>
using ParameterFunction = S (*)(const S& x, const double* parameters, int index);

template <class S>
ValueFunction<S> value_function(ActivationKind kind);
template <class S>
SlopeFunction<S> slope_function(ActivationKind kind);
template <class S>
CurvatureFunction<S> curvature_function(ActivationKind kind);
/// df/dp of the parameter numbered index.
template <class S>
ParameterFunction<S> parameter_function(ActivationKind kind);

/// The x with f(x) = y, for the activations that have a backward from the output.
template <class S>
ValueFunction<S> inverse_function(ActivationKind kind);

}  // namespace actium::reference

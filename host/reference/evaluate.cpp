#include "evaluate.hpp"

#include <cmath>
#include <stdexcept>

#include "activation_formulas.hpp"
#include "formulas/inverses.hpp"

namespace actium::reference {

namespace {

/// Functions whose derivatives decay to 0, or pass through it at x = 0 with the sign of x.
constexpr bool decays(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::softsign:
    case ActivationKind::elu:
    case ActivationKind::sigmoid:
    case ActivationKind::tanh:
    case ActivationKind::tanhshrink:
    case ActivationKind::silu:
    case ActivationKind::swish:
    case ActivationKind::quick_gelu:
    case ActivationKind::gelu_tanh:
    case ActivationKind::gelu:
    case ActivationKind::erf:
    case ActivationKind::mish:
    case ActivationKind::sine:
      return true;
    default:
      return false;
  }
}

/// A derivative that is 0 at x has the sign that it has here: x itself, but in a tail where it is not 0 yet,
/// and next to x = 0.
template <ActivationKind K, class S>
S sign_at(const S& x, const double* parameters) {
  const S scale = K == ActivationKind::swish ? std::fabs(S(parameters[0])) : S(1), tail = S(12) / scale;
  if (x == 0 && K != ActivationKind::softsign) return std::copysign(S(0.01), x);
  return std::fabs(x) > tail && K != ActivationKind::sine ? std::copysign(tail, x) : x;
}

/// Sums of zeros of both signs are +0, whatever the function does.
template <ActivationKind K, class S>
Dual<S> signed_slope(const S& x, const double* parameters) {
  Dual<S> y = value_and_slope<K>(x, parameters);
  if (decays(K) && y.slope == 0)
    y.slope = std::copysign(y.slope, value_and_slope<K>(sign_at<K>(x, parameters), parameters).slope);
  return y;
}
template <ActivationKind K, class S>
Derivatives<S> signed_derivatives(const S& x, const double* parameters) {
  Derivatives<S> y = derivatives<K>(x, parameters);
  if (decays(K) && (y.slope == 0 || y.curvature == 0)) {
    const Derivatives<S> near = derivatives<K>(sign_at<K>(x, parameters), parameters);
    if (y.slope == 0) y.slope = std::copysign(y.slope, near.slope);
    if (y.curvature == 0) y.curvature = std::copysign(y.curvature, near.curvature);
  }
  return y;
}

}  // namespace

template <class S>
ValueFunction<S> value_function(ActivationKind kind) {
  constexpr ValueFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, ...) value<ActivationKind::name, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

template <class S>
SlopeFunction<S> slope_function(ActivationKind kind) {
  constexpr SlopeFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, ...) signed_slope<ActivationKind::name, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

template <class S>
CurvatureFunction<S> curvature_function(ActivationKind kind) {
  constexpr CurvatureFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, ...) signed_derivatives<ActivationKind::name, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

template <class S>
ParameterFunction<S> parameter_function(ActivationKind kind) {
  constexpr ParameterFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, ...) parameter_slope<ActivationKind::name, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

namespace {
/// The registry's column `backward`.
enum class Backward { input, input_output, input_mask, input_output_mask };

template <ActivationKind K, Backward B, class S>
S inverse([[maybe_unused]] const S& y, [[maybe_unused]] const double* parameters) {
  if constexpr (B == Backward::input_output || B == Backward::input_output_mask)
    return Inverse<K>::value(y, detail::constants<S>(parameters).data());
  else
    throw std::logic_error("no inverse");
}
}  // namespace

template <class S>
ValueFunction<S> inverse_function(ActivationKind kind) {
  constexpr ValueFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, parameters, v32, s32, c32, v64, s64, c64, backward, formula) \
  inverse<ActivationKind::name, Backward::backward, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

template ValueFunction<double> inverse_function(ActivationKind);
template ValueFunction<long double> inverse_function(ActivationKind);
template ValueFunction<double> value_function(ActivationKind);
template ValueFunction<long double> value_function(ActivationKind);
template SlopeFunction<double> slope_function(ActivationKind);
template SlopeFunction<long double> slope_function(ActivationKind);
template CurvatureFunction<double> curvature_function(ActivationKind);
template CurvatureFunction<long double> curvature_function(ActivationKind);
template ParameterFunction<double> parameter_function(ActivationKind);
template ParameterFunction<long double> parameter_function(ActivationKind);

}  // namespace actium::reference

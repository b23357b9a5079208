#include "evaluate.hpp"

#include <stdexcept>

#include "activation_formulas.hpp"
#include "formulas/inverses.hpp"

namespace actium::reference {

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
#define ACTIUM_ACTIVATION(name, ...) value_and_slope<ActivationKind::name, S>,
#include <actium/activations.def>
  };
  return kFunctions[static_cast<int>(kind)];
}

template <class S>
CurvatureFunction<S> curvature_function(ActivationKind kind) {
  constexpr CurvatureFunction<S> kFunctions[] = {
#define ACTIUM_ACTIVATION(name, ...) derivatives<ActivationKind::name, S>,
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

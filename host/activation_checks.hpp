#pragma once
// Checks of an activation value, for every operation that takes one.
#include <actium/activation.hpp>
#include <string_view>

#include "validate.hpp"

namespace actium {

/// A kind of the registry, its parameters in their domains. `text`: what the user wrote, for the message.
void check_activation(const Activation& f, std::string_view text = {});
/// And parameters that kernels of this dtype can hold.
void check_activation(const Activation& f, DType dtype);

/// leaky_relu and prelu take a tensor of slopes.
bool takes_slope_per_channel(ActivationKind kind);
/// Its slope takes two values, so that one bit an element tells which.
constexpr bool has_two_slopes(const ActivationInfo& info) {
  return info.backward_from == BackwardFrom::input_mask ||
         info.backward_from == BackwardFrom::input_output_mask;
}
/// Its slope follows from its output to full accuracy.
constexpr bool works_from_output(const ActivationInfo& info) {
  return info.backward_from == BackwardFrom::input_output ||
         info.backward_from == BackwardFrom::input_output_mask;
}

}  // namespace actium

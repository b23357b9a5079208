#pragma once
// What the elementwise operations share: activation.cpp has the plain ones, activation_options.cpp those with
// options.
#include <actium/activation.hpp>
#include <initializer_list>

#include "kernels/launch.hpp"
#include "layout.hpp"

namespace actium {

/// The checks of tensors of one dtype and one shape, with mergeable strides, whose outputs are exactly an
/// input or apart from it, and apart from each other.
Layout check_plain(const Validator& check, const Activation& f, std::initializer_list<NamedView> inputs,
                   std::initializer_list<NamedView> outputs);

/// As the launchers take it.
inline kernels::ActivationArguments arguments(const Activation& f) {
  return {f.kind(), {f.parameters()[0], f.parameters()[1], f.parameters()[2]}};
}
inline kernels::Extent extent(const Layout& layout) { return {layout.rows(), layout.cols()}; }

}  // namespace actium

#pragma once
// An activation's parameters as its kernels take them: of one type for all activations, so that launchers
// only choose a kernel by the kind.
#include <actium/device/activation_ops.cuh>

#include "launch.hpp"

namespace actium::kernels {

/// The activation whose kernels this one runs.
constexpr ActivationKind kernel_kind(ActivationKind kind) {
  return kind == ActivationKind::prelu ? ActivationKind::leaky_relu : kind;
}

template <class C>
device::Parameters<C> parameters_of(const ActivationArguments& f) {
  switch (f.kind) {
#define ACTIUM_ACTIVATION(name, ...) \
  case ActivationKind::name:         \
    return device::make_parameters<ActivationKind::name, C>(f.parameters);
#include <actium/activations.def>
  }
  return {};
}

}  // namespace actium::kernels

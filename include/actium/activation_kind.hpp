#pragma once
/// The enumeration of the registry, alone, so that kernels need not include the rest of the interface.
#include <cstdint>

#pragma GCC visibility push(default)
namespace actium {

/// The most parameters that an activation has.
inline constexpr int kMaxParameters = 3;

enum class ActivationKind : std::uint8_t {
#define ACTIUM_ACTIVATION(name, ...) name,
#include <actium/activations.def>
};

enum class GatedKind : std::uint8_t {
#define ACTIUM_GATED_UNIT(name, ...) name,
#include <actium/gated_units.def>
};

}  // namespace actium
#pragma GCC visibility pop

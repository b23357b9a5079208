#pragma once
// Calls with options, lists, and calls on rows: the emulated device against the CPU path.
#include "input.hpp"

namespace actium_fuzz {

/// The first byte of an input from which on it is such a call.
inline constexpr std::uint8_t kFirstOptionCall = 128;
void option_call(Input& input);

}  // namespace actium_fuzz

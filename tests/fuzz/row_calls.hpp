#pragma once
// Softmax with options, its derivatives, sparsemax and cross-entropy: the emulated device against the CPU
// path.
#include "input.hpp"

namespace actium_fuzz {

void row_call(Input& input);

}  // namespace actium_fuzz

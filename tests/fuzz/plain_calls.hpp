#pragma once
// Calls without tensors: names, numbers, contexts.
#include "input.hpp"

namespace actium_fuzz {

inline constexpr std::size_t kPlainCalls = 9;
void plain_call(std::size_t which, Input& input);

}  // namespace actium_fuzz

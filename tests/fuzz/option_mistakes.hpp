#pragma once
// Calls with options, lists, and backward from the output or the mask: good ones, and such with one mistake.
#include <actium/activation.hpp>
#include <functional>
#include <vector>

#include "input.hpp"

namespace actium_fuzz {

struct OptionMistake {
  bool valid = true;
  std::string what;                                             // the mistake
  std::function<void(const actium::Context&)> call;             //
  std::vector<std::pair<std::uintptr_t, std::size_t>> outputs;  // where a valid call writes
};

inline constexpr std::size_t kMistakeSlots = 8, kMistakeBytes = 3072;
/// `memory` and `elsewhere`: kMistakeSlots * kMistakeBytes bytes on the context's device, and on the other.
OptionMistake decode_option_mistake(Input& in, std::uintptr_t memory, std::uintptr_t elsewhere);

}  // namespace actium_fuzz

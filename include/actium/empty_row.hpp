#pragma once
/// What a softmax makes of a row with nothing in it.
#include <cstdint>

namespace actium {

/// A row has nothing in it where every logit is -inf or masked, or where it has no elements.
enum class EmptyRow : std::uint8_t {
  kZeros,    ///< probabilities 0, log probabilities -inf, entropy 0
  kNaN,      ///< NaN
  kUniform,  ///< probabilities 1 / n, masked or not; entropy log n
};

}  // namespace actium

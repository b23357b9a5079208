#include "support/curand_philox.hpp"

#include <curand_kernel.h>

namespace actium_test {

std::array<std::uint32_t, 4> curand_philox(std::uint64_t seed, std::uint64_t sequence, std::uint64_t offset) {
  curandStatePhilox4_32_10_t state;
  curand_init(seed, sequence, offset, &state);
  const uint4 words = curand4(&state);
  return {words.x, words.y, words.z, words.w};
}

std::array<std::uint32_t, 4> curand_philox_block(std::uint64_t seed, std::uint64_t sequence,
                                                 std::uint64_t block) {
  const auto low = [](std::uint64_t v) { return static_cast<unsigned>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<unsigned>(v >> 32); };
  const uint4 words = curand_Philox4x32_10(make_uint4(low(block), high(block), low(sequence), high(sequence)),
                                           make_uint2(low(seed), high(seed)));
  return {words.x, words.y, words.z, words.w};
}

std::array<float, 2> curand_normal_pair(std::uint32_t first, std::uint32_t second) {
  const float2 pair = _curand_box_muller(first, second);
  return {pair.x, pair.y};
}

}  // namespace actium_test

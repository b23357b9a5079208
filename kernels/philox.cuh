#pragma once
// Philox 4x32-10: four random words that are a function of (seed, sequence, block) alone. Key = seed and
// counter = {block, sequence}, which is what cuRAND's curand_init(seed, sequence, 4 * block, &state) followed
// by curand4(&state) gives. The counter is written out here and cuRAND's block function called on it:
// curand_kernel.h itself would put 218 kB of tables of other generators into every object.
#include <cuda_runtime.h>
#include <curand_philox4x32_x.h>
#include <cstdint>

namespace actium::kernels {

__device__ inline uint4 philox_block(std::uint64_t seed, std::uint64_t sequence, std::uint64_t block) {
  const auto low = [](std::uint64_t v) { return static_cast<unsigned>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<unsigned>(v >> 32); };
  return curand_Philox4x32_10(make_uint4(low(block), high(block), low(sequence), high(sequence)),
                              make_uint2(low(seed), high(seed)));
}

/// Words first, ..., first + 3 of a (seed, sequence), of which block i has the words 4 i, ..., 4 i + 3.
__device__ inline uint4 philox_words(std::uint64_t seed, std::uint64_t sequence, std::uint64_t first) {
  uint4 words{}, next{};
  const auto past = static_cast<unsigned>(first % 4);
  // One or two blocks, by one piece of code.
#pragma unroll 1
  for (unsigned i = 0; i <= (past != 0 ? 1 : 0); ++i) {
    words = next;
    next = philox_block(seed, sequence, first / 4 + i);
  }
  if (past == 0) return next;
  if (past & 2) words = {words.z, words.w, next.x, next.y}, next = {next.z, next.w, 0, 0};
  return past & 1 ? uint4{words.y, words.z, words.w, next.x} : words;
}

}  // namespace actium::kernels

#pragma once
// cuRAND's own Philox, run on the host. In a file of its own because its headers and Random123's define the
// same macros. Only where the toolkit's headers are (ACTIUM_HAVE_CURAND_HEADERS).
#include <array>
#include <cstdint>

namespace actium_test {

/// The four words that curand_init(seed, sequence, offset, &state) and curand4(&state) give.
std::array<std::uint32_t, 4> curand_philox(std::uint64_t seed, std::uint64_t sequence, std::uint64_t offset);

/// The block function of the kernels (curand_philox4x32_x.h), called on the counter as the kernels write it.
std::array<std::uint32_t, 4> curand_philox_block(std::uint64_t seed, std::uint64_t sequence,
                                                 std::uint64_t block);

/// cuRAND's pair of normal numbers of two words, by its host code.
std::array<float, 2> curand_normal_pair(std::uint32_t first, std::uint32_t second);

}  // namespace actium_test

#pragma once
/// The name of a stream of random numbers.
#include <cstdint>

#pragma GCC visibility push(default)
namespace actium {

/// Which stream of random numbers: `seed` names the experiment, `sequence` the tensor in it (a layer, say).
/// Every number is a function of (seed, sequence, index) alone: Philox 4x32-10 (Salmon et al. 2011) with key
/// = seed, counter = {index / 4, sequence}, word = index % 4, the same 32 bits on every device.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;
};

}  // namespace actium
#pragma GCC visibility pop

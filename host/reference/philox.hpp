#pragma once
// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011), so that the core library needs no library of random
// numbers. A test compares it with Random123.
#include <actium/random_key.hpp>
#include <array>
#include <cstdint>

namespace actium::reference {

/// Word i % 4 of the block i / 4 belongs to element i: key = seed, counter = {block, sequence}.
inline std::uint32_t philox_word(RandomKey key, std::uint64_t index) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
  const std::uint64_t block = index / 4;
  std::array<std::uint32_t, 4> c = {low(block), high(block), low(key.sequence), high(key.sequence)};
  std::uint32_t k0 = low(key.seed), k1 = high(key.seed);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0], p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)};
    k0 += 0x9E3779B9u;  // the golden ratio and sqrt(3) - 1, as the paper has them
    k1 += 0xBB67AE85u;
  }
  return c[index % 4];
}

}  // namespace actium::reference

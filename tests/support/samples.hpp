#pragma once
// Inputs for the device tests: special values and floats sampled by bit pattern, so that tiny, ordinary and
// huge magnitudes are equally likely. Seeds are printed with a failure by SCOPED_TRACE(seed_message(seed)).
#include <actium/dtype.hpp>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace actium_test {

inline constexpr std::uint64_t kSeed = 20261122;
inline std::string seed_message(std::uint64_t seed) { return "seed " + std::to_string(seed); }

/// ACTIUM_QUICK=1: fewer and smaller cases of the same kinds, for runs under a sanitizer that slows them a
/// hundredfold.
inline bool quick() {
  const char* value = std::getenv("ACTIUM_QUICK");
  return value != nullptr && std::string_view(value) == "1";
}

template <class T>
T from_bits(std::uint64_t bits) {
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<T>(bits);
  else if constexpr (sizeof(T) == 4)
    return std::bit_cast<T>(static_cast<std::uint32_t>(bits));
  else
    return T::from_bits(static_cast<std::uint16_t>(bits));
}

/// +-0, subnormals, kinks and their neighbours, the tails' corners, the largest numbers, +-inf, NaN.
template <class T>
std::vector<T> corner_values() {
  const auto bits = [](std::uint64_t b) { return static_cast<double>(from_bits<T>(b)); };
  std::vector<T> values;
  for (const double x :
       {0.0,      bits(1), bits(2),  1e-40,    1e-30, 1e-8,  1e-4,  0.5,
        0.752461, 1.0,     1.278465, 1.192431, 2.0,   3.0,   6.0,   8.0,
        10.0,     12.9,    14.0,     17.0,     20.0,  30.0,  38.5,  64.0,
        87.5,     88.8,    90.0,     103.9,    120.0, 700.0, 745.0, 1e4,
        6e4,      1e10,    1e19,     2e19,     1e30,  3e38,  1e300, std::numeric_limits<double>::infinity()})
    for (const double signed_x : {x, -x}) values.push_back(static_cast<T>(signed_x));
  values.push_back(static_cast<T>(std::numeric_limits<double>::quiet_NaN()));
  return values;
}

/// `count` values: the special ones first, then random bit patterns.
template <class T>
std::vector<T> sample(std::size_t count, std::uint64_t seed) {
  std::vector<T> values = corner_values<T>();
  std::mt19937_64 random(seed);
  while (values.size() < count) values.push_back(from_bits<T>(random()));
  values.resize(count);
  return values;
}

/// `count` normal numbers of ordinary size.
template <class T>
std::vector<T> normal_sample(std::size_t count, std::uint64_t seed, double mean = 0, double deviation = 1) {
  std::vector<T> values(count);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(mean, deviation);
  for (T& v : values) v = static_cast<T>(normal(random));
  return values;
}

}  // namespace actium_test

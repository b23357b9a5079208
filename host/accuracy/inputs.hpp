#pragma once
/// Inputs that find large errors.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace actium::accuracy {

/// Every floating-point type as ordered integers: neighbours differ by 1, negative numbers come first.
template <class T>
std::int64_t to_ordinal(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  const std::int64_t bits = std::bit_cast<Bits>(x);
  return bits < 0 ? std::numeric_limits<Bits>::min() - bits : bits;
}
template <class T>
T from_ordinal(std::int64_t ordinal) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  const auto bits = static_cast<Bits>(ordinal);
  return std::bit_cast<T>(bits < 0 ? static_cast<Bits>(std::numeric_limits<Bits>::min() - bits) : bits);
}

/// Numbers that formulas trip over.
template <class T>
std::vector<T> special_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> values = {0, 1, 2, T(0.5), L::min(), L::denorm_min(), L::max(), L::epsilon(), L::infinity()};
  for (T boundary : {L::min(), T(1), T(88.72284), T(103.97208), T(709.7827), T(745.13322)})
    for (int step : {-1, 1}) values.push_back(from_ordinal<T>(to_ordinal(boundary) + step));
  const std::size_t count = values.size();
  for (std::size_t i = 0; i < count; ++i) values.push_back(-values[i]);
  values.push_back(L::quiet_NaN());
  return values;
}

/// Finite inputs by bit pattern: `per_exponent` random significands for each sign and exponent, and `uniform`
/// numbers in each of [-width, width], [-width/16, width/16] and [-2, 2], where activations happen.
template <class T>
std::vector<T> sample_inputs(std::uint64_t seed, int per_exponent, int uniform, double width) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr int kMantissaBits = std::numeric_limits<T>::digits - 1;
  constexpr int kExponents = 1 << (static_cast<int>(8 * sizeof(T)) - 1 - kMantissaBits);
  std::mt19937_64 random(seed);
  std::vector<T> inputs;
  for (Bits exponent = 0; exponent + 1 < static_cast<Bits>(kExponents); ++exponent)
    for (int i = 0; i < per_exponent; ++i) {
      const Bits mantissa = static_cast<Bits>(random()) & ((Bits{1} << kMantissaBits) - 1);
      const T x = std::bit_cast<T>(static_cast<Bits>(exponent << kMantissaBits | mantissa));
      inputs.push_back(i % 2 == 0 ? x : -x);
    }
  for (double half_width : {width, width / 16, 2.0})
    for (int i = 0; i < uniform; ++i)
      inputs.push_back(
          static_cast<T>(std::uniform_real_distribution<double>(-half_width, half_width)(random)));
  return inputs;
}

/// The neighbours of a point: the nearest `count` numbers on each side, then ever farther ones out to |x|
/// / 4.
template <class T>
void append_neighbours(T x, int count, std::vector<T>& inputs, double growth = 1.05) {
  const std::int64_t centre = to_ordinal(x);
  const double farthest = std::ldexp(0.25, std::numeric_limits<T>::digits);
  for (int side : {-1, 1}) {
    for (int i = 0; i <= count; ++i) inputs.push_back(from_ordinal<T>(centre + side * i));
    for (double step = count + 1; step < farthest; step *= growth)
      inputs.push_back(from_ordinal<T>(centre + side * static_cast<std::int64_t>(step)));
  }
}

/// The zeros of `f` in [low, high], to the nearest number below: found where the sign changes on a grid.
template <class T, class F>
std::vector<T> sign_changes(const F& f, double low, double high) {
  constexpr int kIntervals = 4000;
  std::vector<T> zeros;
  for (int i = 0; i < kIntervals; ++i) {
    std::int64_t a = to_ordinal(static_cast<T>(low + (high - low) * i / kIntervals));
    std::int64_t b = to_ordinal(static_cast<T>(low + (high - low) * (i + 1) / kIntervals));
    const auto negative = [&](std::int64_t ordinal) { return f(from_ordinal<T>(ordinal)) < 0; };
    if (negative(a) == negative(b)) continue;
    while (b - a > 1) {
      const std::int64_t middle = a + (b - a) / 2;
      (negative(middle) == negative(a) ? a : b) = middle;
    }
    zeros.push_back(from_ordinal<T>(a));
  }
  return zeros;
}

}  // namespace actium::accuracy

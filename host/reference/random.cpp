#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <numbers>

#include "dispatch.hpp"
#include "propagation.hpp"
#include "scalar.hpp"

namespace actium::reference {

namespace {

/// The float type whose arithmetic defines T's random numbers.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

using Words = std::array<std::uint32_t, 4>;

/// Four words: Philox 4x32-10 with key = seed and counter = {block, sequence}.
Words philox_block(RandomKey key, std::uint64_t block) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
  const r123::Philox4x32::ctr_type counter = {
      {low(block), high(block), low(key.sequence), high(key.sequence)}};
  const auto words = r123::Philox4x32{}(counter, {{low(key.seed), high(key.seed)}});
  return {words[0], words[1], words[2], words[3]};
}

/// (word + 1/2) 2^-32 in the arithmetic of the GPU.
template <class C>
C unit_uniform(std::uint32_t word) {
  return std::fma(static_cast<C>(word), C(0x1p-32), C(0x1p-33));
}

/// Box and Muller's pair from two uniform numbers, sine first.
template <class S>
std::array<S, 2> normal_pair(S u, S v) {
  const S radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi_v<S> * v;
  return {radius * std::sin(angle), radius * std::cos(angle)};
}

/// x[4 b + k] = store(draw(words of block b)[k]).
template <class T, class Draw>
void fill(const TensorView& x, RandomKey key, int threads, const Draw& draw) {
  T* out = x.data_as<T>();
  const std::int64_t count = x.count();
  parallel_for((count + 3) / 4, threads, 4, [&](std::int64_t block) {
    const auto values = draw(philox_block(key, static_cast<std::uint64_t>(block)));
    for (std::int64_t k = 0; k < 4 && block * 4 + k < count; ++k)
      out[block * 4 + k] = static_cast<T>(values[static_cast<std::size_t>(k)]);
  });
}

}  // namespace

void fill_uniform(const TensorView& x, RandomKey key, double offset, double scale, int threads) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using C = Compute<T>;
    const C a = static_cast<C>(offset), b = static_cast<C>(scale);
    fill<T>(x, key, threads, [&](const Words& words) {
      std::array<C, 4> values;
      for (std::size_t k = 0; k < 4; ++k) values[k] = std::fma(b, unit_uniform<C>(words[k]), a);
      return values;
    });
  });
}

void fill_normal(const TensorView& x, RandomKey key, double offset, double scale, int threads) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using C = Compute<T>;
    using S = Wide<C>;
    const S a = static_cast<C>(offset), b = static_cast<C>(scale);
    fill<T>(x, key, threads, [&](const Words& words) {
      std::array<C, 4> values;  // 16-bit types are this value rounded once more, as on the GPU
      for (std::size_t k = 0; k < 4; k += 2) {
        const auto [first, second] = normal_pair<S>(unit_uniform<C>(words[k]), unit_uniform<C>(words[k + 1]));
        values[k] = static_cast<C>(a + b * first);
        values[k + 1] = static_cast<C>(a + b * second);
      }
      return values;
    });
  });
}

}  // namespace actium::reference

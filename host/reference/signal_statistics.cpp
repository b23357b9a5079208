#include <algorithm>
#include <vector>

#include "dispatch.hpp"
#include "propagation.hpp"
#include "scalar.hpp"

namespace actium::reference {

namespace {

constexpr std::int64_t kChunk =
    1 << 14;  // elements summed by one thread: the order does not depend on the team

/// The sum of term(i) for i in [0, count).
template <class S, class Term>
S chunked_sum(std::int64_t count, int threads, const Term& term) {
  const std::int64_t chunks = (count + kChunk - 1) / kChunk;
  std::vector<S> partial(static_cast<std::size_t>(chunks));
  parallel_for(chunks, threads, kChunk, [&](std::int64_t chunk) {
    S sum = 0;
    for (std::int64_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) sum += term(i);
    partial[static_cast<std::size_t>(chunk)] = sum;
  });
  S sum = 0;
  for (const S p : partial) sum += p;
  return sum;
}

}  // namespace

SignalStatistics signal_statistics(const ConstTensorView& x, int threads) {
  SignalStatistics result;
  result.units = x.shape().back();
  result.rows = x.count() / result.units;
  result.active_fraction.resize(static_cast<std::size_t>(result.units));
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    const T* xs = x.data_as<T>();
    const std::int64_t count = x.count();
    const S n = static_cast<S>(count);
    const S mean = chunked_sum<S>(count, threads, [&](std::int64_t i) { return load(xs[i]); }) / n;
    const S squares = chunked_sum<S>(count, threads, [&](std::int64_t i) {
      const S v = load(xs[i]);
      return v * v;
    });
    const S squared_distances = chunked_sum<S>(count, threads, [&](std::int64_t i) {
      const S d = load(xs[i]) - mean;
      return d * d;
    });
    const auto zeros =
        chunked_sum<std::int64_t>(count, threads, [&](std::int64_t i) { return load(xs[i]) == 0; });
    result.mean = static_cast<double>(mean);
    result.variance = static_cast<double>(squared_distances / n);
    result.second_moment = static_cast<double>(squares / n);
    result.zero_fraction = static_cast<double>(zeros) / static_cast<double>(count);

    constexpr std::int64_t kUnits = 64;  // neighbours counted together, a cache line or two of a row
    parallel_for((result.units + kUnits - 1) / kUnits, threads, result.rows * kUnits,
                 [&](std::int64_t group) {
                   const std::int64_t first = group * kUnits, width = std::min(kUnits, result.units - first);
                   std::int64_t active[kUnits] = {};
                   for (std::int64_t r = 0; r < result.rows; ++r)
                     for (std::int64_t u = 0; u < width; ++u)
                       active[u] += load(xs[r * result.units + first + u]) > 0;
                   for (std::int64_t u = 0; u < width; ++u)
                     result.active_fraction[static_cast<std::size_t>(first + u)] =
                         static_cast<double>(active[u]) / static_cast<double>(result.rows);
                 });
  });
  return result;
}

}  // namespace actium::reference

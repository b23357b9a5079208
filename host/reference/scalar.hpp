#pragma once
// In which type the reference computes, and how it loads, stores and shares out elements.
#include <actium/dtype.hpp>
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <omp.h>

namespace actium::reference {

/// Wider than T by at least 11 bits, so that a textbook formula, rounded once, is right to about half an ULP.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, long double, double>;

template <class T>
Wide<T> load(const T& x) {
  return static_cast<Wide<T>>(x);
}
template <class T>
T store(Wide<T> x) {
  return static_cast<T>(x);
}

/// body(i) for i in [0, count), shared out to `threads` OpenMP threads (0: OpenMP's choice) where that pays.
template <class Body>
void parallel_for(std::int64_t count, int threads, std::int64_t work_per_item, const Body& body) {
  const int team =
      threads > 0 ? threads : std::min(omp_get_max_threads(), 1024);  // more crash some OpenMP runtimes
#pragma omp parallel for num_threads(team) if (team > 1 && count > 1 && count * work_per_item > 2048) \
    schedule(static)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace actium::reference

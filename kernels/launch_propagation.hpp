#pragma once
// The bridge of actium::propagation, as launch.hpp is that of actium::actium: launcher declarations in plain
// C++. A launcher queues its kernels on `stream` and returns a cudaError_t as int; it allocates nothing and
// does not synchronise. T is double, float, actium::f16 or actium::bf16; all pointers are device memory.
#include <cstddef>
#include <cstdint>

#include "launch.hpp"

namespace actium::kernels {

/// count > 0. `offset + scale u` for uniform u in (0, 1), `offset + scale n` for standard normal n; both
/// parameters are rounded to f32 first, unless T is double.
template <class T>
Status launch_fill_uniform(std::uint64_t seed, std::uint64_t sequence, double offset, double scale,
                           T* x,  // [count]
                           std::int64_t count, Stream stream);
template <class T>
Status launch_fill_normal(std::uint64_t seed, std::uint64_t sequence, double offset, double scale,
                          T* x,  // [count]
                          std::int64_t count, Stream stream);

/// The moments as signal_statistics leaves them.
struct SignalMoments {
  double mean, variance, second_moment;
  std::int64_t zeros;
};

/// Bytes of scratch for x [rows, units] at any alignment. rows, units > 0.
template <class T>
std::size_t signal_statistics_scratch(std::int64_t rows, std::int64_t units);

/// rows, units > 0.
template <class T>
Status launch_signal_statistics(const T* x,              // [rows, units]
                                SignalMoments* moments,  // one
                                std::int64_t* active,    // [units] rows with x > 0
                                void* scratch,           // signal_statistics_scratch() bytes, 8-byte aligned
                                std::int64_t rows, std::int64_t units, Stream stream);

}  // namespace actium::kernels

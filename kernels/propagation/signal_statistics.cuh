#pragma once
// Mean, variance, second moment, zeros and per-unit activity of x [rows, units], in one read of x.
//
//   stage 1, a block a tile:  with e = 2^-k a scale and c the mean of a sample of e x in the tile,
//                             S1 = sum (e x - c), S2 = sum (e x - c)^2, Q = sum (e x)^2, zeros, actives
//   stage 2, one block:       the tiles' (n, mean = c + S1 / n, M2 = S2 - S1^2 / n) merged in double,
//                             M2 = M2a + M2b + (mean_b - mean_a)^2 na nb / n     Chan, Golub, LeVeque 1983
//   stage 2, other blocks:    rows with x > 0 of each unit, summed over the tiles
//
// Sums stay short (at most kStatisticsMaxRowsPerThread loads a thread, then a tree) and small: the centre
// takes out a large mean, and the scale keeps squares inside the range of f32 unless elements are 2^60 times
// the largest of the tile's sample. Exactness: f32 inside a tile (f64 for f64), double between tiles, in a
// fixed order; the same bits on every run and every GPU for one alignment of x. A NaN in x makes all three
// moments NaN.
//
// Parallel shape: SignalStatisticsPlan. Bytes moved an element: one read. Scratch: 4 bytes for each unit and
// split and some for each tile, under 1 % of a large x.
#include <cuda_runtime.h>
#include <cstdint>
#include <limits>

#include "launch_propagation.hpp"
#include "propagation/plan_propagation.hpp"
#include "simt.cuh"

namespace actium::kernels {

/// What stage 1 leaves of a tile.
template <class C>
struct TileMoments {
  C scale, centre;      // e and c
  C sum, squares;       // S1 and S2
  C raw_squares;        // Q
  std::uint32_t zeros;  // a tile has fewer than 2^32 elements
};

// ---------------------------------------------------------------- device functions

template <class C>
__device__ bool is_finite(C a) {
  return a - a == C(0);
}

/// A power of two near 1 / magnitude, kept away from the ends of the range; 1 for 0, infinity and NaN.
template <class C>
__device__ C scale_for(C magnitude) {
  if (magnitude == C(0) || !is_finite(magnitude)) return C(1);
  constexpr int kLimit = std::is_same_v<C, float> ? 100 : 1000;
  const int exponent = ilogb(magnitude);
  return scalbn(C(1), -(exponent < -kLimit ? -kLimit : exponent > kLimit ? kLimit : exponent));
}

/// Neighbours in one row: a packet where kColumns > 1, which asks for whole packets on packet boundaries.
template <int kColumns, class T>
__device__ void load_columns(const T* p, T (&out)[kColumns]) {
  if constexpr (kColumns > 1) {
    static_assert(kColumns == Packet<T>::kCount);
    const Packet<T> packet = load_packet(p, true);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) out[c] = packet.element[c];
  } else {
    out[0] = *p;
  }
}

// ---------------------------------------------------------------- kernel

template <class T, int kColumns>
__global__ void __launch_bounds__(kStatisticsThreads)
    signal_statistics_kernel(const T* x,                        // [rows, units]
                             TileMoments<Compute<T>>* moments,  // [tiles]
                             std::uint32_t* active,             // [splits, units]
                             std::int64_t rows, std::int64_t units, SignalStatisticsPlan plan) {
  using C = Compute<T>;
  ACTIUM_SHARED(partial, C[32]);
  ACTIUM_SHARED(partial_zeros, std::uint32_t[32]);
  ACTIUM_SHARED(partial_active, std::uint32_t[kStatisticsThreads * kColumns]);  // [down, columns_per_tile]
  const int thread = static_cast<int>(threadIdx.x);
  const int column_in_tile = thread % plan.across * kColumns, row_in_tile = thread / plan.across;
  const std::int64_t step = units * plan.down;  // from one row of a thread to its next

  for (std::int64_t tile = blockIdx.x; tile < plan.tiles; tile += gridDim.x) {
    const std::int64_t split = tile / plan.groups, first_row = split * plan.rows_per_tile;
    const std::int64_t first_column = tile % plan.groups * plan.columns_per_tile;
    const std::int64_t rows_left = rows - first_row, columns_left = units - first_column;
    const int tile_rows = rows_left < plan.rows_per_tile ? static_cast<int>(rows_left) : plan.rows_per_tile;
    const int tile_columns =
        columns_left < plan.columns_per_tile ? static_cast<int>(columns_left) : plan.columns_per_tile;
    const int my_rows = column_in_tile < tile_columns ? tile_rows : 0;  // a thread beside x has no rows
    const T* p = x + (first_row + row_in_tile) * units + first_column + column_in_tile;

    // The sample: the first row of each thread.
    C magnitude = 0, sample = 0;
    T loaded[kStatisticsBatch][kColumns];
    if (row_in_tile < my_rows) {
      load_columns(p, loaded[0]);
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        magnitude = device::max_nan(magnitude, device::absolute(widen(loaded[0][c])));
    }
    const C scale = scale_for(block_reduce(Max{}, magnitude, partial));
    if (row_in_tile < my_rows) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sample += scale * widen(loaded[0][c]);
    }
    const int sample_rows = tile_rows < plan.down ? tile_rows : plan.down;
    sample = block_reduce(Sum{}, sample, partial) / static_cast<C>(sample_rows * tile_columns);
    const C centre = is_finite(sample) ? sample : C(0);

    C sum = 0, squares = 0, raw_squares = 0;
    std::uint32_t zeros = 0, positives[kColumns] = {};
    for (int row = row_in_tile; row < my_rows;
         row += kStatisticsBatch * plan.down, p += kStatisticsBatch * step) {
#pragma unroll
      for (int b = 0; b < kStatisticsBatch; ++b)
        if (row + b * plan.down < my_rows) load_columns(p + b * step, loaded[b]);
#pragma unroll
      for (int b = 0; b < kStatisticsBatch; ++b) {
        if (row + b * plan.down >= my_rows) break;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          const C value = widen(loaded[b][c]), scaled = scale * value;
          const C distance = device::fma(scale, value, -centre);
          sum += distance;
          squares = device::fma(distance, distance, squares);
          raw_squares = device::fma(scaled, scaled, raw_squares);
          zeros += value == C(0);
          positives[c] += value > C(0);
        }
      }
    }

    sum = block_reduce(Sum{}, sum, partial);
    squares = block_reduce(Sum{}, squares, partial);
    raw_squares = block_reduce(Sum{}, raw_squares, partial);
    zeros = block_reduce(Sum{}, zeros, partial_zeros);
    if (thread == 0) moments[tile] = {scale, centre, sum, squares, raw_squares, zeros};

#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      partial_active[row_in_tile * plan.columns_per_tile + column_in_tile + c] = positives[c];
    __syncthreads();
    for (int column = thread; column < tile_columns; column += kStatisticsThreads) {
      std::uint32_t count = 0;
      for (int r = 0; r < plan.down; ++r) count += partial_active[r * plan.columns_per_tile + column];
      active[split * units + first_column + column] = count;
    }
    // The next tile writes partial_active only after barriers of its own.
  }
}

// ---------------------------------------------------------------- launcher

/// Stage 2, in signal_statistics_f64.cu.
template <class C>
Status launch_signal_statistics_finish(const TileMoments<C>* tile_moments,  // [tiles]
                                       const std::uint32_t* tile_active,    // [splits, units]
                                       SignalMoments* moments,              // one
                                       std::int64_t* active,                // [units]
                                       std::int64_t rows, std::int64_t units,
                                       const SignalStatisticsPlan& plan, Stream stream);

template <class T>
std::size_t signal_statistics_scratch(std::int64_t rows, std::int64_t units) {
  const auto bytes = [&](int columns_per_thread) {
    const SignalStatisticsPlan plan = plan_signal_statistics(rows, units, columns_per_thread);
    return static_cast<std::size_t>(plan.tiles) * sizeof(TileMoments<Compute<T>>) +
           static_cast<std::size_t>(plan.splits * units) * sizeof(std::uint32_t);
  };
  return std::max(bytes(1), bytes(statistics_columns_per_thread(units, true, Packet<T>::kCount)));
}

namespace detail {
template <int kColumns, class T>
Status launch_signal_statistics(const T* x, SignalMoments* moments, std::int64_t* active, void* scratch,
                                std::int64_t rows, std::int64_t units, Stream stream) {
  using C = Compute<T>;
  const SignalStatisticsPlan plan = plan_signal_statistics(rows, units, kColumns);
  auto* tile_moments = static_cast<TileMoments<C>*>(scratch);
  auto* tile_active = reinterpret_cast<std::uint32_t*>(tile_moments + plan.tiles);
  const Status status = launch(signal_statistics_kernel<T, kColumns>, plan.blocks(), kStatisticsThreads,
                               stream, x, tile_moments, tile_active, rows, units, plan);
  if (status != cudaSuccess) return status;
  return launch_signal_statistics_finish<C>(tile_moments, tile_active, moments, active, rows, units, plan,
                                            stream);
}
}  // namespace detail

template <class T>
Status launch_signal_statistics(const T* x, SignalMoments* moments, std::int64_t* active, void* scratch,
                                std::int64_t rows, std::int64_t units, Stream stream) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % kPacketBytes == 0;
  if (statistics_columns_per_thread(units, aligned, Packet<T>::kCount) > 1)
    return detail::launch_signal_statistics<Packet<T>::kCount>(x, moments, active, scratch, rows, units,
                                                               stream);
  return detail::launch_signal_statistics<1>(x, moments, active, scratch, rows, units, stream);
}

#define ACTIUM_INSTANTIATE_SIGNAL_STATISTICS(T)                                                             \
  template std::size_t signal_statistics_scratch<T>(std::int64_t, std::int64_t);                            \
  template Status launch_signal_statistics<T>(const T*, SignalMoments*, std::int64_t*, void*, std::int64_t, \
                                              std::int64_t, Stream);

}  // namespace actium::kernels

// Stage 1 for f64, and stage 2, which is in double for every dtype: see signal_statistics.cuh.
#include "propagation/signal_statistics.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// The moments of some of the elements.
struct Moments {
  double count, mean, m2, raw_squares;
  std::int64_t zeros;
};

template <class C>
__device__ Moments moments_of(const TileMoments<C>& tile, std::int64_t count) {
  const double n = static_cast<double>(count), sum = tile.sum, unscale = 1 / static_cast<double>(tile.scale);
  const double m2 = tile.squares - sum * sum / n;
  return {n, (tile.centre + sum / n) * unscale, (m2 < 0 ? 0 : m2) * unscale * unscale,
          tile.raw_squares * unscale * unscale, static_cast<std::int64_t>(tile.zeros)};
}

__device__ inline Moments merged(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double n = a.count + b.count, delta = b.mean - a.mean;
  return {n, (a.count * a.mean + b.count * b.mean) / n,  // an infinite mean stays infinite
          a.m2 + b.m2 + delta * delta * (a.count * (b.count / n)), a.raw_squares + b.raw_squares,
          a.zeros + b.zeros};
}

// ---------------------------------------------------------------- kernel

inline constexpr int kFinishUnits = 32;  // units of a block, each summed by kStatisticsThreads / 32 threads

template <class C>
__global__ void __launch_bounds__(kStatisticsThreads, 1)
    signal_statistics_finish_kernel(const TileMoments<C>* tile_moments,  // [tiles]
                                    const std::uint32_t* tile_active,    // [splits, units]
                                    SignalMoments* moments,              // one, by block 0
                                    std::int64_t* active,                // [units], by the other blocks
                                    std::int64_t rows, std::int64_t units, SignalStatisticsPlan plan) {
  const int thread = static_cast<int>(threadIdx.x);
  if (blockIdx.x == 0) {
    ACTIUM_SHARED(part, Moments[kStatisticsThreads]);
    Moments mine{};
    for (std::int64_t tile = thread; tile < plan.tiles; tile += kStatisticsThreads) {
      const std::int64_t rows_left = rows - tile / plan.groups * plan.rows_per_tile;
      const std::int64_t columns_left = units - tile % plan.groups * plan.columns_per_tile;
      const std::int64_t count =
          (rows_left < plan.rows_per_tile ? rows_left : plan.rows_per_tile) *
          (columns_left < plan.columns_per_tile ? columns_left : plan.columns_per_tile);
      mine = merged(mine, moments_of(tile_moments[tile], count));
    }
    part[thread] = mine;
    for (int half = kStatisticsThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (thread < half) part[thread] = merged(part[thread], part[thread + half]);
    }
    if (thread == 0) {
      const Moments& all = part[0];
      *moments = {all.mean, all.m2 / all.count, all.raw_squares / all.count, all.zeros};
    }
    return;
  }

  ACTIUM_SHARED(part_active, std::int64_t[kStatisticsThreads]);  // [threads of a unit, kFinishUnits]
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x - 1) * kFinishUnits;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x - 1) * kFinishUnits; first < units;
       first += stride) {
    const std::int64_t unit = first + thread % kFinishUnits;
    std::int64_t count = 0;
    if (unit < units)
      for (std::int64_t split = thread / kFinishUnits; split < plan.splits;
           split += kStatisticsThreads / kFinishUnits)
        count += tile_active[split * units + unit];
    __syncthreads();  // the sums of the previous units have been read
    part_active[thread] = count;
    __syncthreads();
    if (thread < kFinishUnits && unit < units) {
      for (int t = thread + kFinishUnits; t < kStatisticsThreads; t += kFinishUnits) count += part_active[t];
      active[unit] = count;
    }
  }
}

// ---------------------------------------------------------------- launcher

template <class C>
Status launch_signal_statistics_finish(const TileMoments<C>* tile_moments, const std::uint32_t* tile_active,
                                       SignalMoments* moments, std::int64_t* active, std::int64_t rows,
                                       std::int64_t units, const SignalStatisticsPlan& plan, Stream stream) {
  const std::int64_t blocks = 1 + std::min<std::int64_t>(kLargestGrid - 1, divide_up(units, kFinishUnits));
  return launch(signal_statistics_finish_kernel<C>, static_cast<unsigned>(blocks), kStatisticsThreads, stream,
                tile_moments, tile_active, moments, active, rows, units, plan);
}

template Status launch_signal_statistics_finish<float>(const TileMoments<float>*, const std::uint32_t*,
                                                       SignalMoments*, std::int64_t*, std::int64_t,
                                                       std::int64_t, const SignalStatisticsPlan&, Stream);
template Status launch_signal_statistics_finish<double>(const TileMoments<double>*, const std::uint32_t*,
                                                        SignalMoments*, std::int64_t*, std::int64_t,
                                                        std::int64_t, const SignalStatisticsPlan&, Stream);

ACTIUM_INSTANTIATE_SIGNAL_STATISTICS(double)

}  // namespace actium::kernels

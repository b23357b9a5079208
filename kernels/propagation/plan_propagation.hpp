#pragma once
// Grid, block and tile choice of the propagation kernels as pure functions in plain C++, tested without a
// GPU. They look at shapes and alignment only, never at the device: the order of a reduction, and so its
// result, is the same on every GPU.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../plan.hpp"

namespace actium::kernels {

// ---------------------------------------------------------------- random

inline constexpr int kFillThreads = 256;

/// One thread for each four elements; the kernels stride, so any count fits the grid.
constexpr unsigned fill_blocks(std::int64_t count) {
  const std::int64_t blocks = divide_up(divide_up(count, 4), kFillThreads);
  return static_cast<unsigned>(std::min<std::int64_t>(kLargestGrid, blocks));
}

// ---------------------------------------------------------------- signal statistics

inline constexpr int kStatisticsThreads = 256;
inline constexpr int kStatisticsBatch = 4;              // rows a thread loads before it uses any
inline constexpr int kStatisticsMaxRowsPerThread = 64;  // bounds the rounding of a thread's sums
inline constexpr std::int64_t kStatisticsWantedTiles = 1024;

/// x [rows, units] is cut into tiles: `groups` of columns times `splits` of rows. In a tile, threads lie
/// `across` columns (each thread takes some neighbours) times `down` rows; across * down ==
/// kStatisticsThreads, a power of two each.
struct SignalStatisticsPlan {
  int across = 1;
  int down = kStatisticsThreads;
  int columns_per_tile = 1;
  int rows_per_tile = 1;
  std::int64_t groups = 1;
  std::int64_t splits = 1;
  std::int64_t tiles = 1;
  constexpr unsigned blocks() const {
    return static_cast<unsigned>(std::min<std::int64_t>(kLargestGrid, tiles));
  }
};

constexpr SignalStatisticsPlan plan_signal_statistics(std::int64_t rows, std::int64_t units,
                                                      int columns_per_thread) {
  SignalStatisticsPlan plan;
  const std::int64_t wanted = divide_up(units, columns_per_thread);
  // A warp across where the row is that long, more only where there are too few rows to keep a block busy.
  while (plan.across < wanted && plan.across < kStatisticsThreads &&
         (plan.across < 32 || kStatisticsThreads / plan.across > rows))
    plan.across *= 2;
  plan.down = kStatisticsThreads / plan.across;
  plan.columns_per_tile = plan.across * columns_per_thread;
  plan.groups = divide_up(units, plan.columns_per_tile);
  // Long tiles, unless that leaves too few of them to fill a GPU.
  const std::int64_t rows_wanted = divide_up(rows, divide_up(kStatisticsWantedTiles, plan.groups));
  const std::int64_t rows_per_thread = std::clamp<std::int64_t>(
      divide_up(rows_wanted, plan.down), kStatisticsBatch, kStatisticsMaxRowsPerThread);
  plan.rows_per_tile = static_cast<int>(rows_per_thread) * plan.down;
  plan.splits = divide_up(rows, plan.rows_per_tile);
  plan.tiles = plan.groups * plan.splits;
  return plan;
}

/// Columns a thread takes: a packet, where every row begins on a packet boundary.
constexpr int statistics_columns_per_thread(std::int64_t units, bool aligned, int packet_count) {
  return aligned && units % packet_count == 0 ? packet_count : 1;
}

}  // namespace actium::kernels

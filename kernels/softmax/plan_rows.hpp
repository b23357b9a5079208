#pragma once
// How the rows of a softmax are shared out: pure functions, tested without a GPU. What a row takes depends on
// its length, the element type and the device, never on how many rows there are or where they lie, so that
// its sums are added in the same order in every batch.
#include "../plan.hpp"

namespace actium::kernels {

/// Shared memory that the kernel of slices has besides them, at most.
inline constexpr int kStaticSharedBytes = 3 << 10;

/// What of the device matters.
struct RowDevice {
  int multiprocessors = 1;
  std::int64_t shared_bytes = (48 << 10) - kStaticSharedBytes;  // that a block may have for slices
  bool clusters = false;                                        // with distributed shared memory
};

/// Of the current device; the least that there is where the runtime does not tell.
RowDevice row_device();

/// Who shares a row.
enum class RowScope : int {
  kLanes,     // lanes of one warp, the row in registers
  kBlock,     // one block, the row in registers
  kSlice,     // one block, the row in shared memory
  kCluster,   // a cluster, a slice of the row in each block's shared memory
  kGrid,      // blocks of a cooperative launch, likewise
  kLaunches,  // blocks of two launches: the first sums up the slices, the second reads them again
};

inline constexpr int kRowThreads = 128;    // of a block whose warps have rows of their own
inline constexpr int kSliceThreads = 512;  // of a block that has a slice
/// At most, of a block that has one row in registers; f64 takes twice as many of these.
constexpr int row_block_threads(int element_bytes) { return element_bytes == 8 ? 256 : 512; }

/// Elements of each input that a thread keeps in registers at most.
constexpr int row_registers(int element_bytes, int inputs) { return (element_bytes == 8 ? 16 : 32) / inputs; }

/// A slice of shared memory that is worth a block of its own.
inline constexpr std::int64_t kSliceBytes = 128 << 10;
inline constexpr int kClusterMaxBlocks = 8;  // that every device with clusters can place

struct RowPlan {
  RowScope scope = RowScope::kLanes;
  int packets = 1;       // kLanes, kBlock: of a thread
  int threads_log2 = 0;  // kLanes, kBlock: that share a row
  int slices = 1;        // of a row
  std::int64_t slice_packets = 0;
  std::int64_t shared_bytes = 0;  // for the slices of all inputs; 0: they are read again
};

/// The least power of two >= n, as its logarithm.
constexpr int ceil_log2(std::int64_t n) {
  int log2 = 0;
  while (std::int64_t{1} << log2 < n) ++log2;
  return log2;
}

/// `registers`: in place of row_registers(). `few_ways`: lanes have one packet each, or all that they may,
/// and no block has a row in registers.
constexpr RowPlan plan_row(std::int64_t cols, int element_bytes, int inputs, const RowDevice& device,
                           int registers = 0, bool few_ways = false) {
  const int count = static_cast<int>(kPacketBytes) / element_bytes;
  const std::int64_t packets = divide_up(std::max<std::int64_t>(cols, 1), count);
  const int most = (registers != 0 ? registers : row_registers(element_bytes, inputs)) / count;
  RowPlan plan;
  if (packets <= kWarpSize * most) {
    plan.packets = 1 << ceil_log2(divide_up(packets, kWarpSize));
    if (few_ways && plan.packets > 1) plan.packets = most;
    plan.threads_log2 = plan.packets == 1 ? ceil_log2(packets) : 5;
    return plan;
  }
  if (!few_ways && packets <= row_block_threads(element_bytes) * most) {
    plan.scope = RowScope::kBlock;
    plan.packets = most;
    plan.threads_log2 = std::max(7, ceil_log2(divide_up(packets, most)));
    return plan;
  }
  const std::int64_t bytes = packets * static_cast<std::int64_t>(kPacketBytes) * inputs;
  const std::int64_t slice_bytes = std::min(kSliceBytes, device.shared_bytes);
  std::int64_t slices = divide_up(bytes, slice_bytes);
  if (slices == 1) {
    plan.scope = RowScope::kSlice;
  } else if (device.clusters && bytes <= kClusterMaxBlocks * device.shared_bytes) {
    plan.scope = RowScope::kCluster;
    slices = std::min<std::int64_t>(std::int64_t{1} << ceil_log2(slices), kClusterMaxBlocks);
  } else if (device.clusters) {
    plan.scope = RowScope::kGrid;
    slices = std::min<std::int64_t>(slices, device.multiprocessors);
  } else {
    plan.scope = RowScope::kLaunches;
  }
  plan.slice_packets = divide_up(packets, slices);
  plan.slices = static_cast<int>(divide_up(packets, plan.slice_packets));
  if (plan.scope == RowScope::kCluster) plan.slices = static_cast<int>(slices);  // the last may be empty
  plan.shared_bytes = plan.slice_packets * static_cast<std::int64_t>(kPacketBytes) * inputs;
  if (plan.scope == RowScope::kLaunches || plan.shared_bytes > device.shared_bytes) plan.shared_bytes = 0;
  return plan;
}

/// Rows that a block of kLanes has at a time.
constexpr int rows_of_block(const RowPlan& plan) {
  return plan.scope == RowScope::kLanes ? kRowThreads >> plan.threads_log2 : 1;
}

/// Blocks for `rows` rows; the kernels stride over rows, so any number of rows fits a grid.
constexpr unsigned row_blocks(std::int64_t rows, const RowPlan& plan, const RowDevice& device) {
  const std::int64_t groups = divide_up(rows, rows_of_block(plan));
  std::int64_t most = std::int64_t{kLargestGrid} / plan.slices;
  if (plan.scope == RowScope::kGrid) most = std::max(1, device.multiprocessors / plan.slices);
  return static_cast<unsigned>(std::min(groups, most) * plan.slices);
}

// ---------------------------------------------------------------- rows whose elements are not neighbours

inline constexpr int kStridedWarps = 8;  // of a block that has 32 such rows, at most
inline constexpr int kStridedBatch = 8;  // elements that a thread loads at a time

/// Enough for every element, or all.
constexpr int strided_warps(std::int64_t cols) {
  return static_cast<int>(
      std::min<std::int64_t>(std::int64_t{1} << ceil_log2(divide_up(cols, kStridedBatch)), kStridedWarps));
}

// ---------------------------------------------------------------- sparsemax

inline constexpr int kSparsemaxThreads = 256;  // of a block that has one row, at most
inline constexpr int kSparsemaxKept = 8;       // elements that a thread keeps in registers

constexpr unsigned sparsemax_threads(std::int64_t cols) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(
      std::int64_t{1} << ceil_log2(divide_up(cols, kSparsemaxKept)), kWarpSize, kSparsemaxThreads));
}

}  // namespace actium::kernels

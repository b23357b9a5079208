#pragma once
// Grid, block and size-class choice as pure functions in plain C++, tested without a GPU.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace actium::kernels {

inline constexpr unsigned kLargestGrid = 0x7fffffff;

inline constexpr int kWarpSize = 32;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0); }

// ---------------------------------------------------------------- elementwise

inline constexpr int kElementwiseThreads = 256;
inline constexpr std::uintptr_t kPacketBytes = 16;  // one vector load or store of a thread

/// What keeps the memory system of an H200 busy: bytes asked for and not yet there, in each multiprocessor.
inline constexpr int kWantedBytesInFlight = 48 << 10;

/// The threads of blocks of `threads` that a multiprocessor has registers for (of sm_80 to sm_100).
constexpr int resident_threads(int registers, int threads) {
  const int allocated = (registers + 7) / 8 * 8;
  return std::min(2048, 65536 / allocated) / threads * threads;
}

/// Roughly the registers of a thread of the elementwise kernel: its packets of inputs, addresses, and what
/// computing takes.
constexpr int elementwise_registers(int inputs, int packets) { return 28 + 4 * inputs * packets; }
constexpr int elementwise_bytes_in_flight(int inputs, int packets) {
  return resident_threads(elementwise_registers(inputs, packets), kElementwiseThreads) * inputs * packets *
         static_cast<int>(kPacketBytes);
}

/// How many packets of each input a thread loads before it computes: the fewest that ask for enough bytes.
constexpr int packets_per_thread(int inputs) {
  int packets = 1;
  while (packets < 4 && elementwise_bytes_in_flight(inputs, packets) < kWantedBytesInFlight) ++packets;
  return packets;
}

template <int Inputs>
inline constexpr int kPacketsPerThread = packets_per_thread(Inputs);

/// The last output [rows, cols] in packets: packet j of row r is columns [j * n - m, j * n - m + n) of it,
/// where n is a packet's count and m how far past a packet boundary the row begins, in elements. All rows
/// have the same number of packets, enough for the worst m; some of the last may be empty.
struct ElementwisePlan {
  std::int64_t rows = 0, cols = 0;
  std::int64_t row_packets = 0;
  unsigned inverse_row_packets = 0;  // 2^31 / row_packets rounded up; 0 where a block sees 2 rows at most
  unsigned misalignment = 0;         // m of row 0
  unsigned row_misalignment = 0;     // what each row adds to it, modulo n
  unsigned apart_mask = 0;           // bit i: input i is not an output too
  unsigned blocks = 0;
  /// One row: the blocks of whole packets, where all pointers are at a packet boundary.
  unsigned inside_first = 0, inside_count = 0;
};

/// Up to here p / row_packets is p * inverse_row_packets / 2^31 for all packets p that a block counts from
/// the beginning of its first row on.
inline constexpr std::int64_t kInverseMaxRowPackets = 1 << 15;

/// `addresses` are those of all tensors, the outputs last; the packets are those of the last one.
template <std::size_t N>
constexpr ElementwisePlan plan_elementwise(std::int64_t rows, std::int64_t cols, std::int64_t element_bytes,
                                           const std::uintptr_t (&addresses)[N], std::size_t outputs,
                                           std::int64_t output_stride, int packets) {
  const auto count = static_cast<std::int64_t>(kPacketBytes) / element_bytes;  // a power of two
  ElementwisePlan plan;
  plan.rows = rows;
  plan.cols = cols;
  const std::uintptr_t past = addresses[N - 1] % kPacketBytes;
  plan.misalignment = static_cast<unsigned>(past) / static_cast<unsigned>(element_bytes);
  std::int64_t most_misaligned = plan.misalignment;
  if (rows > 1) {
    plan.row_misalignment = static_cast<unsigned>(output_stride & (count - 1));
    const unsigned step = plan.row_misalignment == 0 ? static_cast<unsigned>(count)
                                                     : plan.row_misalignment & -plan.row_misalignment;
    most_misaligned = count - step + plan.misalignment % step;
  }
  plan.row_packets = divide_up(cols + most_misaligned, count);
  if (plan.row_packets <= kInverseMaxRowPackets)
    plan.inverse_row_packets = static_cast<unsigned>(divide_up(std::int64_t{1} << 31, plan.row_packets));
  const std::int64_t tile = std::int64_t{kElementwiseThreads} * packets;
  plan.blocks = static_cast<unsigned>(divide_up(rows * plan.row_packets, tile));

  bool all_alike = true;
  for (std::size_t i = 0; i < N; ++i) {
    all_alike = all_alike && addresses[i] % kPacketBytes == past;
    bool apart = true;
    for (std::size_t o = N - outputs; o < N; ++o) apart = apart && addresses[i] != addresses[o];
    if (apart) plan.apart_mask |= 1u << i;
  }
  if (rows == 1 && all_alike) {
    plan.inside_first = plan.misalignment == 0 ? 0 : 1;
    const auto end = static_cast<unsigned>((cols + plan.misalignment) / count / tile);
    plan.inside_count = end > plan.inside_first ? end - plan.inside_first : 0;
  }
  return plan;
}

/// Tensors of one forward_many launch: as many as kernel parameters of 4 KiB hold.
inline constexpr int kManyTensors = 128;

// ---------------------------------------------------------------- fused elementwise, with reductions

inline constexpr int kWalkThreads = 256;
inline constexpr int kGroup = 4;  // neighbouring elements that a thread takes at a time

/// Tensors that the fused kernels load: the input, and a residual or a gradient.
inline constexpr int kWalkInputs = 2;
/// Blocks that a multiprocessor has registers for at least: of the kernels in f32 that may load one input
/// only, and of those with two and sums. In f64 arithmetic takes longer than memory, and one may be all.
inline constexpr int kWalkBlocks = 3, kWalkSumBlocks = 2;

/// What a thread loads of each input before it computes, in bytes: the fewest that ask for enough.
constexpr int walk_batch_bytes(int blocks, int inputs) {
  int bytes = 16;
  while (blocks * kWalkThreads * inputs * bytes < kWantedBytesInFlight) bytes *= 2;
  return bytes;
}
inline constexpr int kWalkBatchBytes =
    std::max(walk_batch_bytes(kWalkBlocks, 1), walk_batch_bytes(kWalkSumBlocks, 2));

/// Enough tiles for every multiprocessor of any GPU; more only where nothing is reduced.
inline constexpr std::int64_t kWalkTiles = 2048;

/// How threads walk a call's elements in groups. Elements are numbered in order of memory, and cut into
/// segments of `count`, each a matrix [height, width] whose last row may be short; mostly there is one. A
/// tile is `across` groups times `down` rows (powers of two, one thread each), and each thread goes on for
/// `steps` groups from there: along its row, or down its columns. A slot is what takes the segments slot,
/// slot + slots, ... in as many rounds. Each has column_tiles * row_tiles tiles; or, where segments are
/// small, `across` threads, so that a tile has `down` slots. It depends on shapes alone.
struct WalkPlan {
  std::int64_t count = 0, height = 0, width = 0;
  std::int64_t segments = 1, slots = 1, rounds = 1;
  std::int64_t together = 1;      // segments that a slot takes one after the other, as if they were one
  bool slot_a_row = false;        // a slot is a tile's row of threads
  std::int64_t line_columns = 0;  // columns of the tensors' own rows; 0: they are contiguous
  std::int64_t column_tiles = 0, row_tiles = 0;
  std::int64_t tile_columns = 0, tile_rows = 0;
  std::int64_t column_step = 0, row_step = 0, element_step = 0;
  int across_log2 = 0, steps = 0;
  bool along = true;
  constexpr std::int64_t tiles() const {
    return slot_a_row ? divide_up(slots, kWalkThreads >> across_log2) : slots * column_tiles * row_tiles;
  }
};

/// Down the columns a tile is no wider than whole lines of memory ask for, where it keeps a sum for each.
inline constexpr int kColumnTileLog2 = 5, kWidestTileLog2 = 8;

/// One segment of `count` elements as rows of `width`.
constexpr WalkPlan plan_segment(std::int64_t count, std::int64_t width, bool along, int most_across_log2,
                                std::int64_t most_tiles) {
  WalkPlan plan;
  plan.count = count;
  plan.height = divide_up(count, width);
  plan.width = width;
  plan.along = along;
  const std::int64_t groups = divide_up(width, kGroup);
  while (plan.across_log2 < most_across_log2 && std::int64_t{1} << plan.across_log2 < groups)
    ++plan.across_log2;
  const std::int64_t across = std::int64_t{1} << plan.across_log2, down = kWalkThreads / across;
  const std::int64_t step_tiles = divide_up(groups, across) * divide_up(plan.height, down);
  const std::int64_t longest = along ? divide_up(groups, across) : divide_up(plan.height, down);
  plan.steps = static_cast<int>(std::min(divide_up(step_tiles, most_tiles), longest));
  plan.tile_columns = across * kGroup * (along ? plan.steps : 1);
  plan.tile_rows = down * (along ? 1 : plan.steps);
  plan.column_tiles = divide_up(width, plan.tile_columns);
  plan.row_tiles = divide_up(plan.height, plan.tile_rows);
  plan.column_step = along ? across * kGroup : 0;
  plan.row_step = along ? 0 : down;
  plan.element_step = plan.row_step * width + plan.column_step;
  return plan;
}

/// A whole matrix as one segment.
constexpr WalkPlan plan_matrix(std::int64_t rows, std::int64_t cols, bool along, int most_across_log2,
                               std::int64_t most_tiles) {
  WalkPlan plan = plan_segment(rows * cols, cols, along, most_across_log2, most_tiles);
  plan.line_columns = rows == 1 ? 0 : cols;
  return plan;
}

/// Without a reduction: at most 8 groups a thread, so that there are many tiles.
constexpr WalkPlan plan_walk(std::int64_t rows, std::int64_t cols) {
  const bool along = rows == 1 || cols >= 2 * kWalkThreads * kGroup;
  const int most = along ? kWidestTileLog2 : kColumnTileLog2;
  const WalkPlan plan = plan_matrix(rows, cols, along, most, kWalkTiles);
  return plan.steps <= 8 ? plan : plan_matrix(rows, cols, along, most, plan.tiles() * (plan.steps / 8));
}

/// Whether a matrix has more tiles along its rows than down its columns.
constexpr bool is_wide(std::int64_t rows, std::int64_t cols) {
  return divide_up(cols, kWalkThreads * kGroup) >= rows;
}

/// With one result a tile: few tiles.
constexpr WalkPlan plan_walk_to_maximum(std::int64_t rows, std::int64_t cols) {
  return plan_matrix(rows, cols, is_wide(rows, cols), kWidestTileLog2, kWalkTiles);
}

/// What a tile's sums are of.
enum class TileSums : std::uint8_t { kColumns, kSlots, kTile };

/// A sum for each channel, where channel (i / inner) % channels has element i, in two stages: sums of each
/// tile, then of those of one channel. The tiles' sums are partial[outer, channels, inner], of which the last
/// may be missing from `count` on: a few for each tile, or one or two for each channel if that is more.
struct ChannelSumPlan {
  WalkPlan walk;
  TileSums sums = TileSums::kColumns;
  std::int64_t count = 0, outer = 0, channels = 0, inner = 0;
};

inline constexpr std::int64_t kRowSumInner = 1024;  // so many neighbours of one channel are worth a tile
inline constexpr std::int64_t kMostColumns = 1
                                             << 17;  // more than these get a sum each if each is a channel's
inline constexpr std::int64_t kMostSlots = 1 << 18;

/// The columns of a contiguous run of `count` elements, seen as a matrix of whole periods of the channels;
/// where it is easy whole groups and whole lines of memory.
constexpr std::int64_t period_columns(std::int64_t count, std::int64_t period) {
  std::int64_t width = period;
  if (period <= kMostColumns) {
    while (width % kGroup != 0) width += period;
    width *= divide_up(kGroup << kColumnTileLog2, width);
  }
  return width <= count ? width : period;
}

/// tiles() == 0 if rows of a row-strided matrix neither consist of whole periods of the channels nor are
/// parts of one channel.
constexpr ChannelSumPlan plan_channel_sum(std::int64_t rows, std::int64_t cols, std::int64_t channels,
                                          std::int64_t inner) {
  ChannelSumPlan plan;
  const std::int64_t count = rows * cols;
  if (channels == 1) inner = count;
  const std::int64_t period = channels * inner;
  plan.channels = channels;
  WalkPlan& walk = plan.walk;

  if (inner < kRowSumInner && channels > 1 && cols % period == 0 && (inner == 1 || period <= kMostColumns)) {
    // Sums by columns: of the matrix itself, or of each of its long rows seen as a matrix.
    if (rows > 1 && (cols <= kMostColumns || cols == channels)) {
      walk = plan_matrix(rows, cols, false, kColumnTileLog2, kWalkTiles);
    } else {
      walk = plan_segment(cols, period_columns(cols, period), false, kColumnTileLog2, kWalkTiles);
      walk.segments = walk.rounds = rows;
      walk.line_columns = rows == 1 ? 0 : cols;
    }
    plan.count = walk.row_tiles * walk.width;
    plan.inner = inner;
    plan.outer = divide_up(plan.count, period);
    return plan;
  }

  // Each segment is of one channel: parts of rows, or whole rows.
  if (rows > 1 && cols % inner != 0 && inner % cols != 0) return plan;
  const std::int64_t segment_rows = rows > 1 && inner > cols ? inner / cols : 1, width = inner / segment_rows;
  const std::int64_t visits = count / period;  // segments of each channel
  std::int64_t parts = 1;                      // of them, a slot each
  if (inner < kRowSumInner) {
    plan.sums = TileSums::kSlots;
    walk = plan_segment(inner, width, false, kWidestTileLog2, 1);
    walk.slot_a_row = true;
    walk.steps = static_cast<int>(segment_rows);
    walk.row_step = 1;
    walk.element_step = width;
    parts = std::min(kMostSlots / channels, divide_up(visits * walk.steps, 8));
  } else {
    plan.sums = TileSums::kTile;
    const bool along = is_wide(segment_rows, width);
    const std::int64_t wanted = std::min(kWalkTiles / channels, divide_up(inner, 8 * kRowSumInner));
    walk = plan_segment(inner, width, along, kWidestTileLog2, std::max(std::int64_t{1}, wanted));
    if (channels * walk.tiles() > kMostSlots && segment_rows > 1) {  // a row after the other, by one tile
      walk = plan_segment(width, width, true, kWidestTileLog2, 1);
      walk.together = segment_rows;
    }
    plan.inner = walk.column_tiles * walk.row_tiles;
    parts = kWalkTiles / (channels * plan.inner);
  }
  plan.outer = std::clamp(parts, std::int64_t{1}, visits);
  walk.line_columns = rows == 1 ? 0 : cols;
  walk.segments = visits * channels * walk.together;
  walk.slots = plan.outer * channels;
  walk.rounds = divide_up(visits, plan.outer) * walk.together;
  if (walk.slot_a_row) plan.inner = 1;
  plan.count = plan.outer * channels * plan.inner;
  return plan;
}

inline constexpr std::int64_t kFinishThreads = 256;

/// Channels that a block of the second stage takes: neighbouring threads read neighbouring sums.
constexpr int finish_channels_log2(const ChannelSumPlan& plan) {
  int log2 = 0;
  while (plan.inner == 1 && log2 < 5 && std::int64_t{2} << log2 <= plan.channels) ++log2;
  return log2;
}

}  // namespace actium::kernels

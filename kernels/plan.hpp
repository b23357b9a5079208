#pragma once
// Grid, block and size-class choice as pure functions in plain C++, tested without a GPU.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace actium::kernels {

// ---------------------------------------------------------------- elementwise

inline constexpr int kElementwiseThreads = 256;
inline constexpr std::uintptr_t kPacketBytes = 16;  // one vector load or store of a thread

/// How many packets of each input a thread loads before it computes: enough bytes in flight for the memory
/// system with few inputs, few registers with many.
template <int Inputs>
inline constexpr int kPacketsPerThread = Inputs == 1 ? 2 : 1;

/// The elements [head, head + tiles * tile) are done in whole tiles of packets, one tile a block; one more
/// block does the rest element by element: the head, which brings the first pointer to a packet boundary, and
/// the tail.
struct ElementwisePlan {
  std::int64_t head = 0;
  std::int64_t tiles = 0;
  std::int64_t edges = 0;     // elements of head and tail together
  unsigned aligned_mask = 0;  // bit i: pointer i is at a packet boundary after the head
  unsigned blocks() const { return static_cast<unsigned>(tiles + (edges > 0 ? 1 : 0)); }
};

/// `addresses` are those of all tensors of the call; the head aligns the last one, which is an output.
template <std::size_t N>
ElementwisePlan plan_elementwise(std::int64_t count, std::int64_t element_bytes, std::int64_t tile,
                                 const std::uintptr_t (&addresses)[N]) {
  ElementwisePlan plan;
  const std::uintptr_t past = addresses[N - 1] % kPacketBytes;
  plan.head = past == 0 ? 0 : static_cast<std::int64_t>(kPacketBytes - past) / element_bytes;
  plan.head = std::min(plan.head, count);
  plan.tiles = (count - plan.head) / tile;
  plan.edges = count - plan.tiles * tile;
  for (std::size_t i = 0; i < N; ++i)
    if ((addresses[i] + static_cast<std::uintptr_t>(plan.head * element_bytes)) % kPacketBytes == 0)
      plan.aligned_mask |= 1u << i;
  return plan;
}

// ---------------------------------------------------------------- softmax

inline constexpr int kWarpSize = 32;
inline constexpr int kRowWarpThreads = 128;      // 4 rows a block in the warp kernels
inline constexpr int kRowWarpMaxColumns = 1024;  // longer rows take a block each

/// How many columns a lane keeps in registers: the smallest compiled number that covers the row; 0 = use the
/// block kernel.
constexpr int columns_per_lane(std::int64_t columns) {
  for (const int per_lane : {1, 4, 16, 32})
    if (columns <= per_lane * kWarpSize) return per_lane;
  return 0;
}

/// Threads of the block kernels: about 8 columns a thread; no more than leaves each thread 128 registers.
inline constexpr int kRowBlockMaxThreads = 512;
constexpr int row_block_threads(std::int64_t columns) {
  int threads = 128;
  while (threads < kRowBlockMaxThreads && static_cast<std::int64_t>(threads) * 8 < columns) threads *= 2;
  return threads;
}

/// Blocks for `rows` rows; the kernels stride over rows, so any number of rows fits a grid.
constexpr unsigned row_blocks(std::int64_t rows, std::int64_t rows_per_block) {
  constexpr std::int64_t kMaxGrid = 0x7fffffff;
  return static_cast<unsigned>(std::min(kMaxGrid, (rows + rows_per_block - 1) / rows_per_block));
}

}  // namespace actium::kernels

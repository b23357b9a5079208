// The grids that the kernels are launched with, by playing through the kernels' index arithmetic.
#include <gtest/gtest.h>
#include <actium/dtype.hpp>
#include <string>
#include <vector>

#include "kernels/plan.hpp"

namespace {

using namespace actium::kernels;

constexpr std::int64_t kLargestGrid = 0x7fffffff;

// ---------------------------------------------------------------- elementwise

/// The constants of kernels/elementwise/elementwise.cuh for one element size and number of inputs.
struct Geometry {
  std::int64_t element_bytes;
  std::int64_t packets;  // a thread
  std::int64_t packet() const { return static_cast<std::int64_t>(kPacketBytes) / element_bytes; }
  std::int64_t tile() const { return kElementwiseThreads * packets * packet(); }
  std::string to_string() const {
    return std::to_string(element_bytes) + " bytes, " + std::to_string(packets) + " packets";
  }
};
const std::vector<Geometry> kGeometries = [] {
  std::vector<Geometry> list;
  for (const std::int64_t bytes : {2, 4, 8})
    for (const std::int64_t packets : {kPacketsPerThread<1>, kPacketsPerThread<2>, kPacketsPerThread<3>})
      list.push_back({bytes, packets});
  return list;
}();

/// Calls touch(first, count) for everything that the kernel's threads touch, in the kernel's own arithmetic.
template <class Touch>
void play(const ElementwisePlan& plan, const Geometry& geometry, const Touch& touch) {
  for (std::int64_t block = 0; block < plan.blocks(); ++block) {
    if (block < plan.tiles) {
      const std::int64_t tile = plan.head + block * geometry.tile();
      for (int thread = 0; thread < kElementwiseThreads; ++thread)
        for (int k = 0; k < geometry.packets; ++k)
          touch(tile + (k * kElementwiseThreads + thread) * geometry.packet(), geometry.packet());
    } else {
      const std::int64_t skipped = plan.tiles * geometry.tile();
      for (int thread = 0; thread < kElementwiseThreads; ++thread)
        for (std::int64_t edge = thread; edge < plan.edges; edge += kElementwiseThreads)
          touch(edge < plan.head ? edge : edge + skipped, 1);
    }
  }
}

ElementwisePlan plan_for(std::int64_t count, const Geometry& geometry, std::int64_t misalignment) {
  const std::uintptr_t addresses[] = {
      0x7f0000000000, 0x7f0000000000 + static_cast<std::uintptr_t>(misalignment * geometry.element_bytes)};
  return plan_elementwise(count, geometry.element_bytes, geometry.tile(), addresses);
}

TEST(PlanElementwise, EveryElementOnceByPlayingTheKernel) {
  for (const Geometry& geometry : kGeometries) {
    SCOPED_TRACE(geometry.to_string());
    std::vector<std::int64_t> lengths;
    for (std::int64_t length = 0; length <= 70; ++length) lengths.push_back(length);
    for (std::int64_t tiles = 1; tiles <= 3; ++tiles)
      for (std::int64_t extra = -10; extra <= 10; ++extra) lengths.push_back(tiles * geometry.tile() + extra);
    for (const std::int64_t length : {127, 255, 256, 257, 1000, 5003}) lengths.push_back(length);
    for (const std::int64_t length : lengths)
      for (std::int64_t misalignment = 0; misalignment < geometry.packet(); ++misalignment) {
        const ElementwisePlan plan = plan_for(length, geometry, misalignment);
        std::vector<int> touched(static_cast<std::size_t>(length));
        bool inside = true;
        play(plan, geometry, [&](std::int64_t first, std::int64_t count) {
          if (first < 0 || first + count > length)
            inside = false;
          else
            for (std::int64_t i = 0; i < count; ++i) ++touched[static_cast<std::size_t>(first + i)];
        });
        ASSERT_TRUE(inside) << length << " elements at " << misalignment;
        for (std::int64_t i = 0; i < length; ++i)
          ASSERT_EQ(touched[static_cast<std::size_t>(i)], 1)
              << "element " << i << " of " << length << " at " << misalignment;
      }
  }
}

/// What makes the playing above true for every length: the parts lie one after the other and fill the whole.
void expect_partition(const ElementwisePlan& plan, std::int64_t count, const Geometry& geometry,
                      std::int64_t misalignment) {
  const std::int64_t body = plan.tiles * geometry.tile(), tail = plan.edges - plan.head;
  ASSERT_TRUE(plan.head >= 0 && plan.tiles >= 0 && tail >= 0) << count;
  ASSERT_EQ(plan.head + body + tail, count);
  ASSERT_LT(tail, geometry.tile()) << "a tail is less than a tile";
  ASSERT_LT(plan.head, geometry.packet()) << "a head is less than a packet";
  ASSERT_TRUE((misalignment + plan.head) % geometry.packet() == 0 || plan.head == count)
      << "the head ends at a packet boundary, or with the tensor";
}

TEST(PlanElementwise, EveryLengthAtEveryMisalignment) {
  for (const Geometry& geometry : kGeometries)
    for (std::int64_t misalignment = 0; misalignment < geometry.packet(); ++misalignment)
      for (std::int64_t length = 0; length <= 9000; ++length) {
        const ElementwisePlan plan = plan_for(length, geometry, misalignment);
        ASSERT_NO_FATAL_FAILURE(expect_partition(plan, length, geometry, misalignment))
            << geometry.to_string() << " at " << misalignment;
        ASSERT_EQ(plan.blocks(), plan.tiles + (plan.edges > 0 ? 1 : 0));
        ASSERT_EQ(plan.blocks() == 0, length == 0) << "a grid of no blocks must not be launched";
      }
}

TEST(PlanElementwise, SizesBeyond32Bits) {
  for (const Geometry& geometry : kGeometries)
    for (const std::int64_t count :
         {(std::int64_t{1} << 31) - 1, std::int64_t{1} << 31, (std::int64_t{1} << 31) + 1,
          (std::int64_t{1} << 32) - 1, (std::int64_t{1} << 32) + 5, (std::int64_t{1} << 37) + 3,
          std::int64_t{1} << 40})
      for (std::int64_t misalignment = 0; misalignment < geometry.packet(); ++misalignment) {
        const ElementwisePlan plan = plan_for(count, geometry, misalignment);
        ASSERT_NO_FATAL_FAILURE(expect_partition(plan, count, geometry, misalignment))
            << geometry.to_string();
        // The last thread of the last tile, in the kernel's arithmetic, ends where the tail begins.
        const std::int64_t tile = plan.head + (plan.tiles - 1) * geometry.tile();
        const std::int64_t offset =
            ((geometry.packets - 1) * kElementwiseThreads + kElementwiseThreads - 1) * geometry.packet();
        ASSERT_EQ(tile + offset + geometry.packet(), count - (plan.edges - plan.head));
        ASSERT_LE(offset + geometry.packet(), kLargestGrid) << "offsets in a tile are 32-bit";
        // A grid has at most 2^31 - 1 blocks: tensors of up to 4 TiB, more than any GPU has.
        if (count * geometry.element_bytes <= std::int64_t{1} << 42) {
          ASSERT_EQ(plan.blocks(), plan.tiles + (plan.edges > 0 ? 1 : 0));
          ASSERT_LE(plan.blocks(), kLargestGrid) << geometry.to_string();
        }
      }
}

TEST(PlanElementwise, AlignedMask) {
  for (const Geometry& geometry : kGeometries) {
    SCOPED_TRACE(geometry.to_string());
    const std::int64_t packet = geometry.packet();
    for (std::int64_t a = 0; a < packet; ++a)
      for (std::int64_t b = 0; b < packet; ++b)
        for (std::int64_t c = 0; c < packet; ++c)
          for (const std::int64_t count :
               {std::int64_t{0}, std::int64_t{1}, packet, 5 * geometry.tile() + 1}) {
            std::uintptr_t addresses[3];
            const std::int64_t misalignments[] = {a, b, c};
            for (std::size_t i = 0; i < 3; ++i)
              addresses[i] =
                  0x10000 * (i + 1) + static_cast<std::uintptr_t>(misalignments[i] * geometry.element_bytes);
            const ElementwisePlan plan =
                plan_elementwise(count, geometry.element_bytes, geometry.tile(), addresses);
            ASSERT_EQ(plan.aligned_mask >> 3, 0u);
            for (std::size_t i = 0; i < 3; ++i)
              ASSERT_EQ(plan.aligned_mask >> i & 1, (misalignments[i] + plan.head) % packet == 0 ? 1u : 0u)
                  << "pointer " << i << " of misalignments " << a << ", " << b << ", " << c;
            // Where there are tiles, the last pointer is aligned in them, and so is all that lies alike.
            if (plan.tiles > 0) {
              ASSERT_EQ(plan.aligned_mask >> 2, 1u);
              ASSERT_EQ(plan.aligned_mask == 7u, a == c && b == c);
            }
          }
  }
}

TEST(PlanElementwise, BytesInFlight) {
  for (const Geometry& geometry : kGeometries) {
    EXPECT_EQ(geometry.tile() * geometry.element_bytes % (kElementwiseThreads * std::int64_t{16}), 0);
    EXPECT_GE(geometry.packets, 1);
  }
  static_assert(kElementwiseThreads % kWarpSize == 0 && kElementwiseThreads <= 1024);
  static_assert(kPacketBytes == 16);
}

// ---------------------------------------------------------------- softmax

TEST(PlanSoftmax, ColumnsPerLaneCoversTheRow) {
  int previous = 0;
  for (std::int64_t columns = 0; columns <= kRowWarpMaxColumns; ++columns) {
    const int per_lane = columns_per_lane(columns);
    ASSERT_GT(per_lane, 0) << columns;
    ASSERT_GE(per_lane * kWarpSize, columns);
    ASSERT_GE(per_lane, previous) << "longer rows never take less";
    previous = per_lane;
  }
  EXPECT_EQ(columns_per_lane(1), 1);
  EXPECT_EQ(columns_per_lane(32), 1);
  EXPECT_GT(columns_per_lane(33), 1);
  for (const std::int64_t columns :
       {std::int64_t{kRowWarpMaxColumns} + 1, std::int64_t{100000}, std::int64_t{1} << 31,
        (std::int64_t{1} << 32) + 1, std::int64_t{1} << 40})
    EXPECT_EQ(columns_per_lane(columns), 0) << columns << " columns take the block kernel";
}

TEST(PlanSoftmax, RowBlockThreads) {
  int previous = 0;
  for (std::int64_t columns = 0; columns <= 20000; ++columns) {
    const int threads = row_block_threads(columns);
    ASSERT_EQ(threads % kWarpSize, 0) << columns;
    ASSERT_GE(threads, kWarpSize);
    ASSERT_LE(threads, kRowBlockMaxThreads);
    ASSERT_GE(threads, previous);
    // A block's reduction takes one partial result a warp from one warp.
    ASSERT_LE(threads / kWarpSize, kWarpSize);
    previous = threads;
  }
  for (const std::int64_t columns :
       {std::int64_t{1} << 31, (std::int64_t{1} << 32) + 5, std::int64_t{1} << 60})
    EXPECT_EQ(row_block_threads(columns), kRowBlockMaxThreads);
  EXPECT_EQ(row_block_threads(1), 128);
}

TEST(PlanSoftmax, RowBlocksCoverTheRowsOrFillTheGrid) {
  for (const std::int64_t per_block : {1, 2, 4, 8}) {
    for (std::int64_t rows = 1; rows <= 5000; ++rows) {
      const std::int64_t blocks = row_blocks(rows, per_block);
      ASSERT_GE(blocks * per_block, rows);
      ASSERT_LT((blocks - 1) * per_block, rows) << "no block without a row";
    }
    for (const std::int64_t rows :
         {kLargestGrid - 1, kLargestGrid, kLargestGrid + 1, (std::int64_t{1} << 32) + 5,
          std::int64_t{1} << 40, std::int64_t{1} << 59}) {
      const std::int64_t blocks = row_blocks(rows, per_block);
      ASSERT_GE(blocks, 1);
      ASSERT_LE(blocks, kLargestGrid);
      // Where the grid is full, the kernels stride by it.
      ASSERT_TRUE(blocks * per_block >= rows || blocks == kLargestGrid);
      ASSERT_EQ(blocks == kLargestGrid, (rows + per_block - 1) / per_block >= kLargestGrid);
    }
  }
}

}  // namespace

// The grids that the kernels are launched with, by playing through the kernels' index arithmetic.
#include <gtest/gtest.h>
#include <actium/dtype.hpp>
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "kernels/plan.hpp"

namespace {

using namespace actium::kernels;

constexpr std::int64_t kLargestGrid = 0x7fffffff;

// ---------------------------------------------------------------- elementwise

/// One element size and number of packets a thread, and the kernel's index arithmetic for them.
struct Geometry {
  std::int64_t element_bytes;
  int packets;
  std::int64_t count() const { return static_cast<std::int64_t>(kPacketBytes) / element_bytes; }
  std::int64_t tile() const { return kElementwiseThreads * std::int64_t{packets}; }  // in packets
  std::string to_string() const {
    return std::to_string(element_bytes) + " bytes, " + std::to_string(packets) + " packets";
  }
};
const std::vector<Geometry> kGeometries = [] {
  std::vector<Geometry> list;
  for (const std::int64_t bytes : {2, 4, 8})
    for (const int packets : {1, 2, 4}) list.push_back({bytes, packets});
  return list;
}();

constexpr std::uintptr_t kAddress = 0x7f0000000000;

/// The plan of one input at a packet boundary and one output `misalignment` elements past one.
ElementwisePlan plan_for(std::int64_t rows, std::int64_t cols, std::int64_t stride, const Geometry& geometry,
                         std::int64_t misalignment) {
  const std::uintptr_t addresses[] = {
      0x100000000, kAddress + static_cast<std::uintptr_t>(misalignment * geometry.element_bytes)};
  return plan_elementwise(rows, cols, geometry.element_bytes, addresses, 1, stride, geometry.packets);
}

/// The kernel's packet_place for one thread's packet: row, first column (maybe negative), and whether the row
/// is there.
struct Place {
  std::int64_t row, first;
  bool there;
};
Place place_of(const ElementwisePlan& plan, const Geometry& geometry, std::int64_t block,
               std::int64_t local) {
  const std::int64_t first_packet = block * geometry.tile();
  const std::int64_t first_row = plan.rows > 1 ? first_packet / plan.row_packets : 0;
  const std::int64_t packet = first_packet - first_row * plan.row_packets + local;
  if (plan.rows == 1) return {0, packet * geometry.count() - plan.misalignment, true};
  const unsigned down =
      plan.inverse_row_packets != 0
          ? static_cast<unsigned>(std::uint64_t{static_cast<unsigned>(packet)} * plan.inverse_row_packets >>
                                  31)
          : packet >= plan.row_packets;
  EXPECT_EQ(down, packet / plan.row_packets);
  const std::int64_t row = first_row + down;
  const unsigned misalignment = (plan.misalignment + static_cast<unsigned>(row) * plan.row_misalignment) %
                                static_cast<unsigned>(geometry.count());
  return {row, (packet - down * plan.row_packets) * geometry.count() - misalignment, row < plan.rows};
}

TEST(PlanElementwise, EveryElementOnceByPlayingTheKernel) {
  for (const Geometry& geometry : kGeometries) {
    SCOPED_TRACE(geometry.to_string());
    std::vector<std::array<std::int64_t, 3>> shapes;  // rows, cols, stride
    const std::int64_t tile = geometry.tile() * geometry.count();
    for (std::int64_t length = 1; length <= 40; ++length) shapes.push_back({1, length, length});
    for (std::int64_t tiles = 1; tiles <= 3; ++tiles)
      for (std::int64_t extra = -9; extra <= 9; ++extra) shapes.push_back({1, tiles * tile + extra, 7});
    for (const std::int64_t cols : {1, 2, 3, 5, 8, 31, 64, 257, 1000})
      for (std::int64_t stride = cols; stride <= cols + 9; ++stride)
        for (const std::int64_t rows : {2, 3, 17, 300}) shapes.push_back({rows, cols, stride});
    shapes.push_back({3, (kInverseMaxRowPackets + 1) * geometry.count(), 5000000});
    for (const auto& [rows, cols, stride] : shapes)
      for (std::int64_t misalignment = 0; misalignment < geometry.count(); ++misalignment) {
        const ElementwisePlan plan = plan_for(rows, cols, stride, geometry, misalignment);
        std::vector<int> touched(static_cast<std::size_t>(rows * cols));
        bool at_boundaries = true;
        for (std::int64_t block = 0; block < plan.blocks; ++block)
          for (std::int64_t local = 0; local < geometry.tile(); ++local) {
            const auto [row, first, there] = place_of(plan, geometry, block, local);
            if (!there) continue;
            at_boundaries &= (misalignment + row * stride + first) % geometry.count() == 0;
            for (std::int64_t c = std::max<std::int64_t>(first, 0);
                 c < std::min(first + geometry.count(), cols); ++c)
              ++touched[static_cast<std::size_t>(row * cols + c)];
          }
        ASSERT_TRUE(at_boundaries);
        ASSERT_EQ(std::count(touched.begin(), touched.end(), 1), rows * cols)
            << rows << " x " << cols << ", stride " << stride << " at " << misalignment;
      }
  }
}

// Blocks that are said to be inside have whole packets only, and all blocks but the first and the last are.
TEST(PlanElementwise, InsideBlocks) {
  for (const Geometry& geometry : kGeometries)
    for (std::int64_t misalignment = 0; misalignment < geometry.count(); ++misalignment)
      for (const std::int64_t cols :
           {std::int64_t{1}, std::int64_t{1000}, std::int64_t{5000}, std::int64_t{8192}, std::int64_t{8193},
            std::int64_t{40960}, std::int64_t{40961}, (std::int64_t{1} << 32) + 5, std::int64_t{1} << 38}) {
        const std::uintptr_t at = static_cast<std::uintptr_t>(misalignment * geometry.element_bytes);
        const std::uintptr_t alike[] = {kAddress + at, kAddress + (1 << 20) + at},
                             unlike[] = {kAddress + at,
                                         kAddress + at + static_cast<std::uintptr_t>(geometry.element_bytes)};
        const auto plan = [&](const auto& addresses, std::int64_t rows) {
          return plan_elementwise(rows, cols, geometry.element_bytes, addresses, 1, cols, geometry.packets);
        };
        EXPECT_EQ(plan(unlike, 1).inside_count, 0u);
        EXPECT_EQ(plan(alike, 2).inside_count, 0u);
        const ElementwisePlan inside = plan(alike, 1);
        const std::int64_t end = std::int64_t{inside.inside_first} + inside.inside_count;
        ASSERT_LE(end, inside.blocks + (inside.inside_count == 0));
        if (inside.inside_count > 0) {
          EXPECT_GE(place_of(inside, geometry, inside.inside_first, 0).first, 0);
          EXPECT_LE(place_of(inside, geometry, end - 1, geometry.tile() - 1).first + geometry.count(), cols);
        }
        EXPECT_GE(inside.inside_count + 2, inside.blocks);
      }
}

TEST(PlanElementwise, SizesBeyond32Bits) {
  for (const Geometry& geometry : kGeometries) {
    SCOPED_TRACE(geometry.to_string());
    for (const std::int64_t count :
         {(std::int64_t{1} << 31) - 1, std::int64_t{1} << 31, (std::int64_t{1} << 31) + 1,
          (std::int64_t{1} << 32) - 1, (std::int64_t{1} << 32) + 5, (std::int64_t{1} << 37) + 3})
      for (std::int64_t misalignment = 0; misalignment < geometry.count(); ++misalignment) {
        const ElementwisePlan plan = plan_for(1, count, 0, geometry, misalignment);
        ASSERT_LE(plan.blocks, kLargestGrid);
        // The last packet reaches the end, the one after it would begin past it.
        const std::int64_t last_block = std::int64_t{plan.blocks} - 1;
        const std::int64_t last = place_of(plan, geometry, last_block, geometry.tile() - 1).first;
        ASSERT_GE(last + geometry.count(), count);
        ASSERT_LT(place_of(plan, geometry, last_block, 0).first, count) << "no block without an element";
      }
    // Many short rows, and a few rows of which one is longer than 2^32 elements.
    for (const auto& [rows, cols] : {std::pair{std::int64_t{1} << 35, std::int64_t{3}},
                                     {std::int64_t{5}, (std::int64_t{1} << 35) + 1},
                                     {(std::int64_t{1} << 30) + 7, std::int64_t{100}}}) {
      const ElementwisePlan plan = plan_for(rows, cols, cols + 1, geometry, 1 % geometry.count());
      ASSERT_LE(plan.blocks, kLargestGrid);
      const std::int64_t last_block = std::int64_t{plan.blocks} - 1;
      EXPECT_EQ(place_of(plan, geometry, last_block, 0).row, last_block * geometry.tile() / plan.row_packets);
      const Place last =
          place_of(plan, geometry, last_block, (rows * plan.row_packets - 1) % geometry.tile());
      EXPECT_EQ(last.row, rows - 1);
      EXPECT_GE(last.first + geometry.count(), cols);
    }
  }
}

TEST(PlanElementwise, ApartMask) {
  const auto mask = [](std::uintptr_t a, std::uintptr_t b, std::uintptr_t c, std::uintptr_t d,
                       std::size_t outputs) {
    const std::uintptr_t addresses[] = {a, b, c, d};
    return plan_elementwise(1, 100, 4, addresses, outputs, 0, 1).apart_mask;
  };
  EXPECT_EQ(mask(16, 32, 48, 64, 2) & 3u, 3u);
  EXPECT_EQ(mask(16, 32, 16, 64, 2) & 3u, 2u);
  EXPECT_EQ(mask(16, 32, 16, 32, 2) & 3u, 0u);
  EXPECT_EQ(mask(16, 32, 48, 32, 1) & 7u, 5u);
}

TEST(PlanElementwise, BytesInFlight) {
  EXPECT_EQ(resident_threads(32, 256), 2048);
  EXPECT_EQ(resident_threads(33, 256), 1536);
  EXPECT_EQ(resident_threads(255, 256), 256);
  for (int inputs = 1; inputs <= 3; ++inputs) {
    const int packets = packets_per_thread(inputs);
    EXPECT_GE(elementwise_bytes_in_flight(inputs, packets), kWantedBytesInFlight) << inputs;
    EXPECT_TRUE(packets == 1 || elementwise_bytes_in_flight(inputs, packets - 1) < kWantedBytesInFlight);
  }
  static_assert(kElementwiseThreads % kWarpSize == 0 && kElementwiseThreads <= 1024);
  static_assert(kPacketBytes == 16);
}

// ---------------------------------------------------------------- fused elementwise: the walk, and its sums

/// A group of a thread: elements [element, element + count), and columns of a segment.
struct Group {
  std::int64_t block, slot, element, row, column, count;
  int thread;
};

/// Calls visit(group) for each group of each thread.
template <class Visit>
void walk(const WalkPlan& plan, const Visit& visit) {
  for (std::int64_t block = 0; block < plan.tiles(); ++block) {
    const int threads_down = kWalkThreads >> plan.across_log2;
    const std::int64_t tiles_of_slot = plan.slot_a_row ? 1 : plan.column_tiles * plan.row_tiles;
    const std::int64_t tile = block % tiles_of_slot, tile_row = tile / plan.column_tiles,
                       tile_column = tile % plan.column_tiles;
    for (std::int64_t round = 0; round < plan.rounds; ++round)
      for (int thread = 0; thread < kWalkThreads; ++thread) {
        const int down = thread >> plan.across_log2, across = thread - (down << plan.across_log2);
        const std::int64_t slot = plan.slot_a_row ? block * threads_down + down : block / tiles_of_slot,
                           turn = round / plan.together,
                           segment = (turn * plan.slots + slot) * plan.together + round % plan.together;
        if (slot >= plan.slots || segment >= plan.segments) continue;
        const std::int64_t row = plan.slot_a_row ? 0 : tile_row * plan.tile_rows + down,
                           column = (plan.slot_a_row ? 0 : tile_column * plan.tile_columns) + across * kGroup;
        for (int step = 0; step < plan.steps; ++step) {
          const std::int64_t r = row + step * plan.row_step, c = column + step * plan.column_step,
                             within = row * plan.width + column + step * plan.element_step;
          ASSERT_EQ(within, r * plan.width + c);
          const std::int64_t count =
              std::clamp<std::int64_t>(std::min(plan.width - c, plan.count - within), 0, kGroup);
          visit(Group{block, slot, segment * plan.count + within, r, c, count, thread});
        }
      }
  }
}

const std::vector<std::array<std::int64_t, 2>> kWalkShapes = [] {
  std::vector<std::array<std::int64_t, 2>> shapes;
  for (const std::int64_t rows : {1, 2, 3, 33, 1000})
    for (const std::int64_t cols : {1, 3, 4, 5, 127, 128, 130, 1024, 2049, 5000})
      shapes.push_back({rows, cols});
  shapes.push_back({1, 300000});
  return shapes;
}();

TEST(PlanWalk, BytesInFlight) {
  for (const int blocks : {1, 2, 3, 4, 8})
    for (const int inputs : {1, 2}) {
      const int bytes = walk_batch_bytes(blocks, inputs);
      EXPECT_GE(blocks * kWalkThreads * inputs * bytes, kWantedBytesInFlight);
      EXPECT_TRUE(bytes == 16 || blocks * kWalkThreads * inputs * bytes / 2 < kWantedBytesInFlight);
    }
  // Whole groups of f64, and what static shared memory holds beside the sums of f64.
  EXPECT_EQ(kWalkBatchBytes % (8 * kGroup), 0);
  EXPECT_LE(kWalkInputs * kWalkThreads * kWalkBatchBytes + kWalkThreads * 24, 48 << 10);
}

TEST(PlanWalk, EveryElementOnce) {
  for (const auto& [rows, cols] : kWalkShapes)
    for (const WalkPlan& plan : {plan_walk(rows, cols), plan_walk_to_maximum(rows, cols)}) {
      std::vector<int> touched(static_cast<std::size_t>(rows * cols));
      walk(plan, [&](const Group& group) {
        for (std::int64_t e = 0; e < group.count; ++e) ++touched[static_cast<std::size_t>(group.element + e)];
      });
      EXPECT_EQ(std::count(touched.begin(), touched.end(), 1), rows * cols) << rows << " x " << cols;
    }
}

// The sum that a group's elements go to is one of their channel, and elements of one row of the walk lie in
// one row of the tensors.
TEST(PlanWalk, ChannelSumsAreOfOneChannel) {
  std::vector<std::array<std::int64_t, 2>> shapes;
  for (const std::int64_t rows : {1, 2, 3, 33, 1000})
    for (const std::int64_t cols : {1, 3, 4, 5, 127, 130, 1024, 5000}) shapes.push_back({rows, cols});
  for (const auto& shape :
       {std::array<std::int64_t, 2>{1, 300000}, {2, 3 << 16}, {3, 1 << 18}, {70000, 2}, {2000, 40}})
    shapes.push_back(shape);
  int kinds[3] = {}, several_rounds = 0;
  for (const auto& [rows, cols] : shapes)
    for (const std::int64_t channels : {1, 2, 3, 5, 127, 1000, 1024, 1 << 16})
      for (const std::int64_t inner : {1, 2, 5, 40, 128, 1024, 5000}) {
        if (rows * cols % (channels * inner) != 0) continue;
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols) + ", " + std::to_string(channels) +
                     " channels of " + std::to_string(inner));
        const ChannelSumPlan plan = plan_channel_sum(rows, cols, channels, inner);
        if (plan.walk.tiles() == 0) {
          EXPECT_TRUE(channels > 1 && rows > 1 && cols % (channels * inner) != 0 && inner % cols != 0);
          continue;
        }
        ++kinds[static_cast<int>(plan.sums)];
        several_rounds += plan.walk.rounds > 1;
        EXPECT_EQ(plan.outer, divide_up(plan.count, plan.channels * plan.inner));
        std::vector<int> touched(static_cast<std::size_t>(rows * cols));
        int wrong = 0;
        walk(plan.walk, [&](const Group& group) {
          if (rows > 1 && group.count > 0) {  // a segment is rows of the tensors, or lies in one
            const std::int64_t first = group.element - group.row * plan.walk.width - group.column;
            wrong += plan.walk.width == cols ? first % cols != 0 : first % cols + plan.walk.count > cols;
          }
          for (std::int64_t e = 0; e < group.count; ++e) {
            ++touched[static_cast<std::size_t>(group.element + e)];
            const std::int64_t tile_row = group.block / plan.walk.column_tiles;
            const std::int64_t index = plan.sums == TileSums::kTile ? group.block
                                       : plan.sums == TileSums::kSlots
                                           ? group.slot
                                           : tile_row * plan.walk.width + group.column + e;
            wrong += index >= plan.count ||
                     index / plan.inner % plan.channels != (group.element + e) / inner % channels;
          }
        });
        EXPECT_EQ(wrong, 0);
        EXPECT_EQ(std::count(touched.begin(), touched.end(), 1), rows * cols);
      }
  for (const int kind : kinds) EXPECT_GT(kind, 10);
  EXPECT_GT(several_rounds, 10);
}

TEST(PlanWalk, LargeShapes) {
  for (const auto& [rows, cols] : {std::pair{std::int64_t{1}, std::int64_t{1} << 40},
                                   {std::int64_t{1} << 30, std::int64_t{1000}},
                                   {std::int64_t{1} << 36, std::int64_t{1}},
                                   {std::int64_t{3}, std::int64_t{1} << 36}}) {
    EXPECT_LE(plan_walk(rows, cols).tiles(), kLargestGrid);
    EXPECT_GT(plan_walk(rows, cols).tiles(), 1000);
    // Partial maxima: a mebibyte of f32.
    EXPECT_LE(plan_walk_to_maximum(rows, cols).tiles(), 1 << 18);
  }
}

// Scratch memory: a few sums for each tile, or as many as channels, whatever the shape.
TEST(PlanWalk, FewPartialSums) {
  const int powers[] = {1, 2, 6, 10, 13, 16, 20, 24, 30};
  int shapes = 0;
  for (const int a : powers)
    for (const int b : powers)
      for (const int c : powers)
        for (const int d : powers) {
          if (a + b + c + d > 38) continue;
          const auto odd = [](int power) { return power == 1 ? 1 : (std::int64_t{1} << power) + 1; };
          // [o, rows..., channels, inner...] with the cut into rows at every place.
          const std::int64_t outer = odd(a), channels = odd(b), inner = odd(c), more = odd(d);
          struct Shape {
            std::int64_t rows, cols, inner;
          };
          for (const Shape& shape : {Shape{1, outer * channels * inner * more, inner * more},
                                     Shape{outer, channels * inner * more, inner * more},
                                     Shape{outer, more * channels * inner, inner},
                                     Shape{outer * channels, inner * more, inner * more},
                                     Shape{outer * channels * inner, more, inner * more}}) {
            ++shapes;
            const ChannelSumPlan plan = plan_channel_sum(shape.rows, shape.cols, channels, shape.inner);
            ASSERT_GT(plan.walk.tiles(), 0);
            ASSERT_LE(plan.walk.tiles(), kLargestGrid);
            // 12 bytes each in f32.
            ASSERT_LE(plan.count, std::max<std::int64_t>(1 << 19, 2 * channels))
                << "[" << shape.rows << ", " << shape.cols << "], " << channels << " channels of "
                << shape.inner;
            ASSERT_LE(plan_walk_to_maximum(shape.rows, shape.cols).tiles(), 1 << 18);
            // Large tensors have work for many multiprocessors.
            if (shape.rows * shape.cols >= 1 << 24) {
              ASSERT_GE(plan.walk.tiles(), 100) << "[" << shape.rows << ", " << shape.cols << "], "
                                                << channels << " channels of " << shape.inner;
            }
          }
        }
  EXPECT_GT(shapes, 1000);
}

}  // namespace

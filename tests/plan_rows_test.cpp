// How rows are shared out: the plans of every length on several devices.
#include "kernels/softmax/plan_rows.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace actium::kernels;

const std::vector<RowDevice> kDevices = {
    {132, 227 << 10, true},   // H200
    {148, 227 << 10, true},   // B200
    {108, 163 << 10, false},  // A100
    {40, 64 << 10, false},    // T4
    {1, 48 << 10, true},
};

/// Every length up to 5000, and both sides of powers of two and of what the plans turn at.
std::vector<std::int64_t> lengths() {
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 0; n <= 5000; ++n) lengths.push_back(n);
  for (int log2 = 12; log2 < 41; ++log2)
    for (const std::int64_t d : {-17, -1, 0, 1, 3, 1000}) lengths.push_back((std::int64_t{1} << log2) + d);
  for (const RowDevice& device : kDevices)
    for (const std::int64_t bytes : {1, 2, 4, 8})
      for (const std::int64_t d : {-9, -1, 0, 1, 9}) lengths.push_back(device.shared_bytes * 8 / bytes + d);
  return lengths;
}

TEST(PlanRows, EveryColumnHasAThreadAndEveryThreadRoom) {
  for (const RowDevice& device : kDevices)
    for (const int bytes : {2, 4, 8})
      for (const int inputs : {1, 2})
        for (const std::int64_t cols : lengths()) {
          SCOPED_TRACE(testing::Message() << device.multiprocessors << " multiprocessors, " << cols << " of "
                                          << bytes << " bytes, " << inputs << " inputs");
          const RowPlan plan = plan_row(cols, bytes, inputs, device);
          const std::int64_t count = 16 / bytes, packets = divide_up(cols, count);
          switch (plan.scope) {
            case RowScope::kLanes:
              ASSERT_LE(1 << plan.threads_log2, kWarpSize);
              ASSERT_GE(std::int64_t{plan.packets} << plan.threads_log2, packets);
              if (plan.threads_log2 > 0) {
                ASSERT_LT(std::int64_t{plan.packets} << plan.threads_log2, 2 * packets) << "half are idle";
              }
              break;
            case RowScope::kBlock:
              ASSERT_LE(1 << plan.threads_log2, row_block_threads(bytes));
              ASSERT_GE(1 << plan.threads_log2, 128);
              ASSERT_GE(std::int64_t{plan.packets} << plan.threads_log2, packets);
              break;
            default:
              ASSERT_GE(plan.slices * plan.slice_packets, packets);
              ASSERT_EQ(plan.slices > 1, plan.scope != RowScope::kSlice &&
                                             (plan.scope != RowScope::kGrid || device.multiprocessors > 1));
              ASSERT_LE(plan.shared_bytes, device.shared_bytes);
              if (plan.scope == RowScope::kSlice || plan.scope == RowScope::kCluster) {
                ASSERT_GT(plan.shared_bytes, 0) << "the row is read once";
              }
              if (plan.scope == RowScope::kCluster) {
                ASSERT_LE(plan.slices, kClusterMaxBlocks);
                ASSERT_EQ(plan.slices & (plan.slices - 1), 0);
              }
              if (plan.scope == RowScope::kGrid) {
                ASSERT_LE(plan.slices, device.multiprocessors) << "all resident at once";
              }
              if (!device.clusters) {
                ASSERT_TRUE(plan.scope == RowScope::kSlice || plan.scope == RowScope::kLaunches);
              }
          }
          if (plan.scope <= RowScope::kBlock) {
            ASSERT_LE(plan.packets * count * inputs, bytes == 8 ? 16 : 32) << "registers";
          }
        }
}

TEST(PlanRows, LongerRowsNeverTakeLess) {
  for (const RowDevice& device : kDevices)
    for (const int bytes : {2, 4, 8}) {
      RowScope previous = RowScope::kLanes;
      for (std::int64_t cols = 0; cols < 3'000'000; cols += cols < 40'000 ? 1 : 997) {
        const RowScope scope = plan_row(cols, bytes, 1, device).scope;
        ASSERT_GE(scope, previous) << cols;
        previous = scope;
      }
      EXPECT_EQ(previous, device.clusters ? RowScope::kGrid : RowScope::kLaunches);
    }
}

// An H200 reads rows of up to 7.5 million f32 once.
TEST(PlanRows, RowsThatAreReadOnce) {
  const RowDevice h200 = kDevices[0];
  EXPECT_GT(plan_row(7'500'000, 4, 1, h200).shared_bytes, 0);
  EXPECT_EQ(plan_row(8'000'000, 4, 1, h200).shared_bytes, 0);
  EXPECT_EQ(plan_row(1 << 20, 4, 1, h200).scope, RowScope::kGrid);
  EXPECT_EQ(plan_row(1 << 18, 4, 1, h200).scope, RowScope::kCluster);
  EXPECT_EQ(plan_row(128256, 2, 1, h200).scope, RowScope::kCluster);
  // Four rows of a million at a time.
  EXPECT_EQ(row_blocks(4, plan_row(1 << 20, 4, 1, h200), h200), 128u);
}

TEST(PlanRows, BlocksCoverTheRowsOrFillTheGrid) {
  for (const RowDevice& device : kDevices)
    for (const std::int64_t cols : {1, 5, 100, 1000, 5000, 30'000, 300'000, 3'000'000}) {
      const RowPlan plan = plan_row(cols, 4, 1, device);
      for (const std::int64_t rows :
           {std::int64_t{1}, std::int64_t{2}, std::int64_t{127}, std::int64_t{128}, std::int64_t{129},
            std::int64_t{kLargestGrid} - 1, std::int64_t{kLargestGrid} + 1, std::int64_t{1} << 40,
            std::int64_t{1} << 59}) {
        const std::int64_t blocks = row_blocks(rows, plan, device);
        ASSERT_GE(blocks, 1);
        ASSERT_LE(blocks, kLargestGrid);
        ASSERT_EQ(blocks % plan.slices, 0);
        const std::int64_t at_once = blocks / plan.slices * rows_of_block(plan);
        ASSERT_TRUE(at_once >= rows ? at_once - rows_of_block(plan) < rows
                                    : plan.scope == RowScope::kGrid || blocks + plan.slices > kLargestGrid);
        if (plan.scope == RowScope::kGrid) {
          ASSERT_LE(blocks, device.multiprocessors);
        }
      }
    }
}

TEST(PlanRows, FewWaysTakeOnePacketALaneOrAllAndNoBlockInRegisters) {
  const RowDevice h200{132, (227 << 10) - kStaticSharedBytes, true};
  const auto plan = [&](std::int64_t cols, int inputs) { return plan_row(cols, 4, inputs, h200, 0, true); };
  EXPECT_EQ(plan(128, 1).packets, 1);
  EXPECT_EQ(plan(129, 1).packets, 8);
  EXPECT_EQ(plan(1024, 1).scope, RowScope::kLanes);
  EXPECT_EQ(plan(1025, 1).scope, RowScope::kSlice);
  EXPECT_EQ(plan(129, 2).packets, 4);
  EXPECT_EQ(plan(256, 3).packets, 2);
  EXPECT_EQ(plan(257, 3).scope, RowScope::kSlice);
  for (const std::int64_t cols : {20'000, 30'000, 100'000, 3'000'000})
    EXPECT_EQ(plan(cols, 1).scope, cols <= 32'768 ? RowScope::kSlice : plan_row(cols, 4, 1, h200).scope);
}

}  // namespace

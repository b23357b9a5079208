#pragma once
// The emulated GPU as devices of several kinds, and the lengths at which each shares out a row differently.
#include <gtest/gtest.h>

#include <actium/context.hpp>
#include <set>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include "emulator/emulator.hpp"
#include "kernels/softmax/plan_rows.hpp"
#include "support/samples.hpp"

namespace actium_test {

using actium::kernels::RowScope;

/// Small devices, so that short rows take every way.
struct RowDeviceCase {
  const char* name;
  int multiprocessors, shared_kib, clusters, longest_kib;
  std::set<RowScope> scopes;  // of rows up to `longest_kib`
  bool reads_again;           // some rows of the grid, which its shared memory does not hold
};
inline const RowDeviceCase kRowDevices[] = {
    {"clusters",
     132,
     227,
     1,
     300,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kSlice, RowScope::kCluster},
     false},
    {"small_clusters",
     12,
     19,
     1,
     200,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"little_memory",
     3,
     12,
     1,
     80,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"no_clusters", 7, 19, 0, 80, {RowScope::kLanes, RowScope::kBlock, RowScope::kLaunches}, false}};

class RowDeviceTest : public testing::TestWithParam<RowDeviceCase> {
 protected:
  void SetUp() override {
    emulator::set_attribute(cudaDevAttrMultiProcessorCount, GetParam().multiprocessors);
    emulator::set_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, GetParam().shared_kib << 10);
    emulator::set_attribute(cudaDevAttrClusterLaunch, GetParam().clusters);
  }
  void TearDown() override {
    for (const cudaDeviceAttr attribute :
         {cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrClusterLaunch})
      emulator::set_attribute(attribute, -1);
  }
  const actium::Context ctx = actium::Context::cuda();

  /// Both sides of every length up to `most` at which the plan changes, but for the slices' number.
  static std::vector<std::int64_t> turns(int bytes, int inputs, std::int64_t most, int registers = 0) {
    const actium::kernels::RowDevice device = actium::kernels::row_device();
    // First of all the length that fills the shared memory a block has without asking for more.
    std::vector<std::int64_t> lengths{(48 << 10) / bytes, 1};
    const auto plan = [&](std::int64_t cols) {
      return actium::kernels::plan_row(cols, bytes, inputs, device, registers);
    };
    for (std::int64_t cols = 2; cols <= most; ++cols) {
      const actium::kernels::RowPlan now = plan(cols), before = plan(cols - 1);
      const bool slices = !quick() && now.scope > RowScope::kSlice && now.slices != before.slices &&
                          (now.slices <= 3 || now.slices == device.multiprocessors);
      if (now.scope != before.scope || now.packets != before.packets ||
          now.threads_log2 != before.threads_log2 || slices ||
          (now.shared_bytes == 0) != (before.shared_bytes == 0)) {
        if (!quick() || now.scope <= RowScope::kBlock) lengths.push_back(cols - 1);
        lengths.push_back(cols);
      }
    }
    lengths.push_back(most);
    return lengths;
  }
};

}  // namespace actium_test

#define ACTIUM_INSTANTIATE_ROW_DEVICES(Suite)                                    \
  INSTANTIATE_TEST_SUITE_P(, Suite, testing::ValuesIn(actium_test::kRowDevices), \
                           [](const auto& device) { return std::string(device.param.name); })

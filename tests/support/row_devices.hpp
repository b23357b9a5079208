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
  int multiprocessors, shared_kib, clusters;
  int more_than_kib, longest_kib;  // the rows
  std::set<RowScope> scopes;       // of these
  bool reads_again;                // some rows of the grid, which its shared memory does not hold
};
inline const RowDeviceCase kRowDevices[] = {
    {"clusters",
     132,
     227,
     1,
     0,
     300,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kSlice, RowScope::kCluster},
     false},
    {"small_clusters",
     12,
     19,
     1,
     0,
     200,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"little_memory",
     3,
     12,
     1,
     0,
     80,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"no_clusters", 7, 19, 0, 0, 80, {RowScope::kLanes, RowScope::kBlock, RowScope::kLaunches}, false}};

/// Where tests are quick: each way once, with the fewest threads. A block has at most 64 KiB in registers; a
/// row of more has two slices here.
inline const RowDeviceCase kQuickRowDevices[] = {
    {"clusters",
     2,
     71,
     1,
     0,
     69,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kSlice, RowScope::kCluster},
     false},
    {"grid", 2, 11, 1, 64, 65, {RowScope::kGrid}, true},
    {"no_clusters", 2, 38, 0, 64, 65, {RowScope::kLaunches}, false}};

inline std::vector<RowDeviceCase> row_devices() {
  if (quick()) return {std::begin(kQuickRowDevices), std::end(kQuickRowDevices)};
  return {std::begin(kRowDevices), std::end(kRowDevices)};
}

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

  /// Both sides of every length at which the plan of such rows changes, but for the slices' number. Where
  /// tests are quick: the shortest row of each way, and the longest in fewer registers.
  static std::vector<std::int64_t> turns(int bytes, int inputs, int registers = 0) {
    const actium::kernels::RowDevice device = actium::kernels::row_device();
    const auto plan = [&](std::int64_t cols) {
      return actium::kernels::plan_row(cols, bytes, inputs, device, registers);
    };
    const auto columns = [&](int kib) { return (std::int64_t{kib} << 10) / bytes / inputs; };
    const std::int64_t first = columns(GetParam().more_than_kib) + 1, most = columns(GetParam().longest_kib);
    std::vector<std::int64_t> lengths{first};
    for (std::int64_t cols = first + 1; cols <= most; ++cols) {
      const actium::kernels::RowPlan now = plan(cols), before = plan(cols - 1);
      const bool in_registers = now.scope <= RowScope::kBlock;
      const bool threads = now.threads_log2 != before.threads_log2;
      const bool slices = now.scope > RowScope::kSlice && now.slices != before.slices &&
                          (now.slices <= 3 || now.slices == device.multiprocessors);
      if (now.scope != before.scope || now.packets != before.packets ||
          (now.shared_bytes == 0) != (before.shared_bytes == 0) || (!quick() && (threads || slices))) {
        if (!quick() || in_registers) lengths.push_back(cols - 1);
        lengths.push_back(cols);
      }
    }
    if (!quick()) {
      lengths.push_back(most);
      // The length that fills the shared memory that a block has without asking for more: first of all.
      lengths.insert(lengths.begin(), (48 << 10) / bytes);
    }
    return lengths;
  }
};

}  // namespace actium_test

#define ACTIUM_INSTANTIATE_ROW_DEVICES(Suite)                                      \
  INSTANTIATE_TEST_SUITE_P(, Suite, testing::ValuesIn(actium_test::row_devices()), \
                           [](const auto& device) { return std::string(device.param.name); })

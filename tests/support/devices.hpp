#pragma once
// One test body for every device. A suite derives from DeviceTest, uses TEST_P and context(), and is
// instantiated with ACTIUM_INSTANTIATE_DEVICES(Suite). Where a device is missing its tests are skipped with
// the reason; with ACTIUM_REQUIRE_GPU=1 in the environment that is a failure. In a program over the emulated
// library the device called "emulated" takes the place of "cuda".
#include <gtest/gtest.h>

#include <actium/context.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

namespace actium_test {

/// "cuda" (support/gpu.cpp) or "emulated" (emulator/listener.cpp): suites are compiled once for both.
extern const char* const kGpu;
inline bool emulated() { return std::string_view(kGpu) == "emulated"; }

inline bool has_cuda() { return actium::Context::best().is_cuda(); }

class DeviceTest : public testing::TestWithParam<const char*> {
 protected:
  bool on_cuda() const { return std::string_view(GetParam()) == kGpu; }
  void SetUp() override {
    if (!on_cuda() || has_cuda()) return;
    const std::string reason = "no CUDA device: " + actium::build_info().cuda_status;
    const char* required = std::getenv("ACTIUM_REQUIRE_GPU");
    // CTest tells a skip from a failure by the word before the reason.
    if (required != nullptr && std::string_view(required) == "1")
      FAIL() << "ACTIUM_REQUIRE_GPU=1, but " << reason;
    GTEST_SKIP() << "skipped: " << reason;
  }
  actium::Context context() const { return on_cuda() ? actium::Context::cuda() : actium::Context::cpu(); }
};

}  // namespace actium_test

#define ACTIUM_INSTANTIATE_DEVICES(Suite)                                             \
  INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::Values("cpu", actium_test::kGpu), \
                           [](const auto& device) { return std::string(device.param); })

// The name of the emulated device; violations are test failures, and a failure says how to run it again under
// the same schedule.
#include <gtest/gtest.h>

#include <iostream>

#include "emulator.hpp"
#include "support/devices.hpp"

const char* const actium_test::kGpu = "emulated";

namespace {

class Listener : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& test) override {
    for (const std::string& violation : emulator::take_violations()) {
      ADD_FAILURE() << violation;
      emulator::reset_device();
    }
    if (test.result()->Failed()) std::cout << "emulated with " << emulator::replay() << std::endl;
  }
};

const bool registered = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new Listener);
  return true;
}();

}  // namespace

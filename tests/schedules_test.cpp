// Every kernel gives the same bits whatever order its threads, warps and blocks take, and whatever fresh
// memory holds.
#include <gtest/gtest.h>

#include "emulator/emulator.hpp"
#include "emulator/sanitizers.hpp"
#include "support/every_operation.hpp"
#include "support/samples.hpp"

namespace {

using namespace actium;
using namespace actium_test;
using emulator::is_initialised;
using emulator::Schedule;
using emulator::under_valgrind;

std::vector<std::vector<std::byte>> results_under(Schedule schedule, std::uint64_t seed,
                                                  unsigned char poison) {
  emulator::Options& options = emulator::options();
  options.schedule = schedule;
  options.seed = seed;
  options.poison = poison;
  const Context ctx = Context::cuda();
  std::vector<std::vector<std::byte>> results;
  for (const Operation& operation : every_operation(ctx, kSeed)) {
    operation.run(ctx);
    results.push_back(operation.read(ctx));
  }
  return results;
}

TEST(Schedules, EveryOrderAndEveryPoisonGivesTheSameBits) {
  const emulator::Options before = emulator::options();
  const auto want = results_under(Schedule::kForward, 0, 0xff);
  std::vector<std::string> names;
  for (const Operation& operation : every_operation(Context::cuda(), kSeed)) names.push_back(operation.name);
  const std::uint64_t seeds = quick() ? 1 : 8;
  for (const std::uint8_t poison : {std::uint8_t{0xff}, std::uint8_t{0x7f}})
    for (std::uint64_t run = 0; run < 2 + seeds; ++run) {
      const Schedule schedule = run == 0   ? Schedule::kForward
                                : run == 1 ? Schedule::kReverse
                                           : Schedule::kRandom;
      const auto got = results_under(schedule, run, poison);
      for (std::size_t i = 0; i < names.size(); ++i)
        EXPECT_EQ(got[i] == want[i], true) << names[i] << " with " << emulator::replay();
    }
  emulator::options() = before;
}

// Under valgrind: it reports every branch and address that depends on uninitialised memory; here, every
// result.
TEST(Initialisation, NoResultDependsOnFreshMemory) {
  if (!under_valgrind()) GTEST_SKIP() << "only valgrind can tell";
  const Context ctx = Context::cuda();
  for (const Operation& operation : every_operation(ctx, kSeed)) {
    operation.run(ctx);
    const std::vector<std::byte> wrote = operation.read(ctx);
    EXPECT_TRUE(is_initialised(wrote.data(), wrote.size())) << operation.name;
  }
}

}  // namespace

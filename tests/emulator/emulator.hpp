#pragma once
// What tests see of the emulator: which order threads take, what fresh memory holds, faults to inject, and
// what was counted and found wrong. One device, process wide; every function may be called from any host
// thread.
//
//   ACTIUM_EMULATOR_SCHEDULE=forward | reverse | random:SEED    the order of threads, blocks and streams
//   ACTIUM_EMULATOR_POISON=0xff                                 the byte that fresh memory is filled with
//   ACTIUM_EMULATOR_LOG=FILE                                    at exit, a line for each kernel: launches,
//   name
#include <cuda_runtime_api.h>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

enum class Schedule : std::uint8_t { kForward, kReverse, kRandom };

struct Options {
  Schedule schedule = Schedule::kForward;
  std::uint64_t seed = 1;       // of Schedule::kRandom, and of the order of streams
  unsigned char poison = 0xff;  // 0xff...: a NaN in every float type, -1 in integers; 0x7f...: huge numbers
  std::vector<std::uint64_t>
      only;  // run only these clusters (x fastest) of each grid: huge grids over sparse memory
};
/// The knobs, first read from the environment. Not while work is queued.
Options& options();
/// The knobs as environment variables, to run a failure again.
std::string replay();

/// What was found wrong since the last call: "kernel: what, file:line". A launch with a violation ends at
/// once, like one that faults, and breaks the device until reset_device().
std::vector<std::string> take_violations();

struct Counters {
  std::uint64_t launches = 0;          // kernels queued or captured
  std::uint64_t allocations = 0;       // cudaMalloc and cudaMallocAsync that succeeded
  std::uint64_t allocation_calls = 0;  // and those that did not
  std::uint64_t synchronisations = 0;  // calls that wait for a stream, an event or the device
  std::uint64_t copies = 0;            // memcpy and memset, queued or captured
  std::size_t live_allocations = 0;
  std::size_t live_bytes = 0;
};
Counters counters();

/// The k-th allocation from now (0: the next one) fails, once; -1: none does.
void fail_allocation(std::int64_t k);
/// The k-th launch from now fails, once, with this error; -1: none does.
void fail_launch(std::int64_t k, cudaError_t error);
/// The device's memory; allocations beyond it fail. Allocations of 1 GiB and more are address space only:
/// pages that nobody touches cost nothing and read as zero.
void set_memory(std::size_t bytes);
/// Another answer of cudaDeviceGetAttribute than the emulated device's own; -1: its own again. The limits
/// that launches are held to stay.
void set_attribute(cudaDeviceAttr attribute, int value);
/// What a kernel that faulted leaves: every call returns this error until reset_device().
void break_device(cudaError_t error);
/// Drops queued work, captures and errors; memory stays.
void reset_device();

}  // namespace emulator

// The emulated CUDA runtime and cuBLAS (tests/emulator/): work runs late, in an order that the schedule
// chooses, and whatever a device would refuse or get wrong is found out.
#include <cublas_v2.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "emulator/emulator.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define ACTIUM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ACTIUM_ASAN 1
#endif
#endif
#ifndef ACTIUM_ASAN
#define ACTIUM_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define ACTIUM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ACTIUM_TSAN 1
#endif
#endif
#ifndef ACTIUM_TSAN
#define ACTIUM_TSAN 0
#endif

using emulator::Schedule;

// ---------------------------------------------------------------- kernels

__global__ void fill_kernel(int* x, int value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void copy_kernel(const int* x, int* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
}
__global__ void increment_kernel(int* x) { ++x[blockIdx.x * blockDim.x + threadIdx.x]; }
__global__ void append_kernel(int* digits, int digit) { *digits = 10 * *digits + digit; }
__global__ void empty_kernel() {}
__global__ void divergent_kernel() {
  if (threadIdx.x == 0) __syncthreads();
}
__global__ void early_and_late_kernel(const int* x, int* seen) {
  seen[0] = *x;
  cudaGridDependencySynchronize();
  seen[1] = *x;
}

namespace {

constexpr unsigned kThreads = 4;  // in most launches: fibers are dear under sanitizers

cudaLaunchAttribute cluster_of(unsigned x, unsigned y = 1, unsigned z = 1) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = x;
  attribute.val.clusterDim.y = y;
  attribute.val.clusterDim.z = z;
  return attribute;
}
cudaLaunchAttribute cooperative() {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  return attribute;
}
cudaLaunchAttribute programmatic() {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  return attribute;
}

struct Shape {
  dim3 blocks{1}, threads{kThreads};
  std::size_t shared = 0;
  std::vector<cudaLaunchAttribute> attributes = {};
};
template <class... Parameters, class... Arguments>
cudaError_t launch(const Shape& shape, cudaStream_t stream, void (*kernel)(Parameters...),
                   Arguments... arguments) {
  std::vector<cudaLaunchAttribute> attributes = shape.attributes;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared;
  config.stream = stream;
  config.attrs = attributes.data();
  config.numAttrs = static_cast<unsigned>(attributes.size());
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}
template <class... Parameters>
const void* address_of(void (*kernel)(Parameters...)) {
  return reinterpret_cast<const void*>(kernel);
}
const Shape kOne{.threads = 1};
const Shape kProgrammatic{.threads = 1, .attributes = {programmatic()}};

#define EXPECT_CUDA(call) EXPECT_EQ(call, cudaSuccess)

class Stream {
 public:
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    EXPECT_CUDA(cudaStreamCreateWithFlags(&stream_, flags));
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};
class Event {
 public:
  explicit Event(unsigned flags = cudaEventDefault) { EXPECT_CUDA(cudaEventCreateWithFlags(&event_, flags)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};
/// `count` values in device memory.
template <class T>
class Device {
 public:
  explicit Device(std::size_t count, T value = {}) : count_(count) {
    EXPECT_CUDA(cudaMalloc(&data_, count * sizeof(T)));
    const std::vector<T> values(count, value);
    EXPECT_CUDA(cudaMemcpy(data_, values.data(), count * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    EXPECT_CUDA(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  operator T*() const { return data_; }
  T* get() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    EXPECT_CUDA(cudaDeviceSynchronize());
    EXPECT_CUDA(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  T first() const { return read()[0]; }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

class EmulatorRuntimeTest : public testing::Test {
 protected:
  void SetUp() override { live_ = emulator::counters().live_bytes; }
  void TearDown() override {
    emulator::options() = options_;
    emulator::fail_allocation(-1);
    emulator::fail_launch(-1, cudaSuccess);
    emulator::reset_device();
    emulator::set_memory(std::size_t{141} << 30);
    for (const std::string& violation : emulator::take_violations()) ADD_FAILURE() << violation;
    EXPECT_EQ(emulator::counters().live_bytes, live_) << "leaked";
  }

  /// The results of `body` under all schedules.
  static std::set<int> results(const std::function<int()>& body) {
    std::set<int> seen;
    for (std::uint64_t seed = 0; seed < 22; ++seed) {
      emulator::options().schedule = seed == 0   ? Schedule::kForward
                                     : seed == 1 ? Schedule::kReverse
                                                 : Schedule::kRandom;
      emulator::options().seed = seed;
      seen.insert(body());
    }
    return seen;
  }

  /// The one violation since the last time holds all of these words.
  static void expect_violation(std::initializer_list<std::string> words) {
    const std::vector<std::string> violations = emulator::take_violations();
    ASSERT_EQ(violations.size(), 1u);
    for (const std::string& word : words)
      EXPECT_NE(violations[0].find(word), std::string::npos) << violations[0];
  }

 private:
  emulator::Options options_ = emulator::options();
  std::size_t live_ = 0;
};

/// Device memory as it is now, without waiting: the emulator's is the host's.
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize_thread))
#elif ACTIUM_TSAN
__attribute__((no_sanitize("thread")))
#endif
int peek(const volatile int* x) {
  return *x;
}

/// This program again, with one test and an environment: its output, and whether it succeeded.
struct Outcome {
  std::string output;
  int status = -1;
};
Outcome run_again(const std::string& test, const std::string& environment = "") {
  std::array<char, 4096> path{};
  Outcome run;
  if (readlink("/proc/self/exe", path.data(), path.size() - 1) < 0) return run;
  const std::string command = environment + " '" + path.data() +
                              "' --gtest_also_run_disabled_tests --gtest_filter='*." + test + "' 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return run;
  for (std::array<char, 4096> part{}; std::fgets(part.data(), part.size(), pipe) != nullptr;)
    run.output += part.data();
  const int status = pclose(pipe);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

// ---------------------------------------------------------------- streams

TEST_F(EmulatorRuntimeTest, WorkRunsWhenSomebodyWaits) {
  emulator::options().schedule = Schedule::kForward;
  const Stream a, b;
  const Device<int> x(kThreads, 1), y(kThreads, 1);
  EXPECT_CUDA(launch({}, a, fill_kernel, x.get(), 2));
  EXPECT_CUDA(launch({}, b, fill_kernel, y.get(), 3));
  EXPECT_EQ(peek(x), 1) << "nothing has run";
  EXPECT_EQ(cudaStreamQuery(a), cudaSuccess) << "a query runs a piece of work";
  EXPECT_EQ(peek(x), 2);
  EXPECT_EQ(peek(y), 1);
  EXPECT_CUDA(cudaStreamSynchronize(b));
  EXPECT_EQ(peek(y), 3);
}

TEST_F(EmulatorRuntimeTest, PollingEnds) {
  const Stream a, b;
  const Device<int> x(1, 0), y(1, 0);
  for (int i = 0; i < 3; ++i)
    EXPECT_CUDA(launch(kOne, i == 1 ? a : b, increment_kernel, i == 1 ? y.get() : x.get()));
  int polls = 1;
  while (cudaStreamQuery(b) == cudaErrorNotReady) ++polls;
  EXPECT_LE(polls, 3);
  EXPECT_EQ(cudaGetLastError(), polls > 1 ? cudaErrorNotReady : cudaSuccess);
  const Event event;
  EXPECT_CUDA(cudaEventQuery(event)) << "never recorded";
  EXPECT_CUDA(launch(kOne, b, increment_kernel, x.get()));
  EXPECT_CUDA(launch(kOne, b, increment_kernel, x.get()));
  EXPECT_CUDA(cudaEventRecord(event, b));
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  while (cudaEventQuery(event) == cudaErrorNotReady) {
  }
  EXPECT_EQ(x.first(), 4);
}

TEST_F(EmulatorRuntimeTest, AnEventOrdersTwoStreams) {
  const auto copied = [](bool waits) {
    return results([&] {
      const Stream a, b;
      const Event event(cudaEventDisableTiming);
      const Device<int> x(kThreads, 1), y(kThreads, 0);
      EXPECT_CUDA(launch({}, a, fill_kernel, x.get(), 2));
      EXPECT_CUDA(cudaEventRecord(event, a));
      if (waits) {
        EXPECT_CUDA(cudaStreamWaitEvent(b, event, 0));
      }
      EXPECT_CUDA(launch({}, b, copy_kernel, x.get(), y.get()));
      return y.first();
    });
  };
  EXPECT_EQ(copied(true), std::set{2});
#if !ACTIUM_TSAN  // which reports this
  EXPECT_EQ(copied(false), (std::set{1, 2}));
#endif
}

TEST_F(EmulatorRuntimeTest, AWaitMeansTheLastRecordBeforeIt) {
  EXPECT_EQ(results([] {
              const Stream a, b;
              const Event event;
              const Device<int> x(1, 0), seen(1, 0);
              EXPECT_CUDA(cudaStreamWaitEvent(b, event, 0)) << "never recorded: nothing to wait for";
              EXPECT_CUDA(launch(kOne, a, fill_kernel, x.get(), 1));
              EXPECT_CUDA(cudaEventRecord(event, a));
              EXPECT_CUDA(cudaStreamWaitEvent(b, event, 0));
              EXPECT_CUDA(launch(kOne, b, copy_kernel, x.get(), seen.get()));
              EXPECT_CUDA(cudaEventRecord(event, b));
              EXPECT_CUDA(cudaStreamWaitEvent(a, event, 0));  // a again waits for b: the event is a new one
              EXPECT_CUDA(launch(kOne, a, fill_kernel, x.get(), 2));
              EXPECT_CUDA(cudaEventSynchronize(event));
              EXPECT_EQ(peek(seen), 1) << "the wait of the host is for b";
              return seen.first() + 10 * x.first();
            }),
            std::set{21});
}

TEST_F(EmulatorRuntimeTest, TheLegacyStreamIsOrderedWithBlockingStreams) {
  const auto digits = [](unsigned flags) {
    return results([&] {
      const Stream a(flags), b(flags);
      const Device<int> x(1, 0);
      EXPECT_CUDA(launch(kOne, a, append_kernel, x.get(), 1));
      EXPECT_CUDA(launch(kOne, nullptr, append_kernel, x.get(), 2));
      EXPECT_CUDA(launch(kOne, b, append_kernel, x.get(), 3));
      EXPECT_CUDA(launch(kOne, cudaStreamLegacy, append_kernel, x.get(), 4));
      EXPECT_CUDA(launch(kOne, cudaStreamPerThread, append_kernel, x.get(), 5));
      return x.first();
    });
  };
  EXPECT_EQ(digits(cudaStreamDefault), std::set{12345});
#if !ACTIUM_TSAN
  EXPECT_GT(digits(cudaStreamNonBlocking).size(), 3u);
#endif
}

#if !ACTIUM_TSAN
TEST_F(EmulatorRuntimeTest, TheScheduleChoosesTheStream) {
  const auto digits = [](Schedule schedule) {
    emulator::options().schedule = schedule;
    const Stream streams[5];
    const Device<int> x(1, 0);
    for (const int i : {2, 4, 0, 3, 1}) EXPECT_CUDA(launch(kOne, streams[i], append_kernel, x.get(), i));
    return x.first();
  };
  EXPECT_EQ(digits(Schedule::kForward), 1234);
  EXPECT_EQ(digits(Schedule::kReverse), 43210);
}
#endif

TEST_F(EmulatorRuntimeTest, TheSameSeedGivesTheSameOrder) {
  const auto order = [](std::uint64_t seed) {
    emulator::options().schedule = Schedule::kRandom;
    emulator::options().seed = seed;
    const Stream streams[4];
    std::vector<int> sequence;
    const Event events[4];
    const Device<int> x(4, 0);
    for (int round = 0; round < 2; ++round)
      for (int i = 0; i < 4; ++i) EXPECT_CUDA(launch(kOne, streams[i], increment_kernel, x.get() + i));
    for (int i = 0; i < 8; ++i) {
      static_cast<void>(cudaStreamQuery(streams[0]));
      for (int j = 0; j < 4; ++j) sequence.push_back(peek(x.get() + j));
    }
    EXPECT_CUDA(cudaDeviceSynchronize());
    return sequence;
  };
  const std::vector<int> first = order(5);
  EXPECT_NE(order(6), first);
  EXPECT_EQ(order(5), first) << "another seed starts anew";
  emulator::reset_device();
  EXPECT_EQ(order(5), first) << "and so does a reset";
}

TEST_F(EmulatorRuntimeTest, ADestroyedStreamFinishesItsWork) {
  const Device<int> x(1, 0);
  cudaStream_t stream = nullptr;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 7));
  EXPECT_CUDA(cudaStreamDestroy(stream));
  EXPECT_EQ(x.first(), 7);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  const std::uint64_t launches = emulator::counters().launches;
  EXPECT_EQ(launch(kOne, stream, empty_kernel), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(emulator::counters().launches, launches);
  EXPECT_EQ(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(nullptr, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, 77), cudaErrorInvalidValue);
}

TEST_F(EmulatorRuntimeTest, EventsMeasureTime) {
  const Stream stream;
  const Event start, stop, untimed(cudaEventDisableTiming);
  const Device<int> x(1, 0);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, stop), cudaErrorInvalidResourceHandle)
      << "never recorded";
  EXPECT_CUDA(cudaEventRecord(start, stream));
  EXPECT_CUDA(launch(kOne, stream, increment_kernel, x.get()));
  EXPECT_CUDA(cudaEventRecord(stop, stream));
  EXPECT_CUDA(cudaEventRecord(untimed, stream));
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, stop), cudaErrorNotReady);
  EXPECT_CUDA(cudaEventSynchronize(untimed));
  EXPECT_CUDA(cudaEventElapsedTime(&milliseconds, start, stop));
  EXPECT_GT(milliseconds, 0);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
}

// ---------------------------------------------------------------- memory

TEST_F(EmulatorRuntimeTest, FreshMemoryIsPoison) {
  for (const unsigned char poison : std::initializer_list<unsigned char>{0xff, 0x7f}) {
    emulator::options().poison = poison;
    unsigned char* memory = nullptr;
    EXPECT_CUDA(cudaMalloc(&memory, 1000));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
    std::vector<unsigned char> values(1000);
    EXPECT_CUDA(cudaMemcpy(values.data(), memory, 1000, cudaMemcpyDeviceToHost));
    EXPECT_EQ(values, std::vector<unsigned char>(1000, poison));
    EXPECT_CUDA(cudaFree(memory));
  }
}

TEST_F(EmulatorRuntimeTest, CopiesAndFills) {
  const Stream stream;
  std::vector<int> from{1, 2, 3, 4}, to(4);
  const Device<int> x(4, 0), y(4, 0);
  const emulator::Counters before = emulator::counters();
  EXPECT_CUDA(cudaMemcpyAsync(x, from.data(), 16, cudaMemcpyHostToDevice, stream));
  EXPECT_CUDA(cudaMemcpyAsync(y, x, 16, cudaMemcpyDeviceToDevice, stream));
  EXPECT_CUDA(cudaMemsetAsync(y.get() + 1, 0xff, 4, stream));
  EXPECT_CUDA(cudaMemcpyAsync(to.data(), y, 16, cudaMemcpyDefault, stream));
  EXPECT_EQ(peek(to.data()), 0) << "not yet";
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_EQ(to, (std::vector<int>{1, -1, 3, 4}));
  EXPECT_EQ(emulator::counters().copies - before.copies, 4u);
  EXPECT_EQ(emulator::counters().synchronisations - before.synchronisations, 1u);
  EXPECT_CUDA(cudaMemset(x, 0, 16));
  EXPECT_EQ(peek(x), 1) << "cudaMemset does not wait either";
  EXPECT_CUDA(cudaMemcpy(to.data(), x, 16, cudaMemcpyDefault));
  EXPECT_EQ(to, std::vector<int>(4, 0));
}

TEST_F(EmulatorRuntimeTest, CopiesOutsideTheirMemory) {
  const Device<int> x(4, 0);
  int host[8] = {};
  EXPECT_EQ(cudaMemcpy(x.get() + 1, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  expect_violation({"cudaMemcpy: the destination is 16 bytes", "ends after 12"});
  EXPECT_EQ(cudaMemcpyAsync(host, x, 17, cudaMemcpyDefault, nullptr), cudaErrorInvalidValue);
  expect_violation({"cudaMemcpyAsync: the source is 17 bytes", "ends after 16"});
  EXPECT_EQ(cudaMemset(host, 0, 4), cudaErrorInvalidValue);
  expect_violation({"cudaMemset: the destination", "not device memory"});
  EXPECT_EQ(cudaMemcpy(host, host + 4, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  expect_violation({"the source", "not device memory"});
  EXPECT_EQ(cudaMemcpy(x, x.get() + 1, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  expect_violation({"the source is device memory, but its kind says host"});
  EXPECT_EQ(cudaMemsetAsync(nullptr, 0, 4, nullptr), cudaErrorInvalidValue);
  expect_violation({"the destination is null"});
  EXPECT_EQ(cudaMemcpy(x, host, 4, static_cast<cudaMemcpyKind>(7)), cudaErrorInvalidMemcpyDirection);
  EXPECT_CUDA(cudaMemcpy(nullptr, nullptr, 0, cudaMemcpyDeviceToDevice));
}

TEST_F(EmulatorRuntimeTest, PointersAreKnown) {
  const auto type = [](const void* p) {
    cudaPointerAttributes attributes{};
    EXPECT_CUDA(cudaPointerGetAttributes(&attributes, p));
    EXPECT_EQ(attributes.device, attributes.type == cudaMemoryTypeUnregistered ? cudaInvalidDeviceId : 0);
    EXPECT_EQ(attributes.devicePointer, attributes.type == cudaMemoryTypeUnregistered ? nullptr : p);
    return attributes.type;
  };
  char* p[5] = {};
  for (char*& memory : p) EXPECT_CUDA(cudaMalloc(&memory, 1000));
  char* pinned = nullptr;
  EXPECT_CUDA(cudaMallocHost(&pinned, 1000));
  for (char* memory : p) {
    EXPECT_EQ(type(memory), cudaMemoryTypeDevice);
    EXPECT_EQ(type(memory + 999), cudaMemoryTypeDevice);
    EXPECT_EQ(type(memory + 1000), cudaMemoryTypeUnregistered);
    EXPECT_EQ(type(memory - 1), cudaMemoryTypeUnregistered);
  }
  EXPECT_EQ(type(pinned + 1), cudaMemoryTypeHost);
  EXPECT_EQ(type(&p), cudaMemoryTypeUnregistered);
  EXPECT_EQ(type(nullptr), cudaMemoryTypeUnregistered);

  EXPECT_EQ(cudaFree(p[0] + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(&p), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(p[0]), cudaErrorInvalidValue);
  for (char* memory : p) EXPECT_CUDA(cudaFree(memory));
  EXPECT_EQ(cudaFree(p[0]), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaFreeHost(pinned));
  EXPECT_CUDA(cudaFree(nullptr));
  EXPECT_EQ(type(p[0]), cudaMemoryTypeUnregistered);
}

TEST_F(EmulatorRuntimeTest, MemoryRunsOut) {
  const emulator::Counters before = emulator::counters();
  emulator::set_memory(before.live_bytes + 1000);
  void *a = nullptr, *b = &a;
  EXPECT_CUDA(cudaMalloc(&a, 600));
  EXPECT_EQ(cudaMalloc(&b, 401), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&b, ~std::size_t{0}), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaMalloc(&b, 400));
  std::size_t free = 1, total = 0;
  EXPECT_CUDA(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(free, 0u);
  EXPECT_EQ(total, before.live_bytes + 1000);
  const emulator::Counters after = emulator::counters();
  EXPECT_EQ(after.allocations - before.allocations, 2u);
  EXPECT_EQ(after.allocation_calls - before.allocation_calls, 4u);
  EXPECT_EQ(after.live_allocations - before.live_allocations, 2u);
  EXPECT_EQ(after.live_bytes - before.live_bytes, 1000u);
  EXPECT_CUDA(cudaFree(a));
  EXPECT_CUDA(cudaFree(b));
}

TEST_F(EmulatorRuntimeTest, TheKthAllocationFails) {
  for (int k = 0; k < 3; ++k) {
    emulator::fail_allocation(k);
    for (int i = 0; i < 5; ++i) {
      void* memory = nullptr;
      const cudaError_t error = i % 2 == 0 ? cudaMalloc(&memory, 8) : cudaMallocAsync(&memory, 8, nullptr);
      EXPECT_EQ(error, i == k ? cudaErrorMemoryAllocation : cudaSuccess);
      EXPECT_CUDA(cudaFree(memory));
    }
  }
}

TEST_F(EmulatorRuntimeTest, HugeMemoryIsAddressSpace) {
  char* memory = nullptr;
  constexpr std::size_t kBytes = std::size_t{100} << 30;
  EXPECT_CUDA(cudaMalloc(&memory, kBytes));
  EXPECT_EQ(memory[kBytes - 1], 0);
  EXPECT_CUDA(cudaMemset(memory + kBytes - 4, 3, 4));
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(memory[kBytes - 1], 3);
  EXPECT_CUDA(cudaFree(memory));
  EXPECT_EQ(cudaMalloc(&memory, kBytes * 2), cudaErrorMemoryAllocation);
}

TEST_F(EmulatorRuntimeTest, CudaFreeWaits) {
  int seen = 0;
  int* x = nullptr;
  const Stream stream;
  EXPECT_CUDA(cudaMalloc(&x, 4));
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x, 5));
  EXPECT_CUDA(cudaMemcpyAsync(&seen, x, 4, cudaMemcpyDeviceToHost, stream));
  EXPECT_CUDA(cudaFree(x));
  EXPECT_EQ(seen, 5);
}

TEST_F(EmulatorRuntimeTest, PoolMemoryLivesInStreamOrder) {
  const Stream a;
  const Device<int> y(kThreads, 0);
  int* x = nullptr;
  EXPECT_CUDA(cudaMallocAsync(&x, sizeof(int) * kThreads, a));
  EXPECT_CUDA(launch({}, a, fill_kernel, x, 4));
  EXPECT_CUDA(launch({}, a, copy_kernel, x, y.get()));
  EXPECT_CUDA(cudaFreeAsync(x, a));
  EXPECT_EQ(cudaFreeAsync(x, a), cudaErrorInvalidValue) << "twice";
  EXPECT_EQ(cudaFree(x), cudaErrorInvalidValue) << "twice";
  EXPECT_EQ(cudaMemsetAsync(x, 0, 4, a), cudaErrorInvalidValue);
  expect_violation({"cudaMemsetAsync", "not device memory"});  // cudaFree has run the work
  EXPECT_EQ(y.first(), 4);

  EXPECT_CUDA(cudaMallocAsync(&x, 16, a));
  EXPECT_CUDA(cudaFreeAsync(x, a));
  EXPECT_EQ(cudaMemsetAsync(x, 0, 4, a), cudaErrorInvalidValue);
  expect_violation({"cudaMemsetAsync", "cudaFreeAsync was called for"});
  EXPECT_CUDA(cudaMallocAsync(&x, 16, a));
  EXPECT_CUDA(cudaFree(x)) << "mixed";
  EXPECT_CUDA(cudaMalloc(&x, 16));
  EXPECT_CUDA(cudaFreeAsync(x, a)) << "mixed";
  EXPECT_CUDA(cudaMallocAsync(&x, std::size_t{2} << 30, a));
  EXPECT_CUDA(cudaMemsetAsync(x, 0, 4, a));
  EXPECT_CUDA(cudaFreeAsync(x, a));
  EXPECT_CUDA(cudaDeviceSynchronize());
}

// Without sanitizers the wrong order is poison, or a violation if it is the runtime's own work.
int read_after_free() {
  const Stream a, b;
  const Device<int> y(kThreads, 0);
  int* x = nullptr;
  EXPECT_CUDA(cudaMallocAsync(&x, sizeof(int) * kThreads, a));
  EXPECT_CUDA(launch({}, a, fill_kernel, x, 4));
  EXPECT_CUDA(cudaStreamSynchronize(a));
  EXPECT_CUDA(launch({}, b, copy_kernel, x, y.get()));
  EXPECT_CUDA(cudaFreeAsync(x, a));  // an event from b is missing
  return y.first();
}
int write_before_allocation() {
  const Stream a, b;
  int* x = nullptr;
  EXPECT_CUDA(cudaMallocAsync(&x, sizeof(int) * kThreads, a));
  EXPECT_CUDA(launch({}, b, fill_kernel, x, 4));  // an event from a is missing
  EXPECT_CUDA(cudaDeviceSynchronize());
  const int seen = *x;
  EXPECT_CUDA(cudaFree(x));
  return seen;
}
TEST_F(EmulatorRuntimeTest, DISABLED_ReadAfterFree) { results(read_after_free); }
TEST_F(EmulatorRuntimeTest, DISABLED_WriteBeforeAllocation) { results(write_before_allocation); }
TEST_F(EmulatorRuntimeTest, PoolMemoryOutOfOrder) {
#if ACTIUM_ASAN || ACTIUM_TSAN
  for (const char* test : {"DISABLED_ReadAfterFree", "DISABLED_WriteBeforeAllocation"}) {
    const Outcome run = run_again(test);
    EXPECT_NE(run.status, 0);
    EXPECT_NE(run.output.find(ACTIUM_ASAN ? "AddressSanitizer: use-after-poison" : "data race"),
              std::string::npos)
        << run.output;
  }
#else
  emulator::options().poison = 0xff;
  EXPECT_EQ(results(read_after_free), (std::set{-1, 4}));
  EXPECT_EQ(results(write_before_allocation), (std::set{-1, 4}));
#endif
}

TEST_F(EmulatorRuntimeTest, ACopyThatFindsItsMemoryGone) {
  emulator::options().schedule = Schedule::kForward;
  const Stream a, b;
  int* x = nullptr;
  EXPECT_CUDA(cudaMallocAsync(&x, 16, a));
  EXPECT_CUDA(cudaMemsetAsync(x, 0, 16, b));
  EXPECT_CUDA(cudaFreeAsync(x, a));
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  expect_violation({"cudaMemsetAsync: accesses 16 bytes", "not device memory"});
  emulator::reset_device();
  emulator::options().schedule = Schedule::kReverse;
  EXPECT_CUDA(cudaMallocAsync(&x, 16, a));
  EXPECT_CUDA(cudaMemsetAsync(x, 0, 16, b));
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  expect_violation({"cudaMallocAsync has not run"});
  EXPECT_EQ(cudaFree(x), cudaErrorIllegalAddress) << "but frees";
}

// ---------------------------------------------------------------- errors

TEST_F(EmulatorRuntimeTest, ErrorsHaveNvidiasNames) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorString(cudaSuccess), "no error");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)), "unrecognized error code");
}

TEST_F(EmulatorRuntimeTest, TheLastErrorIsTheThreadsOwn) {
  EXPECT_EQ(cudaSetDevice(1000), cudaErrorInvalidDevice);
  int device = -1;
  EXPECT_CUDA(cudaGetDevice(&device)) << "no sticky error";
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice) << "what succeeds does not change it";
  std::thread([] { EXPECT_EQ(cudaGetLastError(), cudaSuccess); }).join();
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(EmulatorRuntimeTest, AnErrorOfAKernelSticks) {
  const Stream stream;
  const Event event;
  const Device<int> x(1, 3);
  void* memory = nullptr;
  EXPECT_CUDA(cudaMalloc(&memory, 4));
  EXPECT_CUDA(launch({}, stream, divergent_kernel));
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 4));
  EXPECT_CUDA(cudaEventRecord(event, stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
  expect_violation({"divergence"});
  EXPECT_EQ(peek(x), 3) << "what came after it never ran";
  int device = 0;
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetDevice(&device), cudaErrorLaunchFailure);
  EXPECT_EQ(launch(kOne, stream, empty_kernel), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure) << "not cleared";
  const std::size_t live = emulator::counters().live_allocations;
  EXPECT_EQ(cudaFree(memory), cudaErrorLaunchFailure);
  EXPECT_EQ(emulator::counters().live_allocations, live - 1) << "freed all the same";
  emulator::reset_device();
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(x.first(), 3) << "memory stays";
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 5));
  EXPECT_EQ(x.first(), 5);
  emulator::break_device(cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorECCUncorrectable);
}

TEST_F(EmulatorRuntimeTest, ResetDropsWorkAndCaptures) {
  const Stream stream;
  const Device<int> x(1, 3);
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 4));
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  int* pool = nullptr;
  emulator::reset_device();
  EXPECT_CUDA(cudaMallocAsync(&pool, 4, stream));
  EXPECT_CUDA(cudaFreeAsync(pool, stream));
  emulator::reset_device();  // frees it: nobody else could
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_EQ(x.first(), 3);
}

// ---------------------------------------------------------------- the device and launches

TEST_F(EmulatorRuntimeTest, DescribesTheDevice) {
  int count = 0, value = 0, blocks = 0;
  cudaDeviceProp properties{};
  EXPECT_CUDA(cudaGetDeviceCount(&count));
  EXPECT_EQ(count, 1);
  EXPECT_CUDA(cudaGetDeviceProperties(&properties, 0));
  EXPECT_STREQ(properties.name, "emulated");
  EXPECT_EQ(properties.major * 10 + properties.minor, 90);
  EXPECT_EQ(properties.maxThreadsDim[2], 64);
  EXPECT_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  EXPECT_EQ(value, properties.multiProcessorCount);
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 1), cudaErrorInvalidDevice);
  EXPECT_CUDA(cudaDriverGetVersion(&value));
  EXPECT_GE(value, CUDART_VERSION);
  EXPECT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, address_of(empty_kernel), 256, 0));
  EXPECT_EQ(blocks, 8);
  EXPECT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, address_of(empty_kernel), 65, 0));
  EXPECT_EQ(blocks, 21);
  EXPECT_CUDA(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, address_of(empty_kernel), 32, 100 << 10));
  EXPECT_EQ(blocks, 2);
}

TEST_F(EmulatorRuntimeTest, LaunchesBeyondTheLimitsAreRefused) {
  struct Case {
    Shape shape;
    cudaError_t error;
    std::string words;
  };
  const std::size_t most = std::size_t{227} << 10;
  EXPECT_CUDA(cudaFuncSetAttribute(address_of(copy_kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(most)));
  EXPECT_EQ(cudaFuncSetAttribute(address_of(copy_kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(most) + 1),
            cudaErrorInvalidValue);
  cudaFuncAttributes attributes{};
  EXPECT_CUDA(cudaFuncGetAttributes(&attributes, address_of(copy_kernel)));
  EXPECT_EQ(attributes.maxDynamicSharedSizeBytes, static_cast<int>(most));
  cudaLaunchAttribute unknown{};
  unknown.id = cudaLaunchAttributeLaunchCompletionEvent;
  const Case cases[] = {
      {{.threads = 2048}, cudaErrorInvalidConfiguration, "blocks of 2048 x 1 x 1 threads"},
      {{.threads = dim3(64, 32)}, cudaErrorInvalidConfiguration, "2048 threads a block, the limit is 1024"},
      {{.threads = dim3(1, 1, 65)}, cudaErrorInvalidConfiguration, "blocks of 1 x 1 x 65 threads"},
      {{.threads = 0}, cudaErrorInvalidConfiguration, "blocks of 0 x 1 x 1 threads"},
      {{.blocks = 0}, cudaErrorInvalidConfiguration, "a grid of 0 x 1 x 1 blocks"},
      {{.blocks = 0x80000000u}, cudaErrorInvalidConfiguration, "a grid of 2147483648 x 1 x 1 blocks"},
      {{.blocks = dim3(1, 65536)}, cudaErrorInvalidConfiguration, "a grid of 1 x 65536 x 1 blocks"},
      {{.blocks = dim3(1, 1, 65536)}, cudaErrorInvalidConfiguration, "a grid of 1 x 1 x 65536 blocks"},
      {{.shared = (48 << 10) + 1},
       cudaErrorInvalidValue,
       "49153 bytes of dynamic shared memory, the limit is 49152"},
      {{.blocks = 16, .attributes = {cluster_of(16)}},
       cudaErrorInvalidClusterSize,
       "clusters of 16 x 1 x 1 blocks"},
      {{.blocks = 16, .attributes = {cluster_of(2, 0)}},
       cudaErrorInvalidClusterSize,
       "clusters of 2 x 0 x 1 blocks"},
      {{.blocks = 6, .attributes = {cluster_of(4)}}, cudaErrorInvalidClusterSize, "do not divide"},
      {{.blocks = 9, .threads = 1024, .attributes = {cooperative()}},
       cudaErrorCooperativeLaunchTooLarge,
       "9 cooperative blocks, of which 8 fit"},
      {{.attributes = {unknown}}, cudaErrorNotSupported, "attribute 12"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(launch(c.shape, nullptr, empty_kernel), c.error) << c.words;
    expect_violation({"empty_kernel", "launched with", c.words});
    EXPECT_EQ(cudaGetLastError(), c.error);
  }
  const Device<int> x(1 << 10, 1), y(1 << 10, 0);
  const std::uint64_t launches = emulator::counters().launches;
  EXPECT_CUDA(launch({.threads = 1024, .shared = most}, nullptr, copy_kernel, x.get(), y.get()));
  EXPECT_CUDA(launch({.threads = dim3(4, 4, 64)}, nullptr, empty_kernel));
  EXPECT_CUDA(launch({.blocks = 8, .attributes = {cluster_of(4, 1, 1)}}, nullptr, empty_kernel));
  EXPECT_CUDA(launch({.blocks = 8, .threads = 1024, .attributes = {cooperative()}}, nullptr, empty_kernel));
  EXPECT_EQ(emulator::counters().launches - launches, 4u);
#if !ACTIUM_TSAN  // thousands of fibers
  EXPECT_EQ(y.read(), std::vector<int>(1 << 10, 1));
#else
  emulator::reset_device();
#endif
}

TEST_F(EmulatorRuntimeTest, TheKthLaunchFails) {
  const Device<int> x(1, 0);
  emulator::fail_launch(1, cudaErrorLaunchOutOfResources);
  const std::uint64_t launches = emulator::counters().launches;
  EXPECT_CUDA(launch(kOne, nullptr, increment_kernel, x.get()));
  EXPECT_EQ(launch(kOne, nullptr, increment_kernel, x.get()), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_CUDA(launch(kOne, nullptr, increment_kernel, x.get()));
  EXPECT_EQ(emulator::counters().launches - launches, 2u);
  EXPECT_EQ(x.first(), 2);
}

TEST_F(EmulatorRuntimeTest, ProgrammaticLaunchesOvertake) {
  const auto seen = [](const std::function<void(cudaStream_t, int*)>& producer, const Shape& shape) {
    const Stream stream;
    const Device<int> x(1, 0), pair(2, 0);
    producer(stream, x);
    EXPECT_CUDA(launch(shape, stream, early_and_late_kernel, x.get(), pair.get()));
    const std::vector<int> values = pair.read();
    return std::pair(values[0], values[1]);
  };
  const auto fills = [](cudaStream_t stream, int* x) {
    EXPECT_CUDA(launch(kOne, stream, fill_kernel, x, 1));
  };
  [[maybe_unused]] const auto chain = [](cudaStream_t stream, int* x) {
    EXPECT_CUDA(launch(kOne, stream, fill_kernel, x, 1));
    EXPECT_CUDA(launch(kProgrammatic, stream, append_kernel, x, 2));
  };
  EXPECT_EQ(seen(fills, kOne), std::pair(1, 1));
#if !ACTIUM_TSAN  // reports the early reads
  EXPECT_EQ(seen(fills, kProgrammatic), std::pair(0, 1));
  // append does not synchronise: it overtakes fill, and the last kernel both.
  EXPECT_EQ(seen(chain, kProgrammatic), std::pair(0, 1));
  EXPECT_EQ(seen(chain, kOne), std::pair(1, 1));
#endif
  const auto with_an_event = [&](cudaStream_t stream, int* x) {
    const Event event;
    fills(stream, x);
    EXPECT_CUDA(cudaEventRecord(event, stream));
  };
  EXPECT_EQ(seen(with_an_event, kProgrammatic), std::pair(1, 1)) << "not directly after it";
  const auto with_a_copy = [&](cudaStream_t stream, int* x) {
    EXPECT_CUDA(cudaMemsetAsync(x, 0xff, 4, stream));
  };
  EXPECT_EQ(seen(with_a_copy, kProgrammatic), std::pair(-1, -1)) << "only kernels are overtaken";
}

TEST_F(EmulatorRuntimeTest, ProgrammaticLaunchesWaitForTheLegacyStream) {
  // The legacy stream's work comes between: overtaking would wait for itself.
  const Stream stream(cudaStreamDefault);
  const Device<int> x(1, 0), pair(2, 0);
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 1));
  EXPECT_CUDA(launch(kOne, nullptr, append_kernel, x.get(), 2));
  EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), pair.get()));
  EXPECT_EQ(pair.read(), (std::vector<int>{12, 12}));
}

TEST_F(EmulatorRuntimeTest, AFailingKernelThatWasOvertaken) {
  const Stream stream;
  const Event event;
  const Device<int> x(1, 0), pair(2, 0);
  EXPECT_CUDA(launch({}, stream, divergent_kernel));
  EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), pair.get()));
  EXPECT_CUDA(cudaEventRecord(event, stream));
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  expect_violation({"divergence"});
  emulator::reset_device();
  EXPECT_CUDA(cudaEventSynchronize(event)) << "nobody waits for what was dropped";
}

// ---------------------------------------------------------------- capture

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status{};
  EXPECT_CUDA(cudaStreamIsCapturing(stream, &status));
  return status;
}

TEST_F(EmulatorRuntimeTest, AGraphIsReplayed) {
  const Stream stream;
  const Device<int> x(kThreads, 0), y(kThreads, 0);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusActive);
  EXPECT_CUDA(launch({}, stream, increment_kernel, x.get()));
  EXPECT_CUDA(cudaMemcpyAsync(y, x, sizeof(int) * kThreads, cudaMemcpyDeviceToDevice, stream));
  EXPECT_CUDA(launch({}, stream, increment_kernel, y.get()));
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusNone);
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_EQ(x.first(), 0) << "captured, not run";
  for (int i = 1; i <= 3; ++i) {
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
    EXPECT_CUDA(cudaStreamSynchronize(stream));
    EXPECT_EQ(y.first(), i + 1);
  }
  EXPECT_EQ(results([&] {
              const Stream other;
              EXPECT_CUDA(cudaMemset(x, 0, sizeof(int) * kThreads));
              EXPECT_CUDA(cudaDeviceSynchronize());
              EXPECT_CUDA(cudaGraphLaunch(executable, stream));
              EXPECT_CUDA(cudaGraphLaunch(executable, other)) << "after the launch before it";
              return y.first();
            }),
            std::set{3});
  EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_CUDA(cudaGraphExecDestroy(executable)) << "while it is queued";
  EXPECT_EQ(y.first(), 4);
}

/// The graph of what `body` captures, or its error.
cudaError_t capture(cudaStream_t stream, cudaGraphExec_t* executable, const std::function<void()>& body,
                    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
  cudaGraph_t graph = nullptr;
  EXPECT_CUDA(cudaStreamBeginCapture(stream, mode));
  body();
  const cudaError_t error = cudaStreamEndCapture(stream, &graph);
  EXPECT_EQ(graph == nullptr, error != cudaSuccess);
  if (error == cudaSuccess) {
    EXPECT_CUDA(cudaGraphInstantiate(executable, graph, 0));
    EXPECT_CUDA(cudaGraphDestroy(graph));
  }
  return error;
}

TEST_F(EmulatorRuntimeTest, WhatACaptureForbids) {
  const Stream stream, other;
  const Event event;
  const Device<int> x(1, 0);
  int host = 0;
  void* memory = nullptr;
  struct Case {
    const char* name;
    std::function<cudaError_t()> call;
    bool relaxed_too;  // refused in every mode
    cudaError_t error = cudaErrorStreamCaptureUnsupported;
  };
  const Case cases[] = {
      {"cudaMalloc", [&] { return cudaMalloc(&memory, 4); }, false},
      {"cudaMallocHost", [&] { return cudaMallocHost(&memory, 4); }, false},
      {"cudaFree", [&] { return cudaFree(x); }, false},
      {"cudaMemcpy", [&] { return cudaMemcpy(&host, x, 4, cudaMemcpyDeviceToHost); }, false},
      {"cudaMemset", [&] { return cudaMemset(x, 0, 4); }, false},
      {"cudaStreamSynchronize, another", [&] { return cudaStreamSynchronize(other); }, false},
      {"cudaStreamQuery, another", [&] { return cudaStreamQuery(other); }, false},
      {"cudaEventQuery", [&] { return cudaEventQuery(event); }, false},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(event); }, false},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); }, true},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(stream); }, true},
      {"cudaDeviceSynchronize", [] { return cudaDeviceSynchronize(); }, true},
      {"a captured event",
       [&] {
         EXPECT_CUDA(cudaEventRecord(event, stream));
         return cudaEventSynchronize(event);
       },
       true, cudaErrorCapturedEvent},
  };
  for (const Case& c : cases)
    for (const auto mode :
         {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed}) {
      if (mode == cudaStreamCaptureModeRelaxed && !c.relaxed_too) continue;
      cudaGraphExec_t executable = nullptr;
      EXPECT_EQ(capture(
                    stream, &executable,
                    [&] {
                      EXPECT_CUDA(launch(kOne, stream, increment_kernel, x.get()));
                      EXPECT_EQ(c.call(), c.error) << c.name;
                      EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusInvalidated);
                      EXPECT_EQ(launch(kOne, stream, increment_kernel, x.get()),
                                cudaErrorStreamCaptureInvalidated);
                    },
                    mode),
                cudaErrorStreamCaptureInvalidated)
          << c.name;
      EXPECT_EQ(status_of(stream), cudaStreamCaptureStatusNone);
      EXPECT_CUDA(cudaEventRecord(event, other));  // no longer a captured one
    }
  cudaGraphExec_t executable = nullptr;
  EXPECT_CUDA(capture(
      stream, &executable,
      [&] {
        EXPECT_CUDA(cudaMalloc(&memory, 4));
        EXPECT_EQ(cudaMallocAsync(&memory, 4, stream), cudaErrorNotSupported);
        EXPECT_EQ(cudaFreeAsync(memory, stream), cudaErrorNotSupported);
        EXPECT_CUDA(cudaFree(memory));
      },
      cudaStreamCaptureModeRelaxed));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
}

TEST_F(EmulatorRuntimeTest, CaptureModesAndOtherThreads) {
  const Stream stream;
  cudaGraphExec_t executable = nullptr;
  const auto allocate_elsewhere = [](cudaError_t expected) {
    std::thread([=] {
      void* memory = nullptr;
      EXPECT_EQ(cudaMalloc(&memory, 4), expected);
      EXPECT_EQ(cudaFree(memory), cudaSuccess);
    }).join();
  };
  EXPECT_EQ(capture(stream, &executable, [&] { allocate_elsewhere(cudaErrorStreamCaptureUnsupported); }),
            cudaErrorStreamCaptureInvalidated);
  EXPECT_CUDA(capture(
      stream, &executable,
      [&] {
        allocate_elsewhere(cudaSuccess);
        std::thread([&] {
          cudaGraph_t graph = nullptr;
          EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread);
        }).join();
      },
      cudaStreamCaptureModeThreadLocal));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
}

TEST_F(EmulatorRuntimeTest, TheLegacyStreamDuringACapture) {
  const Stream blocking(cudaStreamDefault), stream;
  const Device<int> x(1, 0);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(capture(blocking, &executable,
                    [&] {
                      EXPECT_EQ(launch(kOne, nullptr, increment_kernel, x.get()),
                                cudaErrorStreamCaptureImplicit);
                    }),
            cudaErrorStreamCaptureInvalidated);
  EXPECT_CUDA(capture(stream, &executable, [&] {
    EXPECT_CUDA(launch(kOne, nullptr, increment_kernel, x.get()));
  })) << "no dependency between them";
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_EQ(x.first(), 1);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaErrorIllegalState);
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(EmulatorRuntimeTest, CapturesForkAndJoin) {
  const Stream a, b, c;
  const Event fork, join;
  const Device<int> x(3, 1), digits(1, 0);
  cudaGraphExec_t executable = nullptr;
  const auto record = [&](bool joins) {
    return capture(a, &executable, [&] {
      EXPECT_CUDA(launch(kOne, a, fill_kernel, x.get(), 5));
      EXPECT_CUDA(cudaEventRecord(fork, a));
      EXPECT_CUDA(cudaStreamWaitEvent(b, fork, 0));
      EXPECT_EQ(status_of(b), cudaStreamCaptureStatusActive);
      EXPECT_CUDA(launch(kOne, b, copy_kernel, x.get(), x.get() + 1));
      EXPECT_CUDA(launch(kOne, a, increment_kernel, digits.get()));
      EXPECT_CUDA(cudaEventRecord(join, b));
      if (joins) {
        EXPECT_CUDA(cudaStreamWaitEvent(a, join, 0));
      }
      EXPECT_CUDA(launch(kOne, a, copy_kernel, x.get() + 1, x.get() + 2));
    });
  };
  EXPECT_EQ(record(false), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(status_of(b), cudaStreamCaptureStatusNone);
  EXPECT_CUDA(record(true));
  EXPECT_EQ(results([&] {
              EXPECT_CUDA(cudaMemset(x, 0, 12));
              EXPECT_CUDA(cudaDeviceSynchronize());
              EXPECT_CUDA(cudaGraphLaunch(executable, c));
              return x.read()[2];
            }),
            std::set{5});
  EXPECT_CUDA(cudaGraphExecDestroy(executable));

  // Two branches without an order.
  EXPECT_CUDA(capture(a, &executable, [&] {
    EXPECT_CUDA(cudaEventRecord(fork, a));
    EXPECT_CUDA(cudaStreamWaitEvent(b, fork, 0));
    EXPECT_CUDA(launch(kOne, a, append_kernel, digits.get(), 1));
    EXPECT_CUDA(launch(kOne, b, append_kernel, digits.get(), 2));
    EXPECT_CUDA(cudaEventRecord(join, b));
    EXPECT_CUDA(cudaStreamWaitEvent(a, join, 0));
  }));
  EXPECT_EQ(results([&] {
              EXPECT_CUDA(cudaMemset(digits, 0, 4));
              EXPECT_CUDA(cudaDeviceSynchronize());
              EXPECT_CUDA(cudaGraphLaunch(executable, c));
              return digits.first();
            }),
            (std::set{12, 21}));
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
}

TEST_F(EmulatorRuntimeTest, EventsAcrossTheBordersOfACapture) {
  const Stream a, b;
  const Event outside, inside;
  cudaGraphExec_t executable = nullptr;
  EXPECT_CUDA(cudaEventRecord(outside, b));
  EXPECT_EQ(capture(a, &executable,
                    [&] { EXPECT_EQ(cudaStreamWaitEvent(a, outside, 0), cudaErrorStreamCaptureIsolation); }),
            cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(capture(a, &executable,
                    [&] {
                      EXPECT_CUDA(cudaStreamBeginCapture(b, cudaStreamCaptureModeGlobal));
                      EXPECT_CUDA(cudaEventRecord(inside, b));
                      EXPECT_EQ(cudaStreamWaitEvent(a, inside, 0), cudaErrorStreamCaptureMerge);
                      cudaGraph_t graph = nullptr;
                      EXPECT_EQ(cudaStreamEndCapture(b, &graph), cudaErrorStreamCaptureInvalidated);
                    }),
            cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamWaitEvent(a, inside, 0), cudaErrorCapturedEvent) << "its capture is over";
  EXPECT_CUDA(cudaEventRecord(inside, a));
  EXPECT_CUDA(cudaEventSynchronize(inside)) << "recorded anew";
  EXPECT_EQ(capture(a, &executable,
                    [&] {
                      EXPECT_CUDA(cudaEventRecord(inside, a));
                      EXPECT_CUDA(cudaStreamWaitEvent(b, inside, 0));
                      cudaGraph_t graph = nullptr;
                      EXPECT_EQ(cudaStreamEndCapture(b, &graph), cudaErrorStreamCaptureUnmatched);
                    }),
            cudaErrorStreamCaptureInvalidated);
}

TEST_F(EmulatorRuntimeTest, ProgrammaticLaunchesInAGraph) {
  const Stream stream;
  const Device<int> x(1, 0), pair(2, 0), first(2, 0);
  cudaGraphExec_t executable = nullptr;
  EXPECT_CUDA(capture(stream, &executable, [&] {
    EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), first.get()));
    EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 1));
    EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), pair.get()));
  }));
#if !ACTIUM_TSAN
  EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 7));
  EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_EQ(first.read(), (std::vector<int>{7, 7})) << "what comes before the graph is not overtaken";
  EXPECT_EQ(pair.read(), (std::vector<int>{7, 1}));
  cudaGraphExec_t fill = nullptr;
  EXPECT_CUDA(capture(stream, &fill, [&] { EXPECT_CUDA(launch(kOne, stream, fill_kernel, x.get(), 8)); }));
  EXPECT_CUDA(cudaGraphLaunch(fill, stream));
  EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), pair.get()));
  EXPECT_EQ(pair.read(), (std::vector<int>{8, 8})) << "nor is a graph";
  EXPECT_CUDA(cudaGraphExecDestroy(fill));

  const Stream other;
  const Event fork, join;
  EXPECT_CUDA(capture(stream, &fill, [&] {
    EXPECT_CUDA(cudaEventRecord(fork, stream));
    EXPECT_CUDA(cudaStreamWaitEvent(other, fork, 0));
    EXPECT_CUDA(launch(kOne, stream, empty_kernel));
    EXPECT_CUDA(launch(kOne, other, fill_kernel, x.get(), 9));
    EXPECT_CUDA(cudaEventRecord(join, other));
    EXPECT_CUDA(cudaStreamWaitEvent(stream, join, 0));
    EXPECT_CUDA(launch(kProgrammatic, stream, early_and_late_kernel, x.get(), pair.get()));
  }));
  EXPECT_EQ(results([&] {
              EXPECT_CUDA(cudaMemset(x, 0, 4));
              EXPECT_CUDA(cudaDeviceSynchronize());
              EXPECT_CUDA(cudaGraphLaunch(fill, stream));
              return pair.first();
            }),
            std::set{9})
      << "an event stands between";
  EXPECT_CUDA(cudaGraphExecDestroy(fill));
#endif
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
}

// ---------------------------------------------------------------- host threads and ThreadSanitizer

TEST_F(EmulatorRuntimeTest, ManyHostThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int round = 0; round < 10; ++round) {
        const Stream stream;
        const Event event;
        const Device<int> x(kThreads, t);
        int seen = -1;
        EXPECT_CUDA(launch({}, stream, increment_kernel, x.get()));
        EXPECT_CUDA(cudaEventRecord(event, stream));
        EXPECT_CUDA(cudaMemcpyAsync(&seen, x, 4, cudaMemcpyDeviceToHost, stream));
        EXPECT_CUDA(cudaStreamSynchronize(stream));
        EXPECT_EQ(seen, t + 1);
        EXPECT_EQ(cudaSetDevice(t + 1), cudaErrorInvalidDevice);
        EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

void two_streams_write(bool ordered, bool with_kernels) {
  const Stream a, b;
  const Event event;
  const Device<int> x(kThreads, 0), y(kThreads, 1);
  const auto write = [&](cudaStream_t stream) {
    if (with_kernels)
      EXPECT_CUDA(launch({}, stream, copy_kernel, y.get(), x.get()));
    else
      EXPECT_CUDA(cudaMemcpyAsync(x, y, sizeof(int) * kThreads, cudaMemcpyDeviceToDevice, stream));
  };
  write(a);
  EXPECT_CUDA(cudaEventRecord(event, a));
  if (ordered) {
    EXPECT_CUDA(cudaStreamWaitEvent(b, event, 0));
  }
  write(b);
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(*x, 1) << "the host may read now";
}
void an_event_too_early() {
  const Stream a, b;
  const Event event;
  const Device<int> x(kThreads, 0);
  EXPECT_CUDA(cudaEventRecord(event, a));
  EXPECT_CUDA(launch({}, a, fill_kernel, x.get(), 1));
  EXPECT_CUDA(cudaStreamWaitEvent(b, event, 0));
  EXPECT_CUDA(launch({}, b, fill_kernel, x.get(), 1));
  EXPECT_CUDA(cudaDeviceSynchronize());
}
void the_host_does_not_wait() {
  const Stream a;
  int seen[4] = {};
  const Device<int> x(4, 1);
  EXPECT_CUDA(cudaMemcpyAsync(seen, x, 16, cudaMemcpyDeviceToHost, a));
  const Stream b;
  EXPECT_CUDA(cudaMemsetAsync(x, 0, 4, b));
  while (cudaStreamQuery(b) == cudaErrorNotReady) {  // runs a's work too
  }
  emulator::options().schedule = Schedule::kForward;
  volatile int* const read = seen;
  EXPECT_GE(*read, 0);
}
void the_legacy_stream_follows_a_destroyed_one() {
  const Device<int> x(kThreads, 0);
  {
    const Stream stream(cudaStreamDefault);
    EXPECT_CUDA(launch({}, stream, fill_kernel, x.get(), 1));
  }
  EXPECT_CUDA(launch({}, nullptr, fill_kernel, x.get(), 2));
  EXPECT_CUDA(cudaDeviceSynchronize());
}
TEST_F(EmulatorRuntimeTest, DISABLED_RacingCopies) { two_streams_write(false, false); }
TEST_F(EmulatorRuntimeTest, DISABLED_RacingKernels) { two_streams_write(false, true); }
TEST_F(EmulatorRuntimeTest, DISABLED_AnEventTooEarly) { an_event_too_early(); }
TEST_F(EmulatorRuntimeTest, DISABLED_TheHostDoesNotWait) { the_host_does_not_wait(); }
TEST_F(EmulatorRuntimeTest, RacesOfStreamsAreReported) {
  two_streams_write(true, false);
  two_streams_write(true, true);
  the_legacy_stream_follows_a_destroyed_one();
#if ACTIUM_TSAN
  for (const char* test : {"DISABLED_RacingCopies", "DISABLED_RacingKernels", "DISABLED_AnEventTooEarly",
                           "DISABLED_TheHostDoesNotWait"}) {
    const Outcome run = run_again(test);
    EXPECT_NE(run.status, 0);
    EXPECT_NE(run.output.find("data race"), std::string::npos) << test << run.output;
  }
#endif
}

// ---------------------------------------------------------------- the environment

TEST_F(EmulatorRuntimeTest, DISABLED_LaunchesAFew) {
  for (int i = 0; i < 3; ++i) EXPECT_CUDA(launch(kOne, nullptr, empty_kernel));
  EXPECT_CUDA(cudaDeviceSynchronize());  // the log counts what ran
  std::puts(emulator::replay().c_str());
}
TEST_F(EmulatorRuntimeTest, ReadsTheEnvironment) {
  const auto run = [](const std::string& environment) {
    return run_again("DISABLED_LaunchesAFew", environment);
  };
  const std::string good = "ACTIUM_EMULATOR_SCHEDULE=random:7 ACTIUM_EMULATOR_POISON=0x7f";
  EXPECT_NE(run(good).output.find(good + "\n"), std::string::npos) << run(good).output;
  EXPECT_EQ(run(good).status, 0);
  for (const std::string schedule : {"forward", "reverse"}) {
    const std::string environment = "ACTIUM_EMULATOR_SCHEDULE=" + schedule + " ACTIUM_EMULATOR_POISON=0x00";
    EXPECT_NE(run(environment).output.find(environment + "\n"), std::string::npos);
  }
  for (const std::string bad :
       {"SCHEDULE=", "SCHEDULE=up", "SCHEDULE=random", "SCHEDULE=random:", "SCHEDULE=random:-1",
        "SCHEDULE=random:1x", "POISON=", "POISON=256", "POISON=-1", "POISON=0xfg"}) {
    const Outcome failed = run("ACTIUM_EMULATOR_" + bad);
    EXPECT_EQ(failed.status, 2) << bad;
    EXPECT_NE(failed.output.find("ACTIUM_EMULATOR_" + bad.substr(0, bad.find('=')) + ": want "),
              std::string::npos)
        << bad;
  }
}
TEST_F(EmulatorRuntimeTest, LogsLaunches) {
  const std::string path = testing::TempDir() + "emulator_runtime_test." + std::to_string(getpid());
  EXPECT_EQ(run_again("DISABLED_LaunchesAFew", "ACTIUM_EMULATOR_LOG='" + path + "'").status, 0);
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), "3\tempty_kernel()\n");
  std::remove(path.c_str());
}

// ---------------------------------------------------------------- leaks

TEST_F(EmulatorRuntimeTest, DISABLED_Leaks) {
  const char* what = std::getenv("ACTIUM_TEST_LEAK");
  if (what == nullptr) return;
  const auto leaked = [&](const char* name) { return std::string(what) == name; };
  if (leaked("stream")) {
    EXPECT_CUDA(cudaStreamCreate(std::array<cudaStream_t, 1>{}.data()));
  }
  if (leaked("event")) {
    EXPECT_CUDA(cudaEventCreate(std::array<cudaEvent_t, 1>{}.data()));
  }
  if (leaked("memory")) {
    EXPECT_CUDA(cudaMalloc(std::array<void*, 1>{}.data(), 100));
  }
}
TEST_F(EmulatorRuntimeTest, LeaksAreReported) {
#if ACTIUM_ASAN
  for (const std::string what : {"stream", "event", "memory", "nothing"}) {
    const Outcome run = run_again("DISABLED_Leaks", "ACTIUM_TEST_LEAK=" + what);
    EXPECT_EQ(run.output.find("LeakSanitizer: detected memory leaks") != std::string::npos, what != "nothing")
        << what << run.output;
  }
#endif
}

// ---------------------------------------------------------------- cuBLAS

class Handle {
 public:
  Handle() { EXPECT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS); }
  ~Handle() { cublasDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator cublasHandle_t() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

/// The arguments of a product, good ones.
template <class T, class Scale>
struct Gemm {
  cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
  std::int64_t m = 5, n = 4, k = 3;
  Scale alpha = 1, beta = 0;
  const Scale *alpha_pointer = &alpha, *beta_pointer = &beta;
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  std::int64_t lda = 7, ldb = 6, ldc = 8;
  long long stride_a = 50, stride_b = 40, stride_c = 60;
  std::int64_t batch = 2;
  cudaDataType_t a_type = CUDA_R_32F, b_type = CUDA_R_32F, c_type = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasStatus_t run(cublasHandle_t handle) const {
    return cublasGemmStridedBatchedEx_64(handle, transa, transb, m, n, k, alpha_pointer, a, a_type, lda,
                                         stride_a, b, b_type, ldb, stride_b, beta_pointer, c, c_type, ldc,
                                         stride_c, batch, compute, CUBLAS_GEMM_DEFAULT);
  }
};

template <class T, class Scale>
void compare_with_double(cudaDataType_t type, cublasComputeType_t compute, double epsilon) {
  const auto number = [](double x) { return static_cast<T>(static_cast<Scale>(x)); };
  const auto value = [](T x) { return static_cast<double>(static_cast<Scale>(x)); };
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const auto values = [&] {
    std::vector<T> all(120);
    for (T& x : all) x = number(uniform(random));
    return all;
  };
  const std::vector<T> a = values(), b = values(), c = values();
  const Handle handle;
  const Stream stream;
  EXPECT_EQ(cublasSetStream(handle, stream), CUBLAS_STATUS_SUCCESS);
  for (const bool at : {false, true})
    for (const bool bt : {false, true})
      for (const Scale beta : {Scale(0), Scale(0.5)}) {
        std::vector<T> start = c;
        if (beta == 0) start[0] = number(NAN);  // not to be read
        const Device<T> da(a), db(b), dc(start);
        Gemm<T, Scale> gemm;
        gemm.transa = at ? CUBLAS_OP_T : CUBLAS_OP_N;
        gemm.transb = bt ? CUBLAS_OP_T : CUBLAS_OP_N;
        gemm.lda = at ? 4 : 7;  // less than m, less than k
        gemm.ldb = bt ? 6 : 3;
        gemm.alpha = Scale(1.5);
        gemm.beta = beta;
        gemm.a = da;
        gemm.b = db;
        gemm.c = dc;
        gemm.a_type = gemm.b_type = gemm.c_type = type;
        gemm.compute = compute;
        ASSERT_EQ(gemm.run(handle), CUBLAS_STATUS_SUCCESS);
        const std::vector<T> got = dc.read();
        std::vector<bool> written(got.size());
        for (std::int64_t batch = 0; batch < gemm.batch; ++batch)
          for (std::int64_t i = 0; i < gemm.m; ++i)
            for (std::int64_t j = 0; j < gemm.n; ++j) {
              double sum = 0;
              for (std::int64_t l = 0; l < gemm.k; ++l)
                sum += value(a[static_cast<std::size_t>(batch * gemm.stride_a +
                                                        (at ? l + i * gemm.lda : i + l * gemm.lda))]) *
                       value(b[static_cast<std::size_t>(batch * gemm.stride_b +
                                                        (bt ? j + l * gemm.ldb : l + j * gemm.ldb))]);
              const auto at_c = static_cast<std::size_t>(batch * gemm.stride_c + i + j * gemm.ldc);
              const double want = 1.5 * sum + (beta == 0 ? 0 : 0.5 * value(c[at_c]));
              EXPECT_NEAR(value(got[at_c]), want, epsilon);
              written[at_c] = true;
            }
        for (std::size_t i = 0; i < got.size(); ++i)
          if (!written[i]) {
            EXPECT_EQ(std::memcmp(&got[i], &start[i], sizeof(T)), 0) << "between the columns";
          }
      }
}
TEST_F(EmulatorRuntimeTest, ProductsAreRight) {
  compare_with_double<double, double>(CUDA_R_64F, CUBLAS_COMPUTE_64F, 1e-14);
  compare_with_double<float, float>(CUDA_R_32F, CUBLAS_COMPUTE_32F, 1e-6);
  compare_with_double<__half, float>(CUDA_R_16F, CUBLAS_COMPUTE_32F, 3e-3);
  compare_with_double<__nv_bfloat16, float>(CUDA_R_16BF, CUBLAS_COMPUTE_32F, 2.5e-2);
}

TEST_F(EmulatorRuntimeTest, BadProductsAreRefused) {
  const Handle handle;
  const Device<float> a(120, 1.0f), b(120, 1.0f), c(120, 1.0f);
  Gemm<float, float> good;
  good.a = a;
  good.b = b;
  good.c = c;
  using Change = std::function<void(Gemm<float, float>&)>;
  const auto bad = [&](const Change& change, cublasStatus_t status) {
    Gemm<float, float> gemm = good;
    gemm.alpha_pointer = &gemm.alpha;
    gemm.beta_pointer = &gemm.beta;
    change(gemm);
    const std::uint64_t launches = emulator::counters().launches;
    EXPECT_EQ(gemm.run(handle), status);
    EXPECT_EQ(emulator::counters().launches, launches);
  };
  const Change invalid[] = {
      [](auto& g) { g.m = -1; },
      [](auto& g) { g.n = -1; },
      [](auto& g) { g.k = -1; },
      [](auto& g) { g.batch = -1; },
      [](auto& g) { g.lda = 4; },
      [](auto& g) { g.ldb = 2; },
      [](auto& g) { g.ldc = 4; },
      [](auto& g) { g.transa = CUBLAS_OP_T, g.lda = 2; },
      [](auto& g) { g.transb = CUBLAS_OP_T, g.ldb = 3; },
      [](auto& g) { g.transa = static_cast<cublasOperation_t>(3), g.lda = 5; },
      [](auto& g) { g.m = 0, g.lda = 0; },
      [](auto& g) { g.stride_c = 28; },
      [](auto& g) { g.stride_a = -1; },
      [](auto& g) { g.alpha_pointer = nullptr; },
      [](auto& g) { g.beta_pointer = nullptr; },
      [](auto& g) { g.a = nullptr; },
      [](auto& g) { g.c = nullptr; },
      [](auto& g) { g.a = static_cast<const char*>(g.a) + 2; },
      [](auto& g) { g.c = static_cast<char*>(g.c) + 1; },
  };
  for (const Change& change : invalid) bad(change, CUBLAS_STATUS_INVALID_VALUE);
  bad([](auto& g) { g.compute = CUBLAS_COMPUTE_64F; }, CUBLAS_STATUS_NOT_SUPPORTED);
  bad([](auto& g) { g.b_type = CUDA_R_16F; }, CUBLAS_STATUS_NOT_SUPPORTED);
  bad([](auto& g) { g.a_type = g.b_type = g.c_type = CUDA_R_8I; }, CUBLAS_STATUS_NOT_SUPPORTED);
  for (const Change& change : {Change([](auto& g) { g.m = 0; }), Change([](auto& g) { g.batch = 0; })})
    bad(change, CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(good.run(nullptr), CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cublasCreate(nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSetMathMode(handle, static_cast<cublasMath_t>(1 << 3)), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_STREQ(cublasGetStatusName(CUBLAS_STATUS_INVALID_VALUE), "CUBLAS_STATUS_INVALID_VALUE");

  Gemm<float, float> empty = good;  // k = 0: c = beta c
  empty.alpha_pointer = &empty.alpha;
  empty.beta_pointer = &empty.beta;
  empty.k = 0;
  empty.beta = 3;
  EXPECT_EQ(empty.run(handle), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(c.first(), 3.0f);

  emulator::fail_launch(0, cudaErrorLaunchOutOfResources);
  EXPECT_EQ(empty.run(handle), CUBLAS_STATUS_EXECUTION_FAILED);
  float host[120] = {};
  empty.c = host;
  EXPECT_EQ(empty.run(handle), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  expect_violation({"cublasGemm", "not device memory"});
}

TEST_F(EmulatorRuntimeTest, ProductsAreCaptured) {
  const Handle handle;
  const Stream stream;
  const Device<float> a(120, 2.0f), b(120, 3.0f), c(120, 1.0f);
  void* workspace = nullptr;
  EXPECT_CUDA(cudaMalloc(&workspace, 1024));
  EXPECT_EQ(cublasSetWorkspace(handle, static_cast<char*>(workspace) + 1, 1000), CUBLAS_STATUS_INVALID_VALUE);
  const emulator::Counters before = emulator::counters();
  EXPECT_EQ(cublasSetWorkspace(handle, workspace, 1024), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasSetStream(handle, stream), CUBLAS_STATUS_SUCCESS);  // forgets the workspace
  EXPECT_CUDA(cudaFree(workspace));
  Gemm<float, float> gemm;
  gemm.a = a;
  gemm.b = b;
  gemm.c = c;
  gemm.beta = 1;
  cudaGraphExec_t executable = nullptr;
  EXPECT_CUDA(capture(stream, &executable, [&] { EXPECT_EQ(gemm.run(handle), CUBLAS_STATUS_SUCCESS); }));
  EXPECT_EQ(emulator::counters().allocation_calls, before.allocation_calls);
  EXPECT_EQ(emulator::counters().launches - before.launches, 1u);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
    EXPECT_EQ(c.first(), 1.0f + 18.0f * static_cast<float>(i));
  }
  EXPECT_CUDA(cudaGraphExecDestroy(executable));

  EXPECT_CUDA(cudaMalloc(&workspace, 1024));
  EXPECT_EQ(cublasSetWorkspace(handle, workspace, 1024), CUBLAS_STATUS_SUCCESS);
  EXPECT_CUDA(cudaFree(workspace));
  EXPECT_EQ(gemm.run(handle), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  expect_violation({"cuBLAS's workspace", "not device memory"});
}

}  // namespace

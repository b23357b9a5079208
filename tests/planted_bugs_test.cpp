// Do the checks bite? Bugs planted in small kernels (emulator/planted_bugs.cuh) and in host code; each must
// be found by the check named here, in the build named here, and the same code without its bug by none.
//
//   violation     the emulator says what is wrong and where
//   value         the result is wrong
//   differential  the result depends on the schedule or on what fresh memory holds
//   guard         memory round the result was written
//   asan, tsan    the sanitizer's report, in a build of that preset
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <regex>

#include "emulator.hpp"
#include "planted_bugs.cuh"

namespace {

using planted::Bug;

#if defined(__SANITIZE_ADDRESS__)
constexpr const char* kBuild = "asan";
#elif defined(__SANITIZE_THREAD__)
constexpr const char* kBuild = "tsan";
#else
constexpr const char* kBuild = "plain";
#endif
#define EXPECT_CUDA(call) EXPECT_EQ(call, cudaSuccess)

// ---------------------------------------------------------------- what a run leaves

struct Result {
  std::vector<float> values;
  bool guards_intact = true;
};

/// Device memory between guards.
class Buffer {
 public:
  explicit Buffer(const std::vector<float>& values, int offset = 0)
      : offset_(kGuard + offset), count_(values.size()) {
    std::vector<float> all(offset_ + count_ + kGuard, kGuardValue);
    std::copy(values.begin(), values.end(), all.begin() + offset_);
    EXPECT_CUDA(cudaMalloc(reinterpret_cast<void**>(&memory_), all.size() * sizeof(float)));
    EXPECT_CUDA(cudaMemcpy(memory_, all.data(), all.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(memory_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* data() const { return memory_ + offset_; }
  Result read() const {
    std::vector<float> all(offset_ + count_ + kGuard);
    cudaMemcpy(all.data(), memory_, all.size() * sizeof(float), cudaMemcpyDeviceToHost);
    const auto is_guard = [](float v) { return v == kGuardValue; };
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(offset_),
               end = begin + static_cast<std::ptrdiff_t>(count_);
    return {{begin, end}, std::all_of(all.begin(), begin, is_guard) && std::all_of(end, all.end(), is_guard)};
  }

 private:
  static constexpr int kGuard = 16;
  static constexpr float kGuardValue = -12345;
  std::size_t offset_, count_;
  float* memory_ = nullptr;
};

std::vector<float> numbers(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 13 + i / 13 % 3);
  return values;
}

struct Extra {
  unsigned cluster = 1;
  bool cooperative = false, programmatic = false;
  std::size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};
template <class... Parameters, class... Arguments>
cudaError_t run(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, const Extra& extra,
                Arguments... arguments) {
  cudaLaunchAttribute attributes[3];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = extra.shared_bytes;
  config.stream = extra.stream;
  config.attrs = attributes;
  if (extra.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {extra.cluster, 1, 1};
  }
  if (extra.cooperative) {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  }
  if (extra.programmatic) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// ---------------------------------------------------------------- the runs

template <Bug B>
Result scale() {
  const int count = 4 * 7 + 2;
  const Buffer x(numbers(count), 1), y(std::vector<float>(count), 1);
  run(planted::scale_kernel<B>, 1, 32, {}, x.data(), y.data(), count);
  return y.read();
}

template <Bug B>
Result warp() {
  const Buffer x(numbers(64)), y(std::vector<float>(64));
  run(planted::warp_kernel<B>, 1, 64, {}, x.data(), y.data());
  return y.read();
}

template <Bug B>
Result block() {
  const Buffer x(numbers(3 * 64)), y(std::vector<float>(3));
  run(planted::block_kernel<B>, 3, 64, {.shared_bytes = 64 * sizeof(float)}, x.data(), y.data());
  return y.read();
}

template <Bug B>
Result neighbour() {
  const Buffer x(numbers(4 * 64)), total(std::vector<float>(1));
  run(planted::neighbour_kernel<B>, 4, 64, {}, x.data(), reinterpret_cast<int*>(total.data()));
  Result result = x.read();
  result.values.push_back(static_cast<float>(std::bit_cast<int>(total.read().values[0])));
  return result;
}

template <Bug B>
Result cluster() {
  const Buffer x(numbers(8)), y(std::vector<float>(8));
  run(planted::cluster_kernel<B>, 8, 32, {.cluster = 4}, x.data(), y.data());
  return y.read();
}

template <Bug B>
Result grid() {
  const Buffer x(numbers(4)), between(std::vector<float>(4)), y(std::vector<float>(4));
  run(planted::grid_kernel<B>, 4, 32, {.cooperative = true}, x.data(), between.data(), y.data());
  return y.read();
}

template <Bug B>
Result wide() {
  constexpr std::int64_t kRows = 10, kColumns = std::int64_t{1} << 30;
  unsigned char *x = nullptr, *y = nullptr;
  EXPECT_CUDA(cudaMalloc(reinterpret_cast<void**>(&x), kRows * kColumns));
  EXPECT_CUDA(cudaMalloc(reinterpret_cast<void**>(&y), kRows * kColumns));
  Result result{std::vector<float>(kRows)};
  for (std::int64_t row = 0; row < kRows; ++row)
    EXPECT_CUDA(cudaMemset(x + row * kColumns, static_cast<int>(row + 1), 1));
  run(planted::wide_kernel<B>, kRows, 32, {}, x, y, kColumns);
  for (std::int64_t row = 0; row < kRows; ++row) {
    unsigned char value = 0;
    cudaMemcpy(&value, y + row * kColumns, 1, cudaMemcpyDeviceToHost);
    result.values[static_cast<std::size_t>(row)] = value;
  }
  cudaFree(x);
  cudaFree(y);
  return result;
}

template <Bug B>
Result dependent() {
  const Buffer x(numbers(32)), y(std::vector<float>(32)), z(std::vector<float>(32));
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {}, x.data(), y.data());
  run(planted::dependent_kernel<B>, 1, 32, {.programmatic = true}, y.data(), z.data());
  return z.read();
}

// Host code.

enum class HostBug {
  kNone,
  kMissingEvent,
  kReadBeforeSynchronise,
  kFreedTooEarly,
  kTooManyThreads,
  kTooMuchShared,
  kClusterTooLarge,
  kGridBarrierInOrdinaryLaunch,
  kOneThreadTooMany
};

/// A producer and a consumer in two streams.
template <HostBug B>
Result two_streams() {
  const Buffer x(numbers(32)), y(std::vector<float>(32)), z(std::vector<float>(32));
  cudaStream_t a = nullptr, b = nullptr;
  cudaEvent_t done = nullptr;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {.stream = a}, x.data(), y.data());
  EXPECT_CUDA(cudaEventRecord(done, a));
  if (B != HostBug::kMissingEvent) {
    EXPECT_CUDA(cudaStreamWaitEvent(b, done, 0));
  }
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {.stream = b}, y.data(), z.data());
  EXPECT_CUDA(cudaStreamSynchronize(b));
  EXPECT_CUDA(cudaStreamSynchronize(a));
  EXPECT_CUDA(cudaEventDestroy(done));
  EXPECT_CUDA(cudaStreamDestroy(a));
  EXPECT_CUDA(cudaStreamDestroy(b));
  return z.read();
}

template <HostBug B>
Result late_copy() {
  const Buffer x(numbers(32)), y(std::vector<float>(32));
  cudaStream_t stream = nullptr;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {.stream = stream}, x.data(), y.data());
  Result result{std::vector<float>(32)};
  EXPECT_CUDA(
      cudaMemcpyAsync(result.values.data(), y.data(), 32 * sizeof(float), cudaMemcpyDeviceToHost, stream));
  Result read;
  if (B == HostBug::kReadBeforeSynchronise) read = result;
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_CUDA(cudaStreamDestroy(stream));
  return B == HostBug::kReadBeforeSynchronise ? read : result;
}

template <HostBug B>
Result pool_memory() {
  const Buffer x(numbers(32)), z(std::vector<float>(32));
  cudaStream_t stream = nullptr;
  float* y = nullptr;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaMallocAsync(reinterpret_cast<void**>(&y), 32 * sizeof(float), stream));
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {.stream = stream}, x.data(), y);
  if (B == HostBug::kFreedTooEarly) {
    EXPECT_CUDA(cudaFreeAsync(y, stream));
  }
  run(planted::dependent_kernel<Bug::kNone>, 1, 32, {.stream = stream}, y, z.data());
  if (B != HostBug::kFreedTooEarly) {
    EXPECT_CUDA(cudaFreeAsync(y, stream));
  }
  cudaStreamSynchronize(stream);
  cudaStreamDestroy(stream);
  return z.read();
}

/// Memory of exactly the size of the grid, or one element less.
template <HostBug B>
Result exact_size() {
  float *x = nullptr, *y = nullptr;
  EXPECT_CUDA(cudaMalloc(reinterpret_cast<void**>(&x), 64 * sizeof(float)));
  EXPECT_CUDA(
      cudaMalloc(reinterpret_cast<void**>(&y), (B == HostBug::kOneThreadTooMany ? 63 : 64) * sizeof(float)));
  EXPECT_CUDA(cudaMemset(x, 0, 64 * sizeof(float)));
  run(planted::dependent_kernel<Bug::kNone>, 1, 64, {}, x, y);
  cudaDeviceSynchronize();
  Result result{std::vector<float>(8)};
  cudaMemcpy(result.values.data(), y, 8 * sizeof(float), cudaMemcpyDeviceToHost);
  cudaFree(x);
  cudaFree(y);
  return result;
}

/// A launch within the limits, or beyond one.
template <HostBug B>
Result limits() {
  const Buffer x(numbers(64)), y(std::vector<float>(64)), z(std::vector<float>(64));
  if constexpr (B == HostBug::kTooManyThreads)
    run(planted::warp_kernel<Bug::kNone>, 1, 1056, {}, x.data(), y.data());
  else if constexpr (B == HostBug::kTooMuchShared)
    run(planted::block_kernel<Bug::kNone>, 1, 64, {.shared_bytes = 48 * 1024 + 1}, x.data(), y.data());
  else if constexpr (B == HostBug::kClusterTooLarge)
    run(planted::cluster_kernel<Bug::kNone>, 16, 32, {.cluster = 16}, x.data(), y.data());
  else
    run(planted::grid_kernel<Bug::kNone>, 2, 32, {.cooperative = B == HostBug::kNone}, x.data(), y.data(),
        z.data());
  return y.read();
}

// ---------------------------------------------------------------- the table

struct Expectation {
  const char* name;
  Result (*bad)();
  Result (*good)();
  // build: check, and for violations and reports what the text must contain.
  std::vector<std::array<std::string, 3>> found;
};
#define ACTIUM_KERNEL_BUG(run, bug) #bug, &run < Bug::bug>, &run < Bug::kNone>
#define ACTIUM_HOST_BUG(run, bug) #bug, &run < HostBug::bug>, &run < HostBug::kNone>

const char* const kRace = "ThreadSanitizer: data race";
const Expectation kTable[] = {
    {ACTIUM_KERNEL_BUG(scale, kMisalignedVector),
     {{"plain", "violation", "misaligned access: .*Packet.*multiple of 16.*simt\\.cuh:[0-9]+"},
      {"asan", "asan", "requires 16 byte alignment"}}},
    {ACTIUM_KERNEL_BUG(scale, kVectorPastEnd),
     {{"plain", "guard", ""}, {"asan", "guard", ""}, {"tsan", "guard", ""}}},
    {ACTIUM_KERNEL_BUG(scale, kTailOneShort),
     {{"plain", "value", ""}, {"asan", "value", ""}, {"tsan", "value", ""}}},
    {ACTIUM_KERNEL_BUG(scale, kTailOneTooFar),
     {{"plain", "guard", ""}, {"asan", "guard", ""}, {"tsan", "guard", ""}}},
    {ACTIUM_KERNEL_BUG(warp, kLaneOutsideItsMask),
     {{"plain", "violation",
       "lane [0-9]+ of warp [01] .*is not in its own mask 0x0000ffff at __shfl_xor_sync, "
       "planted_bugs\\.cuh:[0-9]+"}}},
    {ACTIUM_KERNEL_BUG(warp, kAbsentLane),
     {{"plain", "violation",
       "lane 0 .*takes a value of lane 16, which is not in the mask 0x0000ffff, by __shfl_xor_sync"}}},
    {ACTIUM_KERNEL_BUG(warp, kMissingButterflyStep), {{"plain", "value", ""}}},
    {ACTIUM_KERNEL_BUG(warp, kDivergentShuffle),
     {{"plain", "violation",
       "warp divergence: lane .* calls __shfl_sync here while others wait at __shfl_sync, planted_bugs"}}},
    {ACTIUM_KERNEL_BUG(warp, kShuffleAsFence), {{"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(warp, kShuffleWithExitedLane),
     {{"plain", "violation",
       "takes a value of lane 31, which has exited; the mask is 0xffffffff, by __shfl_xor_sync"}}},
    {ACTIUM_KERNEL_BUG(block, kMissingBarrier), {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(block, kMissingSecondBarrier),
     {{"plain", "differential", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(block, kEarlyExit),
     {{"plain", "violation",
       "32 threads wait at __syncthreads, planted_bugs\\.cuh:[0-9]+ \\[0-31\\], 32 threads have exited "
       "\\[32-63\\]"}}},
    {ACTIUM_KERNEL_BUG(block, kBarrierInTwoBranches),
     {{"plain", "violation",
       "__syncthreads divergence in block \\(0,0,0\\): thread .* is here while others wait at "
       "planted_bugs\\.cuh:[0-9]+, planted_bugs\\.cuh:[0-9]+"}}},
    {ACTIUM_KERNEL_BUG(block, kUninitialisedPartial), {{"plain", "value", ""}}},
    {ACTIUM_KERNEL_BUG(block, kUninitialisedHiddenByMax), {{"plain", "differential", ""}}},
    {ACTIUM_KERNEL_BUG(block, kSharedIndexOutOfBounds),
     {{"plain", "violation", "index 8 out of bounds of 'float ?\\[8\\]', planted_bugs\\.cuh:[0-9]+"},
      {"asan", "asan", "out of bounds for type"}}},
    {ACTIUM_KERNEL_BUG(block, kSharedOverrun),
     {{"plain", "violation", "wrote outside `partial` \\(32 bytes\\), declared at planted_bugs\\.cuh:[0-9]+"},
      {"asan", "asan", "use-after-poison"}}},
    {ACTIUM_KERNEL_BUG(block, kDynamicSharedOverrun),
     {{"plain", "violation", "wrote outside `dynamic shared memory` \\(256 bytes\\)"},
      {"asan", "asan", "use-after-poison"}}},
    {ACTIUM_KERNEL_BUG(neighbour, kReadsNeighbour), {{"plain", "differential", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(neighbour, kTwoBlocksWriteOneElement),
     {{"plain", "differential", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(neighbour, kTwoBlocksWriteTheSameValue), {{"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(neighbour, kSumWithoutAtomic), {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(cluster, kMissingFirstClusterBarrier),
     {{"plain", "violation",
       "may not have started: a cluster barrier must come before the first access, "
       "planted_bugs\\.cuh:[0-9]+"}}},
    {ACTIUM_KERNEL_BUG(cluster, kMissingLastClusterBarrier),
     {{"plain", "violation", "a cluster barrier must come after the last access"}}},
    {ACTIUM_KERNEL_BUG(cluster, kPeerOutsideCluster),
     {{"plain", "violation", "rank 4 of a cluster of 4, planted_bugs\\.cuh:[0-9]+"}}},
    {ACTIUM_KERNEL_BUG(grid, kMissingGridBarrier), {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(wide, kOffsetIn32Bits), {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_KERNEL_BUG(dependent, kMissingDependencySynchronize),
     {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_HOST_BUG(two_streams, kMissingEvent), {{"plain", "differential", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_HOST_BUG(late_copy, kReadBeforeSynchronise), {{"plain", "value", ""}, {"tsan", "tsan", kRace}}},
    {ACTIUM_HOST_BUG(pool_memory, kFreedTooEarly),
     {{"plain", "value", ""}, {"asan", "asan", "AddressSanitizer: "}}},
    {ACTIUM_HOST_BUG(exact_size, kOneThreadTooMany), {{"asan", "asan", "heap-buffer-overflow"}}},
    {ACTIUM_HOST_BUG(limits, kTooManyThreads),
     {{"plain", "violation", "warp_kernel.*launched with blocks of 1056 x 1 x 1 threads.* 1024 x"}}},
    {ACTIUM_HOST_BUG(limits, kTooMuchShared), {{"plain", "violation", "block_kernel.*49153"}}},
    {ACTIUM_HOST_BUG(limits, kClusterTooLarge), {{"plain", "violation", "cluster_kernel.*16.*8"}}},
    {ACTIUM_HOST_BUG(limits, kGridBarrierInOrdinaryLaunch),
     {{"plain", "violation",
       "grid\\.sync in a kernel that was not launched cooperatively, planted_bugs\\.cuh:[0-9]+"}}},
};

// ---------------------------------------------------------------- the checks

struct Knobs {
  emulator::Schedule schedule;
  std::uint64_t seed;
  unsigned char poison;
};
std::vector<Knobs> all_knobs() {
  std::vector<Knobs> list;
  for (const std::uint8_t poison : {std::uint8_t{0xff}, std::uint8_t{0x7f}}) {
    list.push_back({emulator::Schedule::kForward, 0, poison});
    list.push_back({emulator::Schedule::kReverse, 0, poison});
    for (std::uint64_t seed = 1; seed <= 8; ++seed)
      list.push_back({emulator::Schedule::kRandom, seed, poison});
  }
  return list;
}

/// What the checks without a sanitizer find in `code`: names, with the violations' texts.
std::map<std::string, std::string> find(Result (*code)(), const Result& want) {
  std::map<std::string, std::string> found;
  const emulator::Options before = emulator::options();
  std::vector<std::vector<float>> results;
  for (const Knobs& knobs : all_knobs()) {
    emulator::options().schedule = knobs.schedule;
    emulator::options().seed = knobs.seed;
    emulator::options().poison = knobs.poison;
    const Result got = code();
    const std::vector<std::string> violations = emulator::take_violations();
    for (const std::string& violation : violations) found["violation"] += violation + "\n";
    emulator::reset_device();
    if (!violations.empty()) continue;
    if (!got.guards_intact) found["guard"] = "";
    if (std::memcmp(got.values.data(), want.values.data(), got.values.size() * sizeof(float)) != 0)
      found["value"] = "";
    results.push_back(got.values);
  }
  for (const auto& result : results)
    if (std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)) != 0)
      found["differential"] = "";
  emulator::options() = before;
  return found;
}

class PlantedBugTest : public testing::TestWithParam<Expectation> {};

TEST_P(PlantedBugTest, IsFoundByItsCheck) {
  const Expectation& bug = GetParam();
  ASSERT_FALSE(bug.found.empty());
  const Result want = bug.good();
  ASSERT_TRUE(emulator::take_violations().empty());
  // A build without a line of its own has the checks of the plain one, if there are any.
  std::vector<std::array<std::string, 3>> checks;
  for (const std::string build : {kBuild, "plain"})
    if (checks.empty())
      std::copy_if(bug.found.begin(), bug.found.end(), std::back_inserter(checks),
                   [&](const auto& line) { return line[0] == build; });
  if (checks.empty()) GTEST_SKIP() << "found by a check of another build";
  for (const auto& [build, check, pattern] : checks) {
    if (check == build) {  // a sanitizer's report
      GTEST_FLAG_SET(death_test_style, "threadsafe");
      EXPECT_DEATH(bug.bad(), pattern);
      continue;
    }
    const auto found = find(bug.bad, want);
    ASSERT_TRUE(found.contains(check)) << bug.name << " was not found by the check: " << check;
    EXPECT_TRUE(std::regex_search(found.at(check), std::regex(pattern)))
        << "found: " << found.at(check) << "\nwant: " << pattern;
  }
}

TEST_P(PlantedBugTest, WithoutItNothingIsFound) {
  const Result want = GetParam().good();
  for (const auto& [check, what] : find(GetParam().good, want)) ADD_FAILURE() << check << ": " << what;
}

// For valgrind, which must report it (tests/CMakeLists.txt).
TEST(Valgrind, DISABLED_UninitialisedHiddenByMax) { block<Bug::kUninitialisedHiddenByMax>(); }

INSTANTIATE_TEST_SUITE_P(Bugs, PlantedBugTest, testing::ValuesIn(kTable),
                         [](const auto& bug) { return std::string(bug.param.name + 1); });

}  // namespace

// The emulator's device side: warps, barriers, shared memory, clusters, grids and arithmetic, against closed
// forms, in every order of threads.
#include <cooperative_groups.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "emulator.hpp"
#include "kernels/simt.cuh"

namespace {

using emulator::Schedule;

constexpr int kThreads = 96;

/// `kernel(out, arguments...)` for one int of output per thread.
template <class... Parameters, class... Arguments>
std::vector<int> results_of(void (*kernel)(int*, Parameters...), dim3 blocks, dim3 threads, unsigned cluster,
                            bool cooperative, std::size_t shared_bytes, Arguments... arguments) {
  const std::size_t count = std::size_t{blocks.x} * blocks.y * blocks.z * threads.x * threads.y * threads.z;
  int* out = nullptr;
  EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&out), count * sizeof(int)), cudaSuccess);
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {cluster, 1, 1};
  attributes[1].id = cudaLaunchAttributeCooperative;
  attributes[1].val.cooperative = cooperative;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.attrs = attributes;
  config.numAttrs = 2;
  EXPECT_EQ(cudaLaunchKernelEx(&config, kernel, out, arguments...), cudaSuccess);
  std::vector<int> host(count);
  EXPECT_EQ(cudaMemcpy(host.data(), out, count * sizeof(int), cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaFree(out), cudaSuccess);
  return host;
}

class Emulator : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = emulator::options();
    emulator::options().schedule = GetParam() == 0   ? Schedule::kForward
                                   : GetParam() == 1 ? Schedule::kReverse
                                                     : Schedule::kRandom;
    emulator::options().seed = static_cast<std::uint64_t>(GetParam());
  }
  void TearDown() override { emulator::options() = before_; }

 private:
  emulator::Options before_;
};
INSTANTIATE_TEST_SUITE_P(Schedules, Emulator, testing::Range(0, 6));

// ---------------------------------------------------------------- warps

enum class WarpCall {
  kIndex,
  kUp,
  kDown,
  kXor,
  kWidth,
  kBallot,
  kAny,
  kAll,
  kMatch,
  kSum,
  kLeast,
  kGreatest,
  kHalves,
  kOrBits
};

__global__ void warp_call_kernel(int* out, WarpCall call) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, value = 3 * thread - 100;
  int result = 0;
  switch (call) {
    case WarpCall::kIndex:
      result = __shfl_sync(~0u, value, (lane * 7 + 3) % 32);
      break;
    case WarpCall::kUp:
      result = __shfl_up_sync(~0u, value, 5);
      break;
    case WarpCall::kDown:
      result = __shfl_down_sync(~0u, value, 5);
      break;
    case WarpCall::kXor:
      result = __shfl_xor_sync(~0u, value, 9);
      break;
    case WarpCall::kWidth:
      result = __shfl_down_sync(~0u, value, 3, 8) + 1000 * __shfl_up_sync(~0u, value, 3, 8) +
               1000000 * __shfl_sync(~0u, lane, 9, 8);
      break;
    case WarpCall::kBallot:
      result = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
      break;
    case WarpCall::kAny:
      result = __any_sync(~0u, thread == 40) + 2 * __any_sync(~0u, 0);
      break;
    case WarpCall::kAll:
      result = __all_sync(~0u, thread != 40) + 2 * __all_sync(~0u, 1);
      break;
    case WarpCall::kMatch:
      result = static_cast<int>(__match_any_sync(~0u, lane % 5));
      break;
    case WarpCall::kSum:
      result = __reduce_add_sync(~0u, value);
      break;
    case WarpCall::kLeast:
      result = __reduce_min_sync(~0u, value) +
               static_cast<int>(__reduce_min_sync(~0u, static_cast<unsigned>(thread)));
      break;
    case WarpCall::kGreatest:
      result = __reduce_max_sync(~0u, value) +
               static_cast<int>(__reduce_max_sync(~0u, static_cast<unsigned>(thread)));
      break;
    case WarpCall::kHalves:  // two groups of one warp, in divergent code
      if (lane < 16)
        result = __shfl_xor_sync(0x0000ffffu, value, 8);
      else
        result = __shfl_xor_sync(0xffff0000u, value, 4);
      break;
    case WarpCall::kOrBits:
      result = static_cast<int>(__reduce_or_sync(~0u, 1u << lane) ^ __reduce_and_sync(~0u, 6u) ^
                                __reduce_xor_sync(~0u, 1u << lane % 8));
      break;
  }
  out[thread] = result;
}

TEST_P(Emulator, WarpCalls) {
  const auto value = [](int thread) { return 3 * thread - 100; };
  const auto expect = [&](WarpCall call, auto want) {  // want(thread, lane, first thread of the warp)
    const std::vector<int> got = results_of(warp_call_kernel, 1, kThreads, 1, false, 0, call);
    for (int t = 0; t < kThreads; ++t)
      EXPECT_EQ(got[static_cast<std::size_t>(t)], want(t, t % 32, t - t % 32))
          << "call " << static_cast<int>(call) << ", thread " << t;
  };
  expect(WarpCall::kIndex, [&](int, int lane, int first) { return value(first + (lane * 7 + 3) % 32); });
  expect(WarpCall::kUp, [&](int t, int lane, int) { return value(lane < 5 ? t : t - 5); });
  expect(WarpCall::kDown, [&](int t, int lane, int) { return value(lane > 26 ? t : t + 5); });
  expect(WarpCall::kXor, [&](int, int lane, int first) { return value(first + (lane ^ 9)); });
  expect(WarpCall::kWidth, [&](int t, int lane, int) {
    return value(lane % 8 > 4 ? t : t + 3) + 1000 * value(lane % 8 < 3 ? t : t - 3) +
           1000000 * (lane - lane % 8 + 1);
  });
  expect(WarpCall::kBallot, [](int, int, int) { return 0x49249249; });
  expect(WarpCall::kAny, [](int, int, int first) { return first == 32 ? 1 : 0; });
  expect(WarpCall::kAll, [](int, int, int first) { return first == 32 ? 2 : 3; });
  expect(WarpCall::kMatch, [](int, int lane, int) {
    unsigned same = 0;
    for (int i = 0; i < 32; ++i) same |= static_cast<unsigned>(i % 5 == lane % 5) << i;
    return static_cast<int>(same);
  });
  expect(WarpCall::kSum, [&](int, int, int first) { return 32 * value(first) + 3 * 31 * 16; });
  expect(WarpCall::kLeast, [&](int, int, int first) { return value(first) + first; });
  expect(WarpCall::kGreatest, [&](int, int, int first) { return value(first + 31) + first + 31; });
  expect(WarpCall::kHalves,
         [&](int, int lane, int first) { return value(first + (lane ^ (lane < 16 ? 8 : 4))); });
  expect(WarpCall::kOrBits, [](int, int, int) { return static_cast<int>(~0u ^ 6u); });
}

__global__ void partial_warp_kernel(int* out) {
  const unsigned there = __activemask();
  const int thread = static_cast<int>(threadIdx.x);
  out[thread] = __popc(there) + 100 * __reduce_add_sync(there, 1);
}
TEST_P(Emulator, LanesThatAreNotThere) {
  const std::vector<int> got = results_of(partial_warp_kernel, 1, 40, 1, false, 0);
  for (std::size_t t = 0; t < got.size(); ++t) EXPECT_EQ(got[t], t < 32 ? 3232 : 808) << t;
}

// ---------------------------------------------------------------- blocks

__global__ void block_votes_kernel(int* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(thread % 7 == 0),
            both = __syncthreads_and(thread >= 0) + 2 * __syncthreads_and(thread != 50),
            either = __syncthreads_or(thread == 50) + 2 * __syncthreads_or(0);
  out[blockIdx.x * blockDim.x + threadIdx.x] = count + 100 * both + 1000 * either;
}
TEST_P(Emulator, BlockVotes) {
  for (const int got : results_of(block_votes_kernel, 3, kThreads, 1, false, 0))
    EXPECT_EQ(got, 14 + 100 * 1 + 1000 * 1);
}

template <int Offset>
__device__ int through_shared(int value) {
  ACTIUM_SHARED(mail, int[kThreads]);  // another variable for each Offset
  const int thread = static_cast<int>(threadIdx.x);
  mail[thread] = value;
  __syncthreads();
  const int got = mail[(thread + Offset) % kThreads];
  __syncthreads();
  return got;
}
__global__ void shared_kernel(int* out) {
  ACTIUM_DYNAMIC_SHARED(row, int);
  const int thread = static_cast<int>(threadIdx.x), id = static_cast<int>(blockIdx.x) * 1000 + thread;
  row[kThreads - 1 - thread] = id;
  int sum = through_shared<1>(id) - through_shared<2>(id);
  for (int i = 0; i < 3; ++i) sum += through_shared<1>(id) - id;
  out[blockIdx.x * blockDim.x + threadIdx.x] = 10000 * (row[thread] - id) + sum;
}
TEST_P(Emulator, SharedMemoryIsABlocksOwn) {
  const std::vector<int> got = results_of(shared_kernel, 4, kThreads, 1, false, kThreads * sizeof(int));
  for (int i = 0; i < static_cast<int>(got.size()); ++i) {
    const int t = i % kThreads, next = (t + 1) % kThreads, after = (t + 2) % kThreads;
    EXPECT_EQ(got[static_cast<std::size_t>(i)],
              10000 * (kThreads - 1 - 2 * t) + next - after + 3 * (next - t))
        << i;
  }
}

__global__ void place_kernel(int* out) {
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x,
                 block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(block * 1000 + thread);
}
TEST_P(Emulator, EveryThreadOfEveryBlockRunsOnce) {
  const std::vector<int> got = results_of(place_kernel, dim3(3, 2, 5), dim3(4, 3, 2), 1, false, 0);
  for (int i = 0; i < static_cast<int>(got.size()); ++i)
    EXPECT_EQ(got[static_cast<std::size_t>(i)], i / 24 * 1000 + i % 24);
}

__global__ void order_kernel(int* out, int* turns) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(turns, 1);
}
TEST_P(Emulator, TheOrderIsTheSchedules) {
  int* turns = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&turns), sizeof *turns), cudaSuccess);
  const auto order = [&] {
    EXPECT_EQ(cudaMemset(turns, 0, sizeof *turns), cudaSuccess);
    return results_of(order_kernel, 3, 64, 1, false, 0, turns);
  };
  const std::vector<int> got = order();
  EXPECT_EQ(got, order()) << "the same every time";
  std::vector<int> forward(3 * 64);
  std::iota(forward.begin(), forward.end(), 0);
  EXPECT_EQ(got == forward, GetParam() == 0);
  EXPECT_EQ(got == std::vector<int>(forward.rbegin(), forward.rend()), GetParam() == 1);
  EXPECT_EQ(std::set<int>(got.begin(), got.end()).size(), got.size());
  EXPECT_EQ(cudaFree(turns), cudaSuccess);
}

__global__ void too_much_shared_kernel(int* out) {
  ACTIUM_SHARED(row, char[40 << 10]);
  row[threadIdx.x] = 1;
  out[threadIdx.x] = row[threadIdx.x];
}
TEST_P(Emulator, StaticAndDynamicSharedMemoryShareOneLimit) {
  results_of(too_much_shared_kernel, 1, 32, 1, false, 8 << 10);
  EXPECT_TRUE(emulator::take_violations().empty());
  int* out = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&out), 32 * sizeof(int)), cudaSuccess);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.dynamicSmemBytes = (8 << 10) + 1;
  EXPECT_EQ(cudaLaunchKernelEx(&config, too_much_shared_kernel, out), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  const std::vector<std::string> violations = emulator::take_violations();
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_NE(violations[0].find("`row` makes it 40960 bytes and 8193 dynamic ones"), std::string::npos)
      << violations[0];
  emulator::reset_device();
  cudaFree(out);
}

__global__ void block_order_kernel(int* out, int* turns) {
  if (threadIdx.x == 0) out[atomicAdd(turns, 1)] = static_cast<int>(blockIdx.x);
}
TEST(EmulatorSchedules, RandomOrdersOfBlocksAreAllSorts) {
  const emulator::Options before = emulator::options();
  emulator::options().schedule = Schedule::kRandom;
  int* turns = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&turns), sizeof *turns), cudaSuccess);
  std::set<std::vector<int>> orders;
  std::set<int> firsts;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    emulator::options().seed = seed;
    ASSERT_EQ(cudaMemset(turns, 0, sizeof *turns), cudaSuccess);
    const std::vector<int> order = results_of(block_order_kernel, 6, 1, 1, false, 0, turns);
    orders.insert(order);
    firsts.insert(order[0]);
  }
  EXPECT_GE(orders.size(), 7u);
  EXPECT_GE(firsts.size(), 3u);
  emulator::options() = before;
  cudaFree(turns);
}

// ---------------------------------------------------------------- clusters and grids

__global__ void cluster_kernel(int* out) {
  const auto cluster = cooperative_groups::this_cluster();
  ACTIUM_SHARED(number, int);
  ACTIUM_DYNAMIC_SHARED(more, int);
  if (threadIdx.x == 0) {
    number = static_cast<int>(blockIdx.x) + 1;
    more[1] = 10 * number;
  }
  cluster.barrier_arrive();
  cluster.barrier_wait();
  int sum = 0;
  for (unsigned rank = 0; rank < cluster.num_blocks(); ++rank)
    sum += *cluster.map_shared_rank(&number, rank) + *cluster.map_shared_rank(more + 1, rank);
  cluster.sync();
  out[blockIdx.x * blockDim.x + threadIdx.x] = 100 * sum + static_cast<int>(cluster.block_rank());
}
TEST_P(Emulator, DistributedSharedMemory) {
  const std::vector<int> got = results_of(cluster_kernel, 12, 32, 4, false, 2 * sizeof(int));
  for (int i = 0; i < static_cast<int>(got.size()); ++i) {
    const int block = i / 32, first = block / 4 * 4;
    EXPECT_EQ(got[static_cast<std::size_t>(i)], 100 * 11 * (4 * first + 10) + block % 4) << i;
  }
}

__global__ void grid_kernel(int* out, int* sums) {
  const auto grid = cooperative_groups::this_grid();
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  for (unsigned half = gridDim.x / 2; half > 0; half /= 2) {
    grid.sync();
    if (threadIdx.x == 0 && blockIdx.x < half) sums[blockIdx.x] += sums[blockIdx.x + half];
  }
  grid.sync();
  out[blockIdx.x * blockDim.x + threadIdx.x] = sums[0];
}
TEST_P(Emulator, GridBarriers) {
  int* sums = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&sums), 8 * sizeof *sums), cudaSuccess);
  for (const int got : results_of(grid_kernel, 8, 32, 1, true, 0, sums)) EXPECT_EQ(got, 36);
  EXPECT_EQ(cudaFree(sums), cudaSuccess);
}

// ---------------------------------------------------------------- arithmetic and atomics

__global__ void atomics_kernel(int* out, int* words) {
  const int thread = static_cast<int>(threadIdx.x);
  atomicAdd(words, thread);
  atomicMax(words + 1, thread);
  atomicMin(words + 2, -thread);
  atomicOr(words + 3, 1 << thread % 20);
  atomicAnd(words + 4, ~(1 << thread % 20));
  atomicXor(words + 5, 1);
  atomicSub(words + 6, 2);
  int seen = 0, old;
  do old = atomicCAS(words + 7, seen, seen + 1);
  while (old != seen && (seen = old, true));
  atomicExch(words + 8, 5);
  out[thread] = 0;
}
TEST_P(Emulator, Atomics) {
  int* words = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&words), 9 * sizeof *words), cudaSuccess);
  ASSERT_EQ(cudaMemset(words, 0, 9 * sizeof *words), cudaSuccess);
  ASSERT_EQ(cudaMemset(words + 4, 0xff, sizeof *words), cudaSuccess);
  results_of(atomics_kernel, 1, 64, 1, false, 0, words);
  std::vector<int> got(9);
  ASSERT_EQ(cudaMemcpy(got.data(), words, 9 * sizeof(int), cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(got, (std::vector<int>{2016, 63, -63, 0xfffff, ~0xfffff, 0, -128, 64, 5}));
  EXPECT_EQ(cudaFree(words), cudaSuccess);
}

TEST(EmulatorArithmetic, SineAndCosineOfMultiplesOfPi) {
  for (int i = -4000; i <= 4000; ++i) {
    const double x = i / 97.0;
    double sine = 0, cosine = 0;
    sincospi(x, &sine, &cosine);
    const long double angle = std::remainder(static_cast<long double>(x), 2.0L) * std::acos(-1.0L);
    EXPECT_NEAR(sine, static_cast<double>(std::sin(angle)), 1.2e-16) << x;
    EXPECT_NEAR(cosine, static_cast<double>(std::cos(angle)), 1.2e-16) << x;
  }
  for (const auto& [x, s, c] :
       {std::array{0.5, 1.0, 0.0}, {1.0, 0.0, -1.0}, {-1.5, 1.0, 0.0}, {1e9 + 0.5, 1.0, 0.0}}) {
    double sine = 0, cosine = 0;
    sincospi(x, &sine, &cosine);
    EXPECT_NEAR(sine, s, 1e-19) << x;
    EXPECT_NEAR(cosine, c, 1e-19) << x;
  }
}

TEST(EmulatorArithmetic, Integers) {
  EXPECT_EQ(__popc(0xf0f0u), 8);
  EXPECT_EQ(__clz(1), 31);
  EXPECT_EQ(__clz(0), 32);
  EXPECT_EQ(__ffs(0), 0);
  EXPECT_EQ(__ffs(8), 4);
  EXPECT_EQ(__umulhi(0x80000000u, 6u), 3u);
}

}  // namespace

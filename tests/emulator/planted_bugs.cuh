#pragma once
// Small kernels of every kind that actium has or will have, correct as kernel<Bug::kNone>, each with bugs
// that authors of kernels make. planted_bugs_test.cpp says which check must find which.
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <cstdint>

#include "kernels/simt.cuh"

namespace planted {

enum class Bug {
  kNone,
  // scale_kernel
  kMisalignedVector,
  kVectorPastEnd,
  kTailOneShort,
  kTailOneTooFar,
  // warp_kernel
  kLaneOutsideItsMask,
  kAbsentLane,
  kMissingButterflyStep,
  kDivergentShuffle,
  kShuffleAsFence,
  kShuffleWithExitedLane,
  // block_kernel
  kMissingBarrier,
  kMissingSecondBarrier,
  kEarlyExit,
  kBarrierInTwoBranches,
  kUninitialisedPartial,
  kUninitialisedHiddenByMax,
  kSharedIndexOutOfBounds,
  kSharedOverrun,
  kDynamicSharedOverrun,
  // neighbour_kernel
  kReadsNeighbour,
  kTwoBlocksWriteOneElement,
  kTwoBlocksWriteTheSameValue,
  kSumWithoutAtomic,
  // cluster_kernel
  kMissingFirstClusterBarrier,
  kMissingLastClusterBarrier,
  kPeerOutsideCluster,
  // grid_kernel
  kMissingGridBarrier,
  // wide_kernel
  kOffsetIn32Bits,
  // dependent_kernel
  kMissingDependencySynchronize,
};

using actium::kernels::load_packet;
using actium::kernels::Packet;
using actium::kernels::store_packet;

/// y = 2 x, in packets from the first packet boundary on.
template <Bug B>
__global__ void scale_kernel(const float* x /* [count] */, float* y /* [count] */, int count) {
  constexpr int kCount = Packet<float>::kCount;
  const int past = static_cast<int>(reinterpret_cast<std::uintptr_t>(y) % 16 / sizeof(float));
  const int head = B == Bug::kMisalignedVector || past == 0 ? 0 : kCount - past;
  const int packets = (count - head + (B == Bug::kVectorPastEnd ? kCount - 1 : 0)) / kCount;
  for (int k = static_cast<int>(threadIdx.x); k < packets; k += static_cast<int>(blockDim.x)) {
    Packet<float> packet = load_packet(x + head + k * kCount, true);
    for (float& element : packet.element) element *= 2;
    store_packet(y + head + k * kCount, packet, true);
  }
  const int first = head + packets * kCount,
            last = count + (B == Bug::kTailOneTooFar ? 1 : 0) - (B == Bug::kTailOneShort ? 1 : 0);
  for (int i = static_cast<int>(threadIdx.x); i < last; i += static_cast<int>(blockDim.x))
    if (i < head || i >= first) y[i] = 2 * x[i];
}

/// y[row] = sum of x[row, :], one warp a row of 32; each lane then adds its right neighbour's value, by
/// shared memory.
template <Bug B>
__global__ void warp_kernel(const float* x /* [warps, 32] */, float* y /* [warps, 32] */) {
  const int lane = static_cast<int>(threadIdx.x % 32), i = static_cast<int>(threadIdx.x);
  float sum = x[i];
  const unsigned mask = B == Bug::kLaneOutsideItsMask ? 0x0000ffffu
                        : B == Bug::kAbsentLane       ? (lane < 16 ? 0x0000ffffu : 0xffff0000u)
                                                      : 0xffffffffu;
  if (B == Bug::kShuffleWithExitedLane && lane == 31) return;
  for (int offset = 16; offset > 0; offset /= B == Bug::kMissingButterflyStep ? 4 : 2)
    sum += __shfl_xor_sync(mask, sum, offset);
  ACTIUM_SHARED(right, float[1024]);
  if (B == Bug::kDivergentShuffle && lane < 16) {
    sum = __shfl_sync(0xffffffffu, sum, 0);
  } else {
    sum = __shfl_sync(0xffffffffu, sum, 1);
  }
  right[i] = x[i];
  B == Bug::kShuffleAsFence ? static_cast<void>(__shfl_sync(0xffffffffu, sum, 0)) : __syncwarp();
  y[i] = sum + right[i - lane + (lane + 1) % 32];
}

/// y[block] = max(x[block, :]) + sum(x[block, :]) over a block's threads, through shared memory.
template <Bug B>
__global__ void block_kernel(const float* x /* [blocks, threads] */, float* y /* [blocks] */) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (B == Bug::kEarlyExit && thread >= threads - 32) return;
  ACTIUM_SHARED(partial, float[8]);
  ACTIUM_DYNAMIC_SHARED(copy, float);  // [threads]
  const float mine = x[static_cast<int>(blockIdx.x) * threads + thread];
  float sum = mine, max = mine;
  for (int offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    const float other = __shfl_xor_sync(0xffffffffu, max, offset);
    max = max > other ? max : other;
  }
  const int warp = thread / 32, warps = threads / 32;
  float* const unchecked = partial;
  if (thread % 32 == 0 && !(B == Bug::kUninitialisedPartial && warp == 1)) {
    if constexpr (B == Bug::kSharedIndexOutOfBounds)
      partial[warp + 8] = sum;
    else if constexpr (B == Bug::kSharedOverrun)
      unchecked[warp + 8 - warps + 1] = sum;
    else
      partial[warp] = sum;
  }
  if constexpr (B != Bug::kMissingBarrier) __syncthreads();
  float total = 0;
  for (int w = 0; w < warps; ++w) total += partial[w];
  if constexpr (B == Bug::kBarrierInTwoBranches) {
    if (warp == 0)
      __syncthreads();
    else
      __syncthreads();
  } else if constexpr (B != Bug::kMissingSecondBarrier) {
    __syncthreads();
  }
  if (thread % 32 == 0) partial[warp] = max;
  copy[thread + (B == Bug::kDynamicSharedOverrun ? 1 : 0)] = mine;
  __syncthreads();
  // All eight, where only `warps` were written: fmaxf drops a NaN.
  for (int w = 0; w < (B == Bug::kUninitialisedHiddenByMax ? 8 : warps); ++w) max = fmaxf(max, partial[w]);
  if (thread == 0) y[blockIdx.x] = total + max;
}

/// y[i] = x[i + 1], *total += x[i]; in place (y is x) the neighbour is read before a barrier and written
/// after it.
template <Bug B>
__global__ void neighbour_kernel(float* x /* [blocks, threads] */, int* total) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x),
            first = static_cast<int>(blockIdx.x) * threads;
  const float next = x[first + (thread + 1) % threads];
  if constexpr (B != Bug::kReadsNeighbour) __syncthreads();
  x[first + thread] = next;
  if constexpr (B == Bug::kTwoBlocksWriteOneElement)
    if (thread == 0) x[0] = static_cast<float>(blockIdx.x);
  if constexpr (B == Bug::kTwoBlocksWriteTheSameValue)
    if (thread == 0) *total = 7;
  if constexpr (B == Bug::kSumWithoutAtomic) {
    if (thread == 0) *total += 1;
  } else if constexpr (B != Bug::kTwoBlocksWriteTheSameValue) {
    atomicAdd(total, 1);
  }
}

/// y[block] = the sum over its cluster, by distributed shared memory.
template <Bug B>
__global__ void cluster_kernel(const float* x /* [blocks] */, float* y /* [blocks] */) {
  const auto cluster = cooperative_groups::this_cluster();
  ACTIUM_SHARED(mine, float);
  if (threadIdx.x == 0) mine = x[blockIdx.x];
  if constexpr (B == Bug::kMissingFirstClusterBarrier)
    __syncthreads();
  else
    cluster.sync();
  float sum = 0;
  for (unsigned rank = 0; rank < cluster.num_blocks() + (B == Bug::kPeerOutsideCluster ? 1 : 0); ++rank)
    sum += *cluster.map_shared_rank(&mine, rank);
  if constexpr (B != Bug::kMissingLastClusterBarrier) cluster.sync();
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

/// y[block] = the sum of what all blocks wrote before.
template <Bug B>
__global__ void grid_kernel(const float* x /* [blocks] */, float* between /* [blocks] */,
                            float* y /* [blocks] */) {
  if (threadIdx.x == 0) between[blockIdx.x] = 2 * x[blockIdx.x];
  if constexpr (B != Bug::kMissingGridBarrier) cooperative_groups::this_grid().sync();
  float sum = 0;
  for (unsigned block = 0; block < gridDim.x; ++block) sum += between[block];
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

/// y[row, 0] = x[row, 0] for long rows.
template <Bug B>
__global__ void wide_kernel(const unsigned char* x /* [rows, columns] */,
                            unsigned char* y /* [rows, columns] */, std::int64_t columns) {
  std::int64_t offset = static_cast<std::int64_t>(blockIdx.x) * columns;
  if constexpr (B == Bug::kOffsetIn32Bits) offset = static_cast<std::uint32_t>(offset);
  if (threadIdx.x == 0) y[offset] = x[offset];
}

/// y = 2 x, in a launch that may overtake the one that writes x.
template <Bug B>
__global__ void dependent_kernel(const float* x /* [count] */, float* y /* [count] */) {
  if constexpr (B != Bug::kMissingDependencySynchronize) cudaGridDependencySynchronize();
  y[threadIdx.x] = 2 * x[threadIdx.x];
}

}  // namespace planted

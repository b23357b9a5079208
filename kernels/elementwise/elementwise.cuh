#pragma once
// The skeleton of every elementwise operation: out[o][i] = function(in[0][i], in[1][i], ...).
//
// Parallel shape: flat tiles, one block a tile, 16-byte packets; one more block for the ragged edges. Each
// input is read once and each output written once; outputs may be the inputs themselves, because a thread
// loads all of its elements before it stores any. Deterministic; no shared memory, no atomics. 64-bit tile
// bases, 32-bit offsets inside a tile.
#include "simt.cuh"

namespace actium::kernels {

template <class T, int Inputs, int Outputs>
struct ElementwiseTensors {
  const T* in[Inputs];  // each [count]
  T* out[Outputs];      // each [count]
};

template <class T, int Inputs>
inline constexpr int kElementwiseTile = kElementwiseThreads* kPacketsPerThread<Inputs>* Packet<T>::kCount;

// ---------------------------------------------------------------- kernel

/// `function` is called as function(in, out) with arrays of Compute<T>.
template <class Function, class T, int Inputs, int Outputs>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise_kernel(Function function, ElementwiseTensors<T, Inputs, Outputs> tensors,
                       ElementwisePlan plan) {
  using C = Compute<T>;
  constexpr int kPackets = kPacketsPerThread<Inputs>, kCount = Packet<T>::kCount;

  if (blockIdx.x < plan.tiles) {
    const std::int64_t tile = plan.head + static_cast<std::int64_t>(blockIdx.x) * kElementwiseTile<T, Inputs>;
    Packet<T> in[Inputs][kPackets], out[Outputs][kPackets];
#pragma unroll
    for (int i = 0; i < Inputs; ++i)
#pragma unroll
      for (int k = 0; k < kPackets; ++k)
        in[i][k] = load_packet(tensors.in[i] + tile + (k * kElementwiseThreads + threadIdx.x) * kCount,
                               plan.aligned_mask >> i & 1);
#pragma unroll
    for (int k = 0; k < kPackets; ++k)
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        C x[Inputs], y[Outputs];
#pragma unroll
        for (int i = 0; i < Inputs; ++i) x[i] = widen(in[i][k].element[e]);
        function(x, y);
#pragma unroll
        for (int o = 0; o < Outputs; ++o) out[o][k].element[e] = narrow<T>(y[o]);
      }
#pragma unroll
    for (int o = 0; o < Outputs; ++o)
#pragma unroll
      for (int k = 0; k < kPackets; ++k)
        store_packet(tensors.out[o] + tile + (k * kElementwiseThreads + threadIdx.x) * kCount, out[o][k],
                     plan.aligned_mask >> (Inputs + o) & 1);
    return;
  }

  const std::int64_t skipped = plan.tiles * kElementwiseTile<T, Inputs>;  // between head and tail
  for (std::int64_t edge = threadIdx.x; edge < plan.edges; edge += kElementwiseThreads) {
    const std::int64_t index = edge < plan.head ? edge : edge + skipped;
    C x[Inputs], y[Outputs];
#pragma unroll
    for (int i = 0; i < Inputs; ++i) x[i] = widen(tensors.in[i][index]);
    function(x, y);
#pragma unroll
    for (int o = 0; o < Outputs; ++o) tensors.out[o][index] = narrow<T>(y[o]);
  }
}

// ---------------------------------------------------------------- launcher

template <class Function, class T, int Inputs, int Outputs>
int launch_elementwise(const Function& function, const ElementwiseTensors<T, Inputs, Outputs>& tensors,
                       std::int64_t count, CUstream_st* stream) {
  std::uintptr_t addresses[Inputs + Outputs];
  for (int i = 0; i < Inputs; ++i) addresses[i] = reinterpret_cast<std::uintptr_t>(tensors.in[i]);
  for (int o = 0; o < Outputs; ++o) addresses[Inputs + o] = reinterpret_cast<std::uintptr_t>(tensors.out[o]);
  const ElementwisePlan plan = plan_elementwise(count, sizeof(T), kElementwiseTile<T, Inputs>, addresses);
  return launch(elementwise_kernel<Function, T, Inputs, Outputs>, plan.blocks(), kElementwiseThreads, stream,
                function, tensors, plan);
}

}  // namespace actium::kernels

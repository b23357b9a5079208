#pragma once
// The vocabulary of the kernels: launching, shared memory, element conversion, packets, reductions. Together
// with <actium/device/intrinsics.cuh> (approximations that users' kernels need too) the one place for
// intrinsics and PTX.
//
// Rules that let the same sources run by emulation (tests/emulator): kernels are launched through launch(),
// shared memory is declared through ACTIUM_SHARED and ACTIUM_DYNAMIC_SHARED, threads leave a kernel only
// after its last block barrier, and no block waits for another unless the launch is cooperative.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <actium/device/intrinsics.cuh>
#include <actium/dtype.hpp>
#include <cstdint>
#include <type_traits>

#include "plan.hpp"

static_assert(__cplusplus >= 202002L,
              "kernels are C++20: CMake 3.25 silently gives C++17 without the cache entry");

namespace actium::kernels {

// ---------------------------------------------------------------- launching and shared memory

/// The one way to launch. Returns the launch's own status; reads and clears no pending error of the user.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, CUstream_st* stream,
           Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

#ifndef ACTIUM_SHARED  // emulation brings its own
template <class T>
struct SharedType {
  using type = T;
};
/// Static shared memory: ACTIUM_SHARED(name, float[33]);
#define ACTIUM_SHARED(name, ...) __shared__ typename ::actium::kernels::SharedType<__VA_ARGS__>::type name
/// The launch's dynamic shared memory as an array: ACTIUM_DYNAMIC_SHARED(row, float);
#define ACTIUM_DYNAMIC_SHARED(name, ...)                         \
  extern __shared__ __align__(16) unsigned char actium_shared[]; \
  auto* const name = reinterpret_cast<__VA_ARGS__*>(actium_shared)
#endif

// ---------------------------------------------------------------- element types

/// The type a kernel computes in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ inline double widen(double x) { return x; }
__device__ inline float widen(float x) { return x; }
__device__ inline float widen(f16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ inline float widen(bf16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }

template <class T>
__device__ T narrow(Compute<T> x) {  // one rounding, to nearest even
  if constexpr (std::is_same_v<T, Compute<T>>) {
    return x;
  } else {
    T y;
    if constexpr (std::is_same_v<T, f16>)
      y.bits = __half_as_ushort(__float2half_rn(x));
    else
      y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    return y;
  }
}

// ---------------------------------------------------------------- packets

/// 16 bytes of elements, moved by one instruction where the pointer allows it.
template <class T>
struct alignas(kPacketBytes) Packet {
  static constexpr int kCount = kPacketBytes / sizeof(T);
  T element[kCount];
};

template <class T>
__device__ Packet<T> load_packet(const T* p, bool aligned) {
  if (aligned) return *reinterpret_cast<const Packet<T>*>(p);
  Packet<T> packet;
#pragma unroll
  for (int i = 0; i < Packet<T>::kCount; ++i) packet.element[i] = p[i];
  return packet;
}

/// One 16-byte store. Written as an assignment beside an element-by-element path, the compiler sees the same
/// stores on both and merges them into narrow ones; an instruction it cannot take apart.
__device__ inline void store_16_bytes(void* p, uint4 v) {
#ifdef __CUDA_ARCH__
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
#else
  *static_cast<uint4*>(p) = v;
#endif
}

template <class T>
__device__ void store_packet(T* p, const Packet<T>& packet, bool aligned) {
  if (aligned) {
    uint4 bits;
    memcpy(&bits, &packet, sizeof bits);
    store_16_bytes(p, bits);
  } else {
#pragma unroll
    for (int i = 0; i < Packet<T>::kCount; ++i) p[i] = packet.element[i];
  }
}

// ---------------------------------------------------------------- reductions

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
  template <class T>
  __device__ static T identity() {
    return T(0);
  }
};
struct Max {  // NaN propagates
  template <class T>
  __device__ T operator()(T a, T b) const {
    return device::max_nan(a, b);
  }
  template <class T>
  __device__ static T identity() {
    return -static_cast<T>(INFINITY);
  }
};

/// The same value in every lane, in the same order on every run: a butterfly over the whole warp.
template <class Op, class T>
__device__ T warp_reduce(Op op, T v) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2)
    v = op(v, __shfl_xor_sync(0xffffffffu, v, offset));
  return v;
}

/// The same value in every thread. `partial` is shared memory for one T a warp; the first barrier lets it be
/// reused from one call to the next. Every thread of the block calls it.
template <class Op, class T>
__device__ T block_reduce(Op op, T v, T* partial /* [32] */) {
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize,
                 warps = blockDim.x / kWarpSize;
  v = warp_reduce(op, v);
  __syncthreads();
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  return warp_reduce(op, lane < warps ? partial[lane] : Op::template identity<T>());
}

}  // namespace actium::kernels

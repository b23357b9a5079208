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
#include <actium/device/math.cuh>
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

template <class T>
__device__ T narrow_from_double(double x) {  // one rounding too
  T y;
  if constexpr (std::is_same_v<T, f16>)
    y.bits = __half_as_ushort(__double2half(x));
  else
    y.bits = __bfloat16_as_ushort(__double2bfloat16(x));
  return y;
}

/// The bits of the nearest e4m3 or e5m2, ties to even; what exceeds the largest finite number becomes that.
template <class T>
__device__ unsigned narrow_to_8(float x) {
  constexpr bool kIsE4M3 = std::is_same_v<T, e4m3>;
  const unsigned bits = device::to_bits(x), sign = bits >> 24 & 0x80u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7fu;  // NaN
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  unsigned short pair;
  if constexpr (kIsE4M3)
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  else
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return pair & 0xffu;
#else
  constexpr int kMantissaBits = kIsE4M3 ? 3 : 2, kBias = kIsE4M3 ? 7 : 15, kDropped = 23 - kMantissaBits;
  // A number whose last place is that of a subnormal result: adding it rounds.
  constexpr float kRounder = kIsE4M3 ? 0x1p14f : 0x1p7f;
  const float largest = T::kLargest;
  if (magnitude >= device::to_bits(largest)) return sign | (kIsE4M3 ? 0x7eu : 0x7bu);
  if (magnitude < static_cast<unsigned>(127 + 1 - kBias) << 23)
    return sign |
           (device::to_bits(device::add(device::from_bits(magnitude), kRounder)) - device::to_bits(kRounder));
  const unsigned to_even = (magnitude >> kDropped & 1u) + (1u << (kDropped - 1)) - 1;
  const unsigned rounded = (magnitude + to_even) >> kDropped;
  return sign | (rounded - (static_cast<unsigned>(127 - kBias) << kMantissaBits));
#endif
}

/// The number that an e4m3 or e5m2 stands for.
template <class T>
__device__ float widen_from_8(unsigned bits) {
  constexpr bool kIsE4M3 = std::is_same_v<T, e4m3>;
  constexpr int kDropped = kIsE4M3 ? 20 : 21;
  // The exponent and mantissa fields in float's places, then the difference of the biases by a product, which
  // is exact for subnormal numbers too.
  const float scaled = device::from_bits((bits & 0x7fu) << kDropped);
  const float magnitude = (bits & 0x7fu) > (kIsE4M3 ? 0x7eu : 0x7cu)
                              ? device::from_bits(0x7fc00000u)
                              : scaled * (kIsE4M3 ? 0x1p120f : 0x1p112f);
  return bits & 0x80u ? -magnitude : magnitude;
}

// ---------------------------------------------------------------- products

/// a * b * factor without an overflow on the way to a finite result. The factor comes last, because it may be
/// tiny; where a * b is too large, it meets the larger of them first, and then only an infinite result is
/// infinite.
template <class C>
__device__ C product(C a, C b, C factor) {
  const C both = a * b;
  if (device::absolute(both) <= device::Constants<C>::largest) return both * factor;
  const bool a_is_larger = device::absolute(a) > device::absolute(b);
  return (a_is_larger ? a : b) * factor * (a_is_larger ? b : a);
}

/// A number that times 0 is 0.
template <class C>
__device__ C finite(C x) {
  constexpr C kLargest = device::Constants<C>::largest;
  return device::min_nan(device::max_nan(x, -kLargest), kLargest);
}

// ---------------------------------------------------------------- packets

/// 16 bytes of elements, moved by one instruction where the pointer allows it.
template <class T>
struct alignas(kPacketBytes) Packet {
  static constexpr int kCount = kPacketBytes / sizeof(T);
  T element[kCount];
};

template <class T>
__device__ bool at_packet_boundary(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % kPacketBytes == 0;
}

template <class T>
__device__ Packet<T> load_packet(const T* p, bool aligned) {
  if (aligned) return *reinterpret_cast<const Packet<T>*>(p);
  Packet<T> packet;
#pragma unroll
  for (int i = 0; i < Packet<T>::kCount; ++i) packet.element[i] = p[i];
  return packet;
}

/// The packet at p, which is not at a packet boundary, out of the two packets that it lies across: these are
/// read whole.
template <class T>
__device__ Packet<T> load_shifted_packet(const T* p) {
  const auto past = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(p) % kPacketBytes);
  const uint4* const packets =
      reinterpret_cast<const uint4*>(reinterpret_cast<const unsigned char*>(p) - past);
  uint4 low = packets[0], high = packets[1];
  if (past & 8) low = {low.z, low.w, high.x, high.y}, high = {high.z, high.w, 0, 0};
  if (sizeof(T) < 8 && past & 4) low = {low.y, low.z, low.w, high.x}, high.x = high.y;
  if (sizeof(T) < 4 && past & 2)
    low = {low.x >> 16 | low.y << 16, low.y >> 16 | low.z << 16, low.z >> 16 | low.w << 16,
           low.w >> 16 | high.x << 16};
  Packet<T> packet;
  memcpy(static_cast<void*>(&packet), &low, sizeof packet);
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

/// The bits that any of 8 neighbouring lanes has, in each of them. Every lane of the warp calls it.
__device__ inline unsigned or_over_8_lanes(unsigned bits) {
#pragma unroll
  for (int offset = 1; offset < 8; offset *= 2) bits |= __shfl_xor_sync(0xffffffffu, bits, offset);
  return bits;
}

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

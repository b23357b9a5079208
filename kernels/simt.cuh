#pragma once
// The vocabulary of the kernels: launching, shared memory, element conversion, packets, reductions. Together
// with <actium/device/intrinsics.cuh> (approximations that users' kernels need too) the one place for
// intrinsics and PTX.
//
// Rules that let the same sources run by emulation (tests/emulator): kernels are launched through launch(),
// shared memory is declared through ACTIUM_SHARED and ACTIUM_DYNAMIC_SHARED, threads leave a kernel only
// after its last block barrier, and no block waits for another unless the launch is cooperative.

// Without what cooperative_groups.h has libcu++ for: reading that takes 2 s of each file's compilation.
#define _CG_LIMIT_INCLUDED_DEPENDENCIES
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <actium/device/math.cuh>
#include <actium/dtype.hpp>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "plan.hpp"

static_assert(__cplusplus >= 202002L,
              "kernels are C++20: CMake 3.25 silently gives C++17 without the cache entry");

namespace actium::kernels {

// ---------------------------------------------------------------- launching and shared memory

struct LaunchShape {
  unsigned blocks, threads;
  std::size_t shared_bytes = 0;  // dynamic
  /// The kernel's limit of it: the same at every launch on a device, as threads that launch at a time share
  /// it.
  std::size_t shared_limit = 0;
  unsigned cluster = 1;      // blocks; divides `blocks`
  bool cooperative = false;  // all blocks resident at once, for the grid's barrier
};

/// The one way to launch. Returns the launch's own status; reads and clears no pending error of the user.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), const LaunchShape& shape, CUstream_st* stream,
           Arguments&&... arguments) {
  if (shape.shared_limit > (48 << 10))
    if (const int status = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                static_cast<int>(shape.shared_limit));
        status != cudaSuccess)
      return status;
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  if (shape.cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {shape.cluster, 1, 1};
  }
  if (shape.cooperative) {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, CUstream_st* stream,
           Arguments&&... arguments) {
  return launch(kernel, LaunchShape{blocks, threads}, stream, std::forward<Arguments>(arguments)...);
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

/// Stores a packet at these columns. Neighbouring lanes hold neighbouring packets of a row, `first` is the
/// one of the first, `last` of the last lane that does; each lane stores what lies between two packet
/// boundaries of memory. Every lane of the warp calls it; column >= cols where there is nothing to store.
template <class T>
__device__ void store_columns(T* row, std::int64_t column, std::int64_t cols, const Packet<T>& packet,
                              bool first, bool last) {
  constexpr int kCount = Packet<T>::kCount;
  T* const p = row + column;
  const auto past = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(p) % kPacketBytes);
  uint4 low, high{};
  memcpy(&low, &packet, sizeof low);
  if (__any_sync(0xffffffffu, past != 0)) {
    high.x = __shfl_down_sync(0xffffffffu, low.x, 1);
    high.y = __shfl_down_sync(0xffffffffu, low.y, 1);
    high.z = __shfl_down_sync(0xffffffffu, low.z, 1);
    high.w = __shfl_down_sync(0xffffffffu, low.w, 1);
  }
  const int ahead = past == 0 ? 0 : static_cast<int>((kPacketBytes - past) / sizeof(T));
  const bool whole = column + ahead + kCount <= cols && (past == 0 || !last);
  if (whole) {
    // The packet that begins `ahead` elements into this one.
    const unsigned bytes = static_cast<unsigned>(ahead) * static_cast<unsigned>(sizeof(T));
    uint4 v = low;
    if (bytes & 8) v = {v.z, v.w, high.x, high.y}, high = {high.z, high.w, 0, 0};
    if (sizeof(T) < 8 && bytes & 4) v = {v.y, v.z, v.w, high.x}, high.x = high.y;
    if (sizeof(T) < 4 && bytes & 2)
      v = {v.x >> 16 | v.y << 16, v.y >> 16 | v.z << 16, v.z >> 16 | v.w << 16, v.w >> 16 | high.x << 16};
    store_16_bytes(p + ahead, v);
  }
  // Before the boundary: unless the lane before has it; after it: unless it went with the packet.
  const bool head = first || column + ahead > cols;
#pragma unroll
  for (int e = 0; e < kCount; ++e)
    if (column + e < cols && (e < ahead ? head : !whole)) p[e] = packet.element[e];
}

// ---------------------------------------------------------------- groups

/// kGroup neighbouring elements of `Bytes` bytes as they lie in memory, moved at once where they are aligned
/// as this type is: 16 bytes of f32, 8 of a 16-bit type, 4 of an 8-bit one, twice 16 of f64.
template <int Bytes>
struct alignas(kGroup* Bytes < 16 ? kGroup * Bytes : 16) Group {
  unsigned word[kGroup * Bytes / 4];
};

/// How far past a boundary of Groups p is, in bytes.
template <int Bytes>
__device__ unsigned past_boundary(const void* p) {
  return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(p) % alignof(Group<Bytes>));
}

/// The group at byte `shift` of two that lie one after the other, a multiple of Bytes below 4 * Bytes.
template <int Bytes>
__device__ Group<Bytes> shift_groups(Group<Bytes> low, Group<Bytes> high, unsigned shift) {
#pragma unroll
  for (int words = Bytes / 2; words > 0; words /= 2)
    if (4 * words >= Bytes && (shift & static_cast<unsigned>(4 * words)) != 0) {
#pragma unroll
      for (int i = 0; i < Bytes; ++i) {
        low.word[i] = i + words < Bytes ? low.word[(i + words) % Bytes] : high.word[(i + words) % Bytes];
      }
#pragma unroll
      for (int i = 0; i + words < Bytes; ++i) high.word[i] = high.word[i + words];
    }
  if constexpr (Bytes < 4) {
#pragma unroll
    for (int i = 0; i < Bytes; ++i) {
      const std::uint64_t both =
          std::uint64_t{i + 1 < Bytes ? low.word[(i + 1) % Bytes] : high.word[0]} << 32 | low.word[i];
      low.word[i] = static_cast<unsigned>(both >> (shift % 4 * 8));
    }
  }
  return low;
}

template <int Bytes>
__device__ Group<Bytes> load_whole_group(const void* p) {
  return *static_cast<const Group<Bytes>*>(p);
}
/// The group at p at any alignment, out of the two that it lies across: both are read whole.
template <int Bytes>
__device__ Group<Bytes> load_shifted_group(const void* p) {
  const unsigned past = past_boundary<Bytes>(p);
  const unsigned char* const first = static_cast<const unsigned char*>(p) - past;
  return shift_groups(load_whole_group<Bytes>(first), load_whole_group<Bytes>(first + sizeof(Group<Bytes>)),
                      past);
}
/// Its first `count` elements, one by one.
template <int Bytes>
__device__ Group<Bytes> load_elements(const void* p, int count) {
  Group<Bytes> group{};
#pragma unroll
  for (int e = 0; e < kGroup; ++e)
    if (e < count) {
      if constexpr (Bytes == 8) {
        const uint2 v = static_cast<const uint2*>(p)[e];
        group.word[2 * e] = v.x, group.word[2 * e + 1] = v.y;
      } else if constexpr (Bytes == 4) {
        group.word[e] = static_cast<const unsigned*>(p)[e];
      } else {
        group.word[e / 2] |= unsigned{static_cast<const unsigned short*>(p)[e]} << (e % 2 * 16);
      }
    }
  return group;
}

template <int Bytes>
__device__ void store_whole_group(void* p, const Group<Bytes>& group) {
  const unsigned(&w)[Bytes] = group.word;
  if constexpr (Bytes >= 4) {
#pragma unroll
    for (int i = 0; i < Bytes; i += 4)
      store_16_bytes(static_cast<unsigned*>(p) + i, {w[i], w[i + 1], w[i + 2], w[i + 3]});
  } else {
    *static_cast<Group<Bytes>*>(p) = group;
  }
}
/// Element e of a group to `at`.
template <int Bytes>
__device__ void store_element(void* at, int e, const Group<Bytes>& group) {
  if constexpr (Bytes == 8)
    *static_cast<uint2*>(at) = {group.word[2 * e], group.word[2 * e + 1]};
  else if constexpr (Bytes == 4)
    *static_cast<unsigned*>(at) = group.word[e];
  else if constexpr (Bytes == 2)
    *static_cast<unsigned short*>(at) = static_cast<unsigned short>(group.word[e / 2] >> (e % 2 * 16));
  else
    *static_cast<unsigned char*>(at) = static_cast<unsigned char>(group.word[0] >> (e * 8));
}

/// The group whose byte (i + by) % (4 * Bytes) is byte i of this one.
template <int Bytes>
__device__ Group<Bytes> rotate_group(Group<Bytes> group, unsigned by) {
#pragma unroll
  for (int words = Bytes / 2; words > 0; words /= 2)
    if (4 * words >= Bytes && (by & static_cast<unsigned>(4 * words)) != 0) {
      const Group<Bytes> old = group;
#pragma unroll
      for (int i = 0; i < Bytes; ++i) group.word[i] = old.word[(i + Bytes - words) % Bytes];
    }
  if constexpr (Bytes < 4) {
    const Group<Bytes> old = group;
#pragma unroll
    for (int i = 0; i < Bytes; ++i) {
      const std::uint64_t both = std::uint64_t{old.word[i]} << 32 | old.word[(i + Bytes - 1) % Bytes];
      group.word[i] = static_cast<unsigned>(both >> (32 - by % 4 * 8));
    }
  }
  return group;
}

/// The first `count` elements of a group to p, at any alignment: where a group does not begin at a boundary,
/// lanes hand their last elements to the next one, so that all but the ends are stored whole. `follows`: the
/// lane before has the four elements before these. Every lane of the warp calls it.
template <int Bytes>
__device__ void store_over_lanes(void* p, int count, bool follows, const Group<Bytes>& group) {
  constexpr unsigned kBytes = kGroup * Bytes;
  const unsigned past = past_boundary<Bytes>(p), lane = threadIdx.x % kWarpSize;
  unsigned char* const boundary = static_cast<unsigned char*>(p) - past;
  const bool whole = count * Bytes >= static_cast<int>(kBytes - past) && (past == 0 || follows);
  const unsigned whole_after = __ballot_sync(0xffffffffu, whole && past != 0) >> lane >> 1 & 1u;
  // As they lie between boundaries: the last ones, which belong after the next boundary, come first.
  const Group<Bytes> own = rotate_group(group, past);
  Group<Bytes> full;
#pragma unroll
  for (int i = 0; i < Bytes; ++i) {
    const unsigned before = __shfl_up_sync(0xffffffffu, own.word[i], 1);
    const unsigned taken = past > 4u * i ? past - 4 * i : 0;  // bytes of this word
    const unsigned mask = taken >= 4 ? ~0u : (1u << (taken * 8)) - 1;
    full.word[i] = (before & mask) | (own.word[i] & ~mask);
  }
  if (whole) store_whole_group(boundary, full);
#pragma unroll
  for (int j = 0; j < kGroup; ++j) {
    const bool next = static_cast<unsigned>(j * Bytes) < past;
    const int e = j - static_cast<int>(past) / Bytes + (next ? kGroup : 0);
    if (e < count && !(next ? whole_after != 0 : whole))
      store_element(boundary + j * Bytes + (next ? kBytes : 0), j, own);
  }
}

/// What lanes of a warp did in memory before it, the others see after it. Every lane calls it.
__device__ inline void warp_barrier() { __syncwarp(); }

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

/// The value of the lane whose number differs in this bit. Every lane of the warp calls it.
__device__ inline float shuffle_xor(float x, int bit) { return __shfl_xor_sync(0xffffffffu, x, bit); }
__device__ inline double shuffle_xor(double x, int bit) { return __shfl_xor_sync(0xffffffffu, x, bit); }

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

// ---------------------------------------------------------------- barriers beyond the block

/// All threads of the cluster. Launched without one, a block is a cluster.
__device__ inline void cluster_barrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900  // has no clusters
  __syncthreads();
#else
  cooperative_groups::this_cluster().sync();
#endif
}

/// Where block `rank` of the cluster has what this one has at p, in shared memory; after a cluster_barrier.
template <class T>
__device__ const T* in_cluster(T* p, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  return p;
#else
  return cooperative_groups::this_cluster().map_shared_rank(p, static_cast<unsigned>(rank));
#endif
}

/// All threads of a cooperative grid.
__device__ inline void grid_barrier() { cooperative_groups::this_grid().sync(); }

}  // namespace actium::kernels

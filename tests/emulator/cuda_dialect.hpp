#pragma once
// CUDA C++ for a host compiler: force-included (-include) before kernel sources. NVIDIA's own headers give
// the types; this file replaces only what needs a device. What is absent here, kernels may not use.
#define ACTIUM_EMULATED 1
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "engine.hpp"
#include "runtime.hpp"

#undef __shared__
#define __shared__ \
  static_assert(false, "shared memory is declared by ACTIUM_SHARED and ACTIUM_DYNAMIC_SHARED");
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __cluster_dims__
#define __cluster_dims__(...) static_assert(false, "clusters are asked for at the launch");

// One instance a block, made when the first thread comes to it.
#define ACTIUM_SHARED(name, ...)                                                             \
  static const char actium_tag_of_##name = 0;                                                \
  auto& name = *static_cast<std::type_identity_t<__VA_ARGS__>*>(::emulator::shared_variable( \
      &actium_tag_of_##name, #name, sizeof(__VA_ARGS__), alignof(__VA_ARGS__), {__FILE__, __LINE__}))
#define ACTIUM_DYNAMIC_SHARED(name, ...) \
  auto* const name = static_cast<__VA_ARGS__*>(::emulator::dynamic_shared())

using std::log1p, std::log, std::sqrt, std::exp, std::ilogb,
    std::scalbn;  // overloaded for float, as on the device

extern const uint3 threadIdx, blockIdx;  // rewritten at every switch: constant for the thread that reads them
extern const dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// ---------------------------------------------------------------- barriers and warps

#define ACTIUM_HERE ::emulator::Location here = ::emulator::Location::current()

inline void __syncthreads(ACTIUM_HERE) { emulator::block_barrier(emulator::BlockOp::kSync, 0, here); }
inline int __syncthreads_count(int predicate, ACTIUM_HERE) {
  return emulator::block_barrier(emulator::BlockOp::kCount, predicate, here);
}
inline int __syncthreads_and(int predicate, ACTIUM_HERE) {
  return emulator::block_barrier(emulator::BlockOp::kAnd, predicate, here);
}
inline int __syncthreads_or(int predicate, ACTIUM_HERE) {
  return emulator::block_barrier(emulator::BlockOp::kOr, predicate, here);
}
inline void __syncwarp(unsigned mask = ~0u, ACTIUM_HERE) {
  emulator::warp_exchange(emulator::WarpOp::kSync, mask, 0, 0, warpSize, here);
}
inline unsigned __activemask() { return emulator::active_mask(); }

namespace emulator {
template <class T>
std::uint64_t to_word(const T& value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}
template <class T>
T from_word(std::uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
}  // namespace emulator

#define ACTIUM_SHUFFLE(name, op, Parameter)                                                               \
  template <class T>                                                                                      \
  T name(unsigned mask, T value, Parameter parameter, int width = warpSize, ACTIUM_HERE) {                \
    return emulator::from_word<T>(emulator::warp_exchange(                                                \
        emulator::WarpOp::op, mask, emulator::to_word(value), static_cast<int>(parameter), width, here)); \
  }
ACTIUM_SHUFFLE(__shfl_sync, kShuffle, int)
ACTIUM_SHUFFLE(__shfl_up_sync, kShuffleUp, unsigned)
ACTIUM_SHUFFLE(__shfl_down_sync, kShuffleDown, unsigned)
ACTIUM_SHUFFLE(__shfl_xor_sync, kShuffleXor, int)
#undef ACTIUM_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, ACTIUM_HERE) {
  return static_cast<unsigned>(
      emulator::warp_exchange(emulator::WarpOp::kBallot, mask, predicate != 0, 0, warpSize, here));
}
inline int __any_sync(unsigned mask, int predicate, ACTIUM_HERE) {
  return __ballot_sync(mask, predicate, here) != 0;
}
inline int __all_sync(unsigned mask, int predicate, ACTIUM_HERE) {
  return __ballot_sync(mask, !predicate, here) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, ACTIUM_HERE) {
  return static_cast<unsigned>(emulator::warp_exchange(emulator::WarpOp::kMatchAny, mask,
                                                       emulator::to_word(value), 0, warpSize, here));
}

#define ACTIUM_REDUCE(name, T, op)                                                                          \
  inline T name(unsigned mask, T value, ACTIUM_HERE) {                                                      \
    return static_cast<T>(emulator::warp_exchange(emulator::WarpOp::op, mask, static_cast<unsigned>(value), \
                                                  0, warpSize, here));                                      \
  }
ACTIUM_REDUCE(__reduce_add_sync, unsigned, kAdd)
ACTIUM_REDUCE(__reduce_add_sync, int, kAdd)
ACTIUM_REDUCE(__reduce_min_sync, unsigned, kMinUnsigned)
ACTIUM_REDUCE(__reduce_min_sync, int, kMinSigned)
ACTIUM_REDUCE(__reduce_max_sync, unsigned, kMaxUnsigned)
ACTIUM_REDUCE(__reduce_max_sync, int, kMaxSigned)
ACTIUM_REDUCE(__reduce_and_sync, unsigned, kAnd)
ACTIUM_REDUCE(__reduce_or_sync, unsigned, kOr)
ACTIUM_REDUCE(__reduce_xor_sync, unsigned, kXor)
#undef ACTIUM_REDUCE

inline void cudaGridDependencySynchronize(ACTIUM_HERE) { emulator::dependency_synchronize(here); }
// The next kernel overtakes as far as it may in any case.
inline void cudaTriggerProgrammaticLaunchCompletion() {}

// ---------------------------------------------------------------- memory

// Relaxed, as in CUDA: they order nothing else. What is not a word (f16, bf16) has none.
#define ACTIUM_ATOMIC(name, expression)                                                               \
  template <class T>                                                                                  \
  requires(std::is_arithmetic_v<T>) T name(T* address, std::type_identity_t<T> value) {               \
    std::atomic_ref<T> word(*address);                                                                \
    T old = word.load(std::memory_order_relaxed);                                                     \
    while (!word.compare_exchange_weak(old, static_cast<T>(expression), std::memory_order_relaxed)) { \
    }                                                                                                 \
    return old;                                                                                       \
  }
ACTIUM_ATOMIC(atomicAdd, old + value)
ACTIUM_ATOMIC(atomicSub, old - value)
ACTIUM_ATOMIC(atomicExch, value)
ACTIUM_ATOMIC(atomicMax, old > value ? old : value)
ACTIUM_ATOMIC(atomicMin, old < value ? old : value)
ACTIUM_ATOMIC(atomicAnd, old& value)
ACTIUM_ATOMIC(atomicOr, old | value)
ACTIUM_ATOMIC(atomicXor, old ^ value)
#undef ACTIUM_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
/// Orders this thread's own accesses and publishes nothing by itself: hand-over between blocks is by
/// cuda::atomic_ref with acquire and release.
inline void __threadfence() { std::atomic_signal_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_signal_fence(std::memory_order_seq_cst); }

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> value) {
  *p = value;
}

// ---------------------------------------------------------------- integers

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }

// ---------------------------------------------------------------- mathematics

/// sin(pi x) and cos(pi x).
template <class T>
void sincospi(T x, T* sine, T* cosine) {
  const T quarters = std::round(2 * x);
  const long double angle =
      3.14159265358979323846264338327950288L * (x - quarters / 2);  // the difference is exact
  const auto s = static_cast<T>(std::sin(angle)), c = static_cast<T>(std::cos(angle));
  const auto quadrant = static_cast<unsigned>(static_cast<long long>(quarters)) & 3u;
  *sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
  *cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
}

// ---------------------------------------------------------------- launches

namespace emulator {
template <class... Parameters, class... Arguments>
cudaError_t launch_kernel(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                          Arguments&&... arguments) {
  // Each thread gets its own copy of the arguments.
  return enqueue_launch(*config, reinterpret_cast<const void*>(kernel),
                        [kernel, copy = std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)] {
                          std::apply(kernel, copy);
                        });
}
}  // namespace emulator
#define cudaLaunchKernelEx ::emulator::launch_kernel

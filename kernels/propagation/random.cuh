#pragma once
// x[i] = low + (high - low) u[i] and x[i] = mean + deviation n[i]: random numbers that are a function of
// (seed, sequence, i) alone: element i takes word i % 4 of Philox block i / 4 (philox.cuh).
//
//   u = (word + 1/2) 2^-32, by one fma                                            uniform
//   n = sqrt(-2 log u0) {sin, cos}(2 pi u1) for the words (0, 1) and (2, 3)       Box and Muller 1958
//
// Parallel shape: one thread a block of four elements; no shared memory. Bytes moved an element: one write.
// Exactness: the words and the uniform numbers are bit-equal to the CPU's; the normal ones agree to a few ULP
// (the device's log, sqrt and sincospi; cuRAND's own normal uses the approximate sine and cosine).
#include <cuda_runtime.h>
#include <cstdint>

#include "launch_propagation.hpp"
#include "philox.cuh"
#include "propagation/plan_propagation.hpp"
#include "simt.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// (word + 1/2) 2^-32: exact in double, rounded to nearest (and perhaps to 1) in float.
template <class C>
__device__ C unit_uniform(unsigned word) {
  return device::fma(static_cast<C>(word), C(0x1p-32), C(0x1p-33));
}

template <class C>
struct Uniform {
  __device__ void operator()(uint4 words, C (&out)[4]) const {
    out[0] = unit_uniform<C>(words.x);
    out[1] = unit_uniform<C>(words.y);
    out[2] = unit_uniform<C>(words.z);
    out[3] = unit_uniform<C>(words.w);
  }
};

template <class C>
struct Normal {
  __device__ static void pair(unsigned radius_word, unsigned angle_word, C& first, C& second) {
    const C radius = sqrt(C(-2) * log(unit_uniform<C>(radius_word)));
    C sine, cosine;
    sincospi(C(2) * unit_uniform<C>(angle_word), &sine, &cosine);
    first = radius * sine;  // cuRAND's order
    second = radius * cosine;
  }
  __device__ void operator()(uint4 words, C (&out)[4]) const {
    pair(words.x, words.y, out[0], out[1]);
    pair(words.z, words.w, out[2], out[3]);
  }
};

/// Four elements, moved by one instruction (two for double) where the pointer allows it.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T element[4];
};

// ---------------------------------------------------------------- kernels

/// The body of both fills: x[4 b + k] = offset + scale distribution(words of block b)[k].
template <class Distribution, class T>
__device__ void fill(std::uint64_t seed, std::uint64_t sequence, Compute<T> offset, Compute<T> scale,
                     T* x /* [count] */, std::int64_t count, bool aligned) {
  using C = Compute<T>;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kFillThreads;
  for (std::int64_t block = static_cast<std::int64_t>(blockIdx.x) * kFillThreads + threadIdx.x;
       block * 4 < count; block += stride) {
    C draw[4];
    Distribution{}(philox_block(seed, sequence, static_cast<std::uint64_t>(block)), draw);
    Quad<T> quad;
#pragma unroll
    for (int k = 0; k < 4; ++k) quad.element[k] = narrow<T>(device::fma(scale, draw[k], offset));
    const std::int64_t rest = count - block * 4;
    if (aligned && rest >= 4) {
      *reinterpret_cast<Quad<T>*>(x + block * 4) = quad;
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (k < rest) x[block * 4 + k] = quad.element[k];
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kFillThreads)
    fill_uniform_kernel(std::uint64_t seed, std::uint64_t sequence, Compute<T> offset, Compute<T> scale, T* x,
                        std::int64_t count, bool aligned) {
  fill<Uniform<Compute<T>>>(seed, sequence, offset, scale, x, count, aligned);
}

template <class T>
__global__ void __launch_bounds__(kFillThreads)
    fill_normal_kernel(std::uint64_t seed, std::uint64_t sequence, Compute<T> offset, Compute<T> scale, T* x,
                       std::int64_t count, bool aligned) {
  fill<Normal<Compute<T>>>(seed, sequence, offset, scale, x, count, aligned);
}

// ---------------------------------------------------------------- launchers

template <class T>
Status launch_fill_uniform(std::uint64_t seed, std::uint64_t sequence, double offset, double scale, T* x,
                           std::int64_t count, Stream stream) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % sizeof(Quad<T>) == 0;
  return launch(fill_uniform_kernel<T>, fill_blocks(count), kFillThreads, stream, seed, sequence, offset,
                scale, x, count, aligned);
}

template <class T>
Status launch_fill_normal(std::uint64_t seed, std::uint64_t sequence, double offset, double scale, T* x,
                          std::int64_t count, Stream stream) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % sizeof(Quad<T>) == 0;
  return launch(fill_normal_kernel<T>, fill_blocks(count), kFillThreads, stream, seed, sequence, offset,
                scale, x, count, aligned);
}

#define ACTIUM_INSTANTIATE_RANDOM(T)                                                                     \
  template Status launch_fill_uniform<T>(std::uint64_t, std::uint64_t, double, double, T*, std::int64_t, \
                                         Stream);                                                        \
  template Status launch_fill_normal<T>(std::uint64_t, std::uint64_t, double, double, T*, std::int64_t,  \
                                        Stream);

}  // namespace actium::kernels

#pragma once
// Softmax over rows and its statistics: p = exp(a) / sum exp(a), log p, log sum exp(z / T) and the entropy,
// with a = (z - max z) / T <= 0; the Jacobian's product with a tangent; the dense Jacobian.
//
// Parallel shape: rows of up to 1024 columns take one warp and live in registers (one read, one write);
// longer rows take one block, which reads them three times, mostly from the caches. Which thread sees which
// column depends on the row's length alone, so a row's result depends on nothing but the row. Sums are f32
// per thread, then trees (f64 for f64), in a fixed order, no atomics. Outputs may be the inputs: no thread
// writes before all have read.
//
// Exactness: z - max, its rounding error and the division by T enter the exponential as hi + lo, so the error
// of exp(a) does not grow with |a|. The sum is kept as ties + rest (ties: elements equal to the maximum), so
// that log(sum) = log1p(ties - 1 + rest) is accurate also where one element dominates.
#include <actium/device/math.cuh>

#include "launch.hpp"
#include "simt.cuh"

namespace actium::kernels {

using device::Pair;
using device::Real;

// ---------------------------------------------------------------- device functions

/// x / T as a product with the reciprocal in two words, made on the host.
template <class C>
struct Division {
  C hi, lo;
};

template <class C>
__device__ C divided(C x, const Division<C>& by) {
  return x == 0 ? x : device::fma(x, by.hi, x * by.lo);
}

/// a = (z - max) / T as hi + lo; exactly 0 where z is the maximum, even if 1 / T overflows. `lo` is dropped
/// once exp(a) = 0.
template <class C>
__device__ Pair<C> shifted(C z, C max, const Division<C>& temperature) {
  Pair<C> distance = device::two_sum(Real<C>(z), Real<C>(-max));
  if (distance.hi == Real<C>(0)) return {C(0), C(0)};
  C twice = 1;
  if (distance.hi < Real<C>(-device::Constants<C>::largest)) {
    if (z < -device::Constants<C>::largest) return {C(z), C(0)};              // -inf, even if 1 / T is 0
    distance = device::two_sum(Real<C>(C(0.5) * z), Real<C>(C(-0.5) * max));  // z - max overflows
    twice = 2;
  }
  const Pair<C> a = device::multiply(distance, Real<C>(twice * temperature.hi));
  if (a.hi < Real<C>(device::Constants<C>::smallest_exponent)) return {a.hi, C(0)};
  return {a.hi, fma(distance.hi, Real<C>(twice * temperature.lo), a.lo)};
}

template <class C>
__device__ C exp_shifted(Pair<C> a) {
  const device::ExpParts<C> parts =
      device::exp_parts<C>({max_nan(a.hi, Real<C>(device::Constants<C>::smallest_exponent)), a.lo});
  return device::unscale(parts.significand * parts.scaled_power).number;
}

/// What the second pass over a row adds up.
template <class C>
struct RowSums {
  C ties = 0;      // elements equal to the maximum
  C rest = 0;      // sum of exp(a) over the others
  C weighted = 0;  // sum of exp(a) * a, for the entropy
  __device__ void add(Pair<C> a, C e) {
    if (a.hi == Real<C>(0)) {
      ties += 1;
    } else {
      rest += e;
      weighted += e == 0 ? C(0) : e * a.hi.number;
    }
  }
  __device__ C sum() const { return ties + rest; }
  __device__ C log_sum() const { return log1p(ties - 1 + rest); }
};

template <SoftmaxResult R>
inline constexpr bool kStatistic = R == SoftmaxResult::kLogSumExp || R == SoftmaxResult::kEntropy;

/// The result of one element, given its row's maximum and sums.
template <SoftmaxResult R, class C>
__device__ C element_result(Pair<C> a, const RowSums<C>& sums) {
  if constexpr (R == SoftmaxResult::kProbability)
    return exp_shifted(a) / sums.sum();
  else
    return (a.hi + (a.lo - Real<C>(sums.log_sum()))).number;
}

/// The result of one row.
template <SoftmaxResult R, class C>
__device__ C row_result(C max, const RowSums<C>& sums, const Division<C>& temperature) {
  if constexpr (R == SoftmaxResult::kEntropy)
    return sums.log_sum() - sums.weighted / sums.sum();  // both terms >= 0
  else
    return device::absolute(max) > device::Constants<C>::largest ? max
                                                                 : divided(max, temperature) + sums.log_sum();
}

/// Adds up one set of sums over a warp or a block; `reduce(op, value)` is the reduction.
template <SoftmaxResult R, class C, class Reduce>
__device__ RowSums<C> reduce_sums(RowSums<C> sums, const Reduce& reduce) {
  sums.ties = reduce(Sum{}, sums.ties);
  sums.rest = reduce(Sum{}, sums.rest);
  if constexpr (R == SoftmaxResult::kEntropy) sums.weighted = reduce(Sum{}, sums.weighted);
  return sums;
}

/// p (t - mean) / T.
template <class C>
__device__ C jvp_element(C p, C t, C mean, const Division<C>& temperature) {
  const C distance = t - mean;
  // A probability of 0 beats a distance that overflowed (a NaN stays).
  return p == 0 && device::absolute(distance) > device::Constants<C>::largest
             ? C(0)
             : divided(p * distance, temperature);
}

// ---------------------------------------------------------------- kernels: one warp a row

template <SoftmaxResult R, class T, int PerLane>
__global__ void __launch_bounds__(kRowWarpThreads)
    softmax_warp_kernel(const T* z,  // [rows, cols]
                        T* out,      // [rows, cols] or [rows]
                        std::int64_t rows, int cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  constexpr int kRows = kRowWarpThreads / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  const auto reduce = [](auto op, C v) { return warp_reduce(op, v); };
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRows + threadIdx.x / kWarpSize; row < rows;
       row += static_cast<std::int64_t>(gridDim.x) * kRows) {
    C v[PerLane];
    C max = Max::identity<C>();
#pragma unroll
    for (int i = 0; i < PerLane; ++i) {
      const int column = i * kWarpSize + lane;
      v[i] = column < cols ? static_cast<C>(widen(z[row * cols + column])) : Max::identity<C>();
      max = Max{}(max, v[i]);
    }
    max = warp_reduce(Max{}, max);

    RowSums<C> sums;
#pragma unroll
    for (int i = 0; i < PerLane; ++i)
      if (i * kWarpSize + lane < cols) {
        const Pair<C> a = shifted(v[i], max, temperature);
        const C e = exp_shifted(a);
        sums.add(a, e);
        if constexpr (R == SoftmaxResult::kProbability)
          v[i] = e;  // the numerator, so that it is not computed twice
      }
    sums = reduce_sums<R>(sums, reduce);

    if constexpr (kStatistic<R>) {
      if (lane == 0) out[row] = narrow<T>(row_result<R>(max, sums, temperature));
    } else {
#pragma unroll
      for (int i = 0; i < PerLane; ++i) {
        const int column = i * kWarpSize + lane;
        if (column >= cols) continue;
        C y;
        if constexpr (R == SoftmaxResult::kProbability)
          y = v[i] / sums.sum();
        else
          y = element_result<R>(shifted(v[i], max, temperature), sums);
        out[row * cols + column] = narrow<T>(y);
      }
    }
  }
}

template <class T, int PerLane>
__global__ void __launch_bounds__(kRowWarpThreads)
    softmax_jvp_warp_kernel(const T* p,   // [rows, cols]
                            const T* tz,  // [rows, cols]
                            T* tp,        // [rows, cols]
                            std::int64_t rows, int cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  constexpr int kRows = kRowWarpThreads / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRows + threadIdx.x / kWarpSize; row < rows;
       row += static_cast<std::int64_t>(gridDim.x) * kRows) {
    C probability[PerLane], tangent[PerLane], mean = 0;
#pragma unroll
    for (int i = 0; i < PerLane; ++i) {
      const int column = i * kWarpSize + lane;
      const bool inside = column < cols;
      probability[i] = inside ? static_cast<C>(widen(p[row * cols + column])) : C(0);
      tangent[i] = inside ? static_cast<C>(widen(tz[row * cols + column])) : C(0);
      mean = device::fma(probability[i], tangent[i], mean);
    }
    mean = warp_reduce(Sum{}, mean);
#pragma unroll
    for (int i = 0; i < PerLane; ++i) {
      const int column = i * kWarpSize + lane;
      if (column < cols)
        tp[row * cols + column] = narrow<T>(jvp_element(probability[i], tangent[i], mean, temperature));
    }
  }
}

// ---------------------------------------------------------------- kernels: one block a row

// Packets k, k + threads, ... of a row belong to a thread, then single columns of the tail: which columns
// depends on `cols` and the block size alone; the pointers only decide how they are moved.

/// body(elements...) for this thread's columns of one or two rows.
template <class T, class Body, class... Rows>
__device__ void for_each_column(std::int64_t cols, const Body& body, const T* row /* [cols] */,
                                Rows... more /* [cols] */) {
  constexpr int kCount = Packet<T>::kCount;
  const auto visit = [&](const auto&... packets) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) body(widen(packets.element[e])...);
  };
  const std::int64_t packets = cols / kCount;
  for (std::int64_t k = threadIdx.x; k < packets; k += blockDim.x)
    visit(load_packet(row + k * kCount, at_packet_boundary(row)),
          load_packet(more + k * kCount, at_packet_boundary(more))...);
  for (std::int64_t column = packets * kCount + threadIdx.x; column < cols; column += blockDim.x)
    body(widen(row[column]), widen(more[column])...);
}

/// out[column] = function(elements...) for the same columns. `out` may be one of the rows.
template <class T, class Function, class... Rows>
__device__ void transform_columns(std::int64_t cols, const Function& function, T* out /* [cols] */,
                                  Rows... rows /* [cols] */) {
  constexpr int kCount = Packet<T>::kCount;
  const auto transform = [&](const auto&... packets) {
    Packet<T> result;
#pragma unroll
    for (int e = 0; e < kCount; ++e) result.element[e] = narrow<T>(function(widen(packets.element[e])...));
    return result;
  };
  const std::int64_t packets = cols / kCount;
  for (std::int64_t k = threadIdx.x; k < packets; k += blockDim.x)
    store_packet(out + k * kCount, transform(load_packet(rows + k * kCount, at_packet_boundary(rows))...),
                 at_packet_boundary(out));
  for (std::int64_t column = packets * kCount + threadIdx.x; column < cols; column += blockDim.x)
    out[column] = narrow<T>(function(widen(rows[column])...));
}

template <SoftmaxResult R, class T>
__global__ void __launch_bounds__(kRowBlockMaxThreads, 1)
    softmax_block_kernel(const T* z,  // [rows, cols]
                         T* out,      // [rows, cols] or [rows]
                         std::int64_t rows, std::int64_t cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  ACTIUM_SHARED(partial, C[kWarpSize]);
  const auto reduce = [&](auto op, C v) { return block_reduce(op, v, partial); };
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* in = z + row * cols;
    C max = Max::identity<C>();
    for_each_column(
        cols, [&](C v) { max = Max{}(max, v); }, in);
    max = reduce(Max{}, max);

    RowSums<C> sums;
    const auto add = [&](C v) {
      const Pair<C> a = shifted(v, max, temperature);
      sums.add(a, exp_shifted(a));
    };
    for_each_column(cols, add, in);
    sums = reduce_sums<R>(sums, reduce);

    if constexpr (kStatistic<R>) {
      if (threadIdx.x == 0) out[row] = narrow<T>(row_result<R>(max, sums, temperature));
    } else {
      const auto result = [&](C v) { return element_result<R>(shifted(v, max, temperature), sums); };
      transform_columns(cols, result, out + row * cols, in);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kRowBlockMaxThreads, 1)
    softmax_jvp_block_kernel(const T* p,   // [rows, cols]
                             const T* tz,  // [rows, cols]
                             T* tp,        // [rows, cols]
                             std::int64_t rows, std::int64_t cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  ACTIUM_SHARED(partial, C[kWarpSize]);
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *ps = p + row * cols, *ts = tz + row * cols;
    C mean = 0;
    for_each_column(
        cols, [&](C pi, C ti) { mean = device::fma(pi, ti, mean); }, ps, ts);
    mean = block_reduce(Sum{}, mean, partial);
    const auto result = [&](C pi, C ti) { return jvp_element(pi, ti, mean, temperature); };
    transform_columns(cols, result, tp + row * cols, ps, ts);
  }
}

// ---------------------------------------------------------------- kernel: the dense Jacobian

/// One block a row of the Jacobian: J_ij = p_i (delta_ij - p_j) / T.
template <class T>
__global__ void __launch_bounds__(kRowBlockMaxThreads, 1)
    softmax_jacobian_kernel(const T* p,   // [rows, cols]
                            T* jacobian,  // [rows, cols, cols]
                            std::int64_t rows, std::int64_t cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  for (std::int64_t row = blockIdx.x; row < rows * cols; row += gridDim.x) {
    const T* distribution = p + row / cols * cols;
    const std::int64_t i = row % cols;
    const C pi = widen(distribution[i]);
    for (std::int64_t j = threadIdx.x; j < cols; j += blockDim.x) {
      const C pj = widen(distribution[j]);
      jacobian[row * cols + j] = narrow<T>(divided(pi * (i == j ? 1 - pj : -pj), temperature));
    }
  }
}

// ---------------------------------------------------------------- launchers

namespace detail {

template <class C>
Division<C> division_by(double temperature) {
  const long double reciprocal = 1 / static_cast<long double>(temperature);
  const C hi = static_cast<C>(reciprocal);
  const long double rest = reciprocal - static_cast<long double>(hi);
  return {hi, rest - rest == 0 ? static_cast<C>(rest) : C(0)};  // 1 / T may overflow C
}

/// Calls f with the smallest compiled number of columns a lane that covers the row.
template <class F>
Status with_columns_per_lane(std::int64_t cols, const F& f) {
  switch (columns_per_lane(cols)) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 16:
      return f(std::integral_constant<int, 16>{});
    default:
      return f(std::integral_constant<int, 32>{});
  }
}

template <SoftmaxResult R, class T>
Status launch_softmax_result(double temperature, const T* z, T* out, std::int64_t rows, std::int64_t cols,
                             Stream stream) {
  const auto division = division_by<Compute<T>>(temperature);
  if (cols > kRowWarpMaxColumns)
    return launch(softmax_block_kernel<R, T>, row_blocks(rows, 1), row_block_threads(cols), stream, z, out,
                  rows, cols, division);
  return with_columns_per_lane(cols, [&](auto per_lane) {
    return launch(softmax_warp_kernel<R, T, per_lane>, row_blocks(rows, kRowWarpThreads / kWarpSize),
                  kRowWarpThreads, stream, z, out, rows, static_cast<int>(cols), division);
  });
}

}  // namespace detail

template <class T>
Status launch_softmax(SoftmaxResult result, double temperature, const T* z, T* out, std::int64_t rows,
                      std::int64_t cols, Stream stream) {
  using enum SoftmaxResult;
  switch (result) {
    case kProbability:
      return detail::launch_softmax_result<kProbability>(temperature, z, out, rows, cols, stream);
    case kLogProbability:
      return detail::launch_softmax_result<kLogProbability>(temperature, z, out, rows, cols, stream);
    case kLogSumExp:
      return detail::launch_softmax_result<kLogSumExp>(temperature, z, out, rows, cols, stream);
    case kEntropy:
      return detail::launch_softmax_result<kEntropy>(temperature, z, out, rows, cols, stream);
  }
  return cudaErrorInvalidValue;
}

template <class T>
Status launch_softmax_jvp(double temperature, const T* p, const T* tz, T* tp, std::int64_t rows,
                          std::int64_t cols, Stream stream) {
  const auto division = detail::division_by<Compute<T>>(temperature);
  if (cols > kRowWarpMaxColumns)
    return launch(softmax_jvp_block_kernel<T>, row_blocks(rows, 1), row_block_threads(cols), stream, p, tz,
                  tp, rows, cols, division);
  return detail::with_columns_per_lane(cols, [&](auto per_lane) {
    return launch(softmax_jvp_warp_kernel<T, per_lane>, row_blocks(rows, kRowWarpThreads / kWarpSize),
                  kRowWarpThreads, stream, p, tz, tp, rows, static_cast<int>(cols), division);
  });
}

template <class T>
Status launch_softmax_jacobian(double temperature, const T* p, T* jacobian, std::int64_t rows,
                               std::int64_t cols, Stream stream) {
  return launch(softmax_jacobian_kernel<T>, row_blocks(rows * cols, 1), row_block_threads(cols), stream, p,
                jacobian, rows, cols, detail::division_by<Compute<T>>(temperature));
}

#define ACTIUM_INSTANTIATE_SOFTMAX(T)                                                                        \
  template Status launch_softmax<T>(SoftmaxResult, double, const T*, T*, std::int64_t, std::int64_t,         \
                                    Stream);                                                                 \
  template Status launch_softmax_jvp<T>(double, const T*, const T*, T*, std::int64_t, std::int64_t, Stream); \
  template Status launch_softmax_jacobian<T>(double, const T*, T*, std::int64_t, std::int64_t, Stream);

}  // namespace actium::kernels

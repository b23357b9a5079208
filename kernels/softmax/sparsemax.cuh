#pragma once
// Sparsemax (Martins and Astudillo, 2016): p = max(u - tau, 0) with u = (z - max z) / T <= 0 and tau such
// that the p sum to 1. Newton's method on sum max(u - tau, 0) - 1, which is convex and piecewise linear, from
// tau = -1: tau rises until the support stays the same, in a few steps as a rule. One block a row, at any
// stride. Bytes moved: one read and one write for rows of up to kSparsemaxKept elements a thread; what is
// beyond is read in every step, from the caches where it fits there.
#include "softmax/division.cuh"
#include "softmax/launch_rows.cuh"
#include "softmax/softmax_jvp.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class Element>
struct Sparsemax {
  using T = Element;
  using C = Compute<T>;
  static constexpr int kInputs = 1;
  static constexpr bool kMasked = true;

  Division<C> temperature;
  const C* temperatures;  // [rows], or null
  C empty;                // what an empty row's results are

  __device__ Sparsemax of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {division_by_one_of(temperatures[row]), temperatures, empty};
  }
};

/// Elements above a threshold: their sum and how many there are.
template <class C>
struct Support {
  RowSum<C> sum, count;
  __device__ static Support none() { return {RowSum<C>::none(), RowSum<C>::none()}; }
  __device__ Support merged(const Support& other) const {
    return {sum.merged(other.sum), count.merged(other.count)};
  }
  __device__ Support shuffled(int offset) const { return {sum.shuffled(offset), count.shuffled(offset)}; }
  /// The threshold with which these elements' p sum to 1, in two words.
  __device__ device::Pair<C> threshold() const {
    const C n = count.hi + count.lo, excess = device::subtract(sum.hi, C(1)), tau = (excess + sum.lo) / n;
    const C lost = (sum.hi - (excess + C(1))) + sum.lo;  // by the subtraction
    return {device::Real<C>(tau), device::Real<C>((device::fma(-n, tau, excess) + lost) / n)};
  }
};

// ---------------------------------------------------------------- kernel

template <class Op>
__global__ void __launch_bounds__(kSparsemaxThreads)
    sparsemax_kernel(const __grid_constant__ Op op, const __grid_constant__ RowCall call) {
  using T = typename Op::T;
  using C = typename Op::C;
  ACTIUM_SHARED(peaks, Peak<C>[kWarpSize]);
  ACTIUM_SHARED(supports, Support<C>[kWarpSize]);
  for (std::int64_t number = blockIdx.x; number < call.rows; number += gridDim.x) {
    const Row<Op> row(call, number);
    const Op own = op.of_row(number);
    const auto logit = [&](std::int64_t column) {
      if (column >= row.limit || (row.keep != nullptr && row.keep[column * call.mask.keep.col_stride] == 0))
        return Max::identity<C>();
      const C z = widen(row.in[0][column * call.in[0].col_stride]);
      return row.bias == nullptr ? z : biased<C>(z, widen(row.bias[column * call.mask.bias.col_stride]));
    };
    C kept[kSparsemaxKept];
#pragma unroll
    for (int k = 0; k < kSparsemaxKept; ++k)
      kept[k] = logit(threadIdx.x + static_cast<std::int64_t>(k) * blockDim.x);
    /// body(column, logit) for the elements of this thread.
    const auto for_each = [&](const auto& body) {
      std::int64_t column = threadIdx.x;
#pragma unroll
      for (int k = 0; k < kSparsemaxKept; ++k, column += blockDim.x)
        if (column < row.cols) body(column, kept[k]);
      for (; column < row.cols; column += blockDim.x) body(column, logit(column));
    };

    Peak<C> peak = Peak<C>::none();
    for_each([&](std::int64_t, C z) { peak = peak.merged({z}); });
    const C max = reduce_block(peak, peaks).number;
    const bool regular = max - max == 0 && own.temperature.hi == own.temperature.hi;
    const auto u = [&](C z) {  // halves: a difference of finite logits may overflow
      return z == Max::identity<C>() ? z : C(2) * divided(C(0.5) * z - C(0.5) * max, own.temperature);
    };
    device::Pair<C> tau{device::Real<C>(C(-1)), device::Real<C>(C(0))};
    const auto above = [&](C distance) { return (distance - tau.hi.number) - tau.lo.number; };
    if (regular) {
      // The support shrinks from step to step; where rounding lets an element come back, it is enough.
      for (C before = INFINITY;;) {
        Support<C> support = Support<C>::none();
        for_each([&](std::int64_t, C z) {
          const C distance = u(z);
          if (above(distance) > 0) {
            support.sum.add(distance);
            support.count.add(C(1));
          }
        });
        support = reduce_block(support, supports);
        const C count = support.count.hi + support.count.lo;
        if (!(count < before)) break;
        before = count;
        tau = support.threshold();
      }
    }
    const C otherwise = max == Max::identity<C>() ? own.empty : C(NAN);
    for_each([&](std::int64_t column, C z) {
      const C p = regular ? device::max_nan(above(u(z)), C(0)) : otherwise;
      const AnyRows& out = call.out[0];
      const std::int64_t at = row_start(out, number, call) + column * out.col_stride;
      if (sizeof(T) == 2 && call.f32_out)
        static_cast<C*>(out.data)[at] = p;
      else
        static_cast<T*>(out.data)[at] = narrow<T>(p);
    });
  }
}

// ---------------------------------------------------------------- product with the Jacobian

/// dz = (dp - mean of dp over the support) / T on the support, which is where p > 0; else 0.
template <class Element>
struct SparsemaxVjp {
  using T = Element;
  using C = Compute<T>;
  using Peak = NoPeak;
  using State = NoPeak;
  using Sums = Support<C>;
  using Finish = C;  // the mean
  static constexpr int kInputs = 2, kElementResults = 1, kRowResults = 0;
  static constexpr bool kMasked = false;
  static constexpr bool kFewWays = true;

  Division<C> temperature;
  const C* temperatures;

  __device__ SparsemaxVjp of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {division_by_one_of(temperatures[row]), temperatures};
  }
  __device__ static C padding() { return C(0); }
  __device__ static Peak peak(const C (&)[2]) { return {}; }
  __device__ State state(const Peak&) const { return {}; }
  __device__ void add(C (&x)[2], std::int64_t, const State&, Sums& sums) const {
    if (x[0] == 0) return;  // NaN is in every support
    sums.sum.add(x[1]);
    sums.count.add(C(1));
  }
  __device__ Sums rescaled(const Sums& sums, const Peak&, const Peak&) const { return sums; }
  __device__ Finish finish(const Peak&, const State&, const Sums& sums) const {
    const C sum = sums.sum.hi + sums.sum.lo;
    return (sum == sum ? sum : sums.sum.hi) / (sums.count.hi + sums.count.lo);
  }
  __device__ void results(const C (&x)[2], std::int64_t, const Finish& mean, C (&y)[1]) const {
    y[0] = x[0] == 0 ? C(0) : x[0] != x[0] ? x[0] : divided(x[1] - mean, temperature);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
Status launch_sparsemax(const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const double n = static_cast<double>(call.cols);
  const C empty = static_cast<C>(call.empty == EmptyRow::kUniform ? 1 / n
                                 : call.empty == EmptyRow::kZeros ? 0
                                                                  : std::numeric_limits<double>::quiet_NaN());
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(kLargestGrid, call.rows));
  return launch(
      sparsemax_kernel<Sparsemax<T>>, blocks, sparsemax_threads(call.cols), stream,
      Sparsemax<T>{division_by<C>(call.temperature), static_cast<const C*>(call.temperatures), empty}, call);
}

template <class T>
std::size_t sparsemax_vjp_scratch(const RowCall& call) {
  return rows_scratch<SparsemaxVjp<T>>(call);
}

template <class T>
Status launch_sparsemax_vjp(const RowCall& call, Stream stream) {
  using C = Compute<T>;
  return launch_rows(
      SparsemaxVjp<T>{division_by<C>(call.temperature), static_cast<const C*>(call.temperatures)}, call,
      stream);
}

}  // namespace actium::kernels

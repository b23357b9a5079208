#pragma once
// Sums for each channel, in two stages and a fixed order (plan_channel_sum): a thread sums up what it walks
// over, a tree adds those of a block, and a second kernel those of all blocks.
#include "elementwise/walk.cuh"

namespace actium::kernels {

/// The unevaluated sum hi + lo of many terms, to about twice the precision; what goes beyond kLimit moves to
/// `large`, in units of 1 / kDown, so that terms that are finite have a sum that is finite or infinite.
template <class C>
struct PairSum {
  static constexpr bool kIsFloat = std::is_same_v<C, float>;
  static constexpr C kLimit = static_cast<C>(kIsFloat ? 0x1p120 : 0x1p1016);
  static constexpr C kUp = static_cast<C>(kIsFloat ? 0x1p64 : 0x1p512), kDown = 1 / kUp;
  C hi, lo, large;

  __device__ void add(C x) {
    const device::Pair<C> sum = device::two_sum<C>(hi, x);
    if (device::absolute(sum.hi.number) <= kLimit) {
      hi = sum.hi.number;
      lo += sum.lo.number;
    } else {
      add_beyond(x, sum.hi.number, sum.lo.number);
    }
  }
  __device__ void add(const PairSum& other) {
    add(other.hi);
    lo += other.lo;
    if (other.large != 0) add_large(other.large);
  }
  /// The sum, rounded from about twice the precision of a Result.
  template <class Result>
  __device__ Result value() const {
    if (large == 0) return static_cast<Result>(hi) + static_cast<Result>(number(lo));
    const device::Pair<Result> sum =
        device::two_sum<Result>(static_cast<Result>(large), static_cast<Result>(hi) * kDown);
    return (sum.hi.number + (number(sum.lo.number) + static_cast<Result>(number(lo)) * kDown)) * kUp;
  }

 private:
  /// A rest that is no number belongs to a sum that is not finite.
  template <class T>
  __device__ static T number(T rest) {
    return rest - rest == 0 ? rest : T(0);
  }
  __device__ void add_beyond(C x, C sum, C rest) {
    if (sum - sum == 0) {
      hi = 0;
      lo += rest;
      add_large(sum * kDown);
    } else {  // x alone is as large
      add_large(x * kDown);
    }
  }
  __device__ void add_large(C x) {
    const device::Pair<C> sum = device::two_sum<C>(large, x);
    large = sum.hi.number;
    lo += number(number(sum.lo.number) * kUp);
  }
};

/// The first stage's end: the sums of this block's threads, each of the columns of its group, go to
/// partial[outer, channels, inner] of ChannelSumPlan. Every thread of the block calls it.
template <class C>
__device__ void store_tile_sums(const WalkPlan& plan, TileSums of, PairSum<C> (&sums)[kGroup],
                                PairSum<C>* partial) {
  ACTIUM_SHARED(shared, PairSum<C>[kWalkThreads]);
  const Tile tile = this_tile(plan);
  const unsigned thread = threadIdx.x, across = 1u << plan.across_log2;
  const bool columns = of == TileSums::kColumns;
  // The next of `sums` becomes the first of those from `to` on: one piece of code for all of them.
  const auto rotate = [&](int to) {
#pragma unroll
    for (int e = 0; e + 1 < kGroup; ++e)
      if (e >= to) sums[e] = sums[e + 1];
  };
  if (!columns) {
#pragma unroll 1
    for (int e = 1; e < kGroup; ++e) {
      sums[0].add(sums[1]);
      rotate(1);
    }
  }
  // Neighbours at distances threads / 2, ..., last.
  const unsigned threads = of == TileSums::kSlots ? across : kWalkThreads, last = columns ? across : 1;
#pragma unroll 1
  for (int e = 0; e < (columns ? kGroup : 1); ++e) {
    __syncthreads();
    shared[thread] = sums[0];
    for (unsigned distance = threads / 2; distance >= last; distance /= 2) {
      __syncthreads();
      if ((thread & (2 * distance - 1)) < distance) shared[thread].add(shared[thread + distance]);
    }
    const PairSum<C> sum = shared[thread];
    const std::int64_t column = tile.column * plan.tile_columns + thread * kGroup + e;
    const std::int64_t slot = tile.slot + (thread >> plan.across_log2);
    if (columns && thread < across && column < plan.width) partial[tile.row * plan.width + column] = sum;
    if (of == TileSums::kTile && thread == 0) partial[blockIdx.x] = sum;
    if (of == TileSums::kSlots && (thread & (across - 1)) == 0 && slot < plan.slots) partial[slot] = sum;
    rotate(0);
  }
}

/// The second stage: out[channel] = the sum of partial[:, channel, :], rounded from a Result.
template <class C, class Result>
__global__ void __launch_bounds__(kFinishThreads)
    channel_sum_kernel(const PairSum<C>* partial, std::int64_t count, std::int64_t outer,
                       std::int64_t channels, std::int64_t inner, int channels_log2, AnyMatrix out) {
  ACTIUM_SHARED(shared, PairSum<C>[kFinishThreads]);
  const unsigned lanes = 1u << channels_log2, ways = kFinishThreads >> channels_log2;
  const unsigned way = threadIdx.x >> channels_log2;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * lanes + (threadIdx.x & (lanes - 1));
  PairSum<C> sum{0, 0, 0};
  if (channel < channels)
    for (std::int64_t term = way; term < outer * inner; term += ways) {
      const std::int64_t row = inner == 1 ? term : term / inner;
      const std::int64_t index = (row * channels + channel) * inner + (term - row * inner);
      if (index < count) sum.add(partial[index]);
    }
  shared[threadIdx.x] = sum;
  for (unsigned distance = kFinishThreads / 2; distance >= lanes; distance /= 2) {
    __syncthreads();
    if (threadIdx.x < distance) shared[threadIdx.x].add(shared[threadIdx.x + distance]);
  }
  if (way == 0 && channel < channels) {
    store_number(out, channel, shared[threadIdx.x].template value<Result>());
  }
}

template <class C, class Result>
Status launch_channel_sum(const ChannelSumPlan& plan, const PairSum<C>* partial, const AnyMatrix& out,
                          Stream stream) {
  const int channels_log2 = finish_channels_log2(plan);
  const auto blocks = static_cast<unsigned>(divide_up(plan.channels, std::int64_t{1} << channels_log2));
  return launch(channel_sum_kernel<C, Result>, blocks, kFinishThreads, stream, partial, plan.count,
                plan.outer, plan.channels, plan.inner, channels_log2, out);
}

/// With results in f64, or sums: in a file of its own.
template <class C>
Status launch_channel_sum_in_double(const ChannelSumPlan& plan, const PairSum<C>* partial,
                                    const AnyMatrix& out, Stream stream);

template <class C>
Status finish_channel_sum(const ChannelSumPlan& plan, const PairSum<C>* partial, const AnyMatrix& out,
                          Stream stream) {
  if constexpr (std::is_same_v<C, float>)
    if (out.dtype != DType::kF64) return launch_channel_sum<float, float>(plan, partial, out, stream);
  return launch_channel_sum_in_double<C>(plan, partial, out, stream);
}

}  // namespace actium::kernels

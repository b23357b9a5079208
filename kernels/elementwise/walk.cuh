#pragma once
// What the fused elementwise kernels share: element types chosen at run time, the walk over a matrix in
// groups of four neighbouring elements, per-channel parameters, and sums for each channel.
//
// A group is moved by one instruction (16 bytes of f32, 8 of a 16-bit type, 4 of an 8-bit one; two of 16
// bytes in f64) where it is whole and aligned, and element by element elsewhere. A batch of groups is loaded
// before any is stored.
#include <actium/device/activation_ops.cuh>

#include "launch.hpp"
#include "simt.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- groups of elements

/// A DType in a whole register.
enum class ElementType : int {
  kF64 = static_cast<int>(DType::kF64),
  kF32 = static_cast<int>(DType::kF32),
  kF16 = static_cast<int>(DType::kF16),
  kBF16 = static_cast<int>(DType::kBF16),
  kE4M3 = static_cast<int>(DType::kE4M3),
  kE5M2 = static_cast<int>(DType::kE5M2)
};

/// Four elements as they lie in memory.
template <class C>
struct RawGroup;
template <>
struct RawGroup<float> {  // a word each, or two words of 16-bit or one of 8-bit elements
  unsigned word[4];
};
template <>
struct RawGroup<double> {
  double element[4];
};

/// Whether four elements of `bytes` bytes at p are moved at once.
__device__ inline bool is_whole(const void* p, int bytes, int count) {
  return count == kWalkGroup &&
         reinterpret_cast<std::uintptr_t>(p) % static_cast<unsigned>(kWalkGroup * bytes) == 0;
}

/// The first `count` elements from `p` on. `whole`: there are four, and p is aligned for them.
__device__ inline RawGroup<float> load_group(std::type_identity<float>, const void* p, ElementType dtype,
                                             int count, bool whole) {
  RawGroup<float> raw{};
  if (dtype == ElementType::kF32) {
    if (whole || is_whole(p, 4, count)) {
      const uint4 v = *static_cast<const uint4*>(p);
      raw = {{v.x, v.y, v.z, v.w}};
    } else {
#pragma unroll
      for (int e = 0; e < kWalkGroup; ++e)
        if (e < count) raw.word[e] = static_cast<const unsigned*>(p)[e];
    }
  } else {
    if (whole || is_whole(p, 2, count)) {
      const uint2 v = *static_cast<const uint2*>(p);
      raw = {{v.x, v.y}};
    } else {
#pragma unroll
      for (int e = 0; e < kWalkGroup; ++e)
        if (e < count) raw.word[e / 2] |= unsigned{static_cast<const unsigned short*>(p)[e]} << (e % 2 * 16);
    }
  }
  return raw;
}

__device__ inline RawGroup<double> load_group(std::type_identity<double>, const void* p, ElementType,
                                              int count, bool whole) {
  const auto* const elements = static_cast<const double*>(p);
  RawGroup<double> raw{};
  if (whole || (count == kWalkGroup && at_packet_boundary(elements))) {
    const Packet<double> low = load_packet(elements, true), high = load_packet(elements + 2, true);
    raw = {{low.element[0], low.element[1], high.element[0], high.element[1]}};
  } else {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e)
      if (e < count) raw.element[e] = elements[e];
  }
  return raw;
}

/// The number that the low bits of `bits` stand for in a 16-bit type.
template <class T>
__device__ float widen_bits(unsigned bits) {
  T x;
  x.bits = static_cast<std::uint16_t>(bits);
  return widen(x);
}

__device__ inline void widen_group(const RawGroup<float>& raw, ElementType dtype, float (&x)[kWalkGroup]) {
  if (dtype == ElementType::kF32) {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) x[e] = device::from_bits(raw.word[e]);
  } else if (dtype == ElementType::kF16) {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) x[e] = widen_bits<f16>(raw.word[e / 2] >> (e % 2 * 16));
  } else {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) x[e] = widen_bits<bf16>(raw.word[e / 2] >> (e % 2 * 16));
  }
}
__device__ inline void widen_group(const RawGroup<double>& raw, ElementType, double (&x)[kWalkGroup]) {
#pragma unroll
  for (int e = 0; e < kWalkGroup; ++e) x[e] = raw.element[e];
}

/// The elements as `dtype` stores them.
__device__ inline RawGroup<float> narrow_group(const float (&x)[kWalkGroup], ElementType dtype) {
  RawGroup<float> raw{};
  const auto as = [&](int bits, const auto& narrowed) {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) raw.word[e * bits / 32] |= narrowed(x[e]) << (e * bits % 32);
  };
  if (dtype == ElementType::kF32)
    as(32, [](float v) { return device::to_bits(v); });
  else if (dtype == ElementType::kF16)
    as(16, [](float v) { return unsigned{narrow<f16>(v).bits}; });
  else if (dtype == ElementType::kBF16)
    as(16, [](float v) { return unsigned{narrow<bf16>(v).bits}; });
  else if (dtype == ElementType::kE4M3)
    as(8, [](float v) { return narrow_to_8<e4m3>(v); });
  else
    as(8, [](float v) { return narrow_to_8<e5m2>(v); });
  return raw;
}
__device__ inline RawGroup<double> narrow_group(const double (&x)[kWalkGroup], ElementType) {
  return {{x[0], x[1], x[2], x[3]}};
}

/// The numbers that stored elements stand for, 8-bit ones too.
__device__ inline void widen_stored(const RawGroup<float>& raw, ElementType dtype, float (&x)[kWalkGroup]) {
  if (dtype == ElementType::kE4M3) {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) x[e] = widen_from_8<e4m3>(raw.word[0] >> (e * 8));
  } else if (dtype == ElementType::kE5M2) {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) x[e] = widen_from_8<e5m2>(raw.word[0] >> (e * 8));
  } else {
    widen_group(raw, dtype, x);
  }
}
__device__ inline void widen_stored(const RawGroup<double>& raw, ElementType dtype, double (&x)[kWalkGroup]) {
  widen_group(raw, dtype, x);
}

__device__ inline void store_group(void* p, ElementType dtype, int count, bool whole,
                                   const RawGroup<float>& raw) {
  if (dtype == ElementType::kF32) {
    if (whole || is_whole(p, 4, count)) {
      store_16_bytes(p, {raw.word[0], raw.word[1], raw.word[2], raw.word[3]});
    } else {
#pragma unroll
      for (int e = 0; e < kWalkGroup; ++e)
        if (e < count) static_cast<unsigned*>(p)[e] = raw.word[e];
    }
  } else if (dtype == ElementType::kF16 || dtype == ElementType::kBF16) {
    if (whole || is_whole(p, 2, count)) {
      *static_cast<uint2*>(p) = {raw.word[0], raw.word[1]};
    } else {
#pragma unroll
      for (int e = 0; e < kWalkGroup; ++e)
        if (e < count)
          static_cast<unsigned short*>(p)[e] = static_cast<unsigned short>(raw.word[e / 2] >> (e % 2 * 16));
    }
  } else {
    if (whole || is_whole(p, 1, count)) {
      *static_cast<unsigned*>(p) = raw.word[0];
    } else {
#pragma unroll
      for (int e = 0; e < kWalkGroup; ++e)
        if (e < count) static_cast<unsigned char*>(p)[e] = static_cast<unsigned char>(raw.word[0] >> (e * 8));
    }
  }
}
__device__ inline void store_group(void* p, ElementType, int count, bool whole, const RawGroup<double>& raw) {
  auto* const elements = static_cast<double*>(p);
  if (whole || (count == kWalkGroup && at_packet_boundary(elements))) {
    store_packet(elements, Packet<double>{{raw.element[0], raw.element[1]}}, true);
    store_packet(elements + 2, Packet<double>{{raw.element[2], raw.element[3]}}, true);
  } else {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e)
      if (e < count) elements[e] = raw.element[e];
  }
}

/// What an element takes in memory.
__device__ inline int bytes_of(ElementType dtype) {
  return dtype == ElementType::kF64                                  ? 8
         : dtype == ElementType::kF32                                ? 4
         : dtype == ElementType::kF16 || dtype == ElementType::kBF16 ? 2
                                                                     : 1;
}

/// Element `index` of a vector.
__device__ inline void store_number(const AnyMatrix& m, std::int64_t index, float x) {
  const auto dtype = static_cast<ElementType>(m.dtype);
  const float group[kWalkGroup] = {x};
  store_group(static_cast<unsigned char*>(m.data) + index * bytes_of(dtype), dtype, 1, false,
              narrow_group(group, dtype));
}
__device__ inline void store_number(const AnyMatrix& m, std::int64_t index, double x) {
  const auto dtype = static_cast<ElementType>(m.dtype);
  if (dtype == ElementType::kF64)
    static_cast<double*>(m.data)[index] = x;
  else if (dtype == ElementType::kF32)
    static_cast<float*>(m.data)[index] = static_cast<float>(x);
  else
    static_cast<unsigned short*>(m.data)[index] =
        dtype == ElementType::kF16 ? narrow_from_double<f16>(x).bits : narrow_from_double<bf16>(x).bits;
}

// ---------------------------------------------------------------- the walk

/// A tensor of the call; data == nullptr: not there.
struct Operand {
  unsigned char* data;
  std::int64_t line_stride;  // between its own rows, in elements
  std::int64_t row_stride;   // between those of a segment
  std::int64_t step;         // of the walk, in bytes
  ElementType dtype;
};

inline Operand operand_of(const AnyMatrix& m, const WalkPlan& plan) {
  const std::int64_t stride = plan.width == plan.line_columns ? m.row_stride : plan.width;
  const auto bytes = static_cast<std::int64_t>(size_of(m.dtype));
  return {static_cast<unsigned char*>(m.data), m.row_stride, stride,
          (plan.row_step * stride + plan.column_step) * bytes, static_cast<ElementType>(m.dtype)};
}

/// Whether every whole group of these tensors is aligned. For WalkPlan::aligned.
template <std::size_t N>
bool groups_are_aligned(const WalkPlan& plan, const Operand (&operands)[N]) {
  bool aligned = true;
  for (const Operand& operand : operands) {
    const std::uintptr_t bytes =
        std::min<std::uintptr_t>(kPacketBytes, size_of(static_cast<DType>(operand.dtype)) * kWalkGroup);
    aligned = aligned && reinterpret_cast<std::uintptr_t>(operand.data) % bytes == 0;
    if (operand.data == nullptr) continue;
    aligned = aligned && (plan.height == 1 || operand.row_stride % kWalkGroup == 0);
    if (plan.segments == 1) continue;
    const std::int64_t within = plan.line_columns != 0 ? plan.line_columns : plan.count;
    aligned = aligned && (plan.count % within == 0 || plan.count % kWalkGroup == 0) &&
              (plan.line_columns == 0 ? plan.count % kWalkGroup == 0 : operand.line_stride % kWalkGroup == 0);
  }
  return aligned;
}

/// The tile of this block: of which slot, and where in each of its segments.
struct Tile {
  std::int64_t slot;
  std::int64_t row, column;  // of tiles
};
__device__ inline Tile this_tile(const WalkPlan& plan) {
  if (plan.slot_a_row) return {blockIdx.x * std::int64_t{kWalkThreads >> plan.across_log2}, 0, 0};
  const auto columns = static_cast<unsigned>(plan.column_tiles), rows = static_cast<unsigned>(plan.row_tiles);
  unsigned row = blockIdx.x / columns;
  const unsigned column = blockIdx.x - row * columns;
  unsigned slot = 0;
  if (plan.slots > 1) slot = row / rows, row -= slot * rows;
  return {slot, row, column};
}

/// Where a thread begins in a segment.
struct WalkStart {
  std::int64_t line, line_column;  // of the segment's first element in the tensors
  std::int64_t row, column;        // of the first group's first element in the segment
  std::int64_t element;            // its number
  std::int64_t left;               // elements of the segment from there on
  int whole;                       // all groups of the tile are whole and aligned

  /// How many elements the group at `step` has.
  __device__ int count(const WalkPlan& plan, int step) const {
    if (whole) return kWalkGroup;
    const std::int64_t in_row = plan.width - column - step * plan.column_step;
    const std::int64_t in_all = left - step * plan.element_step;
    const std::int64_t both = in_row < in_all ? in_row : in_all;
    return both >= kWalkGroup ? kWalkGroup : both > 0 ? static_cast<int>(both) : 0;
  }
};

__device__ inline WalkStart walk_start(const WalkPlan& plan, std::int64_t round) {
  const Tile tile = this_tile(plan);
  const unsigned down = threadIdx.x >> plan.across_log2, across = threadIdx.x - (down << plan.across_log2);
  WalkStart start{};
  start.row = tile.row * plan.tile_rows + (plan.slot_a_row ? 0 : down);
  start.column = tile.column * plan.tile_columns + across * kWalkGroup;
  start.element = start.row * plan.width + start.column;
  start.left = plan.count - start.element;
  start.whole = plan.aligned && !plan.slot_a_row && (tile.column + 1) * plan.tile_columns <= plan.width &&
                ((tile.row + 1) * plan.tile_rows) * plan.width <= plan.count;
  if (plan.segments > 1 || plan.slot_a_row) {
    const std::int64_t slot = tile.slot + (plan.slot_a_row ? down : 0);
    const std::int64_t turn = plan.together == 1 ? round : round / plan.together;
    const std::int64_t segment = (turn * plan.slots + slot) * plan.together + (round - turn * plan.together);
    const std::int64_t first = segment * plan.count;
    start.element += first;
    start.line = plan.line_columns == 0 ? 0 : first / plan.line_columns;
    start.line_column = first - start.line * plan.line_columns;
    if (slot >= plan.slots || segment >= plan.segments) start.left = start.whole = 0;
  }
  return start;
}

__device__ inline unsigned char* first_of(const Operand& operand, const WalkStart& start) {
  return operand.data == nullptr ? nullptr
                                 : operand.data + (start.line * operand.line_stride + start.line_column +
                                                   start.row * operand.row_stride + start.column) *
                                                      bytes_of(operand.dtype);
}

// ---------------------------------------------------------------- parameters of a channel

/// A vector of numbers, one a channel; data == nullptr: not there.
struct ChannelVector {
  AnyMatrix values;
  std::int64_t channels, inner;
  std::int64_t channel_step, rest_step;  // of a step of the walk: so many channels, and so many elements more
};

inline ChannelVector channel_vector(const AnyMatrix& values, const ChannelArguments& map,
                                    const WalkPlan& plan) {
  const std::int64_t inner = map.channels == 1 ? 1 : map.inner;
  return {values, map.channels, inner, plan.element_step / inner % map.channels, plan.element_step % inner};
}

/// Element i is number `rest` of its row of `inner` elements of channel `channel`.
struct ChannelPlace {
  std::int64_t channel, rest;

  __device__ void advance(const ChannelVector& vector, std::int64_t channels, std::int64_t elements) {
    rest += elements;
    channel += channels;
    if (rest >= vector.inner) rest -= vector.inner, ++channel;
    if (channel >= vector.channels) channel -= vector.channels;
  }
};

__device__ inline ChannelPlace first_channel(const ChannelVector& vector, std::int64_t element) {
  if (vector.values.data == nullptr) return {0, 0};
  const std::int64_t row = vector.inner == 1 ? element : element / vector.inner;
  return {row % vector.channels, element - row * vector.inner};
}

/// The vector's numbers for a group.
template <class C>
__device__ void load_channels(const ChannelVector& vector, ChannelPlace place, C (&x)[kWalkGroup]) {
  const auto dtype = static_cast<ElementType>(vector.values.dtype);
  const auto* const values = static_cast<const unsigned char*>(vector.values.data);
  const auto load = [&](int count) {
    return load_group(std::type_identity<C>{}, values + place.channel * bytes_of(dtype), dtype, count, false);
  };
  if (vector.inner == 1 && place.channel + kWalkGroup <= vector.channels) {
    widen_group(load(kWalkGroup), dtype, x);
  } else {
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) {
      C one[kWalkGroup];
      widen_group(load(1), dtype, one);
      x[e] = one[0];
      place.advance(vector, 0, 1);
    }
  }
}

// ---------------------------------------------------------------- sums for each channel

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
__device__ void store_tile_sums(const WalkPlan& plan, TileSums of, PairSum<C> (&sums)[kWalkGroup],
                                PairSum<C>* partial) {
  ACTIUM_SHARED(shared, PairSum<C>[kWalkThreads]);
  const Tile tile = this_tile(plan);
  const unsigned thread = threadIdx.x, across = 1u << plan.across_log2;
  const auto sum_over = [&](const PairSum<C>& own, unsigned threads, unsigned last) {
    // Neighbours at distances threads / 2, ..., last.
    __syncthreads();
    shared[thread] = own;
    for (unsigned distance = threads / 2; distance >= last; distance /= 2) {
      __syncthreads();
      if ((thread & (2 * distance - 1)) < distance) shared[thread].add(shared[thread + distance]);
    }
    return shared[thread];
  };
  if (of == TileSums::kColumns) {
    const std::int64_t column = tile.column * plan.tile_columns + thread * kWalkGroup;
#pragma unroll
    for (int e = 0; e < kWalkGroup; ++e) {
      const PairSum<C> sum = sum_over(sums[e], kWalkThreads, across);
      if (thread < across && column + e < plan.width) partial[tile.row * plan.width + column + e] = sum;
    }
  } else {
#pragma unroll
    for (int e = 1; e < kWalkGroup; ++e) sums[0].add(sums[e]);
    const unsigned threads = of == TileSums::kTile ? kWalkThreads : across;
    const PairSum<C> sum = sum_over(sums[0], threads, 1);
    const std::int64_t slot = tile.slot + (thread >> plan.across_log2);
    if (of == TileSums::kTile && thread == 0) partial[blockIdx.x] = sum;
    if (of == TileSums::kSlots && (thread & (across - 1)) == 0 && slot < plan.slots) partial[slot] = sum;
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

// ---------------------------------------------------------------- what an activation has

/// Op for results of full precision, Op16 for those of 16 and 8 bits.
template <ActivationKind K, bool Narrow>
using FusedOp = std::conditional_t<Narrow, device::Op16<K>, device::Op<K>>;

/// Whether its first parameter is a slope, for which there may be a vector.
template <ActivationKind K>
inline constexpr bool kTakesSlopes = K == ActivationKind::leaky_relu || K == ActivationKind::prelu;

template <ActivationKind K, class C>
inline constexpr bool kHasMask = requires(C x, device::Parameters<C> p) {
  device::Op<K>::is_on(x, p);
  device::Op<K>::two_slopes(p);
};
template <ActivationKind K, class C>
inline constexpr bool kWorksFromOutput = requires(C y, device::Parameters<C> p) {
  device::Op<K>::slope_from_output(y, p);
};
template <ActivationKind K, class C>
inline constexpr bool kHasParameters = requires(C x, device::Parameters<C> p) {
  device::Op<K>::parameter_slopes(x, p);
};

/// The parameters for one element: with the slope of its channel where the call has a vector of them.
template <ActivationKind K, class C>
__device__ device::Parameters<C> with_slope(device::Parameters<C> parameters, const AnyMatrix& slopes,
                                            C slope) {
  if constexpr (kTakesSlopes<K>)
    if (slopes.data != nullptr) parameters.p[0] = {slope, C(0)};
  return parameters;
}

}  // namespace actium::kernels

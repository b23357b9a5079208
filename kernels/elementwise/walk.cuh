#pragma once
// What the fused elementwise kernels share: element types chosen at run time, the walk over a matrix in
// groups of four neighbouring elements, and per-channel parameters.
//
// A thread loads a batch of groups of one input after the other, as many bytes as keep the memory busy, and
// keeps them in shared memory until it computes with them. Groups that do not begin at a boundary are put
// together from the two that they lie across, and handed from lane to lane to be stored whole, each tensor at
// its own alignment; element by element are moved the ends of rows, and inputs that are an output too and
// misaligned.
#include "elementwise/parameters.cuh"
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

/// Calls with(std::integral_constant) of the bytes that an element takes in memory.
template <class C, class With>
__device__ auto with_bytes(ElementType dtype, const With& with) {
  if constexpr (std::is_same_v<C, double>) {
    return with(std::integral_constant<int, 8>());
  } else {
    if (dtype == ElementType::kF32) return with(std::integral_constant<int, 4>());
    return with(std::integral_constant<int, 2>());
  }
}

/// The number that the low bits of `bits` stand for in a 16-bit type.
template <class T>
__device__ float widen_bits(unsigned bits) {
  T x;
  x.bits = static_cast<std::uint16_t>(bits);
  return widen(x);
}

__device__ inline void widen_group(const Group<8>& group, ElementType, double (&x)[kGroup]) {
#pragma unroll
  for (int e = 0; e < kGroup; ++e)
    x[e] = device::from_bits(std::uint64_t{group.word[2 * e + 1]} << 32 | group.word[2 * e]);
}
__device__ inline void widen_group(const Group<4>& group, ElementType, float (&x)[kGroup]) {
#pragma unroll
  for (int e = 0; e < kGroup; ++e) x[e] = device::from_bits(group.word[e]);
}
__device__ inline void widen_group(const Group<2>& group, ElementType dtype, float (&x)[kGroup]) {
  if (dtype == ElementType::kF16) {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) x[e] = widen_bits<f16>(group.word[e / 2] >> (e % 2 * 16));
  } else {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) x[e] = widen_bits<bf16>(group.word[e / 2] >> (e % 2 * 16));
  }
}

/// The elements as `dtype` stores them, in the first words of a group of the widest type.
__device__ inline Group<4> narrow_group(const float (&x)[kGroup], ElementType dtype) {
  Group<4> group{};
  const auto as = [&](int bits, const auto& narrowed) {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) group.word[e * bits / 32] |= narrowed(x[e]) << (e * bits % 32);
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
  return group;
}
__device__ inline Group<8> narrow_group(const double (&x)[kGroup], ElementType) {
  Group<8> group;
#pragma unroll
  for (int e = 0; e < kGroup; ++e) {
    const std::uint64_t bits = device::to_bits(x[e]);
    group.word[2 * e] = static_cast<unsigned>(bits);
    group.word[2 * e + 1] = static_cast<unsigned>(bits >> 32);
  }
  return group;
}
template <int Bytes>
__device__ Group<Bytes> first_words(const Group<4>& group) {
  Group<Bytes> first;
#pragma unroll
  for (int i = 0; i < Bytes; ++i) first.word[i] = group.word[i];
  return first;
}

/// The numbers that stored elements stand for, 8-bit ones too.
__device__ inline void widen_stored(const Group<4>& group, ElementType dtype, float (&x)[kGroup]) {
  if (dtype == ElementType::kE4M3) {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) x[e] = widen_from_8<e4m3>(group.word[0] >> (e * 8));
  } else if (dtype == ElementType::kE5M2) {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) x[e] = widen_from_8<e5m2>(group.word[0] >> (e * 8));
  } else if (dtype == ElementType::kF32) {
    widen_group(group, dtype, x);
  } else {
    widen_group(first_words<2>(group), dtype, x);
  }
}
__device__ inline void widen_stored(const Group<8>& group, ElementType dtype, double (&x)[kGroup]) {
  widen_group(group, dtype, x);
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
  const float numbers[kGroup] = {x};
  const Group<4> group = narrow_group(numbers, dtype);
  if (dtype == ElementType::kF32)
    static_cast<unsigned*>(m.data)[index] = group.word[0];
  else
    static_cast<unsigned short*>(m.data)[index] = static_cast<unsigned short>(group.word[0]);
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
  int aligned;  // all groups begin at a boundary
  int apart;    // it is not the output too
};

inline Operand operand_of(const AnyMatrix& m, const WalkPlan& plan, const void* output) {
  if (m.data == nullptr) return {};  // no step either: null stays null
  const std::int64_t stride = plan.width == plan.line_columns ? m.row_stride : plan.width;
  const auto bytes = static_cast<std::int64_t>(size_of(m.dtype));
  const auto whole = [](std::int64_t elements) { return elements % kGroup == 0; };
  const bool lines = plan.line_columns != 0, within_lines = lines && plan.count % plan.line_columns != 0;
  const bool rows_aligned = plan.height == 1 || whole(stride);
  const bool segments_aligned =
      plan.segments == 1 || ((!lines || whole(m.row_stride)) && (lines || whole(plan.count)) &&
                             (!within_lines || (whole(plan.count) && whole(plan.line_columns))));
  const auto boundary = static_cast<std::uintptr_t>(std::min<std::int64_t>(16, kGroup * bytes));
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(m.data) % boundary == 0 && rows_aligned && segments_aligned;
  return {static_cast<unsigned char*>(m.data),
          m.row_stride,
          stride,
          (plan.row_step * stride + plan.column_step) * bytes,
          static_cast<ElementType>(m.dtype),
          aligned,
          m.data != output};
}

/// How many groups of each of these inputs a thread loads before it computes.
inline int batch_of(const Operand (&inputs)[kWalkInputs]) {
  int batch = kWalkBatchBytes / kGroup;
  for (const Operand& input : inputs)
    if (input.data != nullptr)
      batch = std::min(batch,
                       kWalkBatchBytes / kGroup / static_cast<int>(size_of(static_cast<DType>(input.dtype))));
  return batch;
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
  int whole;                       // all groups of the tile have four elements
  int inside;                      // and there are four before and after each of this thread's
  int follows;                     // the lane before has the four elements before these

  /// How many elements there are in the row from the group at `step` on; none if not above 0.
  __device__ std::int64_t rest(const WalkPlan& plan, int step) const {
    const std::int64_t in_row = plan.width - column - step * plan.column_step;
    const std::int64_t in_all = left - step * plan.element_step;
    return in_row < in_all ? in_row : in_all;
  }
  /// How many elements the group at `step` has.
  __device__ int count(const WalkPlan& plan, int step) const {
    if (whole) return kGroup;
    const std::int64_t own = rest(plan, step);
    return own >= kGroup ? kGroup : own > 0 ? static_cast<int>(own) : 0;
  }
};

__device__ inline WalkStart walk_start(const WalkPlan& plan, std::int64_t round) {
  const Tile tile = this_tile(plan);
  const unsigned down = threadIdx.x >> plan.across_log2, across = threadIdx.x - (down << plan.across_log2);
  WalkStart start{};
  start.row = tile.row * plan.tile_rows + (plan.slot_a_row ? 0 : down);
  start.column = tile.column * plan.tile_columns + across * kGroup;
  start.element = start.row * plan.width + start.column;
  start.left = plan.count - start.element;
  start.whole = !plan.slot_a_row && (tile.column + 1) * plan.tile_columns <= plan.width &&
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
  const std::int64_t last = plan.steps - 1;
  const std::int64_t before = plan.line_columns == 0 ? start.element : start.column;
  const std::int64_t rest = plan.line_columns == 0
                                ? plan.segments * plan.count - start.element - last * plan.element_step
                                : plan.width - start.column - last * plan.column_step;
  start.inside = start.whole && before >= kGroup && rest >= 2 * kGroup;
  start.follows = across % kWarpSize != 0;
  return start;
}

__device__ inline unsigned char* first_of(const Operand& operand, const WalkStart& start) {
  return operand.data == nullptr ? nullptr
                                 : operand.data + (start.line * operand.line_stride + start.line_column +
                                                   start.row * operand.row_stride + start.column) *
                                                      bytes_of(operand.dtype);
}

// ---------------------------------------------------------------- moving groups

/// The batch of each input, every thread's own.
struct alignas(16) Staging {
  uint4 packet[kWalkInputs][kWalkBatchBytes / 16 * kWalkThreads];

  /// This thread's group k of input i.
  template <int Bytes>
  __device__ Group<Bytes>& group(int i, int k) {
    return reinterpret_cast<Group<Bytes>*>(&packet[i][0])[k * kWalkThreads + static_cast<int>(threadIdx.x)];
  }
};

template <int Bytes>
inline constexpr int kMostGroups = kWalkBatchBytes / static_cast<int>(sizeof(Group<Bytes>));

template <int Bytes>
__device__ void load_batch(Group<Bytes> (&group)[kMostGroups<Bytes>], const unsigned char* at,
                           std::int64_t apart, int batch) {
#pragma unroll
  for (int k = 0; k < kMostGroups<Bytes>; ++k)
    if (k < batch) group[k] = load_whole_group<Bytes>(at + k * apart);
}
template <int Bytes>
__device__ void keep_batch(const Group<Bytes> (&group)[kMostGroups<Bytes>], int i, int batch,
                           Staging& staging) {
#pragma unroll
  for (int k = 0; k < kMostGroups<Bytes>; ++k)
    if (k < batch) staging.group<Bytes>(i, k) = group[k];
}

/// Loads groups step, ..., step + batch - 1 of input i.
template <int Bytes>
__device__ void stage_groups(const WalkPlan& plan, const WalkStart& start, const Operand& input, int i,
                             const unsigned char* at, int step, int batch, Staging& staging) {
  constexpr int kMost = kMostGroups<Bytes>;
  if (start.whole && input.aligned) {
    Group<Bytes> group[kMost] = {};
    load_batch(group, at, input.step, batch);
    keep_batch(group, i, batch, staging);
  } else if (start.inside && input.apart) {
    Group<Bytes> low[kMost] = {}, high[kMost] = {};
#pragma unroll
    for (int k = 0; k < kMost; ++k)
      if (k < batch) {
        const unsigned char* const first = at + k * input.step - past_boundary<Bytes>(at + k * input.step);
        low[k] = load_whole_group<Bytes>(first);
        high[k] = load_whole_group<Bytes>(first + sizeof(Group<Bytes>));
      }
#pragma unroll
    for (int k = 0; k < kMost; ++k)
      low[k] = shift_groups(low[k], high[k], past_boundary<Bytes>(at + k * input.step));
    keep_batch(low, i, batch, staging);
  } else {
#pragma unroll 1
    for (int k = 0; k < batch; ++k) {
      const int count = start.count(plan, step + k);
      const std::int64_t column = start.column + (step + k) * plan.column_step;
      if (count == kGroup && past_boundary<Bytes>(at) == 0)
        staging.group<Bytes>(i, k) = load_whole_group<Bytes>(at);
      else if (input.apart && column >= kGroup && start.rest(plan, step + k) >= 2 * kGroup)
        staging.group<Bytes>(i, k) = load_shifted_group<Bytes>(at);
      else
        staging.group<Bytes>(i, k) = load_elements<Bytes>(at, count);
      at += input.step;
    }
  }
}

/// Where the inputs' next groups are.
struct InputPlaces {
  const unsigned char *first, *second;
};
__device__ inline InputPlaces first_of(const Operand (&inputs)[kWalkInputs], const WalkStart& start) {
  return {first_of(inputs[0], start), first_of(inputs[1], start)};
}

template <class C>
__device__ void stage_inputs(const WalkPlan& plan, const WalkStart& start,
                             const Operand (&inputs)[kWalkInputs], InputPlaces& at, int step, int batch,
                             Staging& staging) {
  const bool both = start.whole && inputs[0].aligned && inputs[1].aligned && inputs[0].data != nullptr &&
                    inputs[1].data != nullptr && bytes_of(inputs[0].dtype) == bytes_of(inputs[1].dtype);
  if (both) {
    with_bytes<C>(inputs[0].dtype, [&]<int Bytes>(std::integral_constant<int, Bytes>) {
      Group<Bytes> first[kMostGroups<Bytes>] = {}, second[kMostGroups<Bytes>] = {};
      load_batch(first, at.first, inputs[0].step, batch);
      load_batch(second, at.second, inputs[1].step, batch);
      keep_batch(first, 0, batch, staging);
      keep_batch(second, 1, batch, staging);
    });
  } else {
#pragma unroll 1
    for (int i = 0; i < kWalkInputs; ++i)
      if (inputs[i].data != nullptr)
        with_bytes<C>(inputs[i].dtype, [&]<int Bytes>(std::integral_constant<int, Bytes>) {
          stage_groups<Bytes>(plan, start, inputs[i], i, i == 0 ? at.first : at.second, step, batch, staging);
        });
  }
  at.first += batch * inputs[0].step;
  at.second += batch * inputs[1].step;
  warp_barrier();  // a lane stores to where another has loaded from
}

/// The numbers of group k of input i.
template <class C>
__device__ void take_group(const Operand (&inputs)[kWalkInputs], int i, int k, Staging& staging,
                           C (&x)[kGroup]) {
  with_bytes<C>(inputs[i].dtype, [&]<int Bytes>(std::integral_constant<int, Bytes>) {
    widen_group(staging.group<Bytes>(i, k), inputs[i].dtype, x);
  });
}

/// Stores the first `count` elements of a group. Every lane of the warp calls it.
template <int Bytes>
__device__ void store_group(const Operand& y, unsigned char* at, const WalkStart& start, int count,
                            const Group<Bytes>& group) {
  if (start.whole && y.aligned)
    store_whole_group(at, group);
  else
    store_over_lanes(at, count, start.follows, group);
}
__device__ inline void store_narrowed(const Operand& y, unsigned char* at, const WalkStart& start, int count,
                                      const Group<4>& group) {
  if (y.dtype == ElementType::kF32)
    store_group(y, at, start, count, group);
  else if (y.dtype == ElementType::kF16 || y.dtype == ElementType::kBF16)
    store_group(y, at, start, count, first_words<2>(group));
  else
    store_group(y, at, start, count, first_words<1>(group));
}
__device__ inline void store_narrowed(const Operand& y, unsigned char* at, const WalkStart& start, int count,
                                      const Group<8>& group) {
  store_group(y, at, start, count, group);
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
__device__ void load_channels(const ChannelVector& vector, ChannelPlace place, C (&x)[kGroup]) {
  const auto dtype = static_cast<ElementType>(vector.values.dtype);
  const auto* const values = static_cast<const unsigned char*>(vector.values.data);
  const auto load = [&](int count, C(&numbers)[kGroup]) {
    with_bytes<C>(dtype, [&]<int Bytes>(std::integral_constant<int, Bytes>) {
      const unsigned char* const p = values + place.channel * Bytes;
      widen_group(count == kGroup && past_boundary<Bytes>(p) == 0 ? load_whole_group<Bytes>(p)
                                                                  : load_elements<Bytes>(p, count),
                  dtype, numbers);
    });
  };
  if (vector.inner == 1 && place.channel + kGroup <= vector.channels) {
    load(kGroup, x);
  } else {
#pragma unroll
    for (int e = 0; e < kGroup; ++e) {
      C one[kGroup];
      load(1, one);
      x[e] = one[0];
      place.advance(vector, 0, 1);
    }
  }
}

// ---------------------------------------------------------------- what an activation has

/// Op for results of full precision, Op16 for those of 16 and 8 bits.
template <ActivationKind K, bool Narrow>
using FusedOp = std::conditional_t<Narrow, device::Op16<K>, device::Op<K>>;

/// Whether Op16 is another than Op; where not, the kernels for results of full precision serve.
template <ActivationKind K>
inline constexpr bool kHasFormFor16Bits = !requires {
  device::Op16<K>::kIsOp;
};
constexpr bool has_form_for_16_bits(ActivationKind kind) {
#define ACTIUM_ACTIVATION(name, ...) \
  if (kind == ActivationKind::name) return kHasFormFor16Bits<ActivationKind::name>;
#include <actium/activations.def>
  return false;
}

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

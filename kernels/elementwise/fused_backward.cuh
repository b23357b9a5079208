#pragma once
// dx = scale * dropout'(dy) * f'(x + bias) in one pass, the slope from the input, from the output or from the
// mask of the forward pass, and dbias = the sums of dx, before it is rounded, for each channel. One kernel
// for each activation and way of computing; options are branches that all threads take alike.
//
// Parallel shape: the walk of walk.cuh; with dbias each thread goes down its columns (or along its row) and
// keeps their sums, a tree adds those of a block, and a second kernel those of all blocks. The order depends
// on the shape alone. Each tensor is read or written once.
#include "elementwise/channel_sum.cuh"
#include "philox.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class C>
struct FusedBackwardArguments {
  WalkPlan plan;
  SlopeSource source;
  Operand in[kWalkInputs];  // x, dy
  Operand dx;
  int batch;
  const std::uint32_t* mask;
  ChannelVector bias, slope;
  device::Parameters<C> parameters;
  C scale;  // times 1 / the probability to be kept
  std::uint32_t dropout_threshold;
  std::uint64_t dropout_seed, dropout_sequence;
  TileSums sums;
  PairSum<C>* partial;  // [outer, channels, inner] of ChannelSumPlan, or null
};

/// Four bits of the mask from `element` on, of which only `count` need be there.
__device__ inline unsigned load_mask(const std::uint32_t* mask, std::int64_t element, int count) {
  const auto shift = static_cast<int>(element % 32);
  std::uint64_t words = count > 0 ? mask[element / 32] : 0;
  if (shift + count > 32) words |= std::uint64_t{mask[element / 32 + 1]} << 32;
  return static_cast<unsigned>(words >> shift);
}

/// Those of the groups first, ..., first + batch - 1, one after the other.
__device__ inline std::uint64_t load_masks(const std::uint32_t* mask, const WalkPlan& plan,
                                           const WalkStart& start, int first, int batch) {
  constexpr int kMost = kWalkBatchBytes / kGroup / 2;
  static_assert(kMost <= 16);
  std::uint64_t bits = 0;
#pragma unroll
  for (int k = 0; k < kMost; ++k)
    if (k < batch)
      bits |= std::uint64_t{load_mask(mask, start.element + (first + k) * plan.element_step,
                                      start.count(plan, first + k)) &
                            15u}
              << (k * kGroup);
  return bits;
}

// ---------------------------------------------------------------- kernels

template <ActivationKind K, class C, bool Narrow>
__global__ void __launch_bounds__(kWalkThreads, std::is_same_v<C, double> ? 1 : kWalkSumBlocks)
    fused_backward_kernel(const __grid_constant__ FusedBackwardArguments<C> call) {
  using Exact = device::Op<K>;
  const WalkPlan& plan = call.plan;
  PairSum<C> sums[kGroup] = {};
  ACTIUM_SHARED(staging, Staging);
  for (std::int64_t round = 0; round < plan.rounds; ++round) {
    const WalkStart start = walk_start(plan, round);
    InputPlaces at = first_of(call.in, start);
    unsigned char* at_dx = first_of(call.dx, start);
    ChannelPlace bias_place = first_channel(call.bias, start.element);
    ChannelPlace slope_place = first_channel(call.slope, start.element);

    for (int first = 0; first < plan.steps; first += call.batch) {
      const int batch = first + call.batch <= plan.steps ? call.batch : plan.steps - first;
      stage_inputs<C>(plan, start, call.in, at, first, batch, staging);
      std::uint64_t mask = 0;  // four bits of each group
      if constexpr (kHasMask<K, C>)
        if (call.source == SlopeSource::kMask) mask = load_masks(call.mask, plan, start, first, batch);
#pragma unroll 1
      for (int k = 0; k < batch; ++k) {
        const int step = first + k, count = start.count(plan, step);
        C v[kGroup] = {}, d[kGroup], slope[kGroup] = {};
        if (call.in[0].data != nullptr) take_group(call.in, 0, k, staging, v);
        take_group(call.in, 1, k, staging, d);
        if (count > 0 && call.bias.values.data != nullptr) {
          C bias[kGroup];
          load_channels(call.bias, bias_place, bias);
#pragma unroll
          for (int e = 0; e < kGroup; ++e) v[e] += bias[e];
        }
        if constexpr (kTakesSlopes<K>)
          if (count > 0 && call.slope.values.data != nullptr) load_channels(call.slope, slope_place, slope);

        if (call.source == SlopeSource::kInput) {
#pragma unroll
          for (int e = 0; e < kGroup; ++e)
            v[e] = FusedOp<K, Narrow>::eval(v[e], with_slope<K>(call.parameters, call.slope.values, slope[e]))
                       .slope;
        } else if (call.source == SlopeSource::kOutput) {
          if constexpr (kWorksFromOutput<K, C>) {
#pragma unroll
            for (int e = 0; e < kGroup; ++e)
              v[e] =
                  Exact::slope_from_output(v[e], with_slope<K>(call.parameters, call.slope.values, slope[e]));
          }
        } else {
          if constexpr (kHasMask<K, C>) {
            const auto on = static_cast<unsigned>(mask >> (k * kGroup));
#pragma unroll
            for (int e = 0; e < kGroup; ++e) {
              const device::TwoSlopes<C> two =
                  Exact::two_slopes(with_slope<K>(call.parameters, call.slope.values, slope[e]));
              v[e] = on >> e & 1u ? two.on : two.off;
            }
          }
        }

#pragma unroll
        for (int e = 0; e < kGroup; ++e)
          d[e] = call.scale == 1 ? d[e] * v[e]
                                 : product(d[e], call.scale, call.scale == 0 ? finite(v[e]) : v[e]);
        if (call.dropout_threshold != 0) {
          const uint4 words =
              philox_words(call.dropout_seed, call.dropout_sequence,
                           static_cast<std::uint64_t>(start.element + step * plan.element_step));
          if (words.x < call.dropout_threshold) d[0] = 0;
          if (words.y < call.dropout_threshold) d[1] = 0;
          if (words.z < call.dropout_threshold) d[2] = 0;
          if (words.w < call.dropout_threshold) d[3] = 0;
        }
        if (call.partial != nullptr) {
#pragma unroll
          for (int e = 0; e < kGroup; ++e)
            if (e < count) sums[e].add(d[e]);
        }
        store_narrowed(call.dx, at_dx, start, count, narrow_group(d, call.dx.dtype));
        at_dx += call.dx.step;

        if (call.bias.values.data != nullptr)
          bias_place.advance(call.bias, call.bias.channel_step, call.bias.rest_step);
        if constexpr (kTakesSlopes<K>)
          if (call.slope.values.data != nullptr)
            slope_place.advance(call.slope, call.slope.channel_step, call.slope.rest_step);
      }
    }
  }
  if (call.partial != nullptr) store_tile_sums(plan, call.sums, sums, call.partial);
}

// ---------------------------------------------------------------- launchers

template <class C, bool Narrow>
Status launch_fused_backward_in(const FusedBackward& call, Stream stream) {
  FusedBackwardArguments<C> arguments{};
  ChannelSumPlan sum;
  if (call.dbias.data != nullptr) {
    sum = plan_channel_sum(call.extent.rows, call.extent.cols, call.bias_map.channels, call.bias_map.inner);
    if (sum.walk.tiles() == 0) return cudaErrorInvalidValue;
    arguments.plan = sum.walk;
    arguments.sums = sum.sums;
    arguments.partial = static_cast<PairSum<C>*>(call.scratch);
  } else {
    arguments.plan = plan_walk(call.extent.rows, call.extent.cols);
  }
  const WalkPlan& plan = arguments.plan;
  arguments.source = call.source;
  arguments.in[0] = operand_of(call.x, plan, call.dx.data);
  if (call.source == SlopeSource::kMask) arguments.in[0] = {};  // nor a step: null stays null
  arguments.in[1] = operand_of(call.dy, plan, call.dx.data);
  arguments.dx = operand_of(call.dx, plan, call.dx.data);
  arguments.batch = batch_of(arguments.in);
  arguments.mask = call.mask;
  arguments.bias = channel_vector(call.bias, call.bias_map, plan);
  arguments.slope = channel_vector(call.slope, call.slope_map, plan);
  arguments.scale =
      static_cast<C>(call.scale * (call.dropout.threshold != 0 ? call.dropout.inverse_keep : 1));
  arguments.dropout_threshold = call.dropout.threshold;
  arguments.dropout_seed = call.dropout.seed;
  arguments.dropout_sequence = call.dropout.sequence;
  arguments.parameters = parameters_of<C>(call.f);
  void (*kernel)(FusedBackwardArguments<C>) = nullptr;
  switch (call.f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                                              \
  case ActivationKind::name:                                                                      \
    if (call.source == SlopeSource::kOutput && !kWorksFromOutput<ActivationKind::name, C>) break; \
    if (call.source == SlopeSource::kMask && !kHasMask<ActivationKind::name, C>) break;           \
    if constexpr (!Narrow || kHasFormFor16Bits<ActivationKind::name>)                             \
      kernel = fused_backward_kernel<kernel_kind(ActivationKind::name), C, Narrow>;               \
    break;
#include <actium/activations.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  const Status status = launch(kernel, static_cast<unsigned>(plan.tiles()), kWalkThreads, stream, arguments);
  if (status != cudaSuccess || call.dbias.data == nullptr) return status;
  return finish_channel_sum<C>(sum, arguments.partial, call.dbias, stream);
}

/// One way of computing, compiled in a file of its own.
Status launch_fused_backward_f32(const FusedBackward& call, Stream stream);
Status launch_fused_backward_16_bit(const FusedBackward& call, Stream stream);
Status launch_fused_backward_f64(const FusedBackward& call, Stream stream);

}  // namespace actium::kernels

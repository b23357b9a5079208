#pragma once
// dx = scale * dropout'(dy) * f'(x + bias) in one pass, the slope from the input, from the output or from the
// mask of the forward pass, and dbias = the sums of dx, before it is rounded, for each channel. One kernel
// for each activation and way of computing; options are branches that all threads take alike.
//
// Parallel shape: the walk of walk.cuh; with dbias each thread goes down its columns (or along its row) and
// keeps their sums, a tree adds those of a block, and a second kernel those of all blocks. The order depends
// on the shape alone. Each tensor is read or written once.
#include "elementwise/walk.cuh"
#include "philox.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class C>
struct FusedBackwardArguments {
  WalkPlan plan;
  SlopeSource source;
  Operand x, dy, dx;
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

// ---------------------------------------------------------------- kernels

template <ActivationKind K, class C, bool Narrow>
__global__ void __launch_bounds__(kWalkThreads, 1)
    fused_backward_kernel(const __grid_constant__ FusedBackwardArguments<C> call) {
  using Exact = device::Op<K>;
  const WalkPlan& plan = call.plan;
  PairSum<C> sums[kWalkGroup] = {};
  for (std::int64_t round = 0; round < plan.rounds; ++round) {
    const WalkStart start = walk_start(plan, round);
    unsigned char* at_x = first_of(call.x, start);
    unsigned char* at_dy = first_of(call.dy, start);
    unsigned char* at_dx = first_of(call.dx, start);
    ChannelPlace bias_place = first_channel(call.bias, start.element);
    ChannelPlace slope_place = first_channel(call.slope, start.element);

    for (int step = 0; step < plan.steps; step += kWalkBatch) {
      RawGroup<C> x[kWalkBatch], dy[kWalkBatch];
#pragma unroll
      for (int k = 0; k < kWalkBatch; ++k) {
        const int count = start.count(plan, step + k);
        if (call.x.data != nullptr)
          x[k] =
              load_group(std::type_identity<C>{}, at_x + k * call.x.step, call.x.dtype, count, start.whole);
        dy[k] =
            load_group(std::type_identity<C>{}, at_dy + k * call.dy.step, call.dy.dtype, count, start.whole);
      }

      at_x += kWalkBatch * call.x.step;
      at_dy += kWalkBatch * call.dy.step;
#pragma unroll 1
      for (int k = 0; k < kWalkBatch; ++k) {
        const int count = start.count(plan, step + k);
        C v[kWalkGroup] = {}, d[kWalkGroup], slope[kWalkGroup] = {};
        if (call.x.data != nullptr) widen_group(x[0], call.x.dtype, v);
        widen_group(dy[0], call.dy.dtype, d);
        if (count > 0 && call.bias.values.data != nullptr) {
          C bias[kWalkGroup];
          load_channels(call.bias, bias_place, bias);
#pragma unroll
          for (int e = 0; e < kWalkGroup; ++e) v[e] += bias[e];
        }
        if constexpr (kTakesSlopes<K>)
          if (count > 0 && call.slope.values.data != nullptr) load_channels(call.slope, slope_place, slope);

        if (call.source == SlopeSource::kInput) {
#pragma unroll
          for (int e = 0; e < kWalkGroup; ++e)
            v[e] = FusedOp<K, Narrow>::eval(v[e], with_slope<K>(call.parameters, call.slope.values, slope[e]))
                       .slope;
        } else if (call.source == SlopeSource::kOutput) {
          if constexpr (kWorksFromOutput<K, C>) {
#pragma unroll
            for (int e = 0; e < kWalkGroup; ++e)
              v[e] =
                  Exact::slope_from_output(v[e], with_slope<K>(call.parameters, call.slope.values, slope[e]));
          }
        } else {
          if constexpr (kHasMask<K, C>) {
            const unsigned on = load_mask(call.mask, start.element + (step + k) * plan.element_step, count);
#pragma unroll
            for (int e = 0; e < kWalkGroup; ++e) {
              const device::TwoSlopes<C> two =
                  Exact::two_slopes(with_slope<K>(call.parameters, call.slope.values, slope[e]));
              v[e] = on >> e & 1u ? two.on : two.off;
            }
          }
        }

#pragma unroll
        for (int e = 0; e < kWalkGroup; ++e)
          d[e] = call.scale == 1 ? d[e] * v[e]
                                 : product(d[e], call.scale, call.scale == 0 ? finite(v[e]) : v[e]);
        if (call.dropout_threshold != 0) {
          const uint4 words =
              philox_words(call.dropout_seed, call.dropout_sequence,
                           static_cast<std::uint64_t>(start.element + (step + k) * plan.element_step));
          if (words.x < call.dropout_threshold) d[0] = 0;
          if (words.y < call.dropout_threshold) d[1] = 0;
          if (words.z < call.dropout_threshold) d[2] = 0;
          if (words.w < call.dropout_threshold) d[3] = 0;
        }
        if (call.partial != nullptr) {
#pragma unroll
          for (int e = 0; e < kWalkGroup; ++e)
            if (e < count) sums[e].add(d[e]);
        }
        const RawGroup<C> stored = narrow_group(d, call.dx.dtype);
        store_group(at_dx, call.dx.dtype, count, start.whole, stored);
        at_dx += call.dx.step;

        if (call.bias.values.data != nullptr)
          bias_place.advance(call.bias, call.bias.channel_step, call.bias.rest_step);
        if constexpr (kTakesSlopes<K>)
          if (call.slope.values.data != nullptr)
            slope_place.advance(call.slope, call.slope.channel_step, call.slope.rest_step);
#pragma unroll
        for (int next = 1; next < kWalkBatch; ++next) {
          x[next - 1] = x[next];
          dy[next - 1] = dy[next];
        }
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
  arguments.x = operand_of(call.x, arguments.plan);
  if (call.source == SlopeSource::kMask) arguments.x = {};  // nor a step: null stays null
  arguments.dy = operand_of(call.dy, arguments.plan);
  arguments.dx = operand_of(call.dx, arguments.plan);
  arguments.mask = call.mask;
  arguments.bias = channel_vector(call.bias, call.bias_map, plan);
  arguments.slope = channel_vector(call.slope, call.slope_map, plan);
  arguments.scale =
      static_cast<C>(call.scale * (call.dropout.threshold != 0 ? call.dropout.inverse_keep : 1));
  arguments.dropout_threshold = call.dropout.threshold;
  arguments.dropout_seed = call.dropout.seed;
  arguments.dropout_sequence = call.dropout.sequence;
  arguments.plan.aligned = groups_are_aligned(plan, {arguments.x, arguments.dy, arguments.dx});
  const auto blocks = static_cast<unsigned>(plan.tiles());
  Status status = cudaErrorInvalidValue;
  switch (call.f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                                                      \
  case ActivationKind::name:                                                                              \
    if (call.source == SlopeSource::kOutput && !kWorksFromOutput<ActivationKind::name, C>) break;         \
    if (call.source == SlopeSource::kMask && !kHasMask<ActivationKind::name, C>) break;                   \
    arguments.parameters = device::make_parameters<ActivationKind::name, C>(call.f.parameters);           \
    status = launch(fused_backward_kernel<ActivationKind::name, C, Narrow>, blocks, kWalkThreads, stream, \
                    arguments);                                                                           \
    break;
#include <actium/activations.def>
  }
  if (status != cudaSuccess || call.dbias.data == nullptr) return status;
  return finish_channel_sum<C>(sum, arguments.partial, call.dbias, stream);
}

/// One way of computing, compiled in a file of its own.
Status launch_fused_backward_f32(const FusedBackward& call, Stream stream);
Status launch_fused_backward_16_bit(const FusedBackward& call, Stream stream);
Status launch_fused_backward_f64(const FusedBackward& call, Stream stream);

}  // namespace actium::kernels

#pragma once
// y = residual + scale * dropout(f(x + bias)) in one pass, with everything but x and y optional, element
// types chosen at run time, and on demand the mask of is_on(x + bias) and the largest |y|. One kernel for
// each activation and way of computing; options are branches that all threads take alike.
//
// Parallel shape: the walk of walk.cuh. Each tensor is read or written once. The mask's words are put
// together by 8 neighbouring lanes. The maximum is exact, so its order does not matter.
#include "elementwise/walk.cuh"
#include "philox.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class C>
struct FusedForwardArguments {
  WalkPlan plan;
  Operand in[kWalkInputs];  // x, residual
  Operand y;
  int batch;
  ChannelVector bias, slope;
  device::Parameters<C> parameters;
  C scale;  // times 1 / the probability to be kept
  std::uint32_t dropout_threshold;
  std::uint64_t dropout_seed, dropout_sequence;
  std::uint32_t* mask;
  C quantization_scale, largest;  // of an 8-bit y
  C* tile_maximum;                // [tiles], or null
};

// ---------------------------------------------------------------- kernels

/// Those that would have to spill registers for one block more have fewer.
template <ActivationKind K, class C>
inline constexpr int kForwardBlocks =
    std::is_same_v<C, double> ? 1
    : K == ActivationKind::identity || K == ActivationKind::elu || K == ActivationKind::celu ||
            K == ActivationKind::selu || K == ActivationKind::sine || K == ActivationKind::snake
        ? kWalkBlocks - 1
        : kWalkBlocks;

template <ActivationKind K, class C, bool Narrow>
__global__ void __launch_bounds__(kWalkThreads, kForwardBlocks<K, C>)
    fused_forward_kernel(const __grid_constant__ FusedForwardArguments<C> call) {
  using Exact = device::Op<K>;
  const WalkPlan& plan = call.plan;
  const WalkStart start = walk_start(plan, 0);
  InputPlaces at = first_of(call.in, start);
  unsigned char* at_y = first_of(call.y, start);
  const bool has_residual = call.in[1].data != nullptr;
  ChannelPlace bias_place = first_channel(call.bias, start.element);
  ChannelPlace slope_place = first_channel(call.slope, start.element);
  C maximum = 0;
  ACTIUM_SHARED(staging, Staging);

  for (int first = 0; first < plan.steps; first += call.batch) {
    const int batch = first + call.batch <= plan.steps ? call.batch : plan.steps - first;
    stage_inputs<C>(plan, start, call.in, at, first, batch, staging);
#pragma unroll 1
    for (int k = 0; k < batch; ++k) {
      const int step = first + k, count = start.count(plan, step);
      C v[kGroup], slope[kGroup] = {};
      take_group(call.in, 0, k, staging, v);
      if (count > 0 && call.bias.values.data != nullptr) {
        C bias[kGroup];
        load_channels(call.bias, bias_place, bias);
#pragma unroll
        for (int e = 0; e < kGroup; ++e) v[e] += bias[e];
      }
      if constexpr (kTakesSlopes<K>)
        if (count > 0 && call.slope.values.data != nullptr) load_channels(call.slope, slope_place, slope);

      unsigned on = 0;
#pragma unroll
      for (int e = 0; e < kGroup; ++e) {
        const device::Parameters<C> parameters = with_slope<K>(call.parameters, call.slope.values, slope[e]);
        if constexpr (kHasMask<K, C>) on |= (e < count && Exact::is_on(v[e], parameters) ? 1u : 0u) << e;
        v[e] = FusedOp<K, Narrow>::eval(v[e], parameters).value;
      }
      if constexpr (kHasMask<K, C>)
        if (call.mask != nullptr) {
          const unsigned lane = threadIdx.x % 8;
          const unsigned word = or_over_8_lanes(on << (lane * kGroup));
          if (lane == 0 && count > 0) call.mask[(start.element + step * plan.element_step) / 32] = word;
        }

      if (call.dropout_threshold != 0) {
        const uint4 words =
            philox_words(call.dropout_seed, call.dropout_sequence,
                         static_cast<std::uint64_t>(start.element + step * plan.element_step));
        if (words.x < call.dropout_threshold) v[0] = 0;
        if (words.y < call.dropout_threshold) v[1] = 0;
        if (words.z < call.dropout_threshold) v[2] = 0;
        if (words.w < call.dropout_threshold) v[3] = 0;
      }
      if (call.scale == 0) {
#pragma unroll
        for (int e = 0; e < kGroup; ++e) v[e] = finite(v[e]);
      }
      if (has_residual) {
        C r[kGroup];
        take_group(call.in, 1, k, staging, r);
#pragma unroll
        for (int e = 0; e < kGroup; ++e) v[e] = device::fma(call.scale, v[e], r[e]);
      } else {
#pragma unroll
        for (int e = 0; e < kGroup; ++e) v[e] *= call.scale;
      }
      if (call.quantization_scale != 1) {
        // A finite result stays finite, for amax: an 8-bit y holds no more than its largest number anyhow.
#pragma unroll
        for (int e = 0; e < kGroup; ++e) {
          const C scaled = v[e] * call.quantization_scale;
          v[e] = finite(v[e]) == v[e] ? finite(scaled) : scaled;
        }
      }
      const auto stored = narrow_group(v, call.y.dtype);
      store_narrowed(call.y, at_y, start, count, stored);
      at_y += call.y.step;
      if (call.tile_maximum != nullptr) {
        C rounded[kGroup];
        widen_stored(stored, call.y.dtype, rounded);
#pragma unroll
        for (int e = 0; e < kGroup; ++e) {
          const C exceeding = device::absolute(v[e]);
          if (e < count)
            maximum =
                device::max_nan(maximum, exceeding > call.largest ? exceeding : device::absolute(rounded[e]));
        }
      }

      if (call.bias.values.data != nullptr)
        bias_place.advance(call.bias, call.bias.channel_step, call.bias.rest_step);
      if constexpr (kTakesSlopes<K>)
        if (call.slope.values.data != nullptr)
          slope_place.advance(call.slope, call.slope.channel_step, call.slope.rest_step);
    }
  }

  if (call.tile_maximum != nullptr) {
    ACTIUM_SHARED(partial, C[kWarpSize]);
    maximum = block_reduce(Max{}, maximum, partial);
    if (threadIdx.x == 0) call.tile_maximum[blockIdx.x] = maximum;
  }
}

/// amax = max(tile_maximum) / quantization_scale, by one block.
template <class C>
__global__ void __launch_bounds__(kFinishThreads)
    maximum_kernel(const C* tile_maximum, std::int64_t tiles, C quantization_scale, float* amax) {
  ACTIUM_SHARED(partial, C[kWarpSize]);
  C maximum = 0;
  for (std::int64_t i = threadIdx.x; i < tiles; i += kFinishThreads)
    maximum = device::max_nan(maximum, tile_maximum[i]);
  maximum = block_reduce(Max{}, maximum, partial);
  if (threadIdx.x == 0) *amax = static_cast<float>(maximum / quantization_scale);
}

// ---------------------------------------------------------------- launchers

inline WalkPlan fused_forward_plan(const FusedForward& call) {
  return call.amax != nullptr ? plan_walk_to_maximum(call.extent.rows, call.extent.cols)
                              : plan_walk(call.extent.rows, call.extent.cols);
}

template <class C, bool Narrow>
Status launch_fused_forward_in(const FusedForward& call, Stream stream) {
  FusedForwardArguments<C> arguments{};
  arguments.plan = fused_forward_plan(call);
  const WalkPlan& plan = arguments.plan;
  arguments.in[0] = operand_of(call.x, plan, call.y.data);
  arguments.in[1] = operand_of(call.residual, plan, call.y.data);
  arguments.y = operand_of(call.y, plan, call.y.data);
  arguments.batch = batch_of(arguments.in);
  arguments.bias = channel_vector(call.bias, call.bias_map, plan);
  arguments.slope = channel_vector(call.slope, call.slope_map, plan);
  const double quantization_scale = is_8_bit(call.y.dtype) ? call.quantization_scale : 1;
  const double inverse_keep = call.dropout.threshold != 0 ? call.dropout.inverse_keep : 1;
  arguments.scale = static_cast<C>(call.scale * inverse_keep);
  arguments.dropout_threshold = call.dropout.threshold;
  arguments.dropout_seed = call.dropout.seed;
  arguments.dropout_sequence = call.dropout.sequence;
  arguments.mask = call.mask;
  arguments.quantization_scale = static_cast<C>(quantization_scale);
  arguments.largest = call.y.dtype == DType::kE4M3   ? C(e4m3::kLargest)
                      : call.y.dtype == DType::kE5M2 ? C(e5m2::kLargest)
                                                     : std::numeric_limits<C>::infinity();
  arguments.tile_maximum = call.amax != nullptr ? static_cast<C*>(call.scratch) : nullptr;
  arguments.parameters = parameters_of<C>(call.f);
  void (*kernel)(FusedForwardArguments<C>) = nullptr;
  switch (call.f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                               \
  case ActivationKind::name:                                                       \
    if constexpr (!Narrow || kHasFormFor16Bits<ActivationKind::name>)              \
      kernel = fused_forward_kernel<kernel_kind(ActivationKind::name), C, Narrow>; \
    break;
#include <actium/activations.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  const Status status = launch(kernel, static_cast<unsigned>(plan.tiles()), kWalkThreads, stream, arguments);
  if constexpr (std::is_same_v<C, double>) {
    return status;  // an 8-bit y is computed in f32
  } else {
    if (status != cudaSuccess || call.amax == nullptr) return status;
    return launch(maximum_kernel<C>, 1u, kFinishThreads, stream, arguments.tile_maximum, plan.tiles(),
                  arguments.quantization_scale, call.amax);
  }
}

/// One way of computing, compiled in a file of its own.
Status launch_fused_forward_f32(const FusedForward& call, Stream stream);
Status launch_fused_forward_16_bit(const FusedForward& call, Stream stream);
Status launch_fused_forward_f64(const FusedForward& call, Stream stream);

}  // namespace actium::kernels

#pragma once
// dp[j, channel] = the sums of dy * df/dp_j(x), for the activations with parameters. Parallel shape and order
// of the sums: those of the bias gradient (fused_backward.cuh, channel_sum.cuh), for each parameter. Two
// reads an element.
#include "elementwise/channel_sum.cuh"

namespace actium::kernels {

constexpr int parameter_count(ActivationKind kind) {
#define ACTIUM_COUNT_P0() 0
#define ACTIUM_COUNT_P1(...) 1
#define ACTIUM_COUNT_P2(...) 2
#define ACTIUM_COUNT_P3(...) 3
#define ACTIUM_ACTIVATION(name, parameters, ...) \
  if (kind == ActivationKind::name) return ACTIUM_COUNT_##parameters;
#include <actium/activations.def>
#undef ACTIUM_COUNT_P0
#undef ACTIUM_COUNT_P1
#undef ACTIUM_COUNT_P2
#undef ACTIUM_COUNT_P3
  return 0;
}
template <ActivationKind K>
inline constexpr int kParameterCount = parameter_count(K);

// ---------------------------------------------------------------- kernels

template <class C>
struct ParameterGradientArguments {
  WalkPlan plan;
  Operand in[kWalkInputs];  // x, dy
  int batch;
  device::Parameters<C> parameters;
  TileSums sums;
  PairSum<C>* partial;         // [parameters, partial_count]
  std::int64_t partial_count;  // of ChannelSumPlan
};

template <ActivationKind K, class C>
__global__ void __launch_bounds__(kWalkThreads, std::is_same_v<C, double> ? 1 : kWalkSumBlocks)
    parameter_gradient_kernel(const __grid_constant__ ParameterGradientArguments<C> call) {
  constexpr int kParameters = kParameterCount<K>;
  const WalkPlan& plan = call.plan;
  PairSum<C> sums[kParameters][kGroup] = {};
  ACTIUM_SHARED(staging, Staging);
  for (std::int64_t round = 0; round < plan.rounds; ++round) {
    const WalkStart start = walk_start(plan, round);
    InputPlaces at = first_of(call.in, start);
    for (int first = 0; first < plan.steps; first += call.batch) {
      const int batch = first + call.batch <= plan.steps ? call.batch : plan.steps - first;
      stage_inputs<C>(plan, start, call.in, at, first, batch, staging);
#pragma unroll 1
      for (int k = 0; k < batch; ++k) {
        const int count = start.count(plan, first + k);
        C v[kGroup], d[kGroup];
        take_group(call.in, 0, k, staging, v);
        take_group(call.in, 1, k, staging, d);
#pragma unroll
        for (int e = 0; e < kGroup; ++e) {
          const device::ParameterSlopes<C> slopes = device::Op<K>::parameter_slopes(v[e], call.parameters);
#pragma unroll
          for (int j = 0; j < kParameters; ++j)
            if (e < count) sums[j][e].add(d[e] * slopes.p[j]);
        }
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kParameters; ++j)
    store_tile_sums(plan, call.sums, sums[j], call.partial + j * call.partial_count);
}

// ---------------------------------------------------------------- launchers

template <class C>
Status launch_parameter_gradient_in(const ParameterGradient& call, Stream stream) {
  const ChannelSumPlan sum =
      plan_channel_sum(call.extent.rows, call.extent.cols, call.map.channels, call.map.inner);
  if (sum.walk.tiles() == 0) return cudaErrorInvalidValue;
  ParameterGradientArguments<C> arguments{};
  arguments.plan = sum.walk;
  arguments.sums = sum.sums;
  arguments.in[0] = operand_of(call.x, arguments.plan, nullptr);
  arguments.in[1] = operand_of(call.dy, arguments.plan, nullptr);
  arguments.batch = batch_of(arguments.in);
  arguments.partial = static_cast<PairSum<C>*>(call.scratch);
  arguments.partial_count = sum.count;
  arguments.parameters = parameters_of<C>(call.f);
  void (*kernel)(ParameterGradientArguments<C>) = nullptr;
  switch (call.f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                            \
  case ActivationKind::name:                                                    \
    if constexpr (kParameterCount < ActivationKind::name >> 0)                  \
      kernel = parameter_gradient_kernel<kernel_kind(ActivationKind::name), C>; \
    break;
#include <actium/activations.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  Status status = launch(kernel, static_cast<unsigned>(sum.walk.tiles()), kWalkThreads, stream, arguments);
  for (int j = 0; status == cudaSuccess && j < parameter_count(call.f.kind); ++j) {
    AnyMatrix dp = call.dp;
    dp.data = static_cast<unsigned char*>(dp.data) +
              static_cast<std::size_t>(j * call.map.channels) * size_of(dp.dtype);
    status = finish_channel_sum<C>(sum, arguments.partial + j * sum.count, dp, stream);
  }
  return status;
}

/// One way of computing, compiled in a file of its own.
Status launch_parameter_gradient_f32(const ParameterGradient& call, Stream stream);
Status launch_parameter_gradient_f64(const ParameterGradient& call, Stream stream);

}  // namespace actium::kernels

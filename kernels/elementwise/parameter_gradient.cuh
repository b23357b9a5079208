#pragma once
// dp[j, channel] = the sums of dy * df/dp_j(x), for the activations with parameters. Parallel shape and order
// of the sums: those of the bias gradient (fused_backward.cuh, walk.cuh), for each parameter. Two reads an
// element.
#include "elementwise/walk.cuh"

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
  Operand x, dy;
  device::Parameters<C> parameters;
  TileSums sums;
  PairSum<C>* partial;         // [parameters, partial_count]
  std::int64_t partial_count;  // of ChannelSumPlan
};

template <ActivationKind K, class C>
__global__ void __launch_bounds__(kWalkThreads, 1)
    parameter_gradient_kernel(const __grid_constant__ ParameterGradientArguments<C> call) {
  constexpr int kParameters = kParameterCount<K>;
  const WalkPlan& plan = call.plan;
  PairSum<C> sums[kParameters][kWalkGroup] = {};
  for (std::int64_t round = 0; round < plan.rounds; ++round) {
    const WalkStart start = walk_start(plan, round);
    unsigned char* at_x = first_of(call.x, start);
    unsigned char* at_dy = first_of(call.dy, start);

    for (int step = 0; step < plan.steps; step += kWalkBatch) {
      RawGroup<C> x[kWalkBatch], dy[kWalkBatch];
#pragma unroll
      for (int k = 0; k < kWalkBatch; ++k) {
        const int count = start.count(plan, step + k);
        x[k] = load_group(std::type_identity<C>{}, at_x + k * call.x.step, call.x.dtype, count, start.whole);
        dy[k] =
            load_group(std::type_identity<C>{}, at_dy + k * call.dy.step, call.dy.dtype, count, start.whole);
      }
      at_x += kWalkBatch * call.x.step;
      at_dy += kWalkBatch * call.dy.step;
#pragma unroll 1
      for (int k = 0; k < kWalkBatch; ++k) {
        const int count = start.count(plan, step + k);
        C v[kWalkGroup], d[kWalkGroup];
        widen_group(x[0], call.x.dtype, v);
        widen_group(dy[0], call.dy.dtype, d);
#pragma unroll
        for (int e = 0; e < kWalkGroup; ++e) {
          const device::ParameterSlopes<C> slopes = device::Op<K>::parameter_slopes(v[e], call.parameters);
#pragma unroll
          for (int j = 0; j < kParameters; ++j)
            if (e < count) sums[j][e].add(d[e] * slopes.p[j]);
        }
#pragma unroll
        for (int next = 1; next < kWalkBatch; ++next) {
          x[next - 1] = x[next];
          dy[next - 1] = dy[next];
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
  arguments.x = operand_of(call.x, arguments.plan);
  arguments.dy = operand_of(call.dy, arguments.plan);
  arguments.partial = static_cast<PairSum<C>*>(call.scratch);
  arguments.partial_count = sum.count;
  arguments.plan.aligned = groups_are_aligned(arguments.plan, {arguments.x, arguments.dy});
  const auto blocks = static_cast<unsigned>(sum.walk.tiles());
  Status status = cudaErrorInvalidValue;
  switch (call.f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                                                    \
  case ActivationKind::name:                                                                            \
    if constexpr (kParameterCount < ActivationKind::name >> 0) {                                        \
      arguments.parameters = device::make_parameters<ActivationKind::name, C>(call.f.parameters);       \
      status = launch(parameter_gradient_kernel<ActivationKind::name, C>, blocks, kWalkThreads, stream, \
                      arguments);                                                                       \
    }                                                                                                   \
    break;
#include <actium/activations.def>
  }
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

#include <actium/propagation.hpp>
#include <cstring>
#include <limits>
#include <new>

#include "blas.hpp"
#include "context_state.hpp"
#include "cuda_check.hpp"
#include "dispatch.hpp"
#include "kernels/launch_propagation.hpp"
#include "reference/propagation.hpp"
#include "validate.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace actium {

namespace {

Shape without_last_two(const Shape& shape) { return shape.without_last().without_last(); }

#if ACTIUM_CUDA
SignalStatistics cuda_signal_statistics(const Context& ctx, const ConstTensorView& x) {
  SignalStatistics result;
  result.units = x.shape().back();
  result.rows = x.count() / result.units;
  const DeviceGuard guard(ctx.device());
  const std::size_t units = static_cast<std::size_t>(result.units);
  std::vector<std::int64_t> active(units);
  kernels::SignalMoments moments{};
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    // Scratch: the moments, the active rows of each unit, then what the kernels need for themselves.
    const std::size_t active_bytes = units * sizeof(std::int64_t);
    auto* base = static_cast<std::byte*>(ctx.state().scratch(
        sizeof moments + active_bytes + kernels::signal_statistics_scratch<T>(result.rows, result.units)));
    auto* device_moments = reinterpret_cast<kernels::SignalMoments*>(base);
    auto* device_active = reinterpret_cast<std::int64_t*>(base + sizeof moments);
    ACTIUM_CUDA_TRY(kernels::launch_signal_statistics(x.data_as<T>(), device_moments, device_active,
                                                      base + sizeof moments + active_bytes, result.rows,
                                                      result.units, ctx.stream()));
    ACTIUM_CUDA_TRY(
        cudaMemcpyAsync(&moments, device_moments, sizeof moments, cudaMemcpyDeviceToHost, ctx.stream()));
    ACTIUM_CUDA_TRY(
        cudaMemcpyAsync(active.data(), device_active, active_bytes, cudaMemcpyDeviceToHost, ctx.stream()));
    ACTIUM_CUDA_TRY(cudaStreamSynchronize(ctx.stream()));
  });
  result.mean = moments.mean;
  result.variance = moments.variance;
  result.second_moment = moments.second_moment;
  result.zero_fraction = static_cast<double>(moments.zeros) / static_cast<double>(x.count());
  for (const std::int64_t rows : active)
    result.active_fraction.push_back(static_cast<double>(rows) / static_cast<double>(result.rows));
  return result;
}
#endif

}  // namespace

void matmul(const Context& ctx, ConstTensorView a, ConstTensorView b, TensorView c) {
  const Validator check("matmul", ctx);
  check.rank("a", a, 2);
  check.rank("b", b, 2);
  const int rank = a.shape().rank();
  const Shape batch_shape = without_last_two(a.shape());
  const std::int64_t m = a.shape()[rank - 2], k = a.shape()[rank - 1], n = b.shape().back();
  const bool shared = b.shape().rank() == 2;  // one b for the whole batch
  check.tensor("a", a);
  check.tensor("b", b, a.dtype(), (shared ? Shape{} : batch_shape).with(k).with(n));
  check.tensor("c", c, a.dtype(), batch_shape.with(m).with(n));
  check.disjoint("c", c, "a", a);
  check.disjoint("c", c, "b", b);
  if (c.count() == 0) return;
  if (k == 0) return detail::fill_zero(ctx, c);  // a sum of nothing
  // With one b, the matrices of a are one tall matrix.
  const std::int64_t batch = shared ? 1 : batch_shape.count();
  const std::int64_t rows = shared ? batch_shape.count() * m : m;
#if ACTIUM_CUDA
  if (ctx.is_cuda()) return cuda_matmul(ctx, a.dtype(), batch, rows, n, k, a.data(), b.data(), c.data());
#endif
  reference::matmul(a.dtype(), batch, rows, n, k, a.data(), b.data(), c.data(), ctx.threads());
}

SignalStatistics signal_statistics(const Context& ctx, ConstTensorView x) try {
  const Validator check("signal_statistics", ctx);
  check.rank("x", x, 1);
  check.tensor("x", x);
  if (x.count() == 0) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    const std::int64_t units = x.shape().back();
    return {.rows = x.shape().without_last().count(),
            .units = units,
            .mean = kNaN,
            .variance = kNaN,
            .second_moment = kNaN,
            .zero_fraction = kNaN,
            .active_fraction = std::vector<double>(static_cast<std::size_t>(units), kNaN)};
  }
#if ACTIUM_CUDA
  if (ctx.is_cuda()) return cuda_signal_statistics(ctx, x);
#endif
  return reference::signal_statistics(x, ctx.threads());
} catch (const std::bad_alloc&) {
  throw Error(ErrorKind::kOutOfMemory, "signal_statistics: no host memory for the result");
}

LayerResult propagate_layer(const Context& ctx, const Layer& layer, ConstTensorView x, TensorView y) {
  const Validator check("propagate_layer", ctx);
  const auto size = [&](std::string_view name, std::int64_t value) {
    if (value < 0) check.fail(std::string(name), "at least 0", std::to_string(value));
  };
  size("layer.fan_in", layer.fan_in);
  size("layer.fan_out", layer.fan_out);
  check.positive("layer.initializer.gain", layer.initializer.gain);
  check.rank("x", x, 1);
  const Shape rows = x.shape().without_last();
  check.tensor("x", x, layer.dtype, rows.with(layer.fan_in));
  check.tensor("y", y, layer.dtype, rows.with(layer.fan_out));
  check.same_or_disjoint("y", y, "x", x);
  // What else the parts below refuse, they refuse of nothing too: before anything is allocated.
  const TensorView no_matrices(nullptr, layer.dtype, {0, layer.fan_in, layer.fan_out});
  initialize(ctx, layer.initializer, layer.key, no_matrices);
  forward(ctx, layer.activation, no_matrices, no_matrices);

  const std::int64_t count = rows.count();
  Tensor w(ctx, layer.dtype, {layer.fan_in, layer.fan_out}), z(ctx, layer.dtype, y.shape());
  initialize(ctx, layer.initializer, layer.key, w);
  matmul(ctx, x.reshaped({count, layer.fan_in}), w, z.view().reshaped({count, layer.fan_out}));
  LayerResult result;
  result.pre_activation = signal_statistics(ctx, z);
  forward(ctx, layer.activation, z, y);
  result.post_activation = signal_statistics(ctx, y);
  return result;
}

}  // namespace actium

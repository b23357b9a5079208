#pragma once
/// Signal propagation: what one random layer does to a signal. Part of actium::propagation.
#include <actium/activation.hpp>
#include <actium/initializer.hpp>
#include <string>
#include <vector>

#pragma GCC visibility push(default)
namespace actium {

/// c = a b, batched: a [..., m, k], b [..., k, n], c [..., m, n], rank >= 2, equal leading axes; or b of rank
/// 2, one matrix for the whole batch. One dtype (f64, f32, f16, bf16), contiguous, on the context's device; c
/// may not overlap a or b. f32 accumulates in f32 (no TF32), f16 and bf16 in f32 with one rounding, f64 in
/// f64. cuBLAS on CUDA (its handle and workspace are made on the context's first product: not capturable
/// before that, and a captured product uses the context's workspace: keep a copy of the context as long as
/// the graph), OpenBLAS on the CPU.
void matmul(const Context& ctx, ConstTensorView a, ConstTensorView b, TensorView c);

/// The CPU's BLAS and its version, "OpenBLAS 0.3.21".
std::string blas_name();

/// What a tensor x [..., units] looks like; rows are all axes but the last.
struct SignalStatistics {
  std::int64_t rows = 0, units = 0;
  double mean = 0;                      ///< of all elements
  double variance = 0;                  ///< population variance (divides by the count)
  double second_moment = 0;             ///< mean of x^2
  double zero_fraction = 0;             ///< share of elements equal to 0
  std::vector<double> active_fraction;  ///< per unit: share of rows with x > 0; [units]
};

/// Measures x, [..., units], rank >= 1, f64, f32, f16 or bf16, contiguous, on the context's device. Waits for
/// the result (synchronises the stream: not capturable) and takes scratch from the context. Deterministic:
/// fixed order, no atomics. An empty x gives NaN for the four means (0 / 0) and an active fraction of NaN for
/// each unit. NaN in x shows in the moments.
SignalStatistics signal_statistics(const Context& ctx, ConstTensorView x);

/// One dense layer without bias: z = x w, y = f(z).
struct Layer {
  Activation activation = tanh();
  Initializer initializer = xavier_normal();
  std::int64_t fan_in = 0, fan_out = 0;
  DType dtype = DType::kF32;
  RandomKey key = {};  ///< of the weights
};

struct LayerResult {
  SignalStatistics pre_activation;   ///< of z
  SignalStatistics post_activation;  ///< of y
};

/// Draws the weights of `layer`, sends x [..., fan_in] through it and measures both sides of the activation.
/// y, [..., fan_out], receives the output signal and may be exactly x (then fan_in = fan_out); any other
/// overlap is an error. Allocates the weights and z, takes scratch as signal_statistics does, and waits for
/// the result.
LayerResult propagate_layer(const Context& ctx, const Layer& layer, ConstTensorView x, TensorView y);

}  // namespace actium
#pragma GCC visibility pop

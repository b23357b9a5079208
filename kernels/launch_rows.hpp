#pragma once
// The bridge to the kernels of softmax and its relatives, as launch.hpp is to the others.
#include <actium/empty_row.hpp>

#include "launch.hpp"

namespace actium::kernels {

// Softmax and its relatives. A row is the elements along one axis; rows are numbered by the other axes in
// order of their indices: row (o * middle + m) * inner + i.

/// Element c of that row is data[o * outer_stride + m * middle_stride + i * inner_stride + c * col_stride].
/// Strides may be 0 where nothing is written.
struct AnyRows {
  void* data = nullptr;
  std::int64_t outer_stride = 0, middle_stride = 0, inner_stride = 0, col_stride = 1;
};

/// Which elements of a row take part; the others are as logits of -inf.
struct RowMask {
  AnyRows keep = {};                      // of bool: those that are true
  AnyRows bias = {};                      // of the logits' type, added to them
  const std::int64_t* lengths = nullptr;  // [rows]: the first so many, 0 for less than that
  std::int64_t queries = 0;               // not 0: the first row % queries + causal_offset + 1
  std::int64_t causal_offset = 0;
};

struct RowCall {
  std::int64_t rows = 0, cols = 0, middle = 1, inner = 1;
  double temperature = 1;
  const void* temperatures = nullptr;  // [rows] of f64 for f64, else f32; in place of `temperature`
  EmptyRow empty = EmptyRow::kZeros;
  RowMask mask = {};
  AnyRows in[3] = {};     // inputs, as each launcher names them
  AnyRows out[2] = {};    // may be exactly an input
  void* row_out[2] = {};  // [rows]
  // Of f16 and bf16 inputs, whether `out` and whether `row_out` are f32.
  bool f32_out = false, f32_rows = false;
  void* scratch = nullptr;  // the launcher's scratch function tells how much, 16-byte aligned
};

/// What one softmax launch writes.
enum class SoftmaxResult : std::uint8_t { kProbability, kLogProbability, kLogSumExp, kEntropy };

/// in: z. out: the probabilities; row_out: the statistics.
template <class T>
Status launch_softmax(SoftmaxResult result, const RowCall& call, Stream stream);
template <class T>
std::size_t softmax_scratch(const RowCall& call);
/// in: p, tz; out: tp. softmax_vjp and softmax_jvp: the Jacobian is symmetric, so they are one map.
template <class T>
Status launch_softmax_jvp(const RowCall& call, Stream stream);
template <class T>
std::size_t softmax_jvp_scratch(const RowCall& call);
/// in: z; out: p.
template <class T>
Status launch_sparsemax(const RowCall& call, Stream stream);
/// in: p, dp; out: dz.
template <class T>
Status launch_sparsemax_vjp(const RowCall& call, Stream stream);
template <class T>
std::size_t sparsemax_vjp_scratch(const RowCall& call);
template <class T>
Status launch_softmax_jacobian(double temperature,
                               const T* p,   // [rows, cols]
                               T* jacobian,  // [rows, cols, cols]
                               std::int64_t rows, std::int64_t cols, Stream stream);

struct CrossEntropyArguments {
  const std::int64_t* labels = nullptr;  // [rows]
  const void* weights = nullptr;         // [cols] of f64 for f64, else f32; null: 1
  const void* dloss = nullptr;           // [rows], likewise
  std::int64_t ignore_index = 0;
  bool ignores_invalid = false;
  double label_smoothing = 0, z_loss = 0;
};
/// in: z; out: dz, or none; row_out: the loss and the logsumexp, either may be null.
template <class T>
Status launch_cross_entropy(const CrossEntropyArguments& arguments, const RowCall& call, Stream stream);
template <class T>
std::size_t cross_entropy_scratch(const CrossEntropyArguments& arguments, const RowCall& call);
// Further derivatives.

/// One number for each row, of the inputs' type, or f32 (f32).
struct RowNumbers {
  const void* data = nullptr;
  bool f32 = false;
};

/// in: z, tz; out: p, tp.
template <class T>
Status launch_softmax_value_and_jvp(const RowCall& call, Stream stream);
template <class T>
std::size_t softmax_value_and_jvp_scratch(const RowCall& call);
/// in: z; out: dz. `statistic` is kLogSumExp or kEntropy.
template <class T>
Status launch_statistic_vjp(SoftmaxResult statistic, const RowNumbers& gradients, const RowCall& call,
                            Stream stream);
template <class T>
std::size_t statistic_vjp_scratch(const RowCall& call);
/// in: z, tz; row_out: the statistic's tangent.
template <class T>
Status launch_statistic_jvp(SoftmaxResult statistic, const RowCall& call, Stream stream);
template <class T>
std::size_t statistic_jvp_scratch(const RowCall& call);
/// in: log p, dy; out: dz. Or log p, tz; ty.
template <class T>
Status launch_log_softmax_derivative(bool vjp, const RowCall& call, Stream stream);
template <class T>
std::size_t log_softmax_derivative_scratch(const RowCall& call);
/// in: p, dp, tz; out: the Hessian's product. Or z, p, dp; row_out: the temperature's gradient.
template <class T>
Status launch_softmax_covariance(bool of_temperature, const RowCall& call, Stream stream);
template <class T>
std::size_t softmax_covariance_scratch(const RowCall& call);

}  // namespace actium::kernels

#pragma once
/// Softmax over an axis, with its statistics and derivatives.
#include <actium/array_view.hpp>
#include <actium/context.hpp>
#include <actium/empty_row.hpp>
#include <actium/tensor.hpp>

#pragma GCC visibility push(default)
namespace actium {

struct SoftmaxOptions {
  /// Logits are divided by it; finite and > 0. On CUDA 1 / T is an f32 (f64 for f64): outside about [1e-37,
  /// 1e37] the results tend to those of the limit, one-hot or uniform.
  double temperature = 1;
  /// One for each row, [...], in place of `temperature`: f64 for f64 logits, else f32. They are not read by
  /// the host: where one is not finite and > 0, the row becomes NaN, unless there is nothing in it.
  ConstTensorView temperatures = {};
  /// The axis along which a row lies; negative ones count from the last.
  int axis = -1;

  // Masks, for the calls on logits. Several may be given: an element takes part where all let it. What takes
  // no part is as a logit of -inf, whatever it holds, and has probability 0.

  /// True where an element takes part: the shape of z, or one that NumPy's rules broadcast to it.
  BoolView mask = {};
  /// Added to z, of its dtype and any shape that broadcasts to z's; -inf where an element takes no part. The
  /// sum is rounded to f32 (f64 for f64).
  ConstTensorView bias = {};
  /// [...], one number for each row: its first so many elements take part. Taken as 0 below 0, as n above n.
  IndexView lengths = {};
  /// Of row i of [..., m, n] the first i + 1 + causal_offset elements take part. The rows are the last axis.
  bool causal = false;
  std::int64_t causal_offset = 0;

  EmptyRow empty_row = EmptyRow::kZeros;
};

// Shapes: logits z and probabilities p are [..., n, ...], n the extent of options.axis, by default the last;
// each row of n is one distribution; statistics are [...], without the axis (a rank-1 z gives one number: a
// view of shape [1] or []). dtypes: f64, f32, f16, bf16, one for all tensors of a call, but what the calls on
// f16 and bf16 logits write may be f32; f16 and bf16 compute in f32 and round once. Tensors of shape [..., n,
// ...] may have strides: the axes beside options.axis must merge into three at most, and no stride is
// negative; statistics are contiguous. All are on the context's device. A size of zero is valid.
//
// Exponentials are taken in powers of two that the row's maximum decides, so the error does not grow with
// max|z| and no finite row overflows: f32 probabilities of contiguous rows that are normal numbers are within
// 4 ULP at every length tried (to 2^20), of 16-bit logits too (docs/softmax.md; strided rows of logits beyond
// 2^20 T are not always). A row's result depends on nothing but the row, whether its elements are neighbours
// in memory, and the kind of GPU: not on the batch, nor on where the row lies. CUDA reads a row of neighbours
// from memory once, in registers or shared memory, up to the shared memory of the whole GPU (7.5 million f32
// on an H200; GPUs without thread-block clusters: up to what a block may have, 15,000 or more f32). Rows
// whose elements are not neighbours, as along another axis than the last, are read once up to 64 elements and
// twice above.
//
// Rows that hold NaN or +inf give NaN (as in PyTorch), but logsumexp is +inf where a row holds +inf (and no
// NaN). A single -inf has probability 0. A row with nothing in it, all -inf or masked, follows
// options.empty_row; its logsumexp is -inf.
//
// In place is safe where an output of shape [..., n, ...] is exactly an input; any other overlap is an error.
// On CUDA the calls are asynchronous, never synchronise and can be captured in a graph. Rows too long for a
// cluster (1.8 MB) take scratch: up to 72 bytes for each multiprocessor, without clusters for each 61 KiB of
// inputs; all others none.
//
// Throws Error(kInvalidArgument) for a temperature that is not finite and > 0, a rank of 0, an axis out of
// range, masks of other shapes, and as the activations do.

/// p_i = exp(z_i / T) / sum_j exp(z_j / T).
void softmax(const Context& ctx, ConstTensorView z, TensorView p, const SoftmaxOptions& options = {});

/// log p_i = z_i / T - logsumexp(z / T), accurate for the dominant element too (log1p of the others' sum).
void log_softmax(const Context& ctx, ConstTensorView z, TensorView log_p, const SoftmaxOptions& options = {});

/// log sum_j exp(z_j / T), one number a row.
void logsumexp(const Context& ctx, ConstTensorView z, TensorView result, const SoftmaxOptions& options = {});

/// H = -sum_j p_j log p_j in nats, one number a row, from the logits.
void entropy(const Context& ctx, ConstTensorView z, TensorView result, const SoftmaxOptions& options = {});

/// dz = p * (dp - <p, dp>) / T: the vector-Jacobian product from saved probabilities. Needs no masks where
/// what took no part has p = 0 (all but an empty row with EmptyRow::kUniform) and dp is finite there. With
/// `axis` the last, dp and dz may be [..., k, n] for p of [..., n]: k products with one Jacobian.
void softmax_vjp(const Context& ctx, ConstTensorView p, ConstTensorView dp, TensorView dz,
                 const SoftmaxOptions& options = {});

/// tp = p * (tz - <p, tz>) / T: the Jacobian-vector product from saved probabilities. (The Jacobian is
/// symmetric, so this is the same map as softmax_vjp.)
void softmax_jvp(const Context& ctx, ConstTensorView p, ConstTensorView tz, TensorView tp,
                 const SoftmaxOptions& options = {});

/// J = (diag(p) - p p^T) / T, [..., n] -> [..., n, n], written densely: n times the memory of p, so meant for
/// small rows. J may not overlap p. p and J are contiguous and of one dtype, the axis is the last.
void softmax_jacobian(const Context& ctx, ConstTensorView p, TensorView jacobian,
                      const SoftmaxOptions& options = {});

// Further derivatives. Means under p are known to twice the precision of f32 (f64 for f64), so that a tangent
// or gradient far from 0 that varies little loses nothing (an f32 tangent below 1e-30 loses digits). Those on
// logits take the masks: what takes no part has derivative 0, and what its tangent or gradient holds does not
// count. In place each output may be exactly any one of the inputs of its shape.

/// p = softmax(z / T) and tp = p * (tz - <p, tz>) / T, the Jacobian-vector product, in one pass over z and
/// tz. p and tp have one dtype. In an empty row tp is 0, with EmptyRow::kNaN NaN.
void softmax_value_and_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView p,
                           TensorView tp, const SoftmaxOptions& options = {});

/// dz_i = -dh * p_i * (log p_i + H) / T: the gradient of the entropy from the logits. dh is [...], one number
/// a row, of z's dtype or f32. In an empty row dz is 0, with EmptyRow::kNaN NaN; so in logsumexp_vjp.
void entropy_vjp(const Context& ctx, ConstTensorView z, ConstTensorView dh, TensorView dz,
                 const SoftmaxOptions& options = {});

/// dz_i = dlse * p_i / T: the gradient of logsumexp from the logits. dlse is [...], as dh.
void logsumexp_vjp(const Context& ctx, ConstTensorView z, ConstTensorView dlse, TensorView dz,
                   const SoftmaxOptions& options = {});

/// th = -sum_i p_i (log p_i + H) tz_i / T: the entropy's tangent along tz from the logits, one number a row
/// [...]. In an empty row 0, with EmptyRow::kNaN NaN; so in logsumexp_jvp.
void entropy_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView th,
                 const SoftmaxOptions& options = {});

/// tlse = sum_i p_i tz_i / T: logsumexp's tangent along tz from the logits.
void logsumexp_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView tlse,
                   const SoftmaxOptions& options = {});

/// dz_i = (dy_i - p_i sum_j dy_j) / T with p = exp(log_p), from saved log_p <= 0: the vector-Jacobian product
/// of log_softmax, good also for the dominant element (1 - p from log_p). Needs no masks: what took no part
/// has log_p = -inf; its dy does not count, and its dz is 0.
void log_softmax_vjp(const Context& ctx, ConstTensorView log_p, ConstTensorView dy, TensorView dz,
                     const SoftmaxOptions& options = {});

/// ty_i = (tz_i - sum_j p_j tz_j) / T with p = exp(log_p): the Jacobian-vector product of log_softmax. Where
/// log_p is -inf, tz does not count and ty is 0.
void log_softmax_jvp(const Context& ctx, ConstTensorView log_p, ConstTensorView tz, TensorView ty,
                     const SoftmaxOptions& options = {});

/// The Hessian of <dp, softmax(z / T)> with respect to z, times tz, from saved probabilities:
/// p_i ((tz_i - <p, tz>) (dp_i - <p, dp>) - cov) / T^2, cov = sum_j p_j (tz_j - <p, tz>) (dp_j - <p, dp>).
/// Symmetric in dp and tz. Means are taken under p / sum p. Where p is 0, dp and tz do not count.
void softmax_hvp(const Context& ctx, ConstTensorView p, ConstTensorView dp, ConstTensorView tz,
                 TensorView result, const SoftmaxOptions& options = {});

/// dT = -sum_j p_j (dp_j - <p, dp>) z_j / T^2: the gradient of <dp, softmax(z / T)> with respect to each
/// row's temperature, one number a row, from the logits and saved probabilities; their sum is that with
/// respect to one temperature of all rows. Where p is 0 or z is masked, z and dp do not count.
void softmax_temperature_gradient(const Context& ctx, ConstTensorView z, ConstTensorView p,
                                  ConstTensorView dp, TensorView dT, const SoftmaxOptions& options = {});

}  // namespace actium
#pragma GCC visibility pop

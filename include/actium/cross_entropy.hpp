#pragma once
/// Cross-entropy of logits and class indices, with its gradient in the same pass.
#include <actium/array_view.hpp>
#include <actium/context.hpp>
#include <actium/tensor.hpp>

#pragma GCC visibility push(default)
namespace actium {

/// What becomes of a row whose label is neither a class nor `ignore_index`. The host does not read labels, so
/// none is an error.
enum class InvalidLabel : std::uint8_t {
  kNaN,     ///< its loss and gradient are NaN
  kIgnore,  ///< as with ignore_index
};

struct CrossEntropyOptions {
  /// The axis of the classes; negative ones count from the last.
  int axis = -1;
  /// A row with this label has loss 0 and gradient 0, whatever its logits are.
  std::int64_t ignore_index = -100;
  InvalidLabel invalid_label = InvalidLabel::kNaN;
  /// s: the labels are (1 - s) of the class itself and s / n of each of the n classes; 0 to 1.
  double label_smoothing = 0;
  /// Adds z_loss * logsumexp(z)^2; finite and >= 0.
  double z_loss = 0;
  /// w, [n]: f64 for f64 logits, else f32. Their values are not checked.
  ConstTensorView class_weights = {};
  /// [...], one number for each row, by which its gradient is multiplied: f64 for f64 logits, else f32.
  /// cross_entropy_with_gradient() only.
  ConstTensorView dloss = {};
  /// [...], of the losses' dtype: where to write logsumexp(z) of each row, of ignored ones too.
  TensorView logsumexp = {};
};

// Shapes: logits z and their gradient dz are [..., n, ...], n classes along options.axis, by default the
// last; labels, losses and all else that there is one of for each row are [...], without the axis (a rank-1 z
// gives one number: a view of shape [1] or []). dtypes: z f64, f32, f16 or bf16; losses, logsumexp and dz the
// same, or of f16 and bf16 logits f32: losses and logsumexp alike, dz by itself. f16 and bf16 compute in f32
// and round once. z and dz may have strides, as in softmax.hpp; everything else is contiguous. A size of zero
// is valid; with n = 0 no label is valid.
//
// With p = softmax(z), y the row's label, w = 1 and s = 0 where none are given:
//
//   loss = (1 - s) w_y (-log p_y) + s / n sum_j w_j (-log p_j) + z_loss logsumexp(z)^2
//   dz_j = dloss ((1 - s) w_y (p_j - [j = y]) + s / n (p_j sum_i w_i - w_j) + 2 z_loss logsumexp(z) p_j)
//
// which are PyTorch's cross_entropy with reduction='none' and its gradient. There is no reduction. For the
// mean over m rows that are not ignored, sum the losses, divide by m, and give a dloss of 1 / m; with weights
// PyTorch divides by the sum of w_y.
//
// -log p_j is log sum exp(z - max) + (max - z_j), two terms >= 0, and p_y - 1 is minus the sum of the others'
// exponentials over the sum of all, so a sure and right row loses nothing. Without smoothing and z_loss, f32
// losses are within 8 ULP and f32 gradients within 4 at every length tried (to 70,003). Of f16 and bf16
// logits with f32 results both are within 2^-21 relative, but losses of cross_entropy() have 2^-24 more for
// each unit by which max(z) - z goes.
//
// A class without weight contributes nothing to the loss, also where its logit is -inf. Other rows with
// z_y = -inf, or with smoothing any z_j = -inf, have loss +inf. Rows that hold NaN, +inf or nothing but -inf
// give NaN.
//
// In place is safe where dz is exactly z; any other overlap is an error. On CUDA the calls are asynchronous,
// never synchronise and can be captured in a graph; they read and write memory as softmax() does, with
// scratch of up to 72 bytes in place of 32.
//
// Throws Error(kInvalidArgument) for labels, losses or options of other shapes and dtypes, a label_smoothing
// outside [0, 1], a z_loss that is not finite and >= 0, a rank of 0, an axis out of range, and as the
// activations do. Labels out of range are no error: see InvalidLabel.

/// loss[...] of z[..., n] and labels[...].
void cross_entropy(const Context& ctx, ConstTensorView z, IndexView labels, TensorView loss,
                   const CrossEntropyOptions& options = {});

/// The losses and dz, with one read of z and one write of dz. A default TensorView for `loss`: no losses.
void cross_entropy_with_gradient(const Context& ctx, ConstTensorView z, IndexView labels, TensorView loss,
                                 TensorView dz, const CrossEntropyOptions& options = {});

}  // namespace actium
#pragma GCC visibility pop

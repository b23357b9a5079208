#pragma once
/// Sparsemax: the distribution nearest to the logits, with exact zeros.
#include <actium/softmax.hpp>

#pragma GCC visibility push(default)
namespace actium {

// Shapes, dtypes, strides, masks, temperatures, empty rows, in-place safety and errors: as softmax's
// (softmax.hpp). A row that holds NaN or +inf is NaN.

/// p_i = max(z_i / T - tau, 0) with tau such that a row sums to 1: the Euclidean projection of z / T onto the
/// simplex (Martins and Astudillo, 2016). In f32 (f64) each p is within 4 * 2^-24 (2^-53) of the exact one,
/// and of u = (z - max z) / T, whose rounding decides where p is 0, if u is exact: with T a power of two and
/// logits within a factor of two of the maximum it is. CUDA gives a row to one block, which reads it once up
/// to 2,048 elements, and once for each step of Newton's method (about 5) beyond.
void sparsemax(const Context& ctx, ConstTensorView z, TensorView p, const SoftmaxOptions& options = {});

/// dz = (dp - mean of dp over the support) / T where p > 0, else 0: the vector-Jacobian product from the
/// saved result. (The Jacobian is symmetric: it is the Jacobian-vector product too.) Needs no masks.
void sparsemax_vjp(const Context& ctx, ConstTensorView p, ConstTensorView dp, TensorView dz,
                   const SoftmaxOptions& options = {});

}  // namespace actium
#pragma GCC visibility pop

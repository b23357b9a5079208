#pragma once
/// Lists of numbers in and out of a context's device.
#include <actium/activation.hpp>
#include <span>
#include <vector>

namespace actium::cli {

/// The values, each rounded once to `dtype`, on the context's device.
Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values, const Shape& shape);
Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values);  ///< rank 1

/// f(x) for order 0; f'(x), by backward with dy = 1, for order 1; f''(x), by backward_of_backward, for
/// order 2.
Tensor evaluate(const Context& ctx, const Activation& f, const Tensor& x, int order);

}  // namespace actium::cli

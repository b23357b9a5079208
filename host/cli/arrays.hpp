#pragma once
/// Lists of numbers in and out of a context's device.
#include <actium/activation.hpp>
#include <actium/array_view.hpp>
#include <span>
#include <vector>

namespace actium::cli {

/// The values, each rounded once to `dtype`, on the context's device.
Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values, const Shape& shape);
Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values);  ///< rank 1

/// Class indices or lengths in memory of a context's device.
class DeviceIndices {
 public:
  DeviceIndices(const Context& ctx, std::span<const std::int64_t> values);
  IndexView view() const {
    return {static_cast<const std::int64_t*>(memory_.view().data()), memory_.shape()};
  }

 private:
  Tensor memory_;  // f64 has as many bytes
};

/// A mask in memory of a context's device: what is not 0 is true.
class DeviceMask {
 public:
  DeviceMask(const Context& ctx, std::span<const int> flags);
  BoolView view() const { return {static_cast<const bool*>(memory_.view().data()), memory_.shape()}; }

 private:
  Tensor memory_;  // of bytes
};

/// f(x) for order 0; f'(x), by backward with dy = 1, for order 1; f''(x), by backward_of_backward, for
/// order 2.
Tensor evaluate(const Context& ctx, const Activation& f, const Tensor& x, int order);

}  // namespace actium::cli

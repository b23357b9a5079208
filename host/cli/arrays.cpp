#include "arrays.hpp"

#include <actium/tensor.hpp>

namespace actium::cli {
namespace {

template <class T>
Tensor rounded(const Context& ctx, std::span<const double> values, const Shape& shape) {
  std::vector<T> elements;
  elements.reserve(values.size());
  for (const double value : values) elements.push_back(static_cast<T>(value));
  return Tensor(ctx, ConstTensorView(elements.data(), shape));
}

}  // namespace

Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values, const Shape& shape) {
  switch (dtype) {
    case DType::kF64:
      return rounded<double>(ctx, values, shape);
    case DType::kF32:
      return rounded<float>(ctx, values, shape);
    case DType::kF16:
      return rounded<f16>(ctx, values, shape);
    case DType::kBF16:
      return rounded<bf16>(ctx, values, shape);
    default:
      break;
  }
  throw Error(ErrorKind::kInvalidArgument, "to_tensor: want one of the four dtypes");
}

Tensor to_tensor(const Context& ctx, DType dtype, std::span<const double> values) {
  return to_tensor(ctx, dtype, values, Shape{static_cast<std::int64_t>(values.size())});
}

DeviceIndices::DeviceIndices(const Context& ctx, std::span<const std::int64_t> values)
    : memory_(ctx, DType::kF64, {std::ssize(values)}) {
  static_assert(sizeof(double) == sizeof(std::int64_t));
  copy(ctx, ConstTensorView(values.data(), DType::kF64, memory_.shape()), memory_);
  ctx.synchronize();
}

DeviceMask::DeviceMask(const Context& ctx, std::span<const int> flags)
    : memory_(ctx, DType::kE4M3, {std::ssize(flags)}) {
  std::vector<unsigned char> bytes;
  for (const int flag : flags) bytes.push_back(flag != 0);
  copy(ctx, ConstTensorView(bytes.data(), DType::kE4M3, memory_.shape()), memory_);
  ctx.synchronize();
}

Tensor evaluate(const Context& ctx, const Activation& f, const Tensor& x, int order) {
  Tensor y(ctx, x.dtype(), x.shape());
  if (order == 0) {
    forward(ctx, f, x, y);
  } else {
    const std::vector<double> values(static_cast<std::size_t>(x.count()), 1.0);
    const Tensor ones = to_tensor(ctx, x.dtype(), values, x.shape());
    Tensor slope(ctx, x.dtype(), x.shape());
    if (order == 1)
      backward(ctx, f, x, ones, y);
    else
      backward_of_backward(ctx, f, x, ones, ones, slope, y);
  }
  return y;
}

}  // namespace actium::cli

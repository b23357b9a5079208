#include <actium/tensor.hpp>
#include <cstring>
#include <limits>

#include "context_state.hpp"
#include "cuda_check.hpp"
#include "dispatch.hpp"
#include "validate.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace actium {

DType parse_dtype(std::string_view name) {
  std::string_view names[std::size(kDTypes)];
  for (std::size_t i = 0; i < std::size(kDTypes); ++i) {
    if (name == to_string(kDTypes[i])) return kDTypes[i];
    names[i] = to_string(kDTypes[i]);
  }
  throw_unknown_name("dtype", name, names);
}

namespace detail {
DType dtype_from_dlpack(int code, int bits, int lanes) {
  constexpr int kFloat = 2, kBfloat = 4;  // DLDataTypeCode
  if (lanes == 1 && code == kFloat && bits == 64) return DType::kF64;
  if (lanes == 1 && code == kFloat && bits == 32) return DType::kF32;
  if (lanes == 1 && code == kFloat && bits == 16) return DType::kF16;
  if (lanes == 1 && code == kBfloat && bits == 16) return DType::kBF16;
  throw Error(ErrorKind::kInvalidArgument, "DLTensor: dtype: want f64, f32, f16 or bf16, got code " +
                                               std::to_string(code) + ", " + std::to_string(bits) +
                                               " bits, " + std::to_string(lanes) + " lanes");
}

Shape shape_from_dlpack(int ndim, const std::int64_t* shape) {
  if (ndim < 0)
    throw Error(ErrorKind::kInvalidArgument, "DLTensor: ndim: want >= 0, got " + std::to_string(ndim));
  if (ndim > 0 && shape == nullptr)
    throw Error(ErrorKind::kInvalidArgument,
                "DLTensor: shape: want " + std::to_string(ndim) + " extents, got a null pointer");
  return Shape(std::span<const std::int64_t>(shape, static_cast<std::size_t>(ndim)));
}
}  // namespace detail

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  if (extents.size() > kMaxRank)
    throw Error(ErrorKind::kInvalidArgument, "Shape: rank: want at most " + std::to_string(kMaxRank) +
                                                 ", got " + std::to_string(extents.size()));
  // Sizes in bytes must fit too, for the widest dtype. Zero extents do not excuse an overflow of the others:
  // strides are products of them.
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t product = 1;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const std::int64_t extent = extents[i];
    if (extent < 0)
      throw Error(ErrorKind::kInvalidArgument,
                  "Shape: extent " + std::to_string(i) + ": want >= 0, got " + std::to_string(extent));
    extents_[i] = extent;
    const std::int64_t factor = extent == 0 ? 1 : extent;
    if (product > kLargest / factor)
      throw Error(ErrorKind::kInvalidArgument, "Shape: want fewer than 2^60 elements, got more");
    product *= factor;
  }
}

std::int64_t Shape::count() const {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

Shape Shape::without_last() const {
  return Shape(
      std::span<const std::int64_t>(extents_.data(), static_cast<std::size_t>(rank_ > 0 ? rank_ - 1 : 0)));
}

Shape Shape::with(std::int64_t appended) const {
  std::vector<std::int64_t> extents(extents_.begin(), extents_.begin() + rank_);
  extents.push_back(appended);
  return Shape(std::span<const std::int64_t>(extents));
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

void detail::fill_zero(const Context& ctx, const TensorView& x) {
#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    const DeviceGuard guard(ctx.device());
    ACTIUM_CUDA_TRY(cudaMemsetAsync(x.data(), 0, static_cast<std::size_t>(x.bytes()), ctx.stream()));
    return;
  }
#else
  static_cast<void>(ctx);
#endif
  std::memset(x.data(), 0, static_cast<std::size_t>(x.bytes()));  // all bits 0 is 0 in every dtype
}

Tensor::Tensor(const Context& ctx, DType dtype, const Shape& shape)
    : memory_(detail::allocate(static_cast<std::size_t>(shape.count()) * size_of(dtype), ctx.device())),
      view_(memory_.get(), dtype, shape) {}

Tensor::Tensor(const Context& ctx, ConstTensorView host_values)
    : Tensor((Validator("copy", ctx).storage("from", host_values), ctx), host_values.dtype(),
             host_values.shape()) {
  copy(ctx, host_values, view_);
}

std::vector<double> Tensor::to_doubles(const Context& ctx) const {
  return visit_storage(dtype(), [&]<class T>(std::type_identity<T>) {
    std::vector<T> host(static_cast<std::size_t>(count()));
    copy(ctx, view_, TensorView(host.data(), shape()));
    return std::vector<double>(host.begin(), host.end());
  });
}

void copy(const Context& ctx, ConstTensorView from, TensorView to) {
  // Either side may be on either device, so only the device check of Validator::tensor does not apply.
  const Validator check("copy", ctx);
  if (to.dtype() != from.dtype()) check.fail("to.dtype", dtype_name(from.dtype()), dtype_name(to.dtype()));
  if (to.shape() != from.shape()) check.fail("to.shape", from.shape().to_string(), to.shape().to_string());
  check.storage("from", from);
  check.storage("to", to);
  if (from.count() == 0) return;
  check.disjoint("to", to, "from", from);
#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    const DeviceGuard guard(ctx.device());
    ACTIUM_CUDA_TRY(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(from.bytes()),
                                    cudaMemcpyDefault, ctx.stream()));
    ACTIUM_CUDA_TRY(cudaStreamSynchronize(ctx.stream()));
    return;
  }
#endif
  check.elements("from", from);
  check.elements("to", to);
  std::memcpy(to.data(), from.data(), static_cast<std::size_t>(from.bytes()));
}

}  // namespace actium

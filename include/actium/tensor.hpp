#pragma once
/// Tensors: TensorView and ConstTensorView look at memory that somebody else owns, Tensor owns it.
#include <actium/dtype.hpp>
#include <actium/error.hpp>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)
namespace actium {

class Context;

/// Up to kMaxRank extents, outermost first. An extent is never negative and there are fewer than 2^60
/// elements (both are checked where a Shape is made: Error(kInvalidArgument)).
class Shape {
 public:
  static constexpr int kMaxRank = 8;
  Shape() = default;  ///< rank 0: one element
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);
  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }
  std::int64_t count() const;               ///< product of the extents
  Shape without_last() const;               ///< the shape of a reduction over the last axis
  Shape with(std::int64_t appended) const;  ///< this shape with one more, innermost, extent
  std::string to_string() const;            ///< "[4, 1000]"
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

namespace detail {
template <class R>
concept ElementRange =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> && Element<std::ranges::range_value_t<R>>;
/// std::mdspan, cuda::std::mdspan and Kokkos::mdspan, without including any of them.
template <class M>
concept MdspanLike = requires(const M& m) {
  m.data_handle();
  m.extent(0);
  m.stride(0);
  M::rank();
}
&&Element<std::remove_pointer_t<decltype(std::declval<const M&>().data_handle())>>;
/// DLPack's DLTensor, without including its header.
template <class D>
concept DLTensorLike = requires(const D& d) {
  d.data;
  d.ndim;
  d.shape;
  d.strides;
  d.byte_offset;
  d.dtype.code;
  d.dtype.bits;
  d.dtype.lanes;
};
DType dtype_from_dlpack(int code, int bits, int lanes);        // throws for what is not one of the four
Shape shape_from_dlpack(int ndim, const std::int64_t* shape);  // throws for a bad ndim or a null shape
}  // namespace detail

/// A pointer, a dtype, a shape and strides in elements. Copying it copies no elements and it keeps nothing
/// alive. It is made implicitly from a contiguous range of elements (vector, span, array: rank 1), from an
/// mdspan and from a DLTensor. `Void` is void or const void.
template <class Void>
class BasicTensorView {
  static constexpr bool kConst = std::is_const_v<Void>;
  template <class T>
  using Pointer = std::conditional_t<kConst, const T*, T*>;

 public:
  BasicTensorView() = default;  ///< no elements: shape [0]
  BasicTensorView(Void* data, DType dtype, const Shape& shape)
      : data_(data), dtype_(dtype), shape_(shape), strides_(contiguous_strides(shape)) {}
  BasicTensorView(Void* data, DType dtype, const Shape& shape, std::span<const std::int64_t> strides)
      : BasicTensorView(data, dtype, shape) {
    if (static_cast<int>(strides.size()) != shape.rank())
      throw Error(ErrorKind::kInvalidArgument, "TensorView: strides: want one for each of the " +
                                                   std::to_string(shape.rank()) + " axes, got " +
                                                   std::to_string(strides.size()));
    for (std::size_t i = 0; i < strides.size(); ++i) strides_[i] = strides[i];
  }
  template <Element T>
  requires(kConst || !std::is_const_v<T>) BasicTensorView(T* data, const Shape& shape)
      : BasicTensorView(static_cast<Void*>(data), dtype_of<std::remove_cv_t<T>>::value, shape) {}
  template <detail::ElementRange R>
  requires(kConst || !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>>)
      BasicTensorView(R&& r)
      : BasicTensorView(std::ranges::data(r), Shape{static_cast<std::int64_t>(std::ranges::size(r))}) {}
  template <detail::MdspanLike M>
  requires(kConst || !std::is_const_v<typename M::element_type>) BasicTensorView(const M& m)
      : data_(m.data_handle()), dtype_(dtype_of<std::remove_cv_t<typename M::element_type>>::value) {
    std::array<std::int64_t, Shape::kMaxRank> extents{};
    constexpr std::size_t kRank = M::rank();
    static_assert(kRank <= Shape::kMaxRank);
    for (std::size_t i = 0; i < kRank; ++i) {
      extents[i] = static_cast<std::int64_t>(m.extent(i));
      strides_[i] = static_cast<std::int64_t>(m.stride(i));
    }
    shape_ = Shape(std::span<const std::int64_t>(extents.data(), kRank));
  }
  template <detail::DLTensorLike D>
  BasicTensorView(const D& d)
      : BasicTensorView(
            d.data == nullptr ? nullptr : static_cast<char*>(d.data) + d.byte_offset,
            detail::dtype_from_dlpack(static_cast<int>(d.dtype.code), static_cast<int>(d.dtype.bits),
                                      static_cast<int>(d.dtype.lanes)),
            detail::shape_from_dlpack(d.ndim, d.shape)) {
    if (d.strides != nullptr)
      for (int i = 0; i < d.ndim; ++i) strides_[static_cast<std::size_t>(i)] = d.strides[i];
  }
  /// A view that may write becomes one that only reads.
  template <class Other>
  requires(kConst&& std::is_same_v<Other, void>) BasicTensorView(const BasicTensorView<Other>& other)
      : BasicTensorView(other.data(), other.dtype(), other.shape(), other.strides()) {}

  Void* data() const { return data_; }
  template <class T>
  Pointer<T> data_as() const {
    return static_cast<Pointer<T>>(data_);
  }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::span<const std::int64_t> strides() const {
    return {strides_.data(), static_cast<std::size_t>(shape_.rank())};
  }
  std::int64_t count() const { return shape_.count(); }
  std::int64_t bytes() const { return count() * static_cast<std::int64_t>(size_of(dtype_)); }
  bool contiguous() const {
    const auto want = contiguous_strides(shape_);
    for (int i = 0; i < shape_.rank(); ++i)
      if (shape_[i] > 1 && strides_[static_cast<std::size_t>(i)] != want[static_cast<std::size_t>(i)])
        return count() == 0;
    return true;
  }
  /// The same contiguous elements under another shape of the same count; Error(kInvalidArgument) otherwise.
  BasicTensorView reshaped(const Shape& shape) const {
    if (!contiguous() || shape.count() != count())
      throw Error(ErrorKind::kInvalidArgument, "TensorView::reshaped: want " + std::to_string(count()) +
                                                   " contiguous elements, got " + shape.to_string());
    return {data_, dtype_, shape};
  }

 private:
  static std::array<std::int64_t, Shape::kMaxRank> contiguous_strides(const Shape& shape) {
    std::array<std::int64_t, Shape::kMaxRank> strides{};
    std::int64_t stride = 1;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      strides[static_cast<std::size_t>(i)] = stride;
      stride *= shape[i];
    }
    return strides;
  }
  Void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Shape shape_{0};
  std::array<std::int64_t, Shape::kMaxRank> strides_{1};
};

using TensorView = BasicTensorView<void>;
using ConstTensorView = BasicTensorView<const void>;

/// Owns contiguous, uninitialised memory on the device of the context that made it, and frees it. Move-only.
/// Allocating blocks the host (cudaMalloc); freeing on CUDA waits for the device, so nothing in flight is
/// lost. Neither is allowed while a stream is captured: CUDA then ends the capture, and does not free.
class Tensor {
 public:
  Tensor() = default;
  Tensor(const Context& ctx, DType dtype, const Shape& shape);
  /// A copy of host values on the context's device. The values have been read when it returns.
  Tensor(const Context& ctx, ConstTensorView host_values);
  Tensor(Tensor&& other) noexcept
      : memory_(std::move(other.memory_)), view_(std::exchange(other.view_, {})) {}
  Tensor& operator=(Tensor&& other) noexcept {
    memory_ = std::move(other.memory_);
    view_ = std::exchange(other.view_, {});
    return *this;
  }
  operator TensorView() { return view_; }
  operator ConstTensorView() const { return view_; }
  TensorView view() { return view_; }
  ConstTensorView view() const { return view_; }
  DType dtype() const { return view_.dtype(); }
  const Shape& shape() const { return view_.shape(); }
  std::int64_t count() const { return view_.count(); }
  /// The elements as doubles on the host. Waits for the context's stream.
  std::vector<double> to_doubles(const Context& ctx) const;

 private:
  std::shared_ptr<void> memory_;
  TensorView view_;
};

/// Copies elements between views of one dtype and shape, both contiguous, host or device on either side
/// (device memory only on a CUDA context). Returns when the copy is done. The views may not overlap.
void copy(const Context& ctx, ConstTensorView from, TensorView to);

}  // namespace actium
#pragma GCC visibility pop

#pragma once
/// Arrays that are no tensors of numbers: masks of bool, lengths and class indices of std::int64_t.
#include <actium/tensor.hpp>

#pragma GCC visibility push(default)
namespace actium {

/// A pointer to contiguous elements and their shape, where the context is (device memory on CUDA). Copying it
/// copies no elements and keeps nothing alive. Made implicitly from a contiguous range (span, array; not
/// vector<bool>): rank 1. Default: not there.
template <class T>
class ArrayView {
 public:
  ArrayView() = default;
  ArrayView(const T* data, const Shape& shape) : data_(data), shape_(shape) {}
  template <std::ranges::contiguous_range R>
  requires std::is_same_v<std::ranges::range_value_t<R>, T> ArrayView(const R& r)
      : data_(std::ranges::data(r)), shape_{static_cast<std::int64_t>(std::ranges::size(r))} {}

  const T* data() const { return data_; }
  const Shape& shape() const { return shape_; }
  std::int64_t count() const { return shape_.count(); }
  /// Whether it was given at all: an array without elements may be.
  bool given() const { return data_ != nullptr || shape_ != Shape{0}; }

 private:
  const T* data_ = nullptr;
  Shape shape_{0};
};

using BoolView = ArrayView<bool>;
using IndexView = ArrayView<std::int64_t>;

}  // namespace actium
#pragma GCC visibility pop

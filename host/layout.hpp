#pragma once
// How the tensors of an elementwise call lie in memory: as matrices whose columns are contiguous.
#include <actium/tensor.hpp>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "validate.hpp"

namespace actium {

/// One tensor of a call, by the name that messages call it.
struct NamedView {
  std::string_view name;
  ConstTensorView view;
};

/// The axes of one shape merged into [rows, cols], in the order in which they lie in memory.
class Layout {
 public:
  /// Error(kInvalidArgument) in the name of `check` if the tensors, all of one shape, do not merge.
  Layout(const Validator& check, std::span<const NamedView> tensors);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  /// Between the rows of the tensor numbered `index` in the constructor's span.
  std::int64_t row_stride(std::size_t index) const { return row_strides_[index]; }
  /// Elements between one and the next value of an axis, counted in order of memory: element i belongs to (i
  /// / inner) % extent.
  std::int64_t inner(int axis) const { return inner_[static_cast<std::size_t>(axis)]; }

 private:
  std::int64_t rows_ = 1, cols_ = 1;
  std::vector<std::int64_t> row_strides_;
  std::array<std::int64_t, Shape::kMaxRank> inner_{};
};

/// Bytes from the first to past the last element, whatever the strides.
std::int64_t span_bytes(const ConstTensorView& t);

/// True if no byte belongs to an element of both. Exact for rows at one distance, else by address range.
bool disjoint_elements(const ConstTensorView& a, const ConstTensorView& b);

}  // namespace actium

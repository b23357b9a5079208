#include "layout.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

namespace actium {

namespace {
/// Rows of contiguous bytes at one distance, if the view is that.
struct ByteRows {
  std::int64_t bytes = 0, distance = 0;
};
ByteRows byte_rows(const ConstTensorView& t) {
  const auto size = static_cast<std::int64_t>(size_of(t.dtype()));
  const Shape& shape = t.shape();
  std::int64_t run = 1;  // contiguous elements so far, from the last axis outward
  int axis = shape.rank() - 1;
  for (; axis >= 0 && (shape[axis] == 1 || t.strides()[static_cast<std::size_t>(axis)] == run); --axis)
    run *= shape[axis];
  if (axis < 0) return {run * size, 0};
  const std::int64_t distance = t.strides()[static_cast<std::size_t>(axis)];
  std::int64_t rows = shape[axis];
  for (--axis; axis >= 0; --axis) {
    if (shape[axis] > 1 && t.strides()[static_cast<std::size_t>(axis)] != rows * distance) return {};
    rows *= shape[axis];
  }
  return {run * size, distance * size};
}
}  // namespace

Layout::Layout(const Validator& check, std::span<const NamedView> tensors) {
  const Shape& shape = tensors.front().view.shape();
  row_strides_.assign(tensors.size(), 0);
  if (shape.count() == 0) {
    rows_ = 0;
    return;
  }
  const auto stride = [&](std::size_t tensor, int axis) {
    return tensors[tensor].view.strides()[static_cast<std::size_t>(axis)];
  };
  std::vector<int> axes;  // outermost in memory first
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] > 1) axes.push_back(axis);
  std::stable_sort(axes.begin(), axes.end(), [&](int a, int b) { return stride(0, a) > stride(0, b); });

  for (std::size_t t = 0; t < tensors.size(); ++t) {
    std::int64_t covered = 1;  // elements that the axes further in reach over
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
      if (stride(t, *axis) < covered) {
        const auto& [name, view] = tensors[t];
        check.fail(std::string(name) + ".strides",
                   t == 0 ? "positive ones, of elements that do not overlap"
                          : "the order of axes of " + std::string(tensors.front().name) + "'s, " +
                                stride_list(tensors.front().view),
                   stride_list(view), "copy it to a contiguous tensor first");
      }
      covered = stride(t, *axis) * shape[*axis];
    }
  }

  inner_.fill(1);
  std::int64_t inner = 1;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    inner_[static_cast<std::size_t>(*axis)] = inner;
    inner *= shape[*axis];
  }

  const auto all = [&](const auto& holds) {
    for (std::size_t t = 0; t < tensors.size(); ++t)
      if (!holds(t)) return false;
    return true;
  };
  while (!axes.empty() && all([&](std::size_t t) { return stride(t, axes.back()) == cols_; })) {
    cols_ *= shape[axes.back()];
    axes.pop_back();
  }
  for (std::int64_t& row_stride : row_strides_) row_stride = cols_;
  if (axes.empty()) return;
  for (std::size_t t = 0; t < tensors.size(); ++t) row_strides_[t] = stride(t, axes.back());
  while (!axes.empty() &&
         all([&](std::size_t t) { return stride(t, axes.back()) == rows_ * row_strides_[t]; })) {
    rows_ *= shape[axes.back()];
    axes.pop_back();
  }
  if (!axes.empty())
    check.fail(std::string(tensors.front().name) + ".strides",
               "axes that merge into one matrix of contiguous rows, in all tensors alike",
               stride_list(tensors.front().view) + " of " + shape.to_string(),
               "copy it to a contiguous tensor first");
}

std::int64_t span_bytes(const ConstTensorView& t) {
  if (t.count() == 0) return 0;
  std::int64_t last = 0;
  for (int axis = 0; axis < t.shape().rank(); ++axis)
    last += (t.shape()[axis] - 1) * t.strides()[static_cast<std::size_t>(axis)];
  return (last + 1) * static_cast<std::int64_t>(size_of(t.dtype()));
}

bool disjoint_elements(const ConstTensorView& a, const ConstTensorView& b) {
  const auto a0 = reinterpret_cast<std::uintptr_t>(a.data()), b0 = reinterpret_cast<std::uintptr_t>(b.data());
  const auto a_bytes = static_cast<std::uintptr_t>(span_bytes(a)),
             b_bytes = static_cast<std::uintptr_t>(span_bytes(b));
  if (a_bytes == 0 || b_bytes == 0 || a0 + a_bytes <= b0 || b0 + b_bytes <= a0) return true;
  const ByteRows a_rows = byte_rows(a), b_rows = byte_rows(b);
  if (a_rows.distance == 0 || a_rows.distance != b_rows.distance) return false;
  // Rows interleave: where does a row of b begin within a's period?
  const std::int64_t period = a_rows.distance, difference = static_cast<std::int64_t>(b0 - a0) % period;
  const std::int64_t offset = difference < 0 ? difference + period : difference;
  return offset >= a_rows.bytes && offset + b_rows.bytes <= period;
}

}  // namespace actium

#pragma once
// Rows along an axis for the reference, straight from views and their strides.
#include <actium/softmax.hpp>
#include <limits>
#include <span>
#include <vector>

#include "scalar.hpp"

namespace actium::reference {

/// One row of a tensor that broadcasts to a shape.
struct RowPlace {
  std::int64_t start = 0, stride = 0;
  std::int64_t operator()(std::int64_t column) const { return start + column * stride; }
};

class RowWalk {
 public:
  RowWalk(const Shape& shape, int axis) : shape_(shape), axis_(axis < 0 ? axis + shape.rank() : axis) {
    for (int a = 0; a < shape.rank(); ++a)
      if (a != axis_) rows_ *= shape[a];
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return shape_[axis_]; }

  /// Row `row`, counted in order of the other axes' indices, of a tensor of this shape and these strides.
  RowPlace place(std::int64_t row, const Shape& of, std::span<const std::int64_t> strides) const {
    RowPlace place;
    for (int a = shape_.rank() - 1; a >= 0; --a) {
      const std::int64_t index = a == axis_ ? 0 : row % shape_[a];
      if (a != axis_) row /= shape_[a];
      const int own = a - (shape_.rank() - of.rank());
      if (own < 0 || of[own] == 1) continue;
      const std::int64_t stride = strides[static_cast<std::size_t>(own)];
      if (a == axis_)
        place.stride = stride;
      else
        place.start += index * stride;
    }
    return place;
  }
  template <class Void>
  RowPlace place(std::int64_t row, const BasicTensorView<Void>& t) const {
    return place(row, t.shape(), t.strides());
  }

 private:
  Shape shape_;
  int axis_;
  std::int64_t rows_ = 1;
};

/// A row's temperature.
inline double temperature_of(const SoftmaxOptions& options, std::int64_t row) {
  const ConstTensorView& t = options.temperatures;
  if (t.data() == nullptr) return options.temperature;
  const double temperature =
      t.dtype() == DType::kF64 ? t.data_as<double>()[row] : static_cast<double>(t.data_as<float>()[row]);
  const bool valid = temperature > 0 && temperature <= std::numeric_limits<double>::max();
  return valid ? temperature : std::numeric_limits<double>::quiet_NaN();
}

/// A row of logits under the masks: -inf where an element takes no part.
template <class T>
std::vector<Wide<T>> logits_of(const RowWalk& walk, const ConstTensorView& z, const SoftmaxOptions& options,
                               std::int64_t row) {
  using S = Wide<T>;
  const auto cols = static_cast<std::size_t>(walk.cols());
  std::vector<S> logits(cols);
  std::int64_t limit = walk.cols();
  if (options.lengths.given()) limit = std::min(limit, options.lengths.data()[row]);
  if (options.causal) {
    const std::int64_t queries = z.shape()[z.shape().rank() - 2];
    limit = std::min(limit, row % queries + options.causal_offset + 1);
  }
  const ConstTensorView mask(options.mask.data(), DType::kE4M3, options.mask.shape());
  const RowPlace zs = walk.place(row, z);
  const RowPlace keeps = options.mask.given() ? walk.place(row, mask) : RowPlace{};
  const RowPlace biases = options.bias.data() != nullptr ? walk.place(row, options.bias) : RowPlace{};
  for (std::size_t c = 0; c < cols; ++c) {
    const auto column = static_cast<std::int64_t>(c);
    logits[c] = load(z.data_as<T>()[zs(column)]);
    if (options.bias.data() != nullptr) {
      const S bias = load(options.bias.data_as<T>()[biases(column)]);
      logits[c] = bias == -std::numeric_limits<S>::infinity() ? bias : logits[c] + bias;
    }
    if (column >= limit || (options.mask.given() && !options.mask.data()[keeps(column)]))
      logits[c] = -std::numeric_limits<S>::infinity();
  }
  return logits;
}

/// Stores a result of rows of T: as T, or as f32 where the output is that.
template <class T>
void store_as(const TensorView& out, std::int64_t at, Wide<T> value) {
  if (out.dtype() == dtype_of<T>::value)
    out.data_as<T>()[at] = store<T>(value);
  else
    out.data_as<float>()[at] = static_cast<float>(value);
}

}  // namespace actium::reference

#pragma once
// The rows of the tensors of a softmax: the elements along one axis of each.
#include <actium/array_view.hpp>
#include <actium/softmax.hpp>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/launch_rows.hpp"
#include "validate.hpp"

namespace actium {

/// An array as a view of its bytes or words, for checks of memory and overlaps.
ConstTensorView as_tensor(const BoolView& array);
ConstTensorView as_tensor(const IndexView& array);

class RowTensors {
 public:
  /// The rows along `axis` (negative: from the last) of tensors of this shape; fails for one out of range.
  RowTensors(const Validator& check, const Shape& shape, int axis);

  int axis() const { return axis_; }
  std::int64_t cols() const { return shape_[axis_]; }
  /// Without the axis: one number for each row.
  const Shape& row_shape() const { return row_shape_; }

  /// A tensor whose shape broadcasts to the rows' (usually: is it). Fails for any other shape.
  void add(std::string_view name, const ConstTensorView& t, kernels::AnyRows& place);
  /// Writes rows, cols, inner and every place; fails for axes that do not merge. Nothing where there are no
  /// elements.
  void lay_out(kernels::RowCall& call) const;

 private:
  struct Member {
    std::string_view name;
    ConstTensorView view;
    std::array<std::int64_t, Shape::kMaxRank> strides;  // along the axes of shape_
    kernels::AnyRows* place;
  };
  const Validator& check_;
  Shape shape_, row_shape_;
  int axis_;
  std::vector<Member> members_;
};

/// Checks what SoftmaxOptions say and puts it into a call.
void add_temperature(const Validator& check, const SoftmaxOptions& options, DType dtype,
                     const Shape& row_shape, kernels::RowCall& call);
void add_masks(const Validator& check, const SoftmaxOptions& options, DType dtype, RowTensors& rows,
               kernels::RowCall& call);

/// Whether a tensor with one number for each row may have this shape: a row of a rank-1 tensor is given as
/// [1] too.
bool is_row_shape(const Shape& shape, const Shape& row_shape);

/// The masks and the temperatures may not overlap what is written.
void check_apart(const Validator& check, const SoftmaxOptions& options, std::string_view out_name,
                 const TensorView& out);

/// An output of the call's rows: of this shape, the inputs' dtype or f32, and elements that do not overlap.
void check_output(const Validator& check, std::string_view name, const TensorView& out, DType dtype,
                  const Shape& shape);
/// A number for each row, contiguous; a row of a rank-1 tensor may be [1] as well as [].
void check_row_output(const Validator& check, std::string_view name, const TensorView& out, DType dtype,
                      const Shape& row_shape);

}  // namespace actium

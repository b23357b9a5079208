#include "rows.hpp"

#include <algorithm>
#include <string>

namespace actium {

ConstTensorView as_tensor(const BoolView& array) { return {array.data(), DType::kE4M3, array.shape()}; }
ConstTensorView as_tensor(const IndexView& array) { return {array.data(), DType::kF64, array.shape()}; }

RowTensors::RowTensors(const Validator& check, const Shape& shape, int axis) : check_(check), shape_(shape) {
  const int rank = shape.rank();
  if (rank == 0) check.fail("z.rank", "at least 1", "0");
  if (axis < -rank || axis >= rank)
    check.fail("axis", std::to_string(-rank) + " to " + std::to_string(rank - 1), std::to_string(axis),
               "the axis of a row; -1 is the last");
  axis_ = axis < 0 ? axis + rank : axis;
  std::vector<std::int64_t> others;
  for (int a = 0; a < rank; ++a)
    if (a != axis_) others.push_back(shape[a]);
  row_shape_ = Shape(others);
}

void RowTensors::add(std::string_view name, const ConstTensorView& t, kernels::AnyRows& place) {
  Member member{name, t, {}, &place};
  const int missing = shape_.rank() - t.shape().rank();
  bool fits = missing >= 0;
  for (int a = 0; fits && a < t.shape().rank(); ++a) {
    const std::int64_t extent = t.shape()[a], want = shape_[a + missing];
    fits = extent == want || extent == 1;
    if (extent > 1 && t.strides()[static_cast<std::size_t>(a)] < 0)
      check_.fail(std::string(name) + ".strides", "none below 0", stride_list(t));
    member.strides[static_cast<std::size_t>(a + missing)] =
        extent == 1 ? 0 : t.strides()[static_cast<std::size_t>(a)];
  }
  if (!fits)
    check_.fail(std::string(name) + ".shape", shape_.to_string() + " or one that broadcasts to it",
                t.shape().to_string());
  members_.push_back(member);
}

void RowTensors::lay_out(kernels::RowCall& call) const {
  call.cols = cols();
  call.rows = row_shape_.count();
  call.inner = call.middle = 1;
  for (const Member& m : members_) {
    *m.place = {const_cast<void*>(m.view.data()), 0, 0, 0, 1};
    if (cols() > 1) m.place->col_stride = m.strides[static_cast<std::size_t>(axis_)];
  }
  // Neighbouring axes, from the last: an axis joins the group behind it where every tensor steps over that.
  struct Group {
    std::int64_t extent = 1;
    int axis = -1;  // the last of them, whose strides it has
  };
  std::vector<Group> groups;
  for (int a = shape_.rank() - 1; a >= 0; --a) {
    if (a == axis_ || shape_[a] == 1) continue;
    bool joins = !groups.empty();
    std::string_view apart;
    for (const Member& m : members_) {
      if (groups.empty()) break;
      const bool fits = m.strides[static_cast<std::size_t>(a)] ==
                        groups.back().extent * m.strides[static_cast<std::size_t>(groups.back().axis)];
      if (!fits) apart = m.name;
      joins = joins && fits;
    }
    if (joins) {
      groups.back().extent *= shape_[a];
    } else {
      if (groups.size() == 3)
        check_.fail(std::string(apart) + ".strides", "axes beside the rows' that merge into three",
                    "more of them in " + shape_.to_string(), "copy it to a contiguous tensor first");
      groups.push_back({shape_[a], a});
    }
  }
  if (groups.empty()) return;
  const auto stride = [](const Member& m, const Group& group) {
    return m.strides[static_cast<std::size_t>(group.axis)];
  };
  if (groups.size() >= 2) call.inner = groups[0].extent;
  if (groups.size() == 3) call.middle = groups[1].extent;
  for (const Member& m : members_) {
    m.place->outer_stride = stride(m, groups.back());
    if (groups.size() >= 2) m.place->inner_stride = stride(m, groups[0]);
    if (groups.size() == 3) m.place->middle_stride = stride(m, groups[1]);
  }
}

bool is_row_shape(const Shape& shape, const Shape& row_shape) {
  return shape == row_shape || (row_shape.rank() == 0 && shape == Shape{1});
}

void add_temperature(const Validator& check, const SoftmaxOptions& options, DType dtype,
                     const Shape& row_shape, kernels::RowCall& call) {
  check.positive("temperature", options.temperature);
  call.temperature = options.temperature;
  const ConstTensorView& t = options.temperatures;
  if (t.data() == nullptr && t.shape() == Shape{0}) return;
  const char* const name = "temperatures";
  if (options.temperature != 1)
    check.fail("temperature", "1, where options.temperatures are given", number(options.temperature));
  check.tensor(name, t, dtype == DType::kF64 ? DType::kF64 : DType::kF32,
               is_row_shape(t.shape(), row_shape) ? t.shape() : row_shape);
  call.temperatures = t.data();
}

void add_masks(const Validator& check, const SoftmaxOptions& options, DType dtype, RowTensors& rows,
               kernels::RowCall& call) {
  if (options.mask.given()) {
    check.elements("mask", as_tensor(options.mask));
    rows.add("mask", as_tensor(options.mask), call.mask.keep);
  }
  if (options.bias.data() != nullptr || options.bias.shape() != Shape{0}) {
    const DType wanted[] = {dtype};
    check.dtype("bias", options.bias, wanted);
    check.elements("bias", options.bias);
    rows.add("bias", options.bias, call.mask.bias);
  }
  if (options.lengths.given()) {
    const Shape& shape = options.lengths.shape();
    if (!is_row_shape(shape, rows.row_shape()))
      check.fail("lengths.shape", rows.row_shape().to_string(), shape.to_string());
    check.elements("lengths", as_tensor(options.lengths));
    call.mask.lengths = options.lengths.data();
  }
  if (options.causal) {
    const int rank = rows.row_shape().rank();
    if (rank == 0 || rows.axis() != rank)
      check.fail("causal", "rows along the last axis of [..., m, n]", "another axis or rank 1");
    constexpr std::int64_t kFar = std::int64_t{1} << 60;
    if (options.causal_offset > kFar || options.causal_offset < -kFar)
      check.fail("causal_offset", "a number below 2^60", std::to_string(options.causal_offset));
    call.mask.queries = std::max<std::int64_t>(rows.row_shape().back(), 1);
    call.mask.causal_offset = options.causal_offset;
  }
}

void check_apart(const Validator& check, const SoftmaxOptions& options, std::string_view out_name,
                 const TensorView& out) {
  check.disjoint(out_name, out, "mask", as_tensor(options.mask));
  check.disjoint(out_name, out, "bias", options.bias);
  check.disjoint(out_name, out, "lengths", as_tensor(options.lengths));
  check.disjoint(out_name, out, "temperatures", options.temperatures);
}

namespace {
/// Each stride steps over all that the smaller ones reach.
void check_elements_apart(const Validator& check, std::string_view name, const TensorView& out) {
  if (out.count() == 0) return;
  std::vector<int> axes;  // the smallest stride first
  for (int a = 0; a < out.shape().rank(); ++a)
    if (out.shape()[a] > 1) axes.push_back(a);
  const auto stride = [&](int a) { return out.strides()[static_cast<std::size_t>(a)]; };
  std::sort(axes.begin(), axes.end(), [&](int a, int b) { return stride(a) < stride(b); });
  std::int64_t reach = 1;
  for (const int a : axes) {
    if (stride(a) < reach)
      check.fail(std::string(name) + ".strides", "positive ones, of elements that do not overlap",
                 stride_list(out), "copy it to a contiguous tensor first");
    reach += (out.shape()[a] - 1) * stride(a);
  }
}
}  // namespace

void check_output(const Validator& check, std::string_view name, const TensorView& out, DType dtype,
                  const Shape& shape) {
  const DType wanted[] = {dtype, DType::kF32};
  check.dtype(name, out, std::span(wanted).first(size_of(dtype) == 2 ? 2 : 1));
  check.shape(name, out, shape);
  check.elements(name, out);
  check_elements_apart(check, name, out);
}

void check_row_output(const Validator& check, std::string_view name, const TensorView& out, DType dtype,
                      const Shape& row_shape) {
  const DType wanted[] = {dtype, DType::kF32};
  check.dtype(name, out, std::span(wanted).first(size_of(dtype) == 2 ? 2 : 1));
  check.tensor(name, out, out.dtype(), is_row_shape(out.shape(), row_shape) ? out.shape() : row_shape);
}

}  // namespace actium

#include <actium/cross_entropy.hpp>

#include "context_state.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"
#include "rows.hpp"

namespace actium {

namespace {

bool given(const ConstTensorView& t) { return t.data() != nullptr || t.shape() != Shape{0}; }

/// A tensor that the call may not write to.
struct Input {
  std::string_view name;
  ConstTensorView view;
};

/// Both calls: dz is null without gradient.
void run(const Context& ctx, std::string_view function, const ConstTensorView& z, const IndexView& labels,
         const TensorView& loss, const TensorView* dz, const CrossEntropyOptions& options) {
  const Validator check(function, ctx);
  check.rank("z", z, 1);
  check.dtype("z", z, kDTypes);
  check.elements("z", z);
  kernels::RowCall call;
  RowTensors rows(check, z.shape(), options.axis);
  rows.add("z", z, call.in[0]);
  const Shape& row_shape = rows.row_shape();

  if (!is_row_shape(labels.shape(), row_shape))
    check.fail("labels.shape", row_shape.to_string(), labels.shape().to_string());
  check.elements("labels", as_tensor(labels));
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    check.fail("label_smoothing", "a number from 0 to 1", number(options.label_smoothing));
  check.finite("z_loss", options.z_loss);
  if (options.z_loss < 0) check.fail("z_loss", "a number >= 0", number(options.z_loss));
  const DType real = z.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  if (given(options.class_weights))
    check.tensor("class_weights", options.class_weights, real, Shape{rows.cols()});
  if (given(options.dloss)) {
    if (dz == nullptr) check.fail("dloss", "none", "some", "it belongs to a gradient");
    const Shape& shape = options.dloss.shape();
    check.tensor("dloss", options.dloss, real, is_row_shape(shape, row_shape) ? shape : row_shape);
  }

  // What is written overlaps nothing else, but dz may be z.
  const bool with_loss = dz == nullptr || given(loss), with_logsumexp = given(options.logsumexp);
  const Input inputs[] = {
      {"labels", as_tensor(labels)}, {"class_weights", options.class_weights}, {"dloss", options.dloss}};
  const auto check_apart_from_inputs = [&](std::string_view name, const TensorView& out) {
    for (const Input& input : inputs) check.disjoint(name, out, input.name, input.view);
  };
  const auto add_row_output = [&](std::string_view name, const TensorView& out) {
    check_row_output(check, name, out, z.dtype(), row_shape);
    check.disjoint(name, out, "z", z);
    check_apart_from_inputs(name, out);
    call.f32_rows = out.dtype() != z.dtype();
  };
  if (with_loss) {
    add_row_output("loss", loss);
    call.row_out[0] = loss.data();
  }
  if (with_logsumexp) {
    add_row_output("logsumexp", options.logsumexp);
    call.row_out[1] = options.logsumexp.data();
    if (with_loss && options.logsumexp.dtype() != loss.dtype())
      check.fail("logsumexp.dtype", dtype_name(loss.dtype()), dtype_name(options.logsumexp.dtype()),
                 "the losses' dtype");
    if (with_loss) check.disjoint("logsumexp", options.logsumexp, "loss", loss);
  }
  if (dz != nullptr) {
    check_output(check, "dz", *dz, z.dtype(), z.shape());
    check.same_or_disjoint("dz", *dz, "z", z);
    check_apart_from_inputs("dz", *dz);
    if (with_loss) check.disjoint("dz", *dz, "loss", loss);
    if (with_logsumexp) check.disjoint("dz", *dz, "logsumexp", options.logsumexp);
    rows.add("dz", *dz, call.out[0]);
    call.f32_out = dz->dtype() != z.dtype();
  }
  rows.lay_out(call);
  if (call.rows == 0) return;

  const kernels::CrossEntropyArguments arguments{labels.data(),
                                                 options.class_weights.data(),
                                                 options.dloss.data(),
                                                 options.ignore_index,
                                                 options.invalid_label == InvalidLabel::kIgnore,
                                                 options.label_smoothing,
                                                 options.z_loss};
  if (run_on_cuda(function, ctx, z.dtype(), [&]<class T>(std::type_identity<T>) {
        call.scratch = ctx.state().scratch(kernels::cross_entropy_scratch<T>(arguments, call));
        return kernels::launch_cross_entropy<T>(arguments, call, ctx.stream());
      }))
    return;
  reference::cross_entropy(z, labels, with_loss ? &loss : nullptr, dz, options, ctx.threads());
}

}  // namespace

void cross_entropy(const Context& ctx, ConstTensorView z, IndexView labels, TensorView loss,
                   const CrossEntropyOptions& options) {
  run(ctx, "cross_entropy", z, labels, loss, nullptr, options);
}

void cross_entropy_with_gradient(const Context& ctx, ConstTensorView z, IndexView labels, TensorView loss,
                                 TensorView dz, const CrossEntropyOptions& options) {
  run(ctx, "cross_entropy_with_gradient", z, labels, loss, &dz, options);
}

}  // namespace actium

// The further derivatives of softmax and its statistics: checks, one launch, one reference for each.
#include <actium/softmax.hpp>
#include <optional>
#include <vector>

#include "context_state.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"
#include "rows.hpp"

namespace actium {

namespace {

using kernels::RowCall;
using kernels::SoftmaxResult;

/// What a row result may be: the inputs' dtype, or f32 for 16-bit inputs.
std::vector<DType> row_dtypes(DType dtype) {
  return size_of(dtype) == 2 ? std::vector{dtype, DType::kF32} : std::vector{dtype};
}

/// One call on rows: inputs of one shape and dtype, then outputs, then run().
class RowOperation {
 public:
  RowOperation(const Context& ctx, std::string_view function, std::string_view name,
               const ConstTensorView& first, const SoftmaxOptions& options)
      : check_(function, ctx), ctx_(ctx), function_(function), options_(options), shape_(first.shape()) {
    check_.positive("temperature", options.temperature);
    check_.rank(name, first, 1);
    check_.dtype(name, first, kDTypes);
    check_.elements(name, first);
    dtype_ = first.dtype();
    rows_.emplace(check_, shape_, options.axis);
    add(name, first);
    add_temperature(check_, options, dtype_, rows_->row_shape(), call_);
  }

  /// Of the calls on logits, which are the first input.
  void masked() {
    add_masks(check_, options_, dtype_, *rows_, call_);
    masked_ = true;
  }
  void input(std::string_view name, const ConstTensorView& t) {
    const DType wanted[] = {dtype_};
    check_.dtype(name, t, wanted);
    check_.shape(name, t, shape_);
    check_.elements(name, t);
    add(name, t);
  }
  kernels::RowNumbers row_input(std::string_view name, const ConstTensorView& t) {
    check_.dtype(name, t, row_dtypes(dtype_));
    const Shape& rows = rows_->row_shape();
    const bool one = rows.rank() == 0 && t.shape() == Shape{1};
    check_.tensor(name, t, t.dtype(), one ? t.shape() : rows);
    row_inputs_.push_back({name, t});
    return {t.data(), t.dtype() != dtype_};
  }
  /// What is written has one dtype.
  void output(std::string_view name, const TensorView& t) {
    if (!outputs_.empty()) {
      const DType one[] = {outputs_.front().view.dtype()};
      check_.dtype(name, t, one);
    }
    check_output(check_, name, t, dtype_, shape_);
    for (const Named& in : inputs_) check_.same_or_disjoint(name, t, in.name, in.view);
    finish_output(name, t);
    rows_->add(name, t, call_.out[outputs_.size() - 1]);
  }
  void row_output(std::string_view name, const TensorView& t) {
    check_row_output(check_, name, t, dtype_, rows_->row_shape());
    for (const Named& in : inputs_) check_.disjoint(name, t, in.name, in.view);
    finish_output(name, t);
    call_.row_out[0] = t.data();
  }

  /// launch(type, call, stream), scratch(type, call), reference().
  template <class Scratch, class Launch, class Reference>
  void run(const Scratch& scratch, const Launch& launch, const Reference& reference) {
    rows_->lay_out(call_);
    if (outputs_.front().view.count() == 0) return;
    call_.empty = options_.empty_row;
    call_.f32_out = call_.f32_rows = outputs_.front().view.dtype() != dtype_;
    if (run_on_cuda(function_, ctx_, dtype_, [&]<class T>(std::type_identity<T> type) {
          call_.scratch = ctx_.state().scratch(scratch(type, call_));
          return launch(type, call_, ctx_.stream());
        }))
      return;
    reference();
  }

 private:
  struct Named {
    std::string_view name;
    ConstTensorView view;
  };
  void add(std::string_view name, const ConstTensorView& t) {
    rows_->add(name, t, call_.in[inputs_.size()]);
    inputs_.push_back({name, t});
  }
  void finish_output(std::string_view name, const TensorView& t) {
    for (const Named& in : row_inputs_) check_.disjoint(name, t, in.name, in.view);
    for (const Named& out : outputs_) check_.disjoint(name, t, out.name, out.view);
    if (masked_)
      check_apart(check_, options_, name, t);
    else
      check_.disjoint(name, t, "temperatures", options_.temperatures);
    outputs_.push_back({name, t});
  }

  const Validator check_;
  const Context& ctx_;
  std::string_view function_;
  const SoftmaxOptions& options_;
  Shape shape_;
  DType dtype_ = DType::kF32;
  bool masked_ = false;
  RowCall call_;
  std::optional<RowTensors> rows_;
  std::vector<Named> inputs_, row_inputs_, outputs_;
};

void statistic_vjp(const Context& ctx, std::string_view function, SoftmaxResult statistic,
                   const ConstTensorView& z, std::string_view dy_name, const ConstTensorView& dy,
                   const TensorView& dz, const SoftmaxOptions& options) {
  RowOperation operation(ctx, function, "z", z, options);
  operation.masked();
  const kernels::RowNumbers gradients = operation.row_input(dy_name, dy);
  operation.output("dz", dz);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::statistic_vjp_scratch<T>(call); },
                [&]<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_statistic_vjp<T>(statistic, gradients, call, stream);
                },
                [&] {
                  if (statistic == SoftmaxResult::kEntropy)
                    reference::entropy_vjp(z, dy, dz, options, ctx.threads());
                  else
                    reference::logsumexp_vjp(z, dy, dz, options, ctx.threads());
                });
}

void statistic_jvp(const Context& ctx, std::string_view function, SoftmaxResult statistic,
                   const ConstTensorView& z, const ConstTensorView& tz, std::string_view ty_name,
                   const TensorView& ty, const SoftmaxOptions& options) {
  RowOperation operation(ctx, function, "z", z, options);
  operation.masked();
  operation.input("tz", tz);
  operation.row_output(ty_name, ty);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::statistic_jvp_scratch<T>(call); },
                [&]<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_statistic_jvp<T>(statistic, call, stream);
                },
                [&] {
                  if (statistic == SoftmaxResult::kEntropy)
                    reference::entropy_jvp(z, tz, ty, options, ctx.threads());
                  else
                    reference::logsumexp_jvp(z, tz, ty, options, ctx.threads());
                });
}

void log_softmax_derivative(const Context& ctx, std::string_view function, const ConstTensorView& log_p,
                            std::string_view in_name, const ConstTensorView& in, std::string_view out_name,
                            const TensorView& out, bool vjp, const SoftmaxOptions& options) {
  RowOperation operation(ctx, function, "log_p", log_p, options);
  operation.input(in_name, in);
  operation.output(out_name, out);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::log_softmax_derivative_scratch<T>(call); },
                [&]<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_log_softmax_derivative<T>(vjp, call, stream);
                },
                [&] {
                  if (vjp)
                    reference::log_softmax_vjp(log_p, in, out, options, ctx.threads());
                  else
                    reference::log_softmax_jvp(log_p, in, out, options, ctx.threads());
                });
}

}  // namespace

void softmax_value_and_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView p,
                           TensorView tp, const SoftmaxOptions& options) {
  RowOperation operation(ctx, "softmax_value_and_jvp", "z", z, options);
  operation.masked();
  operation.input("tz", tz);
  operation.output("p", p);
  operation.output("tp", tp);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::softmax_value_and_jvp_scratch<T>(call); },
                []<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_softmax_value_and_jvp<T>(call, stream);
                },
                [&] { reference::softmax_value_and_jvp(z, tz, p, tp, options, ctx.threads()); });
}

void entropy_vjp(const Context& ctx, ConstTensorView z, ConstTensorView dh, TensorView dz,
                 const SoftmaxOptions& options) {
  statistic_vjp(ctx, "entropy_vjp", SoftmaxResult::kEntropy, z, "dh", dh, dz, options);
}
void logsumexp_vjp(const Context& ctx, ConstTensorView z, ConstTensorView dlse, TensorView dz,
                   const SoftmaxOptions& options) {
  statistic_vjp(ctx, "logsumexp_vjp", SoftmaxResult::kLogSumExp, z, "dlse", dlse, dz, options);
}

void entropy_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView th,
                 const SoftmaxOptions& options) {
  statistic_jvp(ctx, "entropy_jvp", SoftmaxResult::kEntropy, z, tz, "th", th, options);
}
void logsumexp_jvp(const Context& ctx, ConstTensorView z, ConstTensorView tz, TensorView tlse,
                   const SoftmaxOptions& options) {
  statistic_jvp(ctx, "logsumexp_jvp", SoftmaxResult::kLogSumExp, z, tz, "tlse", tlse, options);
}

void log_softmax_vjp(const Context& ctx, ConstTensorView log_p, ConstTensorView dy, TensorView dz,
                     const SoftmaxOptions& options) {
  log_softmax_derivative(ctx, "log_softmax_vjp", log_p, "dy", dy, "dz", dz, true, options);
}
void log_softmax_jvp(const Context& ctx, ConstTensorView log_p, ConstTensorView tz, TensorView ty,
                     const SoftmaxOptions& options) {
  log_softmax_derivative(ctx, "log_softmax_jvp", log_p, "tz", tz, "ty", ty, false, options);
}

void softmax_hvp(const Context& ctx, ConstTensorView p, ConstTensorView dp, ConstTensorView tz,
                 TensorView result, const SoftmaxOptions& options) {
  RowOperation operation(ctx, "softmax_hvp", "p", p, options);
  operation.input("dp", dp);
  operation.input("tz", tz);
  operation.output("result", result);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::softmax_covariance_scratch<T>(call); },
                []<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_softmax_covariance<T>(false, call, stream);
                },
                [&] { reference::softmax_hvp(p, dp, tz, result, options, ctx.threads()); });
}

void softmax_temperature_gradient(const Context& ctx, ConstTensorView z, ConstTensorView p,
                                  ConstTensorView dp, TensorView dT, const SoftmaxOptions& options) {
  RowOperation operation(ctx, "softmax_temperature_gradient", "z", z, options);
  operation.masked();
  operation.input("p", p);
  operation.input("dp", dp);
  operation.row_output("dT", dT);
  operation.run([]<class T>(std::type_identity<T>,
                            const RowCall& call) { return kernels::softmax_covariance_scratch<T>(call); },
                []<class T>(std::type_identity<T>, const RowCall& call, kernels::Stream stream) {
                  return kernels::launch_softmax_covariance<T>(true, call, stream);
                },
                [&] { reference::softmax_temperature_gradient(z, p, dp, dT, options, ctx.threads()); });
}

}  // namespace actium

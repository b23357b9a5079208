#include <actium/softmax.hpp>

#include "context_state.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"
#include "rows.hpp"

namespace actium {

namespace {

using kernels::RowCall;
using kernels::SoftmaxResult;

constexpr bool is_statistic(SoftmaxResult result) {
  return result == SoftmaxResult::kLogSumExp || result == SoftmaxResult::kEntropy;
}

/// The four operations on logits: one validation, one launch, four references.
template <class Reference>
void from_logits(const Context& ctx, std::string_view function, SoftmaxResult result,
                 const ConstTensorView& z, std::string_view out_name, const TensorView& out,
                 const SoftmaxOptions& options, const Reference& reference) {
  const Validator check(function, ctx);
  RowCall call;
  check.positive("temperature", options.temperature);
  check.rank("z", z, 1);
  check.dtype("z", z, kDTypes);
  check.elements("z", z);
  RowTensors rows(check, z.shape(), options.axis);
  rows.add("z", z, call.in[0]);
  add_temperature(check, options, z.dtype(), rows.row_shape(), call);
  add_masks(check, options, z.dtype(), rows, call);
  if (is_statistic(result)) {
    check_row_output(check, out_name, out, z.dtype(), rows.row_shape());
    check.disjoint(out_name, out, "z", z);
    call.row_out[0] = out.data();
  } else {
    check_output(check, out_name, out, z.dtype(), z.shape());
    check.same_or_disjoint(out_name, out, "z", z);
    rows.add(out_name, out, call.out[0]);
  }
  check_apart(check, options, out_name, out);
  rows.lay_out(call);
  if (out.count() == 0) return;
  call.empty = options.empty_row;
  call.f32_out = call.f32_rows = out.dtype() != z.dtype();
  if (run_on_cuda(function, ctx, z.dtype(), [&]<class T>(std::type_identity<T>) {
        call.scratch = ctx.state().scratch(kernels::softmax_scratch<T>(call));
        return kernels::launch_softmax<T>(result, call, ctx.stream());
      }))
    return;
  reference(z, out, options, ctx.threads());
}

/// p [..., n] as [..., 1, n], which broadcasts to [..., k, n].
ConstTensorView with_probes(const ConstTensorView& p) {
  std::vector<std::int64_t> extents, strides(p.strides().begin(), p.strides().end());
  for (int a = 0; a < p.shape().rank(); ++a) extents.push_back(p.shape()[a]);
  extents.insert(extents.end() - 1, 1);
  strides.insert(strides.end() - 1, 0);
  return {p.data(), p.dtype(), Shape(extents), strides};
}

/// softmax_vjp and softmax_jvp: one symmetric map under two names.
void from_probabilities(const Context& ctx, std::string_view function, const ConstTensorView& given_p,
                        std::string_view in_name, const ConstTensorView& tz, std::string_view out_name,
                        const TensorView& tp, const SoftmaxOptions& options) {
  const Validator check(function, ctx);
  RowCall call;
  check.positive("temperature", options.temperature);
  check.rank("p", given_p, 1);
  check.dtype("p", given_p, kDTypes);
  check.elements("p", given_p);
  const int rank = given_p.shape().rank();
  const bool probes = rank < Shape::kMaxRank && tz.shape().rank() == rank + 1 &&
                      tz.shape().back() == given_p.shape().back() &&
                      (options.axis == -1 || options.axis == rank - 1);
  const ConstTensorView p = probes ? with_probes(given_p) : given_p;
  Shape shape = p.shape();
  if (probes) {
    shape = given_p.shape().without_last();
    shape = shape.with(tz.shape()[rank - 1]).with(given_p.shape().back());
  }
  const DType dtypes[] = {p.dtype()};
  check.dtype(in_name, tz, dtypes);
  check.shape(in_name, tz, shape);
  check.elements(in_name, tz);
  SoftmaxOptions of_probes = options;
  if (probes) of_probes.axis = -1;
  RowTensors rows(check, shape, of_probes.axis);
  rows.add("p", p, call.in[0]);
  rows.add(in_name, tz, call.in[1]);
  add_temperature(check, options, p.dtype(), rows.row_shape(), call);
  check_output(check, out_name, tp, p.dtype(), shape);
  check.same_or_disjoint(out_name, tp, "p", given_p);
  check.same_or_disjoint(out_name, tp, in_name, tz);
  check.disjoint(out_name, tp, "temperatures", options.temperatures);
  rows.add(out_name, tp, call.out[0]);
  rows.lay_out(call);
  if (tp.count() == 0) return;
  call.f32_out = tp.dtype() != p.dtype();
  if (run_on_cuda(function, ctx, p.dtype(), [&]<class T>(std::type_identity<T>) {
        call.scratch = ctx.state().scratch(kernels::softmax_jvp_scratch<T>(call));
        return kernels::launch_softmax_jvp<T>(call, ctx.stream());
      }))
    return;
  reference::softmax_jvp(p, tz, tp, of_probes, ctx.threads());
}

}  // namespace

void softmax(const Context& ctx, ConstTensorView z, TensorView p, const SoftmaxOptions& options) {
  from_logits(ctx, "softmax", SoftmaxResult::kProbability, z, "p", p, options, reference::softmax);
}
void log_softmax(const Context& ctx, ConstTensorView z, TensorView log_p, const SoftmaxOptions& options) {
  from_logits(ctx, "log_softmax", SoftmaxResult::kLogProbability, z, "log_p", log_p, options,
              reference::log_softmax);
}
void logsumexp(const Context& ctx, ConstTensorView z, TensorView result, const SoftmaxOptions& options) {
  from_logits(ctx, "logsumexp", SoftmaxResult::kLogSumExp, z, "result", result, options,
              reference::logsumexp);
}
void entropy(const Context& ctx, ConstTensorView z, TensorView result, const SoftmaxOptions& options) {
  from_logits(ctx, "entropy", SoftmaxResult::kEntropy, z, "result", result, options, reference::entropy);
}

void softmax_vjp(const Context& ctx, ConstTensorView p, ConstTensorView dp, TensorView dz,
                 const SoftmaxOptions& options) {
  from_probabilities(ctx, "softmax_vjp", p, "dp", dp, "dz", dz, options);
}
void softmax_jvp(const Context& ctx, ConstTensorView p, ConstTensorView tz, TensorView tp,
                 const SoftmaxOptions& options) {
  from_probabilities(ctx, "softmax_jvp", p, "tz", tz, "tp", tp, options);
}

void softmax_jacobian(const Context& ctx, ConstTensorView p, TensorView jacobian,
                      const SoftmaxOptions& options) {
  const Validator check("softmax_jacobian", ctx);
  check.positive("temperature", options.temperature);
  check.rank("p", p, 1);
  check.tensor("p", p);
  if (options.axis != -1 && options.axis != p.shape().rank() - 1)
    check.fail("axis", "the last", std::to_string(options.axis));
  if (options.temperatures.data() != nullptr)
    check.fail("temperatures", "none", "some", "it takes one temperature");
  check.tensor("jacobian", jacobian, p.dtype(), p.shape().with(p.shape().back()));
  check.disjoint("jacobian", jacobian, "p", p);
  if (jacobian.count() == 0) return;
  const std::int64_t cols = p.shape().back(), rows = p.shape().without_last().count();
  if (run_on_cuda("softmax_jacobian", ctx, p.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_softmax_jacobian(options.temperature, p.data_as<T>(), jacobian.data_as<T>(),
                                                rows, cols, ctx.stream());
      }))
    return;
  reference::softmax_jacobian(p, jacobian, options.temperature, ctx.threads());
}

}  // namespace actium

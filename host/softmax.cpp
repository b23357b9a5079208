#include <actium/softmax.hpp>

#include "context_state.hpp"
#include "dispatch.hpp"
#include "kernels/launch.hpp"
#include "reference/reference.hpp"
#include "validate.hpp"

namespace actium {

namespace {

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
  check.positive("temperature", options.temperature);
  check.rank("z", z, 1);
  check.tensor("z", z);
  if (is_statistic(result)) {
    // A row's statistic of a rank-1 z may be given as [1] as well as [].
    const Shape want = z.shape().without_last();
    const bool one = want.rank() == 0 && out.shape() == Shape{1};
    check.tensor(out_name, out, z.dtype(), one ? out.shape() : want);
    check.disjoint(out_name, out, "z", z);
  } else {
    check.tensor(out_name, out, z.dtype(), z.shape());
    check.same_or_disjoint(out_name, out, "z", z);
  }
  if (out.count() == 0) return;
  const std::int64_t cols = z.shape().back(), rows = z.shape().without_last().count();
  if (run_on_cuda(function, ctx, z.dtype(), [&]<class T>(std::type_identity<T>) {
        const std::size_t bytes = kernels::softmax_scratch<T>(result, rows, cols);
        return kernels::launch_softmax(result, options.temperature, z.data_as<T>(), out.data_as<T>(), rows,
                                       cols, bytes == 0 ? nullptr : ctx.state().scratch(bytes), ctx.stream());
      }))
    return;
  reference(z, out, options.temperature, ctx.threads());
}

/// softmax_vjp and softmax_jvp: one symmetric map under two names.
void from_probabilities(const Context& ctx, std::string_view function, const ConstTensorView& p,
                        std::string_view in_name, const ConstTensorView& tz, std::string_view out_name,
                        const TensorView& tp, const SoftmaxOptions& options) {
  const Validator check(function, ctx);
  check.positive("temperature", options.temperature);
  check.rank("p", p, 1);
  check.tensor("p", p);
  check.tensor(in_name, tz, p.dtype(), p.shape());
  check.tensor(out_name, tp, p.dtype(), p.shape());
  check.same_or_disjoint(out_name, tp, "p", p);
  check.same_or_disjoint(out_name, tp, in_name, tz);
  if (tp.count() == 0) return;
  const std::int64_t cols = p.shape().back(), rows = p.shape().without_last().count();
  if (run_on_cuda(function, ctx, p.dtype(), [&]<class T>(std::type_identity<T>) {
        const std::size_t bytes = kernels::softmax_jvp_scratch<T>(rows, cols);
        return kernels::launch_softmax_jvp(options.temperature, p.data_as<T>(), tz.data_as<T>(),
                                           tp.data_as<T>(), rows, cols,
                                           bytes == 0 ? nullptr : ctx.state().scratch(bytes), ctx.stream());
      }))
    return;
  reference::softmax_jvp(p, tz, tp, options.temperature, ctx.threads());
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

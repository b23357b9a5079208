#include <actium/sparsemax.hpp>

#include "context_state.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"
#include "rows.hpp"

namespace actium {

void sparsemax(const Context& ctx, ConstTensorView z, TensorView p, const SoftmaxOptions& options) {
  const Validator check("sparsemax", ctx);
  kernels::RowCall call;
  check.rank("z", z, 1);
  check.dtype("z", z, kDTypes);
  check.elements("z", z);
  RowTensors rows(check, z.shape(), options.axis);
  rows.add("z", z, call.in[0]);
  add_temperature(check, options, z.dtype(), rows.row_shape(), call);
  add_masks(check, options, z.dtype(), rows, call);
  check_output(check, "p", p, z.dtype(), z.shape());
  check.same_or_disjoint("p", p, "z", z);
  check_apart(check, options, "p", p);
  rows.add("p", p, call.out[0]);
  rows.lay_out(call);
  if (p.count() == 0) return;
  call.empty = options.empty_row;
  call.f32_out = p.dtype() != z.dtype();
  if (run_on_cuda("sparsemax", ctx, z.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_sparsemax<T>(call, ctx.stream());
      }))
    return;
  reference::sparsemax(z, p, options, ctx.threads());
}

void sparsemax_vjp(const Context& ctx, ConstTensorView p, ConstTensorView dp, TensorView dz,
                   const SoftmaxOptions& options) {
  const Validator check("sparsemax_vjp", ctx);
  kernels::RowCall call;
  check.rank("p", p, 1);
  check.dtype("p", p, kDTypes);
  check.elements("p", p);
  const DType dtypes[] = {p.dtype()};
  check.dtype("dp", dp, dtypes);
  check.shape("dp", dp, p.shape());
  check.elements("dp", dp);
  RowTensors rows(check, p.shape(), options.axis);
  rows.add("p", p, call.in[0]);
  rows.add("dp", dp, call.in[1]);
  add_temperature(check, options, p.dtype(), rows.row_shape(), call);
  check_output(check, "dz", dz, p.dtype(), p.shape());
  check.same_or_disjoint("dz", dz, "p", p);
  check.same_or_disjoint("dz", dz, "dp", dp);
  check.disjoint("dz", dz, "temperatures", options.temperatures);
  rows.add("dz", dz, call.out[0]);
  rows.lay_out(call);
  if (dz.count() == 0) return;
  call.f32_out = dz.dtype() != p.dtype();
  if (run_on_cuda("sparsemax_vjp", ctx, p.dtype(), [&]<class T>(std::type_identity<T>) {
        call.scratch = ctx.state().scratch(kernels::sparsemax_vjp_scratch<T>(call));
        return kernels::launch_sparsemax_vjp<T>(call, ctx.stream());
      }))
    return;
  reference::sparsemax_vjp(p, dp, dz, options, ctx.threads());
}

}  // namespace actium

#include <actium/gated.hpp>
#include <vector>

#include "dispatch.hpp"
#include "kernels/launch.hpp"
#include "reference/reference.hpp"
#include "validate.hpp"

namespace actium {

namespace {
constexpr GatedInfo kGatedUnits[] = {
#define ACTIUM_GATED_UNIT(name, activation, formula) \
  {GatedKind::name, #name, ActivationKind::activation, formula},
#include <actium/gated_units.def>
};
}  // namespace

static void check_unit(const GatedUnit& unit) {
  if (static_cast<std::size_t>(unit.kind()) >= std::size(kGatedUnits))
    throw Error(ErrorKind::kUnknownName,
                "no gated unit of kind " + std::to_string(static_cast<int>(unit.kind())));
}

std::span<const GatedInfo> gated_units() { return kGatedUnits; }

GatedUnit GatedUnit::parse(std::string_view name) {
  std::vector<std::string_view> names;
  for (const GatedInfo& info : kGatedUnits) {
    if (info.name == name) return GatedUnit(info.kind);
    names.push_back(info.name);
  }
  throw_unknown_name("gated unit", name, names);
}

void gated_forward(const Context& ctx, const GatedUnit& unit, const GatedInput& x, TensorView y) {
  const Validator check("gated_forward", ctx);
  check_unit(unit);
  check.tensor("gate", x.gate);
  check.tensor("content", x.content, x.gate.dtype(), x.gate.shape());
  check.tensor("y", y, x.gate.dtype(), x.gate.shape());
  check.same_or_disjoint("y", y, "gate", x.gate);
  check.same_or_disjoint("y", y, "content", x.content);
  if (y.count() == 0) return;
  if (run_on_cuda("gated_forward", ctx, y.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_gated_forward(unit.kind(), x.gate.data_as<T>(), x.content.data_as<T>(),
                                             y.data_as<T>(), y.count(), ctx.stream());
      }))
    return;
  reference::gated_forward(unit, x, y, ctx.threads());
}

void gated_backward(const Context& ctx, const GatedUnit& unit, const GatedInput& x, ConstTensorView dy,
                    const GatedOutput& dx) {
  const Validator check("gated_backward", ctx);
  check_unit(unit);
  check.tensor("gate", x.gate);
  check.tensor("content", x.content, x.gate.dtype(), x.gate.shape());
  check.tensor("dy", dy, x.gate.dtype(), x.gate.shape());
  const struct {
    std::string_view name;
    const TensorView& tensor;
  } outputs[] = {{"dx.gate", dx.gate}, {"dx.content", dx.content}};
  for (const auto& [name, out] : outputs) {
    check.tensor(name, out, x.gate.dtype(), x.gate.shape());
    check.same_or_disjoint(name, out, "gate", x.gate);
    check.same_or_disjoint(name, out, "content", x.content);
    check.same_or_disjoint(name, out, "dy", dy);
  }
  check.disjoint("dx.gate", dx.gate, "dx.content", dx.content);
  if (dy.count() == 0) return;
  if (run_on_cuda("gated_backward", ctx, dy.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_gated_backward(unit.kind(), x.gate.data_as<T>(), x.content.data_as<T>(),
                                              dy.data_as<T>(), dx.gate.data_as<T>(), dx.content.data_as<T>(),
                                              dy.count(), ctx.stream());
      }))
    return;
  reference::gated_backward(unit, x, dy, dx, ctx.threads());
}

}  // namespace actium

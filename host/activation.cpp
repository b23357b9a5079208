// The operations without options: one dtype, nothing else in the pass.
#include <actium/activation.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "activation_call.hpp"
#include "activation_checks.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"

namespace actium {

namespace {

template <class T>
kernels::Matrix<const T> matrix(const ConstTensorView& t, const Layout& layout, std::size_t index) {
  return {t.data_as<T>(), layout.row_stride(index)};
}
template <class T>
kernels::Matrix<T> matrix(const TensorView& t, const Layout& layout, std::size_t index) {
  return {t.data_as<T>(), layout.row_stride(index)};
}

/// Bytes that a pair of forward_many reads or writes.
struct Range {
  std::uintptr_t first, last;
  std::size_t pair;
  bool output;
  std::string name() const { return (output ? "y[" : "x[") + std::to_string(pair) + "]"; }
};

/// No output overlaps anything of another pair. In order of address, it is enough to compare each with the
/// one before it that reaches furthest: if that is of the same pair, it ends before this one or is the same
/// memory.
void check_apart(const Validator& check, std::vector<Range>& ranges) {
  std::ranges::sort(ranges, [](const Range& a, const Range& b) {
    return a.first != b.first ? a.first < b.first : a.output && !b.output;
  });
  const Range *furthest = nullptr, *furthest_output = nullptr;
  for (const Range& range : ranges) {
    const Range* const other = range.output ? furthest : furthest_output;
    if (other != nullptr && other->pair != range.pair && other->last > range.first)
      check.fail(other->name() + " and " + range.name(), "disjoint memory", "an overlap");
    if (furthest == nullptr || range.last > furthest->last) furthest = &range;
    if (range.output) furthest_output = &range;
  }
}

}  // namespace

Layout check_plain(const Validator& check, const Activation& f, std::initializer_list<NamedView> inputs,
                   std::initializer_list<NamedView> outputs) {
  const ConstTensorView& first = inputs.begin()->view;
  check.dtype(inputs.begin()->name, first, kDTypes);
  check_activation(f, first.dtype());
  const DType wanted[] = {first.dtype()};
  std::vector<NamedView> all(inputs);
  all.insert(all.end(), outputs.begin(), outputs.end());
  for (const auto& [name, view] : all) {
    check.dtype(name, view, wanted);
    check.shape(name, view, first.shape());
    check.elements(name, view);
  }
  Layout layout(check, all);
  for (auto out = outputs.begin(); out != outputs.end(); ++out) {
    for (const auto& [name, view] : inputs) check.same_or_disjoint(out->name, out->view, name, view);
    for (auto other = std::next(out); other != outputs.end(); ++other)
      check.disjoint(out->name, out->view, other->name, other->view);
  }
  return layout;
}

void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y) {
  if (x.dtype() != y.dtype()) return forward(ctx, f, x, y, {});
  const Validator check("forward", ctx);
  const Layout layout = check_plain(check, f, {{"x", x}}, {{"y", y}});
  if (x.count() == 0) return;
  if (run_on_cuda("forward", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_forward<T>(arguments(f), extent(layout), matrix<T>(x, layout, 0),
                                          matrix<T>(y, layout, 1), ctx.stream());
      }))
    return;
  reference::forward(f, layout, x, y, {}, ctx.threads());
}

void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx) {
  if (x.dtype() != dy.dtype() || x.dtype() != dx.dtype()) return backward(ctx, f, x, dy, dx, {});
  const Validator check("backward", ctx);
  const Layout layout = check_plain(check, f, {{"x", x}, {"dy", dy}}, {{"dx", dx}});
  if (x.count() == 0) return;
  if (run_on_cuda("backward", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_backward<T>(arguments(f), extent(layout), matrix<T>(x, layout, 0),
                                           matrix<T>(dy, layout, 1), matrix<T>(dx, layout, 2), ctx.stream());
      }))
    return;
  reference::backward(f, reference::SlopeFrom::kInput, layout, x, nullptr, dy, dx, {}, ctx.threads());
}

void jvp(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView tx, TensorView y,
         TensorView ty) {
  const Validator check("jvp", ctx);
  const Layout layout = check_plain(check, f, {{"x", x}, {"tx", tx}}, {{"y", y}, {"ty", ty}});
  if (x.count() == 0) return;
  if (run_on_cuda("jvp", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_jvp<T>(arguments(f), extent(layout), matrix<T>(x, layout, 0),
                                      matrix<T>(tx, layout, 1), matrix<T>(y, layout, 2),
                                      matrix<T>(ty, layout, 3), ctx.stream());
      }))
    return;
  reference::jvp(f, layout, x, tx, y, ty, ctx.threads());
}

void backward_of_backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy,
                          ConstTensorView ddx, TensorView ddy, TensorView dx) {
  const Validator check("backward_of_backward", ctx);
  const Layout layout =
      check_plain(check, f, {{"x", x}, {"dy", dy}, {"ddx", ddx}}, {{"ddy", ddy}, {"dx", dx}});
  if (x.count() == 0) return;
  if (run_on_cuda("backward_of_backward", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_backward_of_backward<T>(
            arguments(f), extent(layout), matrix<T>(x, layout, 0), matrix<T>(dy, layout, 1),
            matrix<T>(ddx, layout, 2), matrix<T>(ddy, layout, 3), matrix<T>(dx, layout, 4), ctx.stream());
      }))
    return;
  reference::backward_of_backward(f, layout, x, dy, ddx, ddy, dx, ctx.threads());
}

void forward_many(const Context& ctx, const Activation& f, std::span<const ForwardPair> pairs) {
  const Validator check("forward_many", ctx);
  if (pairs.empty()) return check_activation(f);
  const DType dtype = pairs.front().x.dtype();
  const DType wanted[] = {dtype};
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const std::string number = "[" + std::to_string(i) + "]", x_name = "x" + number, y_name = "y" + number;
    const auto& [x, y] = pairs[i];
    check.dtype(x_name, x, kDTypes);
    if (i == 0) check_activation(f, dtype);
    check.dtype(x_name, x, wanted);
    check.dtype(y_name, y, wanted);
    check.shape(y_name, y, x.shape());
    for (const auto& [name, view] : {NamedView{x_name, x}, NamedView{y_name, y}}) {
      check.contiguous(name, view);
      check.elements(name, view);
    }
    check.same_or_disjoint(y_name, y, x_name, x);
    if (x.count() == 0) continue;
    const auto range = [&](const ConstTensorView& t, bool output) {
      const auto first = reinterpret_cast<std::uintptr_t>(t.data());
      return Range{first, first + static_cast<std::uintptr_t>(t.bytes()), i, output};
    };
    ranges.push_back(range(x, false));
    ranges.push_back(range(y, true));
  }
  check_apart(check, ranges);
  if (ranges.empty()) return;

  if (run_on_cuda("forward_many", ctx, dtype, [&]<class T>(std::type_identity<T>) {
        std::vector<kernels::ManyTensor<T>> list;
        for (const auto& [x, y] : pairs)
          if (x.count() > 0) list.push_back({x.template data_as<T>(), y.template data_as<T>(), x.count()});
        return kernels::launch_forward_many<T>(arguments(f), list.data(),
                                               static_cast<std::int64_t>(list.size()), ctx.stream());
      }))
    return;
  for (const auto& [x, y] : pairs)
    if (x.count() > 0) forward(ctx, f, x, y);
}

}  // namespace actium

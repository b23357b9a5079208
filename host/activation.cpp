#include <actium/activation.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "activation_checks.hpp"
#include "context_state.hpp"
#include "dispatch.hpp"
#include "kernels/launch.hpp"
#include "layout.hpp"
#include "reference/reference.hpp"

namespace actium {

namespace {

constexpr DType kNarrow[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr DType kNarrowOr8Bit[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3, DType::kE5M2};
constexpr DType kDouble[] = {DType::kF64};

bool given(const ConstTensorView& t) { return t.data() != nullptr || t.count() > 0; }

// ---------------------------------------------------------------- as the launchers take it

[[maybe_unused]] kernels::ActivationArguments arguments(const Activation& f) {
  return {f.kind(), {f.parameters()[0], f.parameters()[1], f.parameters()[2]}};
}

[[maybe_unused]] kernels::Extent extent(const Layout& layout) { return {layout.rows(), layout.cols()}; }

template <class T>
kernels::Matrix<const T> matrix(const ConstTensorView& t, const Layout& layout, std::size_t index) {
  return {t.data_as<T>(), layout.row_stride(index)};
}
template <class T>
kernels::Matrix<T> matrix(const TensorView& t, const Layout& layout, std::size_t index) {
  return {t.data_as<T>(), layout.row_stride(index)};
}

/// The kernels write only to what is an output.
[[maybe_unused]] kernels::AnyMatrix any(const ConstTensorView& t, std::int64_t row_stride = 0) {
  if (!given(t)) return {};
  return {const_cast<void*>(t.data()), row_stride, t.dtype()};
}

[[maybe_unused]] kernels::DropoutArguments dropout_arguments(const Dropout& dropout) {
  const std::uint32_t threshold = reference::dropout_threshold(dropout);
  return {threshold, reference::dropout_scale(threshold), dropout.key.seed, dropout.key.sequence};
}

[[maybe_unused]] kernels::ChannelArguments channels(const Layout& layout, const Shape& shape, int axis) {
  if (axis < 0) return {1, layout.rows() * layout.cols()};
  return {shape[axis], layout.inner(axis)};
}

/// Scratch memory of the context, for a call that takes any.
[[maybe_unused]] void* scratch(const Context& ctx, std::size_t bytes) {
  return bytes == 0 ? nullptr : ctx.state().scratch(bytes);
}

// ---------------------------------------------------------------- checks

/// The checks that the plain operations share: one dtype, one shape, mergeable strides, outputs that are
/// exactly an input or apart from it, and apart from each other.
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

/// All f64, or each one of the narrow types.
void check_mixed(const Validator& check, std::string_view name, const ConstTensorView& t, DType x) {
  if (x == DType::kF64)
    check.dtype(name, t, kDouble);
  else
    check.dtype(name, t, kNarrow);
}

/// A vector along an axis of x: bias, slope, dbias.
void check_channels(const Validator& check, std::string_view name, const ConstTensorView& t, const Shape& x,
                    int axis) {
  check.shape(name, t, Shape{x[axis]});
  check.contiguous(name, t);
  check.elements(name, t);
}

void check_axis(const Validator& check, std::string_view name, int axis, const Shape& x) {
  if (axis < 0 || axis >= x.rank())
    check.fail(std::string(name),
               x.rank() == 0 ? std::string("an axis of x, which has none")
                             : "an axis of x: 0 to " + std::to_string(x.rank() - 1),
               std::to_string(axis));
}

void check_slope(const Validator& check, const Activation& f, const ConstTensorView& slope, int axis,
                 const ConstTensorView& x) {
  if (!given(slope)) return;
  if (!takes_slope_per_channel(f.kind()))
    check.fail("slope", "none for " + f.to_string(), "a tensor",
               "leaky_relu and prelu take a slope for each channel");
  check_axis(check, "channel_axis", axis, x.shape());
  check_mixed(check, "slope", slope, x.dtype());
  check_channels(check, "slope", slope, x.shape(), axis);
}

void check_dropout(const Validator& check, const Dropout& dropout, double scale, DType x) {
  if (!(dropout.p >= 0 && dropout.p < 1)) check.fail("dropout.p", "a number in [0, 1)", number(dropout.p));
  const double both = scale * reference::dropout_scale(reference::dropout_threshold(dropout));
  const double largest = x == DType::kF64 ? std::numeric_limits<double>::max()
                                          : static_cast<double>(std::numeric_limits<float>::max());
  if (!(std::fabs(both) <= largest))
    check.fail("scale / (1 - dropout.p)",
               "a number that " + std::string(x == DType::kF64 ? "f64" : "f32") + " can hold", number(both));
}

void check_scale(const Validator& check, std::string_view name, double scale, DType x) {
  check.finite(name, scale);
  if (x != DType::kF64 && scale != 0 && static_cast<float>(scale) == 0)
    check.fail(std::string(name), "0 or a number that f32 can hold", number(scale));
  if (x != DType::kF64 && std::fabs(scale) > std::numeric_limits<float>::max())
    check.fail(std::string(name), "a number that f32 can hold", number(scale));
}

/// Words of a mask as a tensor, so that it is checked like one.
ConstTensorView mask_view(const std::uint32_t* mask, std::int64_t count) {
  return {mask, DType::kF32, Shape{mask_words(count)}};
}

std::string names_of(bool (*can)(const ActivationInfo&)) {
  std::string list;
  for (const ActivationInfo& info : activations())
    if (can(info)) list += (list.empty() ? "" : ", ") + std::string(info.name);
  return list;
}

/// A number as a tensor of `dtype` holds it.
double stored(double number, DType dtype) {
  return visit_dtype(
      dtype, [&]<class T>(std::type_identity<T>) { return static_cast<double>(static_cast<T>(number)); });
}

bool plain(const ForwardOptions& o) {
  return !given(o.bias) && !given(o.residual) && o.scale == 1 && o.dropout.p == 0 && !given(o.slope) &&
         o.mask == nullptr && o.quantization_scale == 1 && o.amax == nullptr;
}
bool plain(const BackwardOptions& o) {
  return !given(o.bias) && o.scale == 1 && o.dropout.p == 0 && !given(o.slope) && !given(o.dbias);
}

// ---------------------------------------------------------------- backward, from whatever

void fused_backward(const Validator& check, const Context& ctx, const Activation& f,
                    reference::SlopeFrom from, const ConstTensorView& x, const std::uint32_t* mask,
                    const ConstTensorView& dy, const TensorView& dx, const BackwardOptions& o) {
  const std::string_view x_name = from == reference::SlopeFrom::kOutput ? "y" : "x";
  const ConstTensorView& shaped =
      from == reference::SlopeFrom::kMask ? dy : x;  // what gives the call its shape and dtype
  check.dtype(from == reference::SlopeFrom::kMask ? "dy" : x_name, shaped, kDTypes);
  check_activation(f, shaped.dtype());
  std::vector<NamedView> tensors;
  if (from != reference::SlopeFrom::kMask) tensors.push_back({x_name, x});
  tensors.push_back({"dy", dy});
  tensors.push_back({"dx", dx});
  for (const auto& [name, view] : tensors) {
    check_mixed(check, name, view, shaped.dtype());
    check.shape(name, view, shaped.shape());
    check.elements(name, view);
  }
  const Shape& shape = shaped.shape();
  if (from != reference::SlopeFrom::kInput && given(o.bias))
    check.fail("options.bias", "none: the slope does not come from the input", "a tensor");
  for (const auto& [name, vector] : {NamedView{"bias", o.bias}, NamedView{"dbias", o.dbias}})
    if (given(vector)) {
      check.rank("x", shaped, 1);
      if (name == "bias")
        check_mixed(check, name, vector, shaped.dtype());
      else
        check.dtype(name, vector, kDTypes);
      check_channels(check, name, vector, shape, shape.rank() - 1);
    }
  check_slope(check, f, o.slope, o.channel_axis, shaped);
  check_scale(check, "scale", o.scale, shaped.dtype());
  check_dropout(check, o.dropout, o.scale, shaped.dtype());
  const Layout layout(check, tensors);
  if (from == reference::SlopeFrom::kMask) {
    check.contiguous("dy", dy);  // a mask's bits number elements of contiguous tensors
    check.contiguous("dx", dx);
    check.elements("mask", mask_view(mask, dy.count()));
    check.disjoint("dx", dx, "mask", mask_view(mask, dy.count()));
  } else {
    check.same_or_disjoint("dx", dx, x_name, x);
  }
  check.same_or_disjoint("dx", dx, "dy", dy);
  for (const auto& [name, vector] : {NamedView{"bias", o.bias}, NamedView{"slope", o.slope}}) {
    if (!given(vector)) continue;
    check.disjoint("dx", dx, name, vector);
    if (given(o.dbias)) check.disjoint("dbias", o.dbias, name, vector);
  }
  if (given(o.dbias)) {
    for (const auto& [name, view] : tensors) check.disjoint("dbias", o.dbias, name, view);
    if (from == reference::SlopeFrom::kMask)
      check.disjoint("dbias", o.dbias, "mask", mask_view(mask, dy.count()));
  }
  if (shape.count() == 0) {
    if (given(o.dbias)) detail::fill_zero(ctx, o.dbias);
    return;
  }

#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    kernels::FusedBackward call{.f = arguments(f), .extent = extent(layout)};
    call.source = from == reference::SlopeFrom::kInput    ? kernels::SlopeSource::kInput
                  : from == reference::SlopeFrom::kOutput ? kernels::SlopeSource::kOutput
                                                          : kernels::SlopeSource::kMask;
    const std::size_t first = from == reference::SlopeFrom::kMask ? 0 : 1;
    if (first == 1) call.x = any(x, layout.row_stride(0));
    call.mask = mask;
    call.dy = any(dy, layout.row_stride(first));
    call.dx = any(dx, layout.row_stride(first + 1));
    call.bias = any(o.bias);
    call.slope = any(o.slope);
    if (given(o.bias) || given(o.dbias)) call.bias_map = channels(layout, shape, shape.rank() - 1);
    if (given(o.slope)) call.slope_map = channels(layout, shape, o.channel_axis);
    call.scale = o.scale;
    call.dropout = dropout_arguments(o.dropout);
    call.dbias = any(o.dbias);
    const DeviceGuard guard(ctx.device());
    call.scratch = scratch(ctx, kernels::fused_backward_scratch(call));
    try_cuda(check.function(), [&] { return kernels::launch_fused_backward(call, ctx.stream()); });
    return;
  }
#endif
  reference::backward(f, from, layout, x, mask, dy, dx, o, ctx.threads());
}

}  // namespace

// ---------------------------------------------------------------- the public operations

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

void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y,
             const ForwardOptions& o) {
  if (x.dtype() == y.dtype() && plain(o)) return forward(ctx, f, x, y);
  const Validator check("forward", ctx);
  check.dtype("x", x, kDTypes);
  check_activation(f, x.dtype());
  if (x.dtype() == DType::kF64)
    check.dtype("y", y, kDouble);
  else
    check.dtype("y", y, kNarrowOr8Bit);
  check.shape("y", y, x.shape());
  check.elements("x", x);
  check.elements("y", y);
  const Shape& shape = x.shape();
  if (given(o.residual)) {
    check_mixed(check, "residual", o.residual, x.dtype());
    check.shape("residual", o.residual, shape);
    check.elements("residual", o.residual);
  }
  if (given(o.bias)) {
    check.rank("x", x, 1);
    check_mixed(check, "bias", o.bias, x.dtype());
    check_channels(check, "bias", o.bias, shape, shape.rank() - 1);
  }
  check_slope(check, f, o.slope, o.channel_axis, x);
  check_scale(check, "scale", o.scale, x.dtype());
  check_dropout(check, o.dropout, o.scale, x.dtype());
  check.positive("quantization_scale", o.quantization_scale);
  check_scale(check, "quantization_scale", o.quantization_scale, x.dtype());
  if (!is_8_bit(y.dtype())) {
    if (o.quantization_scale != 1)
      check.fail("quantization_scale", "1 for a y of " + std::string(to_string(y.dtype())),
                 number(o.quantization_scale));
    if (o.amax != nullptr)
      check.fail("amax", "null for a y of " + std::string(to_string(y.dtype())), "a pointer");
  }
  std::vector<NamedView> tensors = {{"x", x}, {"y", y}};
  if (given(o.residual)) tensors.push_back({"residual", o.residual});
  const Layout layout(check, tensors);
  check.same_or_disjoint("y", y, "x", x);
  if (given(o.residual)) check.same_or_disjoint("y", y, "residual", o.residual);
  if (given(o.bias)) check.disjoint("y", y, "bias", o.bias);
  if (given(o.slope)) check.disjoint("y", y, "slope", o.slope);
  std::vector<NamedView> extra;
  if (o.mask != nullptr) {
    if (!has_two_slopes(f.info()))
      check.fail("mask", "null for " + f.to_string(), "a pointer",
                 "a mask is for " + names_of(has_two_slopes));
    for (const auto& [name, view] : tensors) check.contiguous(name, view);
    extra.push_back({"mask", mask_view(o.mask, x.count())});
  }
  if (o.amax != nullptr) extra.push_back({"amax", ConstTensorView(o.amax, DType::kF32, Shape{1})});
  for (const auto& [name, view] : extra) {
    check.elements(name, view);
    for (const auto& [other_name, other] : tensors) check.disjoint(name, view, other_name, other);
    if (given(o.bias)) check.disjoint(name, view, "bias", o.bias);
    if (given(o.slope)) check.disjoint(name, view, "slope", o.slope);
  }
  if (extra.size() == 2) check.disjoint("mask", extra[0].view, "amax", extra[1].view);
  if (x.count() == 0) {
    if (o.amax != nullptr) detail::fill_zero(ctx, TensorView(o.amax, DType::kF32, Shape{1}));
    return;
  }

#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    kernels::FusedForward call{.f = arguments(f), .extent = extent(layout)};
    call.x = any(x, layout.row_stride(0));
    call.y = any(y, layout.row_stride(1));
    if (given(o.residual)) call.residual = any(o.residual, layout.row_stride(2));
    call.bias = any(o.bias);
    call.slope = any(o.slope);
    if (given(o.bias)) call.bias_map = channels(layout, shape, shape.rank() - 1);
    if (given(o.slope)) call.slope_map = channels(layout, shape, o.channel_axis);
    call.scale = o.scale;
    call.dropout = dropout_arguments(o.dropout);
    call.mask = o.mask;
    call.quantization_scale = o.quantization_scale;
    call.amax = o.amax;
    const DeviceGuard guard(ctx.device());
    call.scratch = scratch(ctx, kernels::fused_forward_scratch(call));
    try_cuda("forward", [&] { return kernels::launch_fused_forward(call, ctx.stream()); });
    return;
  }
#endif
  reference::forward(f, layout, x, y, o, ctx.threads());
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

void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx,
              const BackwardOptions& o) {
  if (x.dtype() == dy.dtype() && x.dtype() == dx.dtype() && plain(o)) return backward(ctx, f, x, dy, dx);
  fused_backward(Validator("backward", ctx), ctx, f, reference::SlopeFrom::kInput, x, nullptr, dy, dx, o);
}

void backward_from_output(const Context& ctx, const Activation& f, ConstTensorView y, ConstTensorView dy,
                          TensorView dx, const BackwardOptions& o) {
  const Validator check("backward_from_output", ctx);
  check.dtype("y", y, kDTypes);
  check_activation(f);
  if (!works_from_output(f.info()))
    check.fail("activation", "one whose slope its output determines: " + names_of(works_from_output),
               f.to_string(),
               "elsewhere the output has lost the digits that the slope needs: use backward with the input");
  if (takes_slope_per_channel(f.kind())) {
    if (given(o.slope))
      check.fail("options.slope", "none: a negative one makes the output ambiguous", "a tensor",
                 "backward and backward_from_mask take one");
    if (f.parameters()[0] < 0)
      check.fail("activation", "a slope >= 0, so that the output's sign is the input's", f.to_string());
  }
  if (f.kind() ==
      ActivationKind::hardtanh)  // an output at a limit says so only if the limit is a number of its dtype
    for (int i = 0; i < 2; ++i)
      if (const double limit = f.parameters()[static_cast<std::size_t>(i)]; stored(limit, y.dtype()) != limit)
        check.fail("activation", "limits that " + std::string(to_string(y.dtype())) + " can hold",
                   f.to_string(), "use backward with the input");
  fused_backward(check, ctx, f, reference::SlopeFrom::kOutput, y, nullptr, dy, dx, o);
}

void backward_from_mask(const Context& ctx, const Activation& f, const std::uint32_t* mask,
                        ConstTensorView dy, TensorView dx, const BackwardOptions& o) {
  const Validator check("backward_from_mask", ctx);
  check_activation(f);
  if (!has_two_slopes(f.info()))
    check.fail("activation", "one with two slopes: " + names_of(has_two_slopes), f.to_string());
  fused_backward(check, ctx, f, reference::SlopeFrom::kMask, {}, mask, dy, dx, o);
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
  struct Range {  // of bytes that a pair reads or writes
    std::uintptr_t first, last;
    std::size_t pair;
    bool output;
  };
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
  // An output against everything of the other pairs: in order of address, against what reaches furthest so
  // far.
  std::ranges::sort(ranges, {}, &Range::first);
  for (std::size_t i = 0; i < ranges.size(); ++i)
    for (std::size_t j = i + 1; j < ranges.size() && ranges[j].first < ranges[i].last; ++j)
      if (ranges[i].pair != ranges[j].pair && (ranges[i].output || ranges[j].output)) {
        const auto name = [](const Range& r) {
          return (r.output ? "y[" : "x[") + std::to_string(r.pair) + "]";
        };
        check.fail(name(ranges[i]) + " and " + name(ranges[j]), "disjoint memory", "an overlap");
      }
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

void parameter_gradient(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy,
                        TensorView dp, int channel_axis) {
  const Validator check("parameter_gradient", ctx);
  const int parameters = (check_activation(f), f.info().parameter_count);
  if (parameters == 0) check.fail("activation", "one with parameters", f.to_string());
  const Layout layout = check_plain(check, f, {{"x", x}, {"dy", dy}}, {});
  if (channel_axis != -1) check_axis(check, "channel_axis", channel_axis, x.shape());
  constexpr DType kSums[] = {DType::kF32, DType::kF64};
  check.dtype("dp", dp, kSums);
  check.shape("dp", dp, channel_axis < 0 ? Shape{parameters} : Shape{parameters, x.shape()[channel_axis]});
  check.contiguous("dp", dp);
  check.elements("dp", dp);
  check.disjoint("dp", dp, "x", x);
  check.disjoint("dp", dp, "dy", dy);
  if (x.count() == 0) return detail::fill_zero(ctx, dp);
#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    kernels::ParameterGradient call{.f = arguments(f), .extent = extent(layout)};
    call.x = any(x, layout.row_stride(0));
    call.dy = any(dy, layout.row_stride(1));
    call.map = channels(layout, x.shape(), channel_axis);
    call.dp = any(dp);
    const DeviceGuard guard(ctx.device());
    call.scratch = scratch(ctx, kernels::parameter_gradient_scratch(call));
    try_cuda("parameter_gradient", [&] { return kernels::launch_parameter_gradient(call, ctx.stream()); });
    return;
  }
#endif
  reference::parameter_gradient(f, layout, x, dy, dp, channel_axis, ctx.threads());
}

}  // namespace actium

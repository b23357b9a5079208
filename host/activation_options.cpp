// forward and backward with options, backward from the output or from a mask, and parameter gradients:
// element types side by side, or f64.
#include <actium/activation.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "activation_call.hpp"
#include "activation_checks.hpp"
#include "context_state.hpp"
#include "dispatch.hpp"
#include "reference/reference.hpp"

namespace actium {

namespace {

constexpr DType kNarrow[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr DType kNarrowOr8Bit[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3, DType::kE5M2};
constexpr DType kDouble[] = {DType::kF64};

bool given(const ConstTensorView& t) { return t.data() != nullptr || t.count() > 0; }

// ---------------------------------------------------------------- as the launchers take it

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

/// "want an axis of x: 0 to 1", where x is the tensor that gives the call its shape; `or_none`: "-1 or ".
void check_axis(const Validator& check, int axis, const NamedView& x, const char* or_none = "") {
  const int rank = x.view.shape().rank();
  const std::string want = or_none + ("an axis of " + std::string(x.name)) +
                           (rank == 0 ? ", which has none" : ": 0 to " + std::to_string(rank - 1));
  if (axis < 0 || axis >= rank) check.fail("channel_axis", want, std::to_string(axis));
}

void check_slope(const Validator& check, const Activation& f, const ConstTensorView& slope, int axis,
                 const NamedView& x) {
  if (!given(slope)) return;
  if (!takes_slope_per_channel(f.kind()))
    check.fail("slope", "none for " + f.to_string(), "a tensor",
               "leaky_relu and prelu take a slope for each channel");
  check_axis(check, axis, x);
  check_mixed(check, "slope", slope, x.view.dtype());
  check_channels(check, "slope", slope, x.view.shape(), axis);
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
  if (x != DType::kF64 && scale != 0 && std::fabs(scale) < std::numeric_limits<float>::min())
    check.fail(std::string(name), "a magnitude that f32 holds in full, at least 1.2e-38", number(scale));
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
  const std::string_view shaped_name = from == reference::SlopeFrom::kMask ? "dy" : x_name;
  check.dtype(shaped_name, shaped, kDTypes);
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
    check.fail("bias", "none: the slope does not come from the input", "a tensor");
  for (const auto& [name, vector] : {NamedView{"bias", o.bias}, NamedView{"dbias", o.dbias}})
    if (given(vector)) {
      check.rank(shaped_name, shaped, 1);
      if (name == "bias")
        check_mixed(check, name, vector, shaped.dtype());
      else
        check.dtype(name, vector, kDTypes);
      check_channels(check, name, vector, shape, shape.rank() - 1);
    }
  check_slope(check, f, o.slope, o.channel_axis, {shaped_name, shaped});
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
  check_slope(check, f, o.slope, o.channel_axis, {"x", x});
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
      check.fail("slope", "none: a negative one makes the output ambiguous", "a tensor",
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

void parameter_gradient(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy,
                        TensorView dp, int channel_axis) {
  const Validator check("parameter_gradient", ctx);
  const int parameters = (check_activation(f), f.info().parameter_count);
  if (parameters == 0) check.fail("activation", "one with parameters", f.to_string());
  const Layout layout = check_plain(check, f, {{"x", x}, {"dy", dy}}, {});
  if (channel_axis != -1) check_axis(check, channel_axis, {"x", x}, "-1 or ");
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

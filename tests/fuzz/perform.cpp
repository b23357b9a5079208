#include "perform.hpp"

#include <actium/actium.hpp>
#include <actium/propagation.hpp>
#include <array>

namespace actium_fuzz {

using namespace actium;

namespace {
struct DLTensor {  // DLPack's, without its header
  void* data;
  std::int32_t ndim;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
}  // namespace

TensorView make(const View& v) {
  auto* data = reinterpret_cast<std::byte*>(v.address);
  if (v.dlpack) {
    Extents extents = v.extents, strides = v.strides.value_or(Extents{});
    if (v.ndim) extents.clear();
    const std::uint64_t offset = data == nullptr ? 7 : v.side == Side::kNowhere ? 0 : 16;  // null stays null
    return DLTensor{data == nullptr ? nullptr : data - offset,
                    v.ndim.value_or(static_cast<int>(extents.size())),
                    {static_cast<std::uint8_t>(v.code), static_cast<std::uint8_t>(v.bits),
                     static_cast<std::uint16_t>(v.lanes)},
                    v.ndim ? nullptr : extents.data(),
                    v.strides ? strides.data() : nullptr,
                    offset};
  }
  const Shape shape{std::span<const std::int64_t>(v.extents)};
  const auto dtype = static_cast<DType>(v.dtype);
  return v.strides ? TensorView(data, dtype, shape, std::span<const std::int64_t>(*v.strides))
                   : TensorView(data, dtype, shape);
}

void perform(const Context& ctx, const Call& call) {
  std::array<TensorView, 5> v;
  for (std::size_t i = 0; i < call.views.size(); ++i) v[i] = make(call.views[i]);
  const Activation f(static_cast<ActivationKind>(call.kind),
                     {call.parameters[0], call.parameters[1], call.parameters[2]});
  const GatedUnit unit(static_cast<GatedKind>(call.kind));
  const SoftmaxOptions options{.temperature = call.temperature};
  const Initializer initializer{call.he ? InitializerKind::kHe : InitializerKind::kXavier,
                                call.uniform ? Distribution::kUniform : Distribution::kNormal,
                                call.numbers[0]};
  const RandomKey key{1, 2};
  switch (call.op) {
    case Op::kForward:
      return forward(ctx, f, v[0], v[1]);
    case Op::kBackward:
      return backward(ctx, f, v[0], v[1], v[2]);
    case Op::kJvp:
      return jvp(ctx, f, v[0], v[1], v[2], v[3]);
    case Op::kBackwardOfBackward:
      return backward_of_backward(ctx, f, v[0], v[1], v[2], v[3], v[4]);
    case Op::kBackwardFromOutput:
      return backward_from_output(ctx, f, v[0], v[1], v[2]);
    case Op::kParameterGradient:
      return parameter_gradient(ctx, f, v[0], v[1], v[2]);
    case Op::kGatedForward:
      return gated_forward(ctx, unit, {.gate = v[0], .content = v[1]}, v[2]);
    case Op::kGatedBackward:
      return gated_backward(ctx, unit, {.gate = v[0], .content = v[1]}, v[2],
                            {.gate = v[3], .content = v[4]});
    case Op::kSoftmax:
      return softmax(ctx, v[0], v[1], options);
    case Op::kLogSoftmax:
      return log_softmax(ctx, v[0], v[1], options);
    case Op::kLogSumExp:
      return logsumexp(ctx, v[0], v[1], options);
    case Op::kEntropy:
      return entropy(ctx, v[0], v[1], options);
    case Op::kSoftmaxVjp:
      return softmax_vjp(ctx, v[0], v[1], v[2], options);
    case Op::kSoftmaxJvp:
      return softmax_jvp(ctx, v[0], v[1], v[2], options);
    case Op::kJacobian:
      return softmax_jacobian(ctx, v[0], v[1], options);
    case Op::kCopy:
      return copy(ctx, v[0], v[1]);
    case Op::kMatmul:
      return matmul(ctx, v[0], v[1], v[2]);
    case Op::kFillUniform:
      return fill_uniform(ctx, v[0], key, call.numbers[0], call.numbers[1]);
    case Op::kFillNormal:
      return fill_normal(ctx, v[0], key, call.numbers[0], call.numbers[1]);
    case Op::kInitialize:
      return initialize(ctx, initializer, key, v[0]);
    case Op::kStatistics: {
      const SignalStatistics s = signal_statistics(ctx, v[0]);
      return require(
          s.units == v[0].shape().back() && s.active_fraction.size() == static_cast<std::size_t>(s.units),
          "signal_statistics: units");
    }
    case Op::kPropagateLayer:
      return propagate_layer(
                 ctx, {f, initializer, call.fan_in, call.fan_out, static_cast<DType>(call.layer_dtype), key},
                 v[0], v[1]),
             void();
    default: {
      Tensor copied(ctx, v[0]), moved = std::move(copied);
      require(moved.shape() == v[0].shape() && moved.dtype() == v[0].dtype() && copied.count() == 0,
              "Tensor: what it is");
      require(moved.to_doubles(ctx).size() == static_cast<std::size_t>(v[0].count()), "Tensor::to_doubles");
    }
  }
}

}  // namespace actium_fuzz

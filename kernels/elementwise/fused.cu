// The launchers of the fused operations: which way of computing a call takes, and how much scratch memory.
#include "elementwise/fused_backward.cuh"
#include "elementwise/fused_forward.cuh"
#include "elementwise/parameter_gradient.cuh"

namespace actium::kernels {

namespace {
std::size_t channel_sum_scratch(const Extent& extent, const ChannelArguments& map, DType dtype) {
  const ChannelSumPlan plan = plan_channel_sum(extent.rows, extent.cols, map.channels, map.inner);
  return static_cast<std::size_t>(plan.count) *
         (dtype == DType::kF64 ? sizeof(PairSum<double>) : sizeof(PairSum<float>));
}
}  // namespace

Status launch_fused_forward(const FusedForward& call, Stream stream) {
  if (call.x.dtype == DType::kF64) return launch_fused_forward_f64(call, stream);
  return call.y.dtype != DType::kF32 && has_form_for_16_bits(call.f.kind)
             ? launch_fused_forward_16_bit(call, stream)
             : launch_fused_forward_f32(call, stream);
}

std::size_t fused_forward_scratch(const FusedForward& call) {
  if (call.amax == nullptr) return 0;
  return static_cast<std::size_t>(fused_forward_plan(call).tiles()) *
         (call.x.dtype == DType::kF64 ? sizeof(double) : sizeof(float));
}

Status launch_fused_backward(const FusedBackward& call, Stream stream) {
  if (call.dx.dtype == DType::kF64) return launch_fused_backward_f64(call, stream);
  // Sums of a wider type than dx's want slopes of full precision.
  const bool narrow = size_of(call.dx.dtype) == 2 &&
                      (call.dbias.data == nullptr || size_of(call.dbias.dtype) == 2) &&
                      has_form_for_16_bits(call.f.kind);
  return narrow ? launch_fused_backward_16_bit(call, stream) : launch_fused_backward_f32(call, stream);
}

std::size_t fused_backward_scratch(const FusedBackward& call) {
  return call.dbias.data == nullptr ? 0 : channel_sum_scratch(call.extent, call.bias_map, call.dx.dtype);
}

Status launch_parameter_gradient(const ParameterGradient& call, Stream stream) {
  return call.x.dtype == DType::kF64 ? launch_parameter_gradient_f64(call, stream)
                                     : launch_parameter_gradient_f32(call, stream);
}

std::size_t parameter_gradient_scratch(const ParameterGradient& call) {
  return static_cast<std::size_t>(parameter_count(call.f.kind)) *
         channel_sum_scratch(call.extent, call.map, call.x.dtype);
}

}  // namespace actium::kernels

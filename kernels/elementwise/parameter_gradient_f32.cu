#include "elementwise/parameter_gradient.cuh"

namespace actium::kernels {

Status launch_parameter_gradient_f32(const ParameterGradient& call, Stream stream) {
  return launch_parameter_gradient_in<float>(call, stream);
}

}  // namespace actium::kernels

#include "elementwise/parameter_gradient.cuh"

namespace actium::kernels {

Status launch_parameter_gradient_f64(const ParameterGradient& call, Stream stream) {
  return launch_parameter_gradient_in<double>(call, stream);
}

}  // namespace actium::kernels

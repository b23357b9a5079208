#include "elementwise/fused_backward.cuh"

namespace actium::kernels {

Status launch_fused_backward_f32(const FusedBackward& call, Stream stream) {
  return launch_fused_backward_in<float, false>(call, stream);
}

}  // namespace actium::kernels

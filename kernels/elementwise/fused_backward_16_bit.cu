#include "elementwise/fused_backward.cuh"

namespace actium::kernels {

Status launch_fused_backward_16_bit(const FusedBackward& call, Stream stream) {
  return launch_fused_backward_in<float, true>(call, stream);
}

}  // namespace actium::kernels

#include "elementwise/fused_forward.cuh"

namespace actium::kernels {

Status launch_fused_forward_16_bit(const FusedForward& call, Stream stream) {
  return launch_fused_forward_in<float, true>(call, stream);
}

}  // namespace actium::kernels

#include "elementwise/fused_forward.cuh"

namespace actium::kernels {

Status launch_fused_forward_f32(const FusedForward& call, Stream stream) {
  return launch_fused_forward_in<float, false>(call, stream);
}

}  // namespace actium::kernels

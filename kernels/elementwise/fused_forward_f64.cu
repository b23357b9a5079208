#include "elementwise/fused_forward.cuh"

namespace actium::kernels {

Status launch_fused_forward_f64(const FusedForward& call, Stream stream) {
  return launch_fused_forward_in<double, false>(call, stream);
}

}  // namespace actium::kernels

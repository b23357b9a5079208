#include "gated/gated.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_GATED(double)
}  // namespace actium::kernels

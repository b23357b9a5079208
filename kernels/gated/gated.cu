#include "gated/gated.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_GATED(float)
}  // namespace actium::kernels

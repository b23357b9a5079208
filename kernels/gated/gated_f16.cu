#include "gated/gated.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_GATED(f16)
}  // namespace actium::kernels

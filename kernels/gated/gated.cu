#include "gated/gated.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_GATED(float)
ACTIUM_INSTANTIATE_GATED(f16)
ACTIUM_INSTANTIATE_GATED(bf16)
}  // namespace actium::kernels

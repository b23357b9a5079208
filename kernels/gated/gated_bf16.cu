#include "gated/gated.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_GATED(bf16)
}  // namespace actium::kernels

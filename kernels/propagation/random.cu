#include "propagation/random.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_RANDOM(float)
ACTIUM_INSTANTIATE_RANDOM(f16)
ACTIUM_INSTANTIATE_RANDOM(bf16)
}  // namespace actium::kernels

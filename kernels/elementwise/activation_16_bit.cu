#include "elementwise/activation.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_ACTIVATIONS(f16)
ACTIUM_INSTANTIATE_ACTIVATIONS(bf16)
}  // namespace actium::kernels

#include "elementwise/activation.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_ACTIVATIONS(bf16)
}  // namespace actium::kernels

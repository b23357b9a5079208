#include "elementwise/activation.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_ACTIVATIONS(f16)
}  // namespace actium::kernels

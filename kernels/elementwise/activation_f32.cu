#include "elementwise/activation.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_ACTIVATIONS(float)
}  // namespace actium::kernels

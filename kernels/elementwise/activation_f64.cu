#include "elementwise/activation.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_ACTIVATIONS(double)
}  // namespace actium::kernels

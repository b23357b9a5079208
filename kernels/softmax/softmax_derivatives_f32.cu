#include "softmax/instantiate_derivatives.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX_DERIVATIVES(float)
}  // namespace actium::kernels

#include "softmax/instantiate_derivatives.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX_DERIVATIVES(f16)
ACTIUM_INSTANTIATE_SOFTMAX_DERIVATIVES(bf16)
}  // namespace actium::kernels

#include "softmax/instantiate.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX(f16)
ACTIUM_INSTANTIATE_SOFTMAX(bf16)
}  // namespace actium::kernels

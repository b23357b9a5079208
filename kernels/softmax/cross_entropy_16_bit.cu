#include "softmax/cross_entropy.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_CROSS_ENTROPY(f16)
ACTIUM_INSTANTIATE_CROSS_ENTROPY(bf16)
}  // namespace actium::kernels

#include "softmax/cross_entropy.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_CROSS_ENTROPY(double)
}  // namespace actium::kernels

#include "softmax/instantiate.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX(f16)
}  // namespace actium::kernels

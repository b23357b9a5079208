#include "softmax/instantiate.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX(float)
}  // namespace actium::kernels

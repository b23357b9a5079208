#include "softmax/instantiate.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SOFTMAX(double)
}  // namespace actium::kernels

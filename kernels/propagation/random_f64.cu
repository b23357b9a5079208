#include "propagation/random.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_RANDOM(double)
}  // namespace actium::kernels

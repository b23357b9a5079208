#include "propagation/signal_statistics.cuh"

namespace actium::kernels {
ACTIUM_INSTANTIATE_SIGNAL_STATISTICS(float)
ACTIUM_INSTANTIATE_SIGNAL_STATISTICS(f16)
ACTIUM_INSTANTIATE_SIGNAL_STATISTICS(bf16)
}  // namespace actium::kernels

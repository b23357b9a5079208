#include "softmax/sparsemax.cuh"

#define ACTIUM_INSTANTIATE_SPARSEMAX(T)                            \
  template Status launch_sparsemax<T>(const RowCall&, Stream);     \
  template Status launch_sparsemax_vjp<T>(const RowCall&, Stream); \
  template std::size_t sparsemax_vjp_scratch<T>(const RowCall&);

namespace actium::kernels {
ACTIUM_INSTANTIATE_SPARSEMAX(float)
ACTIUM_INSTANTIATE_SPARSEMAX(f16)
ACTIUM_INSTANTIATE_SPARSEMAX(bf16)
}  // namespace actium::kernels

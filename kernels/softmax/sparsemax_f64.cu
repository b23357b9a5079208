#include "softmax/sparsemax.cuh"

namespace actium::kernels {
template Status launch_sparsemax<double>(const RowCall&, Stream);
template Status launch_sparsemax_vjp<double>(const RowCall&, Stream);
template std::size_t sparsemax_vjp_scratch<double>(const RowCall&);
}  // namespace actium::kernels

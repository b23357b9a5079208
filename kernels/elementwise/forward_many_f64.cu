#include "elementwise/forward_many.cuh"

namespace actium::kernels {
template Status launch_forward_many<double>(const ActivationArguments&, const ManyTensor<double>*,
                                            std::int64_t, Stream);
}  // namespace actium::kernels

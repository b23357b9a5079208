#include "elementwise/forward_many.cuh"

namespace actium::kernels {
template Status launch_forward_many<float>(const ActivationArguments&, const ManyTensor<float>*, std::int64_t,
                                           Stream);
}  // namespace actium::kernels

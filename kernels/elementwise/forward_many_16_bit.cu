#include "elementwise/forward_many.cuh"

namespace actium::kernels {
template Status launch_forward_many<f16>(const ActivationArguments&, const ManyTensor<f16>*, std::int64_t,
                                         Stream);
template Status launch_forward_many<bf16>(const ActivationArguments&, const ManyTensor<bf16>*, std::int64_t,
                                          Stream);
}  // namespace actium::kernels

#include "elementwise/channel_sum.cuh"

namespace actium::kernels {

template <class C>
Status launch_channel_sum_in_double(const ChannelSumPlan& plan, const PairSum<C>* partial,
                                    const AnyMatrix& out, Stream stream) {
  return launch_channel_sum<C, double>(plan, partial, out, stream);
}
template Status launch_channel_sum_in_double(const ChannelSumPlan&, const PairSum<float>*, const AnyMatrix&,
                                             Stream);
template Status launch_channel_sum_in_double(const ChannelSumPlan&, const PairSum<double>*, const AnyMatrix&,
                                             Stream);

}  // namespace actium::kernels

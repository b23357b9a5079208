#pragma once
// One dtype's kernels.
#include "softmax/softmax.cuh"
#include "softmax/softmax_jacobian.cuh"
#include "softmax/softmax_jvp.cuh"

#define ACTIUM_INSTANTIATE_SOFTMAX(T)                                       \
  template Status launch_softmax<T>(SoftmaxResult, const RowCall&, Stream); \
  template std::size_t softmax_scratch<T>(const RowCall&);                  \
  template Status launch_softmax_jvp<T>(const RowCall&, Stream);            \
  template std::size_t softmax_jvp_scratch<T>(const RowCall&);              \
  template Status launch_softmax_jacobian<T>(double, const T*, T*, std::int64_t, std::int64_t, Stream);

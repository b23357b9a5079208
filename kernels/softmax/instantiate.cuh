#pragma once
// One dtype's kernels, compiled in a file of its own.
#include "softmax/softmax.cuh"
#include "softmax/softmax_jacobian.cuh"
#include "softmax/softmax_jvp.cuh"

#define ACTIUM_INSTANTIATE_SOFTMAX(T)                                                                       \
  template Status launch_softmax<T>(SoftmaxResult, double, const T*, T*, std::int64_t, std::int64_t, void*, \
                                    Stream);                                                                \
  template std::size_t softmax_scratch<T>(SoftmaxResult, std::int64_t, std::int64_t);                       \
  template Status launch_softmax_jvp<T>(double, const T*, const T*, T*, std::int64_t, std::int64_t, void*,  \
                                        Stream);                                                            \
  template std::size_t softmax_jvp_scratch<T>(std::int64_t, std::int64_t);                                  \
  template Status launch_softmax_jacobian<T>(double, const T*, T*, std::int64_t, std::int64_t, Stream);

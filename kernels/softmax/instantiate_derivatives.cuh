#pragma once
// One dtype's kernels.
#include "softmax/log_softmax_vjp.cuh"
#include "softmax/softmax_hvp.cuh"
#include "softmax/softmax_value_and_jvp.cuh"
#include "softmax/statistics_jvp.cuh"
#include "softmax/statistics_vjp.cuh"

#define ACTIUM_INSTANTIATE_SOFTMAX_DERIVATIVES(T)                                                    \
  template Status launch_softmax_value_and_jvp<T>(const RowCall&, Stream);                           \
  template std::size_t softmax_value_and_jvp_scratch<T>(const RowCall&);                             \
  template Status launch_statistic_vjp<T>(SoftmaxResult, const RowNumbers&, const RowCall&, Stream); \
  template std::size_t statistic_vjp_scratch<T>(const RowCall&);                                     \
  template Status launch_statistic_jvp<T>(SoftmaxResult, const RowCall&, Stream);                    \
  template std::size_t statistic_jvp_scratch<T>(const RowCall&);                                     \
  template Status launch_log_softmax_derivative<T>(bool, const RowCall&, Stream);                    \
  template std::size_t log_softmax_derivative_scratch<T>(const RowCall&);                            \
  template Status launch_softmax_covariance<T>(bool, const RowCall&, Stream);                        \
  template std::size_t softmax_covariance_scratch<T>(const RowCall&);

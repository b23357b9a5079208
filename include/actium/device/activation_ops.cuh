#pragma once
/// The activations as functors: Op<kind>::eval(x, parameters) gives value, slope and curvature of one
/// element, in float or double. Header-only, for kernels of your own as much as for actium's; runs under nvcc
/// and g++ alike. activation_op.cuh says what an Op is; one file a family under ops/.
#include <actium/device/ops/algebraic.cuh>
#include <actium/device/ops/exponential.cuh>
#include <actium/device/ops/logistic.cuh>
#include <actium/device/ops/mish.cuh>
#include <actium/device/ops/normal.cuh>
#include <actium/device/ops/periodic.cuh>
#include <actium/device/ops/rectifiers.cuh>
#include <actium/device/ops/tanh.cuh>
#include <actium/device/ops/times_sigmoid.cuh>

#pragma once
// The plain operations of every activation of the registry, on the elementwise engine. Formulas:
// <actium/device/activation_ops.cuh>. Tensors moved: 2, 3, 4 and 5.
//
//   forward               y = f(x)
//   backward              dx = dy f'(x)
//   jvp                   y = f(x), ty = tx f'(x)
//   backward_of_backward  ddy = ddx f'(x), dx = ddx dy f''(x)
#include "elementwise/elementwise.cuh"
#include "elementwise/parameters.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// The functor for results that are stored as T.
template <ActivationKind K, class T>
using OpFor = std::conditional_t<sizeof(T) == 2, device::Op16<K>, device::Op<K>>;

template <ActivationKind K, class T>
struct Forward {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[1], C (&out)[1]) const {
    out[0] = OpFor<K, T>::eval(in[0], parameters).value;
  }
};

template <ActivationKind K, class T>
struct Backward {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[1]) const {
    const C x = in[0], dy = in[1];
    out[0] = dy * OpFor<K, T>::eval(x, parameters).slope;
  }
};

template <ActivationKind K, class T>
struct Jvp {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[2]) const {
    const C x = in[0], tx = in[1];
    const device::Jet<C> f = OpFor<K, T>::eval(x, parameters);
    out[0] = f.value;
    out[1] = tx * f.slope;
  }
};

template <ActivationKind K, class T>
struct BackwardOfBackward {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[3], C (&out)[2]) const {
    const C x = in[0], dy = in[1], ddx = in[2];
    const device::Jet<C> f = OpFor<K, T>::eval(x, parameters);
    out[0] = ddx * f.slope;
    out[1] = product(ddx, dy, f.curvature);
  }
};

// ---------------------------------------------------------------- launchers

namespace detail {
/// The switch from an activation's kind to the kernel made for it.
template <template <ActivationKind, class> class Map, class T, int Inputs, int Outputs>
Status launch_activation(const ActivationArguments& f, Extent extent,
                         const ElementwiseTensors<T, Inputs, Outputs>& tensors, Stream stream) {
  ElementwiseKernel<T, Inputs, Outputs> kernel = nullptr;
  switch (f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                                            \
  case ActivationKind::name:                                                                    \
    kernel = elementwise_kernel<Map<kernel_kind(ActivationKind::name), T>, T, Inputs, Outputs>; \
    break;
#include <actium/activations.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  return launch_elementwise(kernel, parameters_of<Compute<T>>(f), tensors, extent, stream);
}
}  // namespace detail

template <class T>
Status launch_forward(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<T> y,
                      Stream stream) {
  return detail::launch_activation<Forward, T, 1, 1>(f, extent, {{x}, {y}}, stream);
}

template <class T>
Status launch_backward(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<const T> dy,
                       Matrix<T> dx, Stream stream) {
  return detail::launch_activation<Backward, T, 2, 1>(f, extent, {{x, dy}, {dx}}, stream);
}

template <class T>
Status launch_jvp(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<const T> tx,
                  Matrix<T> y, Matrix<T> ty, Stream stream) {
  return detail::launch_activation<Jvp, T, 2, 2>(f, extent, {{x, tx}, {y, ty}}, stream);
}

template <class T>
Status launch_backward_of_backward(const ActivationArguments& f, Extent extent, Matrix<const T> x,
                                   Matrix<const T> dy, Matrix<const T> ddx, Matrix<T> ddy, Matrix<T> dx,
                                   Stream stream) {
  return detail::launch_activation<BackwardOfBackward, T, 3, 2>(f, extent, {{x, dy, ddx}, {ddy, dx}}, stream);
}

/// One dtype's kernels, compiled in a file of its own.
#define ACTIUM_INSTANTIATE_ACTIVATIONS(T)                                                                    \
  template Status launch_forward<T>(const ActivationArguments&, Extent, Matrix<const T>, Matrix<T>, Stream); \
  template Status launch_backward<T>(const ActivationArguments&, Extent, Matrix<const T>, Matrix<const T>,   \
                                     Matrix<T>, Stream);                                                     \
  template Status launch_jvp<T>(const ActivationArguments&, Extent, Matrix<const T>, Matrix<const T>,        \
                                Matrix<T>, Matrix<T>, Stream);                                               \
  template Status launch_backward_of_backward<T>(const ActivationArguments&, Extent, Matrix<const T>,        \
                                                 Matrix<const T>, Matrix<const T>, Matrix<T>, Matrix<T>,     \
                                                 Stream);

}  // namespace actium::kernels

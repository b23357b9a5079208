#pragma once
// y = f(x), dx = dy f'(x), and (y, ty) = (f(x), tx f'(x)) for every activation of the registry. Formulas:
// <actium/device/activation_ops.cuh>. Bytes moved a element: 2, 3 and 4 times the element's size.
#include <actium/device/activation_ops.cuh>

#include "elementwise/elementwise.cuh"
#include "launch.hpp"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <ActivationKind K, class C>
struct Forward {
  device::Parameters<C> parameters;
  __device__ void operator()(const C (&in)[1], C (&out)[1]) const {
    out[0] = device::Op<K>::eval(in[0], parameters).value;
  }
};

template <ActivationKind K, class C>
struct Backward {
  device::Parameters<C> parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[1]) const {
    const C x = in[0], dy = in[1];
    out[0] = dy * device::Op<K>::eval(x, parameters).slope;
  }
};

template <ActivationKind K, class C>
struct Jvp {
  device::Parameters<C> parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[2]) const {
    const C x = in[0], tx = in[1];
    const auto [value, slope] = device::Op<K>::eval(x, parameters);
    out[0] = value;
    out[1] = tx * slope;
  }
};

// ---------------------------------------------------------------- launchers

namespace detail {
/// The switch from an activation's kind to the kernel made for it.
template <template <ActivationKind, class> class Function, class T, int Inputs, int Outputs>
Status launch_activation(const ActivationArguments& f, const ElementwiseTensors<T, Inputs, Outputs>& tensors,
                         std::int64_t count, Stream stream) {
  using C = Compute<T>;
  const auto parameters = device::make_parameters<C>(f.parameters);
  switch (f.kind) {
#define ACTIUM_ACTIVATION(name, ...) \
  case ActivationKind::name:         \
    return launch_elementwise(Function<ActivationKind::name, C>{parameters}, tensors, count, stream);
#include <actium/activations.def>
  }
  return cudaErrorInvalidValue;
}
}  // namespace detail

template <class T>
Status launch_forward(const ActivationArguments& f, const T* x, T* y, std::int64_t count, Stream stream) {
  return detail::launch_activation<Forward>(f, ElementwiseTensors<T, 1, 1>{{x}, {y}}, count, stream);
}

template <class T>
Status launch_backward(const ActivationArguments& f, const T* x, const T* dy, T* dx, std::int64_t count,
                       Stream stream) {
  return detail::launch_activation<Backward>(f, ElementwiseTensors<T, 2, 1>{{x, dy}, {dx}}, count, stream);
}

template <class T>
Status launch_jvp(const ActivationArguments& f, const T* x, const T* tx, T* y, T* ty, std::int64_t count,
                  Stream stream) {
  return detail::launch_activation<Jvp>(f, ElementwiseTensors<T, 2, 2>{{x, tx}, {y, ty}}, count, stream);
}

/// One dtype's kernels, compiled in a file of its own.
#define ACTIUM_INSTANTIATE_ACTIVATIONS(T)                                                              \
  template Status launch_forward<T>(const ActivationArguments&, const T*, T*, std::int64_t, Stream);   \
  template Status launch_backward<T>(const ActivationArguments&, const T*, const T*, T*, std::int64_t, \
                                     Stream);                                                          \
  template Status launch_jvp<T>(const ActivationArguments&, const T*, const T*, T*, T*, std::int64_t, Stream);

}  // namespace actium::kernels

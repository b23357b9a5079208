#pragma once
// y = content * act(gate), and dgate = (dy content) act'(gate), dcontent = dy act(gate), on the elementwise
// skeleton. Bytes moved an element: 3 and 5 times the element's size. 16-bit types: the activated gate stays
// in f32.
#include "elementwise/activation.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <ActivationKind K, class T>
struct GatedForward {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[1]) const {
    const C gate = in[0], content = in[1];
    out[0] = content * device::Op<K>::eval(gate, parameters).value;
  }
};

template <ActivationKind K, class T>
struct GatedBackward {
  using C = Compute<T>;
  const device::Parameters<C>& parameters;
  __device__ void operator()(const C (&in)[3], C (&out)[2]) const {
    const C gate = in[0], content = in[1], dy = in[2];
    const device::Jet<C> f = device::Op<K>::eval(gate, parameters);
    out[0] = product(dy, content, f.slope);
    out[1] = dy * f.value;
  }
};

// ---------------------------------------------------------------- launchers

namespace detail {
constexpr bool takes_parameters(ActivationKind kind) {
#define ACTIUM_TAKES_P0() false
#define ACTIUM_TAKES_P1(...) true
#define ACTIUM_TAKES_P2(...) true
#define ACTIUM_TAKES_P3(...) true
#define ACTIUM_ACTIVATION(name, parameters, ...) \
  if (kind == ActivationKind::name) return ACTIUM_TAKES_##parameters;
#include <actium/activations.def>
  return false;
}

/// The switch from a unit to the kernel of its gate's activation. No gate activation has parameters yet, so
/// the activation's own (unused) parameters are zero.
template <template <ActivationKind, class> class Map, class T, int Inputs, int Outputs>
Status launch_gated(GatedKind unit, std::int64_t count, const ElementwiseTensors<T, Inputs, Outputs>& tensors,
                    Stream stream) {
  ElementwiseKernel<T, Inputs, Outputs> kernel = nullptr;
  switch (unit) {
#define ACTIUM_GATED_UNIT(name, activation, ...)                                                           \
  case GatedKind::name:                                                                                    \
    static_assert(!takes_parameters(ActivationKind::activation), "a gate's parameters are not passed on"); \
    kernel = elementwise_kernel<Map<ActivationKind::activation, T>, T, Inputs, Outputs>;                   \
    break;
#include <actium/gated_units.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  return launch_elementwise(kernel, {}, tensors, Extent{1, count}, stream);
}
}  // namespace detail

template <class T>
Status launch_gated_forward(GatedKind unit, const T* gate, const T* content, T* y, std::int64_t count,
                            Stream stream) {
  return detail::launch_gated<GatedForward, T, 2, 1>(unit, count, {{{gate, 0}, {content, 0}}, {{y, 0}}},
                                                     stream);
}

template <class T>
Status launch_gated_backward(GatedKind unit, const T* gate, const T* content, const T* dy, T* dgate,
                             T* dcontent, std::int64_t count, Stream stream) {
  return detail::launch_gated<GatedBackward, T, 3, 2>(
      unit, count, {{{gate, 0}, {content, 0}, {dy, 0}}, {{dgate, 0}, {dcontent, 0}}}, stream);
}

#define ACTIUM_INSTANTIATE_GATED(T)                                                                       \
  template Status launch_gated_forward<T>(GatedKind, const T*, const T*, T*, std::int64_t, Stream);       \
  template Status launch_gated_backward<T>(GatedKind, const T*, const T*, const T*, T*, T*, std::int64_t, \
                                           Stream);

}  // namespace actium::kernels

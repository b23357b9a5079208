#pragma once
// y = content * act(gate), and dgate = (dy content) act'(gate), dcontent = dy act(gate), on the elementwise
// skeleton. Bytes moved an element: 3 and 5 times the element's size. 16-bit types: the activated gate stays
// in f32.
#include <actium/device/activation_ops.cuh>

#include "elementwise/elementwise.cuh"
#include "launch.hpp"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// dy * content * slope without an overflow on the way to a finite result. The slope comes last, because it
/// may be tiny; where dy * content is too large, it meets the larger factor first (|slope| < 1.2, so only an
/// infinite result is infinite).
template <class C>
__device__ C product(C dy, C content, C slope) {
  const C both = dy * content;
  if (device::absolute(both) <= device::Constants<C>::largest) return both * slope;
  const bool dy_is_larger = device::absolute(dy) > device::absolute(content);
  return (dy_is_larger ? dy : content) * slope * (dy_is_larger ? content : dy);
}

template <ActivationKind K, class C>
struct GatedForward {
  device::Parameters<C> parameters;
  __device__ void operator()(const C (&in)[2], C (&out)[1]) const {
    const C gate = in[0], content = in[1];
    out[0] = content * device::Op<K>::eval(gate, parameters).value;
  }
};

template <ActivationKind K, class C>
struct GatedBackward {
  device::Parameters<C> parameters;
  __device__ void operator()(const C (&in)[3], C (&out)[2]) const {
    const C gate = in[0], content = in[1], dy = in[2];
    const auto [value, slope] = device::Op<K>::eval(gate, parameters);
    out[0] = product(dy, content, slope);
    out[1] = dy * value;
  }
};

// ---------------------------------------------------------------- launchers

namespace detail {
/// The switch from a unit to the kernel of its gate's activation. No gate activation has parameters yet, so
/// the activation's own (unused) parameters are zero.
constexpr bool takes_parameters(ActivationKind kind) {
#define ACTIUM_TAKES_P0() false
#define ACTIUM_TAKES_P1(...) true
#define ACTIUM_TAKES_P2(...) true
#define ACTIUM_ACTIVATION(name, parameters, ...) \
  if (kind == ActivationKind::name) return ACTIUM_TAKES_##parameters;
#include <actium/activations.def>
  return false;
}

/// The switch from a unit to the kernel of its gate's activation.
template <template <ActivationKind, class> class Function, class T, int Inputs, int Outputs>
Status launch_gated(GatedKind unit, const ElementwiseTensors<T, Inputs, Outputs>& tensors, std::int64_t count,
                    Stream stream) {
  using C = Compute<T>;
  switch (unit) {
#define ACTIUM_GATED_UNIT(name, activation, ...)                                                           \
  case GatedKind::name:                                                                                    \
    static_assert(!takes_parameters(ActivationKind::activation), "a gate's parameters are not passed on"); \
    return launch_elementwise(Function<ActivationKind::activation, C>{}, tensors, count, stream);
#include <actium/gated_units.def>
  }
  return cudaErrorInvalidValue;
}
}  // namespace detail

template <class T>
Status launch_gated_forward(GatedKind unit, const T* gate, const T* content, T* y, std::int64_t count,
                            Stream stream) {
  return detail::launch_gated<GatedForward>(unit, ElementwiseTensors<T, 2, 1>{{gate, content}, {y}}, count,
                                            stream);
}

template <class T>
Status launch_gated_backward(GatedKind unit, const T* gate, const T* content, const T* dy, T* dgate,
                             T* dcontent, std::int64_t count, Stream stream) {
  return detail::launch_gated<GatedBackward>(
      unit, ElementwiseTensors<T, 3, 2>{{gate, content, dy}, {dgate, dcontent}}, count, stream);
}

#define ACTIUM_INSTANTIATE_GATED(T)                                                                       \
  template Status launch_gated_forward<T>(GatedKind, const T*, const T*, T*, std::int64_t, Stream);       \
  template Status launch_gated_backward<T>(GatedKind, const T*, const T*, const T*, T*, T*, std::int64_t, \
                                           Stream);

}  // namespace actium::kernels

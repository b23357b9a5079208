#pragma once
/// What an activation is on the device. Op<kind>, one specialisation each in ops/, has
///
///   template <class T> ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters);
///
/// for T = float and double, exact to the bounds of activations.def. What is not used of the result costs
/// nothing: the compiler drops it. And where they apply:
///
///   static void derive(const double (&parameters)[kMaxParameters], Derived& derived);       (on the host)
///   template <class T> ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>&);
///   template <class T> ACTIUM_HD static T slope_from_output(T y, const Parameters<T>&);     (backward:
///   input_output...) template <class T> ACTIUM_HD static bool is_on(T x, const Parameters<T>&); (backward:
///   ..._mask) template <class T> ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&); (backward:
///   ..._mask)
///
/// Op16<kind>::eval(float, parameters) is the form for results that are stored as f16 or bf16: right to well
/// below half an ULP of these, with fewer instructions. Where there is none it is Op<kind>.
///
/// Errors: activations.def and docs/accuracy.md. NaN in gives NaN out, limits hold at +-inf, no finite x
/// gives NaN, results go gradually into the subnormal range. Compile without -ftz=true and -use_fast_math.
///
/// Notation: E = exp(-|x|) or, for gelu and tanh, the exponential named there. Every formula divides by sums
/// of positive terms, is scaled so that E itself may underflow, and is chosen by the sign of x.
#include <actium/activation_kind.hpp>
#include <actium/device/math.cuh>

namespace actium::device {

/// Value, slope and curvature: f(x), f'(x), f''(x).
template <class T>
struct Jet {
  T value, slope, curvature{};
};

/// df/dp at x for each parameter p of the registry's line, in its order.
template <class T>
struct ParameterSlopes {
  T p[kMaxParameters];
};

/// The slopes of a function that has only two: where its mask bit is set, and elsewhere.
template <class T>
struct TwoSlopes {
  T on, off;
};

/// Numbers that follow from the parameters, 1 / beta say, computed once on the host: head and rest in double.
inline constexpr int kMaxDerived = 4;
struct Derived {
  double hi[kMaxDerived], lo[kMaxDerived];
};

/// An activation's parameters and what is derived from them as hi + lo, so that float kernels use what the
/// double said.
template <class T>
struct Parameters {
  Pair<T> p[kMaxParameters];
  Pair<T> derived[kMaxDerived];
};

/// Left undefined: a line in activations.def without its Op is a compile error that names the kind.
template <ActivationKind>
struct Op;

/// The form for f16 and bf16 results.
template <ActivationKind K>
struct Op16 : Op<K> {
  static constexpr bool kIsOp = true;  // no form of its own
};

namespace detail {
/// What T cannot hold counts as its largest number.
template <class T>
inline Pair<T> split(double hi, double lo) {
  constexpr double kLargest = Constants<T>::largest;
  if (hi > kLargest || hi < -kLargest)
    return {std::copysign(Constants<T>::largest, static_cast<T>(hi)), T(0)};
  const T head = static_cast<T>(hi);
  const double rest = hi - static_cast<double>(head) + lo;
  return {head, rest - rest == 0 ? static_cast<T>(rest) : T(0)};
}
}  // namespace detail

template <ActivationKind K, class T>
inline Parameters<T> make_parameters(const double (&parameters)[kMaxParameters]) {
  Derived derived{};
  if constexpr (requires { Op<K>::derive(parameters, derived); }) Op<K>::derive(parameters, derived);
  Parameters<T> made;
  for (int i = 0; i < kMaxParameters; ++i) made.p[i] = detail::split<T>(parameters[i], 0);
  for (int i = 0; i < kMaxDerived; ++i) made.derived[i] = detail::split<T>(derived.hi[i], derived.lo[i]);
  return made;
}

}  // namespace actium::device

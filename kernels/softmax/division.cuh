#pragma once
// Division by a temperature.
#include <actium/device/math.cuh>

#include "simt.cuh"

namespace actium::kernels {

/// x / T as a product with the reciprocal in two words, made on the host.
template <class C>
struct Division {
  C hi, lo;
};

template <class C>
Division<C> division_by(double temperature) {
  const long double reciprocal = 1 / static_cast<long double>(temperature);
  const C hi = static_cast<C>(reciprocal);
  const long double rest = reciprocal - static_cast<long double>(hi);
  return {hi, rest - rest == 0 ? static_cast<C>(rest) : C(0)};  // 1 / T may overflow C
}

/// By a temperature in memory; NaN for one that is not finite and > 0.
template <class C>
__device__ Division<C> division_by_one_of(C temperature) {
  const bool valid = temperature > 0 && temperature <= device::Constants<C>::largest;
  const C hi = valid ? 1 / temperature : C(NAN);
  return {hi, device::fma(-temperature, hi, C(1)) / temperature};
}

template <class C>
__device__ C divided(C x, const Division<C>& by) {
  if (x == 0 && by.hi == by.hi) return x;
  const C quotient = x * by.hi;  // where it overflows, what x * by.lo gives does not matter
  return device::absolute(quotient) <= device::Constants<C>::largest ? device::fma(x, by.hi, x * by.lo)
                                                                     : quotient;
}

}  // namespace actium::kernels

#pragma once
// exp(z / T) of a row's elements in one scale, such that the sums of parts of a row merge without an error.
//
// With L = log2(e) / T, exp(z / T) = 2^(z L) = 2^f 2^n, where n is z L rounded to an integer. A row, or a
// part of one, is scaled by 2^-N, N being the n of its maximum: a power of two, so that parts with different
// maxima come to one scale exactly, and no error grows with max |z|. Where |max z L| is too large for that
// (2^20 in f32), z - max takes the place of z; it is exact wherever its exponential is not 0.
//
// Error of an exponential: 1.4 * 2^-24 in f32. Narrow, for 16-bit results: one ex2 instruction of about
// 2^-22, and 2^-25 for each unit of (max z - z) L.
#include <actium/device/math.cuh>

#include "simt.cuh"

namespace actium::kernels {

template <class C>
struct SoftmaxConstants;
template <>
struct SoftmaxConstants<float> {
  static constexpr float largest_exponent = 0x1p20f;  // of |z L|
  static constexpr float round_to_integer = 0x1.8p23f;
  static constexpr float scale_log2 = 64;  // exponentials travel multiplied by 2^64
  static constexpr float bias = 127;
  static constexpr double reach = 180;  // 2^-150 is 0, even 2^20 times
  static constexpr double large_temperature = 0x1p64, largest_temperature = 0x1p160;
  static constexpr double smallest_temperature = 0x1p-126;
};
template <>
struct SoftmaxConstants<double> {
  static constexpr double largest_exponent = 0x1p40;
  static constexpr double round_to_integer = 0x1.8p52;
  static constexpr double scale_log2 = 512;
  static constexpr double bias = 1023;
  static constexpr double reach = 1500;
  static constexpr double large_temperature = 0x1p512, largest_temperature = 0x1p1023;
  static constexpr double smallest_temperature = 0x1p-1022;
};

/// z is first multiplied by the power of two `before`, so that no difference of logits overflows and neither
/// T nor 1 / T leaves the range of C. Made on the host.
template <class C>
struct LogitScale {
  C before;
  C exponent, exponent_rest;  // z * before times their sum is z L
  C nats, nats_rest;          // z * before times their sum is z / T
  C reach;                    // so far below the maximum exponentials are 0: variables go no further
};

template <class C>
LogitScale<C> logit_scale(double temperature) {
  using K = SoftmaxConstants<C>;
  const double before = temperature < K::large_temperature ? 0.5 : 1 / K::large_temperature;
  const long double t =
      static_cast<long double>(std::clamp(temperature, K::smallest_temperature, K::largest_temperature)) *
      static_cast<long double>(before);
  const long double nats = 1 / t, exponent = nats * 1.44269504088896340735992468100189214L;
  LogitScale<C> scale{};
  scale.before = static_cast<C>(before);
  scale.nats = static_cast<C>(nats);
  scale.nats_rest = static_cast<C>(nats - static_cast<long double>(scale.nats));
  scale.exponent = static_cast<C>(exponent);
  scale.exponent_rest = static_cast<C>(exponent - static_cast<long double>(scale.exponent));
  scale.reach = static_cast<C>(static_cast<long double>(K::reach) / exponent);
  return scale;
}

/// The same for a temperature in memory; NaN for one that is not finite and > 0.
template <class C>
__device__ LogitScale<C> logit_scale_of(C temperature) {
  using K = SoftmaxConstants<C>;
  constexpr C kBefore = C(0.5), kLarge = static_cast<C>(K::large_temperature);
  const bool valid = temperature > 0 && temperature <= device::Constants<C>::largest;
  const C bounded = device::max_nan(temperature, static_cast<C>(K::smallest_temperature));
  const C before = bounded < kLarge ? kBefore : 1 / kLarge;
  const C t = valid ? bounded * before : C(NAN);
  // The quotients 1 / t and log2(e) / t, and what they leave, divided by t again.
  constexpr C kLog2e = static_cast<C>(1.44269504088896340735992468100189214L),
              kLog2eRest = static_cast<C>(1.44269504088896340735992468100189214L - kLog2e);
  LogitScale<C> scale{};
  scale.before = before;
  scale.nats = 1 / t;
  scale.nats_rest = device::fma(-t, scale.nats, C(1)) / t;
  scale.exponent = kLog2e / t;
  scale.exponent_rest = (device::fma(-t, scale.exponent, kLog2e) + kLog2eRest) / t;
  scale.reach = static_cast<C>(K::reach) / scale.exponent;
  return scale;
}

/// The scale of a row with this maximum.
template <class C>
struct RowScale {
  C shift;    // z * before - shift is the variable
  C top;      // the variable at the maximum
  C lowest;   // no variable is taken below
  C rounder;  // adding it rounds z L to an integer and puts that, minus N, where the exponent is
};

template <class C>
__device__ RowScale<C> row_scale(C max, const LogitScale<C>& scale) {
  using K = SoftmaxConstants<C>;
  const C z = max * scale.before;
  const bool near = device::absolute(z * scale.exponent) < K::largest_exponent;
  const C top = near ? z : C(0);
  const C n = device::subtract(device::fma(top, scale.exponent, K::round_to_integer), K::round_to_integer);
  // A row with nothing in it has no logit to subtract: all its variables are `lowest`.
  return {near || max == -INFINITY ? C(0) : z, top, top - scale.reach,
          (K::round_to_integer + K::scale_log2 + K::bias) - n};
}

/// The variable; NaN stays.
template <class C>
__device__ C variable(C z, const LogitScale<C>& scale, const RowScale<C>& row) {
  return device::max_nan(device::fma(z, scale.before, -row.shift), row.lowest);
}

/// How exact an exponential is, in f32: by a polynomial 1.4 * 2^-24; by the ex2 instruction about 2^-22; by
/// ex2 of the whole exponent also 2^-24 for each unit of (max z - z) L, for sums that are rounded to 16 bits.
enum class Exponential { kPolynomial, kInstruction, kShort };

/// exp((z - max) / T) times the power of two and 2^f of the maximum.
template <Exponential E, class C>
__device__ C exponential(C v, const LogitScale<C>& scale, const RowScale<C>& row) {
  using device::Real;
  using K = SoftmaxConstants<C>;
  if constexpr (E == Exponential::kShort) {
    const C offset = device::subtract(row.rounder, K::round_to_integer + K::bias);
    return device::approximate_exp2(device::fma(v, scale.exponent, offset));
  } else {
    const Real<C> biased = device::fma(v, scale.exponent, row.rounder), n = biased - Real<C>(row.rounder);
    const Real<C> whole = device::fma(v, scale.exponent, (-n).number);
    const Real<C> f = device::fma(v, scale.exponent_rest, whole.number);
    const Real<C> power =
        device::from_bits(device::to_bits(biased.number) << device::Constants<C>::mantissa_bits);
    if constexpr (E == Exponential::kInstruction)
      return (approximate_exp2(f) * power).number;
    else
      return (fma(device::polynomial<device::coefficients::Exp2Tail<C>>(f), f, Real<C>(1)) * power).number;
  }
}

}  // namespace actium::kernels

#pragma once
/// The error metric of docs/accuracy.md:
///
///   |y - exact| / ulp(exact),   ulp(exact) = 2^(e - mantissa_bits) where 2^e <= |exact| < 2^(e+1),
///
/// and never below the smallest subnormal. An infinite y counts as the power of two that follows the largest
/// finite number. NaN for NaN is no error; everything else that involves NaN, or an infinite exact value, is
/// infinitely wrong.
#include <actium/dtype.hpp>
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace actium::accuracy {

/// What the metric has to know of a binary floating-point format: f64, f32, f16 or bf16.
struct Format {
  int mantissa_bits;  // stored ones
  int min_exponent;   // of the smallest normal number
  int max_exponent;   // of the largest finite number
};

constexpr Format format_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return {52, -1022, 1023};
    case DType::kF32:
      return {23, -126, 127};
    case DType::kF16:
      return {10, -14, 15};
    default:
      return {7, -126, 127};
  }
}

/// A floor_exponent that changes nothing.
inline constexpr int kNoFloor = -100000;

/// The error against a reference in long double, which is exact enough wherever the reference is.
inline double ulp_error(double y, long double exact, Format format, int floor_exponent = kNoFloor) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(y)) return std::isnan(exact) && std::isnan(y) ? 0 : kInfinity;
  if (std::isinf(exact)) return y == static_cast<double>(exact) ? 0 : kInfinity;
  const long double overflow = std::ldexp(1.0L, format.max_exponent + 1);
  const long double target = std::clamp(exact, -overflow, overflow);
  const long double bounded = std::clamp(static_cast<long double>(y), -overflow, overflow);
  const int lowest = std::max(format.min_exponent, floor_exponent);
  const int exponent = target == 0 ? lowest : std::max(lowest, std::ilogb(target));
  return static_cast<double>(std::ldexp(std::fabs(bounded - target), format.mantissa_bits - exponent));
}

/// The error of an f32, f16 or bf16 against a reference in double: the same, several times faster.
inline double narrow_ulp_error(double y, double exact, Format format) {
  const double overflow = std::bit_cast<double>(static_cast<std::uint64_t>(1024 + format.max_exponent) << 52);
  if (!(std::fabs(y) <= overflow && std::fabs(exact) <= overflow))  // rare; NaN too
    return ulp_error(y, static_cast<long double>(exact), format);
  const int biased = static_cast<int>(std::bit_cast<std::uint64_t>(exact) >> 52 & 0x7ff);
  const int exponent = std::max(format.min_exponent, biased - 1023);
  const auto scale =
      std::bit_cast<double>(static_cast<std::uint64_t>(1023 + format.mantissa_bits - exponent) << 52);
  return std::fabs(y - exact) * scale;
}

/// The element of `dtype` nearest to x.
template <class Wide>
double rounded(DType dtype, Wide x) {
  switch (dtype) {
    case DType::kF64:
      return static_cast<double>(x);
    case DType::kF32:
      return static_cast<float>(x);
    case DType::kF16:
      return f16(static_cast<double>(x));
    default:
      return bf16(static_cast<double>(x));
  }
}

}  // namespace actium::accuracy

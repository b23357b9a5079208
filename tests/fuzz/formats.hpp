#pragma once
// The numbers of a dtype.
#include <actium/dtype.hpp>
#include <algorithm>
#include <cmath>

namespace actium_fuzz {

using Real = long double;

struct Format {
  int mantissa_bits, min_exponent, max_exponent;
};
inline Format format_of(actium::DType dtype) {
  constexpr Format kFormats[] = {{52, -1022, 1023}, {23, -126, 127}, {10, -14, 15},
                                 {7, -126, 127},    {3, -6, 8},      {2, -14, 15}};
  return kFormats[static_cast<int>(dtype)];
}
inline actium::DType computing(actium::DType dtype) {
  return dtype == actium::DType::kF64 ? dtype : actium::DType::kF32;
}

/// Infinity counts as the power of two that follows the largest number.
inline Real bounded(actium::DType dtype, double x) {
  const Real overflow = std::ldexp(Real{1}, format_of(dtype).max_exponent + 1);
  return std::clamp<Real>(x, -overflow, overflow);
}
inline Real ulp(actium::DType dtype, Real x) {
  const Format f = format_of(dtype);
  return std::ldexp(Real{1},
                    (x == 0 ? f.min_exponent : std::max(f.min_exponent, std::ilogb(x))) - f.mantissa_bits);
}
inline Real epsilon(actium::DType dtype) { return std::ldexp(Real{1}, -format_of(dtype).mantissa_bits); }
inline Real smallest(actium::DType dtype) { return ulp(dtype, 0); }

}  // namespace actium_fuzz

#pragma once
/// The machine instructions that the functors are written in, each beside its twin for a host compiler, so
/// that g++ runs the same arithmetic bit for bit (the approximate reciprocal excepted: see there).
///
/// A host compiler must not contract a * b + c into one operation: pass -ffp-contract=off where -std=gnu++20
/// or clang++ meets a target with a fused multiply-add.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#ifdef __CUDACC__
#define ACTIUM_HD __host__ __device__ __forceinline__
#else
#define ACTIUM_HD inline
#endif

namespace actium::device {

// Sums, products and the fused multiply-add, rounded once to nearest. On a GPU the intrinsics also say that
// nvcc may not contract them: error-free transformations depend on it.
ACTIUM_HD float add(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
ACTIUM_HD double add(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(a, b);
#else
  return a + b;
#endif
}

ACTIUM_HD float subtract(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fsub_rn(a, b);
#else
  return a - b;
#endif
}
ACTIUM_HD double subtract(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dsub_rn(a, b);
#else
  return a - b;
#endif
}

ACTIUM_HD float multiply(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
ACTIUM_HD double multiply(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

ACTIUM_HD float fma(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}
ACTIUM_HD double fma(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __fma_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

// Bit casts.
ACTIUM_HD std::uint32_t to_bits(float a) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(a);
#else
  return std::bit_cast<std::uint32_t>(a);
#endif
}
ACTIUM_HD std::uint64_t to_bits(double a) {
#ifdef __CUDA_ARCH__
  return static_cast<std::uint64_t>(__double_as_longlong(a));
#else
  return std::bit_cast<std::uint64_t>(a);
#endif
}
ACTIUM_HD float from_bits(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
ACTIUM_HD double from_bits(std::uint64_t bits) {
#ifdef __CUDA_ARCH__
  return __longlong_as_double(static_cast<long long>(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}

/// The upper half of a 128-bit product.
ACTIUM_HD std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
#ifdef __CUDA_ARCH__
  return __umul64hi(a, b);
#else
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<std::uint64_t>(Wide{a} * b >> 64);
#endif
}

ACTIUM_HD float absolute(float a) { return from_bits(to_bits(a) & 0x7fffffffu); }
ACTIUM_HD double absolute(double a) { return from_bits(to_bits(a) & std::uint64_t{0x7fffffffffffffffu}); }
ACTIUM_HD bool sign_bit(float a) { return to_bits(a) >> 31 != 0; }
ACTIUM_HD bool sign_bit(double a) { return to_bits(a) >> 63 != 0; }
/// The magnitude of `magnitude` with the sign bit of `sign`.
ACTIUM_HD float copy_sign(float magnitude, float sign) {
  return from_bits((to_bits(magnitude) & 0x7fffffffu) | (to_bits(sign) & 0x80000000u));
}
ACTIUM_HD double copy_sign(double magnitude, double sign) {
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  return from_bits((to_bits(magnitude) & ~kSign) | (to_bits(sign) & kSign));
}

namespace detail {
/// IEEE 754-2019 maximum and minimum: NaN wins, and +0 > -0.
template <class T>
ACTIUM_HD T maximum(T a, T b) {
  if (a != a || b != b) return a + b;
  if (a == b) return to_bits(a) < to_bits(b) ? a : b;  // equal numbers, so at most a sign of zero differs
  return a < b ? b : a;
}
template <class T>
ACTIUM_HD T minimum(T a, T b) {
  if (a != a || b != b) return a + b;
  if (a == b) return to_bits(a) < to_bits(b) ? b : a;
  return a < b ? a : b;
}
}  // namespace detail

/// The greater (lesser) of two numbers; NaN where either is NaN. One instruction in float from sm_80 on.
ACTIUM_HD float max_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
#else
  return detail::maximum(a, b);
#endif
}
ACTIUM_HD double max_nan(double a, double b) { return detail::maximum(a, b); }

ACTIUM_HD float min_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
#else
  return detail::minimum(a, b);
#endif
}
ACTIUM_HD double min_nan(double a, double b) { return detail::minimum(a, b); }

/// About 1 / a, for a normal with a normal reciprocal. In float one instruction with an error of at most 1
/// ULP; the twin rounds correctly, and tests move it by ACTIUM_RECIPROCAL_ULP_ERROR to show that no result
/// depends on the difference. In double a correctly rounded division.
ACTIUM_HD float approximate_reciprocal(float a) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(a));
  return y;
#elif defined(ACTIUM_RECIPROCAL_ULP_ERROR)
  const std::uint32_t bits = to_bits(1.0f / a), magnitude = bits & 0x7fffffffu;
  const bool normal = magnitude >= 0x00800000u && magnitude < 0x7f800000u;
  return from_bits(normal ? bits + static_cast<std::uint32_t>(ACTIUM_RECIPROCAL_ULP_ERROR) : bits);
#else
  return 1.0f / a;
#endif
}
ACTIUM_HD double approximate_reciprocal(double a) { return 1.0 / a; }

/// About 1 / sqrt(a), for a normal. In float one instruction with a relative error of at most 2^-22.9; the
/// twin rounds correctly, and tests move it by ACTIUM_RECIPROCAL_SQRT_ULP_ERROR (2 ULP cover the
/// instruction). In double a correctly rounded root and a correctly rounded division.
ACTIUM_HD float approximate_reciprocal_sqrt(float a) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(a));
  return y;
#else
  const float y = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
#ifdef ACTIUM_RECIPROCAL_SQRT_ULP_ERROR
  const std::uint32_t bits = to_bits(y), magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x00800000u && magnitude < 0x7f800000u)
    return from_bits(bits + static_cast<std::uint32_t>(ACTIUM_RECIPROCAL_SQRT_ULP_ERROR));
#endif
  return y;
#endif
}
ACTIUM_HD double approximate_reciprocal_sqrt(double a) {
#ifdef __CUDA_ARCH__
  return __drcp_rn(__dsqrt_rn(a));
#else
  return 1.0 / std::sqrt(a);
#endif
}

/// About 2^a. One instruction with an error of at most 2 ULP, for the forms behind 16-bit results; subnormal
/// results are flushed to 0, a subnormal argument counts as 0. The twin rounds correctly, and tests move it
/// by ACTIUM_EXP2_ULP_ERROR. There is none in double.
ACTIUM_HD float approximate_exp2(float a) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(a));
  return y;
#else
  const float y = static_cast<float>(std::exp2(static_cast<double>(a)));
  const std::uint32_t bits = to_bits(y), magnitude = bits & 0x7fffffffu;
  const bool normal = magnitude >= 0x00800000u && magnitude < 0x7f800000u;
#ifdef ACTIUM_EXP2_ULP_ERROR
  if (normal) return from_bits(bits + static_cast<std::uint32_t>(ACTIUM_EXP2_ULP_ERROR));
#endif
  return normal || magnitude >= 0x7f800000u ? y : 0.0f;
#endif
}

}  // namespace actium::device

#pragma once
// Every instruction of <actium/device/intrinsics.cuh> on three numbers, and the conversions of
// kernels/simt.cuh: on a GPU the instruction itself, in code compiled for the host its twin.
#include <actium/device/intrinsics.cuh>
#include <type_traits>

namespace actium_test {

/// ulp: the documented error in float, for normal arguments and results; 0: the twin's bits.
struct Twin {
  const char* name;
  double ulp;
};
inline constexpr Twin kTwins[] = {{"add", 0},
                                  {"subtract", 0},
                                  {"multiply", 0},
                                  {"fma", 0},
                                  {"to_bits", 0},
                                  {"absolute", 0},
                                  {"sign_bit", 0},
                                  {"copy_sign", 0},
                                  {"max_nan", 0},
                                  {"min_nan", 0},
                                  {"approximate_reciprocal", 1},
                                  {"approximate_reciprocal_sqrt", 2},
                                  {"approximate_exp2", 2}};
inline constexpr int kTwinCount = sizeof kTwins / sizeof kTwins[0];

template <class T>
struct TwinValues {
  T value[kTwinCount];
  std::uint64_t multiply_high;
};

template <class T>
ACTIUM_HD TwinValues<T> twin_values(T a, T b, T c) {
  namespace d = actium::device;
  T exp2 = 0;  // there is none in double
  if constexpr (std::is_same_v<T, float>) exp2 = d::approximate_exp2(a);
  constexpr std::uint64_t kSpread = 0x9e3779b97f4a7c15u;
  return {{d::add(a, b), d::subtract(a, b), d::multiply(a, b), d::fma(a, b, c), d::from_bits(d::to_bits(a)),
           d::absolute(a), T(d::sign_bit(a)), d::copy_sign(a, b), d::max_nan(a, b), d::min_nan(a, b),
           d::approximate_reciprocal(a), d::approximate_reciprocal_sqrt(a), exp2},
          d::multiply_high(std::uint64_t{d::to_bits(a)} * kSpread, std::uint64_t{d::to_bits(b)} * kSpread)};
}

/// A float as each narrower type stores it, and a double as the 16-bit ones do.
struct Narrowed {
  std::uint16_t f16, bf16, f16_of_double, bf16_of_double;
  std::uint8_t e4m3, e5m2;
};
/// What bits stand for; of the 8-bit types the low byte of them.
struct Widened {
  float f16, bf16, e4m3, e5m2;
};

// On the current CUDA device; host pointers. Each returns a cudaError_t.

template <class T>
int twin_values_on_device(const T* a, const T* b, const T* c, TwinValues<T>* out, int count);  // [count] each
int narrow_on_device(const float* x, const double* wide, Narrowed* out, int count);
int widen_on_device(const std::uint16_t* bits, Widened* out, int count);
/// out = in by packets, [16 * packets].
int copy_packets_on_device(const unsigned char* in, unsigned char* out, int packets);

}  // namespace actium_test

#pragma once
// Every instruction of <actium/device/intrinsics.cuh> on three numbers: on a GPU the instruction itself, in
// code compiled for the host its twin.
#include <actium/device/intrinsics.cuh>

namespace actium_test {

inline constexpr const char* kTwinNames[] = {"add",
                                             "subtract",
                                             "multiply",
                                             "fma",
                                             "to_bits",
                                             "absolute",
                                             "sign_bit",
                                             "copy_sign",
                                             "max_nan",
                                             "min_nan",
                                             "approximate_reciprocal"};
inline constexpr int kTwins = sizeof kTwinNames / sizeof kTwinNames[0];

template <class T>
struct TwinValues {
  T value[kTwins];  // approximate_reciprocal last
};

template <class T>
ACTIUM_HD TwinValues<T> twin_values(T a, T b, T c) {
  namespace d = actium::device;
  return {{d::add(a, b), d::subtract(a, b), d::multiply(a, b), d::fma(a, b, c), d::from_bits(d::to_bits(a)),
           d::absolute(a), T(d::sign_bit(a)), d::copy_sign(a, b), d::max_nan(a, b), d::min_nan(a, b),
           d::approximate_reciprocal(a)}};
}

/// The same on the current CUDA device; host pointers, [count] each. Returns a cudaError_t.
template <class T>
int twin_values_on_device(const T* a, const T* b, const T* c, TwinValues<T>* out, int count);

/// out = in on the device, by packets; host pointers, [16 * packets]. Returns a cudaError_t.
int copy_packets_on_device(const unsigned char* in, unsigned char* out, int packets);

}  // namespace actium_test

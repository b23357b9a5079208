#pragma once
// The bridge between the two compilers: what host/ may call of kernels/. Plain C++.
//
// Every launcher queues on `stream` and returns a cudaError_t as int, 0 for success. None checks arguments
// (host/ did), synchronises, or allocates. T is double, float, actium::f16 or actium::bf16; all pointers are
// device memory.
#include <actium/activation_kind.hpp>
#include <actium/dtype.hpp>
#include <cstdint>

struct CUstream_st;

namespace actium::kernels {

using Stream = CUstream_st*;
using Status = int;

/// Success if this build has kernels for the current device, else the error that a launch would give.
Status kernel_image_status();

/// An activation as the launchers take it.
struct ActivationArguments {
  ActivationKind kind;
  double parameters[2];
};

template <class T>
Status launch_forward(const ActivationArguments& f,
                      const T* x,  // [count]
                      T* y,        // [count]
                      std::int64_t count, Stream stream);
template <class T>
Status launch_backward(const ActivationArguments& f,
                       const T* x,   // [count]
                       const T* dy,  // [count]
                       T* dx,        // [count]
                       std::int64_t count, Stream stream);
template <class T>
Status launch_jvp(const ActivationArguments& f,
                  const T* x,   // [count]
                  const T* tx,  // [count]
                  T* y,         // [count]
                  T* ty,        // [count]
                  std::int64_t count, Stream stream);

template <class T>
Status launch_gated_forward(GatedKind unit,
                            const T* gate,     // [count]
                            const T* content,  // [count]
                            T* y,              // [count]
                            std::int64_t count, Stream stream);
template <class T>
Status launch_gated_backward(GatedKind unit,
                             const T* gate,     // [count]
                             const T* content,  // [count]
                             const T* dy,       // [count]
                             T* dgate,          // [count]
                             T* dcontent,       // [count]
                             std::int64_t count, Stream stream);

/// What one softmax launch writes.
enum class SoftmaxResult : std::uint8_t { kProbability, kLogProbability, kLogSumExp, kEntropy };

template <class T>
Status launch_softmax(SoftmaxResult result, double temperature,
                      const T* z,  // [rows, cols]
                      T* out,      // [rows, cols] for the probabilities, [rows] for the statistics
                      std::int64_t rows, std::int64_t cols, Stream stream);
/// softmax_vjp and softmax_jvp: the Jacobian is symmetric, so they are one map.
template <class T>
Status launch_softmax_jvp(double temperature,
                          const T* p,   // [rows, cols]
                          const T* tz,  // [rows, cols]
                          T* tp,        // [rows, cols]
                          std::int64_t rows, std::int64_t cols, Stream stream);
template <class T>
Status launch_softmax_jacobian(double temperature,
                               const T* p,   // [rows, cols]
                               T* jacobian,  // [rows, cols, cols]
                               std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace actium::kernels

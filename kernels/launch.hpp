#pragma once
// The bridge between the two compilers: what host/ may call of kernels/. Plain C++.
//
// Every launcher queues on `stream` and returns a cudaError_t as int, 0 for success. None checks arguments
// (host/ did), synchronises, or allocates. T is double, float, actium::f16 or actium::bf16; all pointers are
// device memory.
#include <actium/activation_kind.hpp>
#include <actium/dtype.hpp>
#include <cstddef>
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
  double parameters[kMaxParameters];
};

/// The common shape of a call's tensors. Every tensor is a matrix [rows, cols] whose columns are contiguous;
/// tensors that are contiguous as a whole come as one row. count = rows * cols may be past 2^31.
struct Extent {
  std::int64_t rows, cols;
};
/// Element (r, c) is data[r * row_stride + c]. With one row the stride does not matter.
template <class T>
struct Matrix {
  T* data;
  std::int64_t row_stride;
};

// The plain operations: one dtype, nothing else in the pass, one kernel for each activation. An output may be
// exactly an input (same data and stride).
template <class T>
Status launch_forward(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<T> y,
                      Stream stream);
template <class T>
Status launch_backward(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<const T> dy,
                       Matrix<T> dx, Stream stream);
template <class T>
Status launch_jvp(const ActivationArguments& f, Extent extent, Matrix<const T> x, Matrix<const T> tx,
                  Matrix<T> y, Matrix<T> ty, Stream stream);
/// ddy = ddx * f'(x), dx = ddx * dy * f''(x).
template <class T>
Status launch_backward_of_backward(const ActivationArguments& f, Extent extent, Matrix<const T> x,
                                   Matrix<const T> dy, Matrix<const T> ddx, Matrix<T> ddy, Matrix<T> dx,
                                   Stream stream);

/// y[i] = f(x[i]) for every tensor of a list, in as few launches as the list fits in (one for up to
/// kManyTensors).
template <class T>
struct ManyTensor {
  const T* x;          // [count]
  T* y;                // [count]
  std::int64_t count;  // > 0
};
template <class T>
Status launch_forward_many(const ActivationArguments& f, const ManyTensor<T>* tensors,
                           std::int64_t tensor_count, Stream stream);

/// A matrix of any element type; data == nullptr: not there.
struct AnyMatrix {
  void* data = nullptr;
  std::int64_t row_stride = 0;
  DType dtype = DType::kF32;
};

/// Keeps element i (its number in memory order: row * cols + column) where word i % 4 of Philox block i / 4
/// (key seed, counter {i / 4, sequence}) is >= threshold, and multiplies what is kept by inverse_keep.
/// threshold 0: keeps all.
struct DropoutArguments {
  std::uint32_t threshold = 0;
  double inverse_keep = 1;
  std::uint64_t seed = 0, sequence = 0;
};

/// Which parameter of a per-channel vector belongs to element i of memory order: channel (i / inner) %
/// channels.
struct ChannelArguments {
  std::int64_t channels = 1, inner = 1;
};

/// y = residual + scale * dropout(f(x + bias)), optional parts left out. Either everything is f64, or x, y,
/// bias, residual and slope are each any of f32, f16, bf16, and y may be an 8-bit type. Computed in f32
/// (f64), rounded once.
struct FusedForward {
  ActivationArguments f;
  Extent extent;
  AnyMatrix x = {}, y = {};
  AnyMatrix residual = {};  // [rows, cols]
  AnyMatrix bias = {};      // [bias_map.channels], contiguous
  ChannelArguments bias_map = {};
  AnyMatrix slope = {};  // leaky_relu's and prelu's, [slope_map.channels], instead of f.parameters[0]
  ChannelArguments slope_map = {};
  double scale = 1;
  DropoutArguments dropout = {};
  std::uint32_t* mask =
      nullptr;  // [ceil(count / 32)]: bit i % 32 of word i / 32 is Op::is_on(x[i] + bias); extent.rows == 1
  double quantization_scale =
      1;                    // 8-bit y: stores y * quantization_scale, saturated to the largest finite number
  float* amax = nullptr;    // one: the largest |stored|, or |y * quantization_scale| where it saturates, over
                            // quantization_scale; NaN if any is NaN
  void* scratch = nullptr;  // fused_forward_scratch(...) bytes, 16-byte aligned
};
Status launch_fused_forward(const FusedForward& call, Stream stream);
/// What call.scratch must hold; of the pointers it looks only at which are null.
std::size_t fused_forward_scratch(const FusedForward& call);

/// What the slope of FusedBackward comes from.
enum class SlopeSource : std::uint8_t { kInput, kOutput, kMask };

/// dx = scale * dropout'(dy) * f'(x + bias), and dbias = the sums of dx (before it is rounded) over each
/// channel of bias_map, in a fixed order that depends on the shape alone.
struct FusedBackward {
  ActivationArguments f;
  Extent extent;
  SlopeSource source = SlopeSource::kInput;
  AnyMatrix x = {};  // the input; the activation's own output with kOutput; not there with kMask
  const std::uint32_t* mask = nullptr;  // with kMask, as FusedForward writes it
  AnyMatrix dy = {}, dx = {};
  AnyMatrix bias = {};   // with kInput
  AnyMatrix slope = {};  // leaky_relu's and prelu's
  ChannelArguments bias_map = {}, slope_map = {};
  double scale = 1;
  DropoutArguments dropout = {};
  AnyMatrix dbias = {};     // [bias_map.channels], of any dtype
  void* scratch = nullptr;  // fused_backward_scratch(...) bytes, 16-byte aligned
};
Status launch_fused_backward(const FusedBackward& call, Stream stream);
std::size_t fused_backward_scratch(const FusedBackward& call);

/// dp[j, c] = sum of dy * df/dp_j(x) over the elements of channel c, for each parameter j of f; dy and x one
/// dtype, dp f32 or f64 (the sums are carried in f32 pairs or f64). Fixed order.
struct ParameterGradient {
  ActivationArguments f;
  Extent extent;
  AnyMatrix x = {}, dy = {};
  ChannelArguments map = {};
  AnyMatrix dp = {};        // [parameters of f, map.channels], contiguous
  void* scratch = nullptr;  // parameter_gradient_scratch(...) bytes, 16-byte aligned
};
Status launch_parameter_gradient(const ParameterGradient& call, Stream stream);
std::size_t parameter_gradient_scratch(const ParameterGradient& call);

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

}  // namespace actium::kernels

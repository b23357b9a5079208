#pragma once
// The CPU path: the same operations in textbook form, double inside (long double for f64), rounded once.
// Clear, not fast; every kernel is checked against it. Arguments have been validated.
#include <actium/activation.hpp>
#include <actium/cross_entropy.hpp>
#include <actium/gated.hpp>
#include <actium/softmax.hpp>
#include <cstdint>

#include "layout.hpp"

namespace actium::reference {

/// What the slope of backward comes from.
enum class SlopeFrom : std::uint8_t { kInput, kOutput, kMask };

/// Words below this are dropped: p as a multiple of 2^-32.
inline std::uint32_t dropout_threshold(const Dropout& dropout) {
  return static_cast<std::uint32_t>(dropout.p * 0x1p32);
}
/// 1 / (1 - p).
inline double dropout_scale(std::uint32_t threshold) { return 0x1p32 / (0x1p32 - threshold); }

// Elementwise operations. The rows of `layout` are those of the tensors in the order of the parameters:
// inputs, then outputs, then (forward) options.residual.
void forward(const Activation& f, const Layout& layout, const ConstTensorView& x, const TensorView& y,
             const ForwardOptions& options, int threads);
/// x: the input, or with kOutput the output; not there with kMask.
void backward(const Activation& f, SlopeFrom from, const Layout& layout, const ConstTensorView& x,
              const std::uint32_t* mask, const ConstTensorView& dy, const TensorView& dx,
              const BackwardOptions& options, int threads);
void jvp(const Activation& f, const Layout& layout, const ConstTensorView& x, const ConstTensorView& tx,
         const TensorView& y, const TensorView& ty, int threads);
void backward_of_backward(const Activation& f, const Layout& layout, const ConstTensorView& x,
                          const ConstTensorView& dy, const ConstTensorView& ddx, const TensorView& ddy,
                          const TensorView& dx, int threads);
void parameter_gradient(const Activation& f, const Layout& layout, const ConstTensorView& x,
                        const ConstTensorView& dy, const TensorView& dp, int channel_axis, int threads);

void gated_forward(const GatedUnit& unit, const GatedInput& x, const TensorView& y, int threads);
void gated_backward(const GatedUnit& unit, const GatedInput& x, const ConstTensorView& dy,
                    const GatedOutput& dx, int threads);

void softmax(const ConstTensorView& z, const TensorView& p, const SoftmaxOptions& options, int threads);
void log_softmax(const ConstTensorView& z, const TensorView& log_p, const SoftmaxOptions& options,
                 int threads);
void logsumexp(const ConstTensorView& z, const TensorView& result, const SoftmaxOptions& options,
               int threads);
void entropy(const ConstTensorView& z, const TensorView& result, const SoftmaxOptions& options, int threads);
/// p broadcasts to the shape of tz.
void softmax_jvp(const ConstTensorView& p, const ConstTensorView& tz, const TensorView& tp,
                 const SoftmaxOptions& options, int threads);
void sparsemax(const ConstTensorView& z, const TensorView& p, const SoftmaxOptions& options, int threads);
void sparsemax_vjp(const ConstTensorView& p, const ConstTensorView& dp, const TensorView& dz,
                   const SoftmaxOptions& options, int threads);
void softmax_jacobian(const ConstTensorView& p, const TensorView& jacobian, double temperature, int threads);

/// loss, dz: null where they are not asked for.
void cross_entropy(const ConstTensorView& z, const IndexView& labels, const TensorView* loss,
                   const TensorView* dz, const CrossEntropyOptions& options, int threads);
void softmax_value_and_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& p,
                           const TensorView& tp, const SoftmaxOptions& options, int threads);
void entropy_vjp(const ConstTensorView& z, const ConstTensorView& dh, const TensorView& dz,
                 const SoftmaxOptions& options, int threads);
void logsumexp_vjp(const ConstTensorView& z, const ConstTensorView& dlse, const TensorView& dz,
                   const SoftmaxOptions& options, int threads);
void entropy_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& th,
                 const SoftmaxOptions& options, int threads);
void logsumexp_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& tlse,
                   const SoftmaxOptions& options, int threads);
void log_softmax_vjp(const ConstTensorView& log_p, const ConstTensorView& dy, const TensorView& dz,
                     const SoftmaxOptions& options, int threads);
void log_softmax_jvp(const ConstTensorView& log_p, const ConstTensorView& tz, const TensorView& ty,
                     const SoftmaxOptions& options, int threads);
void softmax_hvp(const ConstTensorView& p, const ConstTensorView& dp, const ConstTensorView& tz,
                 const TensorView& result, const SoftmaxOptions& options, int threads);
void softmax_temperature_gradient(const ConstTensorView& z, const ConstTensorView& p,
                                  const ConstTensorView& dp, const TensorView& dT,
                                  const SoftmaxOptions& options, int threads);

}  // namespace actium::reference

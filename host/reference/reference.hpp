#pragma once
// The CPU path: the same operations in textbook form, double inside (long double for f64), rounded once.
// Clear, not fast; every kernel is checked against it. Arguments have been validated.
#include <actium/activation.hpp>
#include <actium/gated.hpp>
#include <actium/softmax.hpp>

namespace actium::reference {

void forward(const Activation& f, const ConstTensorView& x, const TensorView& y, int threads);
void backward(const Activation& f, const ConstTensorView& x, const ConstTensorView& dy, const TensorView& dx,
              int threads);
void jvp(const Activation& f, const ConstTensorView& x, const ConstTensorView& tx, const TensorView& y,
         const TensorView& ty, int threads);

void gated_forward(const GatedUnit& unit, const GatedInput& x, const TensorView& y, int threads);
void gated_backward(const GatedUnit& unit, const GatedInput& x, const ConstTensorView& dy,
                    const GatedOutput& dx, int threads);

void softmax(const ConstTensorView& z, const TensorView& p, double temperature, int threads);
void log_softmax(const ConstTensorView& z, const TensorView& log_p, double temperature, int threads);
void logsumexp(const ConstTensorView& z, const TensorView& result, double temperature, int threads);
void entropy(const ConstTensorView& z, const TensorView& result, double temperature, int threads);
void softmax_jvp(const ConstTensorView& p, const ConstTensorView& tz, const TensorView& tp,
                 double temperature, int threads);
void softmax_jacobian(const ConstTensorView& p, const TensorView& jacobian, double temperature, int threads);

}  // namespace actium::reference

#pragma once
/// The notebook's 25 sections: each fills its Section by calls of the public interface on the context.
#include "section.hpp"

namespace actium::cli::notebook {

// curves_and_slopes.cpp
void curves(const Context& ctx, Section& s);
void sigmoid_derivative(const Context& ctx, Section& s);
void tanh_derivative(const Context& ctx, Section& s);
void derivative_comparison(const Context& ctx, Section& s);
void saturation(const Context& ctx, Section& s);

// rectifiers_and_tails.cpp
void leaky_relu_gradient(const Context& ctx, Section& s);
void softplus_approximates_relu(const Context& ctx, Section& s);
void negative_tails(const Context& ctx, Section& s);
void smooth_derivatives(const Context& ctx, Section& s);

// affine_and_gated.cpp
void affine_collapse(const Context& ctx, Section& s);
void glu_unit(const Context& ctx, Section& s);
void geglu_and_swiglu(const Context& ctx, Section& s);
void bilinear_gradients(const Context& ctx, Section& s);

// softmax_sections.cpp
void softmax_probabilities(const Context& ctx, Section& s);
void softmax_shift_invariance(const Context& ctx, Section& s);
void softmax_temperature(const Context& ctx, Section& s);
void softmax_jacobian_matrix(const Context& ctx, Section& s);
void softmax_saturation(const Context& ctx, Section& s);

// random_signals.cpp
void relu_sparsity(const Context& ctx, Section& s);
void activation_variance(const Context& ctx, Section& s);
void relu_active_path(const Context& ctx, Section& s);
void dead_neurons(const Context& ctx, Section& s);

// layers.cpp
void xavier_and_he_scale(const Context& ctx, Section& s);
void one_layer_propagation(const Context& ctx, Section& s);
void vanishing_gradient(const Context& ctx, Section& s);

}  // namespace actium::cli::notebook

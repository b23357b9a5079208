/// Sections 8 to 11: leaky ReLU, softplus, and the smooth activations near and below 0.
#include <algorithm>
#include <cmath>

#include "sections.hpp"

namespace actium::cli::notebook {

void leaky_relu_gradient(const Context& ctx, Section& s) {
  const Vector x = {-2, -0.5, 0, 1};
  const Activation leaky = leaky_relu(0.1);
  const Vector relu_y = evaluate(ctx, relu(), x), relu_slope = slope(ctx, relu(), x);
  const Vector leaky_y = evaluate(ctx, leaky, x), leaky_slope = slope(ctx, leaky, x);
  s.values = {{"x", x},
              {"ReLU", relu_y},
              {"Leaky ReLU", leaky_y},
              {"ReLU'", relu_slope},
              {"Leaky ReLU'", leaky_slope}};
  s.print("ReLU:       {}, slope {}", rounded(relu_y, 2), rounded(relu_slope, 1));
  s.print("Leaky ReLU: {}, slope {}", rounded(leaky_y, 2), rounded(leaky_slope, 1));
  s.check("negative values are not zeroed by Leaky ReLU", leaky_y[0] < 0);
  s.check_close("values", leaky_y, Vector{-0.2, -0.05, 0, 1}, 1e-16);
  s.check_close("slope 0.1 below 0, where ReLU's is 0", leaky_slope, Vector{0.1, 0.1, 0.1, 1}, 0);
  s.check_close("ReLU slopes", relu_slope, Vector{0, 0, 0, 1}, 0);
}

void softplus_approximates_relu(const Context& ctx, Section& s) {
  const Vector x = {-8, 0, 8};
  const Vector softplus_y = evaluate(ctx, softplus(), x), relu_y = evaluate(ctx, relu(), x);
  const double below = std::abs(softplus_y[0] - relu_y[0]), above = std::abs(softplus_y[2] - relu_y[2]);
  const double exact = std::log1p(std::exp(-8.0));
  s.values = {{"softplus(8)-relu(8)", above},
              {"softplus(-8)-relu(-8)", below},
              {"softplus(0)", softplus_y[1]},
              {"log(1+exp(-8))", exact}};
  s.print("softplus(8)-relu(8):   {:.12f}", above);
  s.print("softplus(-8)-relu(-8): {:.12f}, both log(1 + exp(-8))", below);
  s.check("softplus close to ReLU in tails", above < 1e-3 && below < 1e-3);
  s.check_close("softplus(-8) = log(1 + exp(-8))", below, exact, 1e-18);
  s.check_close("softplus(8) - 8 = log(1 + exp(-8))", above, exact, 1e-14);
  s.check_close("largest gap: softplus(0) = log 2", softplus_y[1], std::log(2.0), 1e-15);
}

void negative_tails(const Context& ctx, Section& s) {
  const Vector x = {-3, -1, 0, 1, 3};
  const Vector tanh_form = evaluate(ctx, gelu_tanh(), x), erf_form = evaluate(ctx, gelu(), x);
  const Vector silu_y = evaluate(ctx, silu(), x);
  Vector erf_exact, silu_exact;
  for (const double v : x) {
    erf_exact.push_back(v / 2 * std::erfc(-v / std::sqrt(2.0)));
    silu_exact.push_back(v / (1 + std::exp(-v)));
  }
  const Vector scan = linspace(-6, 6, 12001);
  const Vector scan_tanh = evaluate(ctx, gelu_tanh(), scan), scan_erf = evaluate(ctx, gelu(), scan);
  const double gap = largest_difference(scan_tanh, scan_erf);
  s.values = {
      {"x", x}, {"GELU", tanh_form}, {"GELU (erf)", erf_form}, {"SiLU", silu_y}, {"gap_tanh_erf", gap}};
  s.print("GELU:       {}, the notebook's tanh form", rounded(tanh_form, 4));
  s.print("GELU (erf): {}", rounded(erf_form, 4));
  s.print("SiLU:       {}", rounded(silu_y, 4));
  s.print("the two forms of GELU differ by up to {:.2e} on [-6, 6]", gap);
  s.check("GELU allows small negative outputs", tanh_form[1] < 0 && erf_form[1] < 0);
  s.check_close("GELU (erf) = x Phi(x)", erf_form, erf_exact, 4e-15);
  s.check_close("SiLU = x / (1 + exp(-x))", silu_y, silu_exact, 4e-15);
  s.check_close("largest gap of the two forms", gap, 4.73e-4, 1e-6);
}

void smooth_derivatives(const Context& ctx, Section& s) {
  struct Smooth {
    const char* label;
    Activation f;
    double exact;  ///< f'(0)
  };
  const Smooth all[] = {{"GELU", gelu_tanh(), 0.5},
                        {"GELU (erf)", gelu(), 0.5},
                        {"SiLU", silu(), 0.5},
                        {"Mish", mish(), 0.6}};  // tanh(log 2) = 3/5
  const Vector zero = {0};
  for (const auto& [label, f, exact] : all) {
    const double analytic = slope(ctx, f, zero)[0], difference = central_difference(ctx, f, zero)[0];
    s.values[label] = {{"analytic", analytic}, {"central_difference", difference}};
    s.print("{:<10} derivative at 0: {:.12f} by backward, {:.12f} by central differences", label, analytic,
            difference);
    s.check_close(fmt::format("{}'(0)", label), analytic, exact, 1e-15);
    s.check_close(fmt::format("{}'(0) by central differences, eps 1e-5", label), difference, analytic, 1e-9);
  }
}

}  // namespace actium::cli::notebook

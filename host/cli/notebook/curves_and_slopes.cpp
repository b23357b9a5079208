/// Sections 1 to 5: the curves, their derivatives, and saturation.
#include <algorithm>
#include <cmath>

#include "sections.hpp"

namespace actium::cli::notebook {
namespace {

// Closed forms, evaluated by the host's long double, that share no code with the library.
using Real = long double;
Real sigmoid_exact(Real x) { return 1 / (1 + std::exp(-x)); }
Real tanh_exact(Real x) { return std::tanh(x); }
Real relu_exact(Real x) { return x > 0 ? x : 0; }
Real silu_exact(Real x) { return x * sigmoid_exact(x); }
Real gelu_tanh_exact(Real x) {
  const Real root_two_over_pi = std::sqrt(2 / std::acos(Real{-1}));
  return x / 2 * (1 + std::tanh(root_two_over_pi * (x + 0.044715L * x * x * x)));
}

Vector closed_form(Real (*f)(Real), std::span<const double> x) {
  Vector y;
  for (const double v : x) y.push_back(static_cast<double>(f(v)));
  return y;
}

bool increasing(std::span<const double> y) { return std::ranges::is_sorted(y); }

/// What sections 2 and 3 have in common: the slope on 500 points against its formula in terms of the value.
void check_slope(const Context& ctx, Section& s, const Activation& f, double largest,
                 double (*from_value)(double)) {
  const Vector x = linspace(-8, 8, 500);
  const Vector by_backward = slope(ctx, f, x);
  Vector by_formula = evaluate(ctx, f, x);
  for (double& y : by_formula) y = from_value(y);
  const double measured = std::ranges::max(by_backward);
  const double at_zero = slope(ctx, f, Vector{0})[0];
  s.values = {{"max_slope", measured}, {"slope_at_0", at_zero}};
  s.print("max {} derivative: {:.9f} on 500 points of [-8, 8], {} at x = 0", f.name(), measured, at_zero);
  s.check_at_most(fmt::format("{} derivative <= {}", f.name(), largest), measured, largest);
  s.check_close("derivative at 0", at_zero, largest, 1e-15);
  s.check_close("backward equals the formula in the value", by_backward, by_formula, 1e-15);
}

}  // namespace

void curves(const Context& ctx, Section& s) {
  struct Curve {
    const char* label;
    Activation f;
    Real (*exact)(Real);
  };
  const Curve all[] = {{"sigmoid", sigmoid(), sigmoid_exact},
                       {"tanh", tanh(), tanh_exact},
                       {"ReLU", relu(), relu_exact},
                       {"GELU", gelu_tanh(), gelu_tanh_exact},
                       {"SiLU", silu(), silu_exact}};
  const Vector x = linspace(-6, 6, 500);
  s.values["x"] = x;
  for (const Curve& curve : all) {
    const Vector y = evaluate(ctx, curve.f, x);
    s.values[curve.label] = y;
    const auto [low, high] = std::ranges::minmax(y);
    s.print("{:<8} from {:9.6f} to {:9.6f}", curve.label, low, high);
    s.check_close(fmt::format("{} equals its closed form", curve.label), y, closed_form(curve.exact, x),
                  1e-14);
  }
  s.print("500 points of [-6, 6]; GELU is the notebook's tanh form, gelu_tanh");
  const Vector sigmoid_y = s.values["sigmoid"], tanh_y = s.values["tanh"];
  s.check("sigmoid in (0, 1) and tanh in (-1, 1)",
          std::ranges::min(sigmoid_y) > 0 && std::ranges::max(sigmoid_y) < 1 &&
              std::ranges::min(tanh_y) > -1 && std::ranges::max(tanh_y) < 1);
  s.check("sigmoid, tanh and ReLU increase",
          increasing(sigmoid_y) && increasing(tanh_y) && increasing(s.values["ReLU"].get<Vector>()));
  s.check_close("lowest point of GELU", std::ranges::min(s.values["GELU"].get<Vector>()), -0.17004, 1e-4);
  s.check_close("lowest point of SiLU", std::ranges::min(s.values["SiLU"].get<Vector>()), -0.27846, 1e-4);
}

void sigmoid_derivative(const Context& ctx, Section& s) {
  check_slope(ctx, s, sigmoid(), 0.25, [](double y) { return y * (1 - y); });
}

void tanh_derivative(const Context& ctx, Section& s) {
  check_slope(ctx, s, tanh(), 1, [](double y) { return 1 - y * y; });
}

void derivative_comparison(const Context& ctx, Section& s) {
  const Vector x = linspace(-8, 8, 500);
  const std::pair<const char*, Activation> all[] = {
      {"sigmoid'", sigmoid()}, {"tanh'", tanh()}, {"ReLU'", relu()}, {"GELU'", gelu_tanh()}};
  s.values["x"] = x;
  for (const auto& [label, f] : all) {
    const Vector by_backward = slope(ctx, f, x);
    s.values[label] = by_backward;
    const auto [low, high] = std::ranges::minmax(by_backward);
    s.print("{:<9} from {:9.6f} to {:9.6f}", label, low, high);
    s.check_close(fmt::format("{} agrees with central differences of forward", label), by_backward,
                  central_difference(ctx, f, x), 1e-9);
  }
  Vector step;
  for (const double v : x) step.push_back(v > 0 ? 1 : 0);
  s.check_close("ReLU' is the unit step", s.values["ReLU'"].get<Vector>(), step, 0);
}

void saturation(const Context& ctx, Section& s) {
  const Vector x = {-10, -5, 0, 5, 10};
  const Vector sigmoid_slope = slope(ctx, sigmoid(), x), tanh_slope = slope(ctx, tanh(), x);
  s.values = {{"x", x}, {"sigmoid'", sigmoid_slope}, {"tanh'", tanh_slope}};
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    s.print("x={:>3}: sigmoid'={:.6f}, tanh'={:.6g}", x[i], sigmoid_slope[i], tanh_slope[i]);
    const double e = std::exp(-std::abs(x[i])), sech = 1 / std::cosh(x[i]);
    const double sigmoid_exact_slope = e / ((1 + e) * (1 + e));
    error = std::max({error, std::abs(sigmoid_slope[i] / sigmoid_exact_slope - 1),
                      std::abs(tanh_slope[i] / (sech * sech) - 1)});
  }
  s.check("slopes shrink away from 0", sigmoid_slope[2] > sigmoid_slope[3] &&
                                           sigmoid_slope[3] > sigmoid_slope[4] &&
                                           tanh_slope[2] > tanh_slope[3] && tanh_slope[3] > tanh_slope[4]);
  s.check_at_most("relative error of the slopes, tails included", error, 1e-14);
  s.check_at_most("tanh' at 10", tanh_slope[4], 1e-8);
}

}  // namespace actium::cli::notebook

/// Sections 6 and 12 to 14: affine maps collapse without an activation; gated units.
#include <actium/gated.hpp>
#include <actium/propagation.hpp>
#include <algorithm>
#include <cmath>

#include "../arrays.hpp"
#include "sections.hpp"

namespace actium::cli::notebook {
namespace {

/// a b, of row-major matrices with `inner` columns and rows.
Vector product(const Context& ctx, const Vector& a, const Vector& b, std::int64_t inner) {
  const std::int64_t rows = static_cast<std::int64_t>(a.size()) / inner,
                     columns = static_cast<std::int64_t>(b.size()) / inner;
  Tensor c(ctx, DType::kF64, {rows, columns});
  matmul(ctx, to_tensor(ctx, DType::kF64, a, {rows, inner}), to_tensor(ctx, DType::kF64, b, {inner, columns}),
         c);
  return c.to_doubles(ctx);
}

Vector gated(const Context& ctx, const GatedUnit& unit, const Vector& content, const Vector& gate) {
  const Tensor a = to_tensor(ctx, DType::kF64, content), b = to_tensor(ctx, DType::kF64, gate);
  Tensor y(ctx, DType::kF64, a.shape());
  gated_forward(ctx, unit, {.gate = b, .content = a}, y);
  return y.to_doubles(ctx);
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

bool all_finite(const Vector& values) {
  return std::ranges::all_of(values, [](double v) { return std::isfinite(v); });
}

const Vector kContent = {1, -2, 3}, kGate = {-2, 0, 2};  // a and b of sections 12 and 13

}  // namespace

void affine_collapse(const Context& ctx, Section& s) {
  // x -> W x + b is one matrix [W b; 0 1] on [x; 1], so each affine map is one product.
  const Vector first = {1, 2, 0.5, 0, 1, -1, 0, 0, 1}, second = {2, -1, 1, 1, 0.5, 2, 0, 0, 1};
  const Vector x = {3, -2, 1};
  const Vector hidden = product(ctx, first, x, 3);
  const Vector stacked = product(ctx, second, hidden, 3);
  const Vector collapsed_map = product(ctx, second, first, 3);
  const Vector collapsed = product(ctx, collapsed_map, x, 3);
  Vector rectified = evaluate(ctx, relu(), hidden);
  const Vector with_relu = product(ctx, second, rectified, 3);
  const Vector y_stacked(stacked.begin(), stacked.end() - 1),
      y_collapsed(collapsed.begin(), collapsed.end() - 1), y_relu(with_relu.begin(), with_relu.end() - 1);
  const Vector a = {collapsed_map[0], collapsed_map[1], collapsed_map[3], collapsed_map[4]};
  const Vector c = {collapsed_map[2], collapsed_map[5]};
  s.values = {{"A", {{a[0], a[1]}, {a[2], a[3]}}},
              {"c", c},
              {"stacked", y_stacked},
              {"collapsed", y_collapsed},
              {"stacked_with_relu", y_relu}};
  s.print("A = W2 W1 = {} (by rows), c = W2 b1 + b2 = {}", rounded(a, 2), rounded(c, 2));
  s.print("stacked: {}, collapsed: {}", rounded(y_stacked, 2), rounded(y_collapsed, 2));
  s.print("with a ReLU between: {}", rounded(y_relu, 2));
  s.check_close("stacked affine equals collapsed affine", y_stacked, y_collapsed, 0);
  s.check_close("both are exact", y_stacked, Vector{3, 0}, 0);
  s.check_close("a ReLU between breaks the collapse", y_relu, Vector{1, 2}, 0);
}

void glu_unit(const Context& ctx, Section& s) {
  const Vector gate = evaluate(ctx, sigmoid(), kGate), y = gated(ctx, glu(), kContent, kGate);
  Vector exact;
  for (std::size_t i = 0; i < kGate.size(); ++i) exact.push_back(kContent[i] * sigmoid_of(kGate[i]));
  s.values = {{"content", kContent}, {"gate_input", kGate}, {"gate", gate}, {"GLU", y}};
  s.print("gate:       {}", rounded(gate, 4));
  s.print("GLU output: {}", rounded(y, 4));
  s.check("gate values lie in (0,1)", std::ranges::all_of(gate, [](double g) { return g > 0 && g < 1; }));
  s.check_close("GLU = content * sigmoid(gate)", y, exact, 1e-14);
}

void geglu_and_swiglu(const Context& ctx, Section& s) {
  const Vector erf_form = gated(ctx, geglu(), kContent, kGate),
               y_swiglu = gated(ctx, swiglu(), kContent, kGate);
  const Vector tanh_form = gated(ctx, bilinear(), kContent, evaluate(ctx, gelu_tanh(), kGate));
  Vector exact_erf, exact_swiglu;
  for (std::size_t i = 0; i < kGate.size(); ++i) {
    const double b = kGate[i];
    exact_erf.push_back(kContent[i] * b / 2 * std::erfc(-b / std::sqrt(2.0)));
    exact_swiglu.push_back(kContent[i] * b * sigmoid_of(b));
  }
  s.values = {{"GEGLU", tanh_form}, {"GEGLU (erf)", erf_form}, {"SwiGLU", y_swiglu}};
  s.print("GEGLU:       {}, gate by the notebook's tanh form of GELU", rounded(tanh_form, 4));
  s.print("GEGLU (erf): {}", rounded(erf_form, 4));
  s.print("SwiGLU:      {}", rounded(y_swiglu, 4));
  s.check("gated outputs finite", all_finite(tanh_form) && all_finite(erf_form) && all_finite(y_swiglu));
  s.check_close("GEGLU (erf) = content * gate * Phi(gate)", erf_form, exact_erf, 1e-14);
  s.check_close("SwiGLU = content * gate * sigmoid(gate)", y_swiglu, exact_swiglu, 1e-14);
  s.check_close("the forms of GELU differ by less than 3 * 4.74e-4", tanh_form, erf_form, 3 * 4.74e-4);
}

void bilinear_gradients(const Context& ctx, Section& s) {
  const Vector content = {2, -1}, gate = {0.25, 0.75};
  const Vector y = gated(ctx, bilinear(), content, gate);
  const Tensor a = to_tensor(ctx, DType::kF64, content), g = to_tensor(ctx, DType::kF64, gate),
               dy = to_tensor(ctx, DType::kF64, Vector{1, 1});
  Tensor da(ctx, DType::kF64, a.shape()), dg(ctx, DType::kF64, a.shape());
  gated_backward(ctx, bilinear(), {.gate = g, .content = a}, dy, {.gate = dg, .content = da});
  const Vector by_content = da.to_doubles(ctx), by_gate = dg.to_doubles(ctx);
  s.values = {{"y", y}, {"dy/da", by_content}, {"dy/dg", by_gate}};
  s.print("dy/da = gate:    {}", rounded(by_content, 2));
  s.print("dy/dg = content: {}", rounded(by_gate, 2));
  s.check_close("output", y, Vector{0.5, -0.75}, 0);
  s.check_close("dy/da is the gate", by_content, gate, 0);
  s.check_close("dy/dg is the content", by_gate, content, 0);
}

}  // namespace actium::cli::notebook

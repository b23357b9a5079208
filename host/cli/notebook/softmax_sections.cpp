/// Sections 15 to 19: softmax, its invariances, temperature, Jacobian and saturation.
#include <actium/softmax.hpp>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "../arrays.hpp"
#include "sections.hpp"
#include "symmetric_eigenvalues.hpp"

namespace actium::cli::notebook {
namespace {

const Vector kLogits = {2, 1, -1};

using Operation = void (*)(const Context&, ConstTensorView, TensorView, const SoftmaxOptions&);

Vector row_of(const Context& ctx, Operation operation, const Vector& z, double temperature = 1) {
  Tensor result(ctx, DType::kF64, {static_cast<std::int64_t>(z.size())});
  operation(ctx, to_tensor(ctx, DType::kF64, z), result, {.temperature = temperature});
  return result.to_doubles(ctx);
}

double number_of(const Context& ctx, Operation operation, const Vector& z, double temperature = 1) {
  Tensor result(ctx, DType::kF64, {1});
  operation(ctx, to_tensor(ctx, DType::kF64, z), result, {.temperature = temperature});
  return result.to_doubles(ctx)[0];
}

double sum(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

/// exp(z_i / T) / sum exp(z_j / T) as the formula stands, in long double: right for small logits.
Vector textbook_softmax(const Vector& z, double temperature) {
  long double total = 0;
  for (const double v : z) total += std::exp(static_cast<long double>(v) / temperature);
  Vector p;
  for (const double v : z)
    p.push_back(static_cast<double>(std::exp(static_cast<long double>(v) / temperature) / total));
  return p;
}

double textbook_entropy(const Vector& p) {
  double h = 0;
  for (const double v : p) h -= v * std::log(v);
  return h;
}

}  // namespace

void softmax_probabilities(const Context& ctx, Section& s) {
  const Vector p = row_of(ctx, softmax, kLogits), log_p = row_of(ctx, log_softmax, kLogits);
  const double lse = number_of(ctx, logsumexp, kLogits);
  const double exact_lse = std::log(std::exp(2) + std::exp(1) + std::exp(-1));
  Vector exact_log;
  for (const double v : kLogits) exact_log.push_back(v - exact_lse);
  s.values = {{"logits", kLogits}, {"softmax", p}, {"log_softmax", log_p}, {"logsumexp", lse}};
  s.print("softmax: {}, logsumexp {:.6f}", rounded(p, 6), lse);
  s.check_close("softmax sums to 1", sum(p), 1, 4e-15);
  s.check_close("softmax equals its formula", p, textbook_softmax(kLogits, 1), 4e-15);
  s.check_close("logsumexp equals its formula", lse, exact_lse, 4e-15);
  s.check_close("log_softmax = z - logsumexp", log_p, exact_log, 4e-15);
}

void softmax_shift_invariance(const Context& ctx, Section& s) {
  const Vector p = row_of(ctx, softmax, kLogits);
  s.values["softmax"] = p;
  for (const double shift : {1000.0, 10000.0}) {
    Vector shifted = kLogits;
    for (double& v : shifted) v += shift;
    const Vector moved = row_of(ctx, softmax, shifted);
    s.values[fmt::format("shifted by {}", shift)] = moved;
    s.print("softmax(z + {:<5}): {}", shift, rounded(moved, 6));
    s.check_close(fmt::format("softmax shift invariance, {}", shift), moved, p, 4e-15);
  }
  s.print("exp(1000) overflows: each row is shifted by its maximum first");
}

void softmax_temperature(const Context& ctx, Section& s) {
  double last_entropy = 0;
  bool grows = true;
  for (const double tau : {0.5, 1.0, 2.0}) {
    const Vector p = row_of(ctx, softmax, kLogits, tau);
    const double h = number_of(ctx, entropy, kLogits, tau);
    s.values["rows"].push_back({{"tau", tau}, {"probs", p}, {"entropy", h}});
    s.print("tau={:.1f}: probs={}, entropy={:.4f}", tau, rounded(p, 4), h);
    s.check_close(fmt::format("probabilities at tau {}", tau), p, textbook_softmax(kLogits, tau), 4e-15);
    s.check_close(fmt::format("entropy = -sum p log p at tau {}", tau), h, textbook_entropy(p), 4e-15);
    grows = grows && h > last_entropy;
    last_entropy = h;
  }
  s.check("entropy grows with temperature, up to log 3", grows && last_entropy < std::log(3.0));
}

void softmax_jacobian_matrix(const Context& ctx, Section& s) {
  constexpr std::size_t n = 3;
  const Tensor p = to_tensor(ctx, DType::kF64, row_of(ctx, softmax, kLogits));
  Tensor jacobian(ctx, DType::kF64, {n, n});
  softmax_jacobian(ctx, p, jacobian);
  const Vector j = jacobian.to_doubles(ctx), probabilities = p.to_doubles(ctx);
  Vector row_sums, transposed, exact;
  Json rows = Json::array();
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<const double> row(&j[i * n], n);
    row_sums.push_back(sum(row));
    rows.push_back(Vector(row.begin(), row.end()));
    s.print("{} {}", i == 0 ? "Jacobian:" : "         ", rounded(row, 5));
    for (std::size_t k = 0; k < n; ++k) {
      transposed.push_back(j[k * n + i]);
      exact.push_back(probabilities[i] * ((i == k ? 1 : 0) - probabilities[k]));
    }
  }
  const Vector eigenvalues = symmetric_eigenvalues(j, n);
  s.values = {{"jacobian", rows}, {"row_sums", row_sums}, {"eigenvalues", eigenvalues}};
  s.print("row sums:    {:.1e}, {:.1e}, {:.1e}", row_sums[0], row_sums[1], row_sums[2]);
  s.print("eigenvalues: {:.1e}, {:.6f}, {:.6f}", eigenvalues[0], eigenvalues[1], eigenvalues[2]);
  s.check_close("Jacobian row sums zero", row_sums, Vector(n, 0.0), 4e-15);
  s.check_close("Jacobian symmetric", j, transposed, 0);
  s.check_close("J = diag(p) - p p^T", j, exact, 4e-15);
  s.check("Jacobian PSD", eigenvalues[0] > -1e-10, fmt::format("smallest {:.2g}", eigenvalues[0]));
  s.check_close("smallest eigenvalue is 0, of the vector of ones", eigenvalues[0], 0, 1e-15);
  s.check_close("eigenvalues sum to the trace", sum(eigenvalues), j[0] + j[4] + j[8], 4e-15);
}

void softmax_saturation(const Context& ctx, Section& s) {
  const Vector z = {20, 0, -20};
  const Vector sharp = row_of(ctx, softmax, z), log_sharp = row_of(ctx, log_softmax, z);
  const Vector exact = textbook_softmax(z, 1);
  const double exact_log = -std::log1p(std::exp(-20.0) + std::exp(-40.0));
  double relative_error = 0;
  for (std::size_t i = 0; i < z.size(); ++i)
    relative_error = std::max(relative_error, std::abs(sharp[i] / exact[i] - 1));
  const double largest_slope = sharp[0] * (sharp[1] + sharp[2]);
  s.values = {{"logits", z}, {"softmax", sharp}, {"log_softmax", log_sharp}, {"dp0/dz0", largest_slope}};
  s.print("sharp softmax: [{:.9f}, {:.6e}, {:.6e}]", sharp[0], sharp[1], sharp[2]);
  s.print("log of the largest: {:.6e}; its slope p (1 - p): {:.2e}", log_sharp[0], largest_slope);
  s.check("largest class nearly one", sharp[0] > 0.999999);
  s.check_at_most("relative error, smallest class included", relative_error, 1e-14);
  s.check_at_most("relative error of the largest class's log", std::abs(log_sharp[0] / exact_log - 1), 1e-14);
}

}  // namespace actium::cli::notebook

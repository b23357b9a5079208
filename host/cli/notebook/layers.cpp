/// Sections 21 to 23: how weights are scaled, what one layer does to a signal, what many do to a gradient.
#include <actium/propagation.hpp>
#include <cmath>

#include "../arrays.hpp"
#include "gaussian_moments.hpp"
#include "sections.hpp"

namespace actium::cli::notebook {
namespace {

constexpr std::int64_t kFanIn = 256, kFanOut = 128, kRows = 4096;

double variance_of(const Initializer& initializer) {
  const double deviation = initializer.deviation(kFanIn, kFanOut);
  return deviation * deviation;
}

/// The relative standard error of the mean square of z = x w, x [rows, d] standard normal and w [d, units]
/// normal. Elements of z that share a row or a column are dependent: Cov(z^2, z'^2) = 2 d var_w^2.
double pre_activation_error(double rows, double d, double units) {
  return std::sqrt((2 + 6 / d) / (rows * units) + 2 * (rows - 1) / (d * rows * units) +
                   2 * (units - 1) / (d * rows * units));
}

LayerResult layer_result(const Context& ctx, const Activation& f, const Initializer& initializer,
                         const Tensor& x, std::uint64_t sequence) {
  Tensor y(ctx, DType::kF64, {kRows, kFanOut});
  return propagate_layer(ctx,
                         {.activation = f,
                          .initializer = initializer,
                          .fan_in = kFanIn,
                          .fan_out = kFanOut,
                          .dtype = DType::kF64,
                          .key = {.seed = kSeed, .sequence = sequence}},
                         x, y);
}

}  // namespace

void xavier_and_he_scale(const Context& ctx, Section& s) {
  const double xavier = variance_of(xavier_normal()), he = variance_of(he_normal());
  s.print("{} inputs, {} outputs", kFanIn, kFanOut);
  s.print("Xavier variance: {:.10f} = 2 / (inputs + outputs)", xavier);
  s.print("He variance:     {:.10f} = 2 / inputs", he);
  s.values = {{"var_xavier", xavier}, {"var_he", he}};
  s.check("He variance larger for ReLU", he > xavier);
  s.check_close("Xavier variance", xavier, 2.0 / (kFanIn + kFanOut), 1e-17);
  s.check_close("He variance", he, 2.0 / kFanIn, 1e-17);
  std::uint64_t sequence = 2100;
  for (const Initializer& initializer : {xavier_normal(), he_normal(), xavier_uniform(), he_uniform()}) {
    Tensor w(ctx, DType::kF64, {kFanIn, kFanOut});
    initialize(ctx, initializer, {.seed = kSeed, .sequence = sequence++}, w);
    const double drawn = signal_statistics(ctx, w).variance;
    const bool normal = initializer.distribution == Distribution::kNormal;
    const double excess = normal ? 2 : 0.8;  // E (w/sigma)^4 - 1
    s.values[initializer.to_string()] = drawn;
    s.check_sampled(fmt::format("variance of drawn {} weights", initializer.to_string()), drawn,
                    variance_of(initializer),
                    variance_of(initializer) * std::sqrt(excess / (kFanIn * kFanOut)));
  }
}

void one_layer_propagation(const Context& ctx, Section& s) {
  struct Case {
    const char* label;
    Activation f;
    Initializer initializer;
  };
  const Case cases[] = {{"tanh with Xavier", tanh(), xavier_normal()}, {"ReLU with He", relu(), he_normal()}};
  const Tensor x = normal_sample(ctx, {kRows, kFanIn}, 2200);
  const double error = pre_activation_error(kRows, kFanIn, kFanOut);
  std::uint64_t sequence = 2201;
  s.print("{} rows through {} -> {}; theory for wide layers in brackets", kRows, kFanIn, kFanOut);
  for (const auto& [label, f, initializer] : cases) {
    const auto [before, after] = layer_result(ctx, f, initializer, x, sequence++);
    const double predicted = kFanIn * variance_of(initializer);
    const GaussianMoments exact = gaussian_moments(ctx, f, std::sqrt(predicted));
    s.values[label] = {{"pre_activation_var", before.variance},
                       {"predicted_pre_activation_var", predicted},
                       {"var", after.variance},
                       {"predicted_var", exact.variance},
                       {"second_moment", after.second_moment},
                       {"predicted_second_moment", exact.second_moment},
                       {"zero_fraction", after.zero_fraction}};
    s.print("{} var: {:.4f} [{:.4f}]; before the activation {:.4f} [{:.4f}]; mean square {:.4f} [{:.4f}]",
            label, after.variance, exact.variance, before.variance, predicted, after.second_moment,
            exact.second_moment);
    s.check_sampled(fmt::format("{}: pre-activation variance fan_in var_w", label), before.variance,
                    predicted, error * predicted);
    // A relative change of the pre-activation variance changes either output variance by at most as much.
    s.check_sampled(fmt::format("{}: variance", label), after.variance, exact.variance,
                    error * exact.variance);
    s.check(fmt::format("{}: activation variances finite", label), std::isfinite(after.variance));
  }
}

void vanishing_gradient(const Context& ctx, Section& s) {
  constexpr int kDepth = 40;
  const double exact = std::exp2(-2 * kDepth);
  for (const DType dtype : kDTypes) {
    const Tensor x = to_tensor(ctx, dtype, Vector{0});
    Tensor dy = to_tensor(ctx, dtype, Vector{1});
    int layers = 0;  // until the gradient is 0
    for (int layer = 0; layer < kDepth; ++layer) {
      if (dy.to_doubles(ctx)[0] != 0) layers = layer + 1;
      backward(ctx, sigmoid(), x, dy, dy);
    }
    const double product = dy.to_doubles(ctx)[0];
    s.values[std::string(to_string(dtype))] = product;
    s.print("product of {} sigmoid max slopes in {:<4}: {:.6e}{}", kDepth, to_string(dtype), product,
            product == 0 ? fmt::format(", 0 after {} layers", layers) : "");
  }
  const double product = s.values["f64"];
  s.check("deep sigmoid slope product tiny", product < 1e-20);
  s.check_close("f64: relative to 2^-80", product / exact, 1, 1e-13);
  s.check_close("f32: relative to 2^-80", s.values["f32"].get<double>() / exact, 1, 2e-5);
  s.check_close("f16 underflows to 0", s.values["f16"], 0, 0);
}

}  // namespace actium::cli::notebook

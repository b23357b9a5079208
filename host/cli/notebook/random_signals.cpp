/// Sections 7, 20, 24 and 25: activations of random numbers. Each statistic is held to its exact expectation
/// within kSigmas standard errors of the sample.
#include <actium/propagation.hpp>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "../arrays.hpp"
#include "gaussian_moments.hpp"
#include "sections.hpp"

namespace actium::cli::notebook {

void relu_sparsity(const Context& ctx, Section& s) {
  std::uint64_t sequence = 700;
  for (const std::int64_t count : {1000, 1000000}) {
    const Tensor z = normal_sample(ctx, {count}, sequence++);
    const double zeros = signal_statistics(ctx, cli::evaluate(ctx, relu(), z, 0)).zero_fraction;
    s.values[fmt::format("zero_fraction_of_{}", count)] = zeros;
    s.print("fraction zeros after ReLU: {:.4f} of {} draws", zeros, count);
    s.check_sampled(fmt::format("half of {} are zero", count), zeros, 0.5,
                    0.5 / std::sqrt(static_cast<double>(count)));
    s.check("roughly half zero for standard normal", 0.4 < zeros && zeros < 0.6);
  }
}

void activation_variance(const Context& ctx, Section& s) {
  constexpr std::int64_t kRows = 5000, kUnits = 128;
  constexpr double kCount = kRows * kUnits;
  const Tensor x = normal_sample(ctx, {kRows, kUnits}, 2000);
  const std::pair<const char*, Activation> all[] = {
      {"tanh", tanh()}, {"ReLU", relu()}, {"GELU", gelu_tanh()}, {"SiLU", silu()}};
  s.print("{} x {} standard normal draws; exact values by quadrature in brackets", kRows, kUnits);
  for (const auto& [label, f] : all) {
    const SignalStatistics got = signal_statistics(ctx, cli::evaluate(ctx, f, x, 0));
    const GaussianMoments exact = gaussian_moments(ctx, f);
    s.values[label] = {{"mean", got.mean},
                       {"var", got.variance},
                       {"second_moment", got.second_moment},
                       {"expected_mean", exact.mean},
                       {"expected_var", exact.variance}};
    s.print("{:>5}: mean={: .4f} [{: .4f}], var={:.4f} [{:.4f}]", label, got.mean, exact.mean, got.variance,
            exact.variance);
    s.check_sampled(fmt::format("mean of {}", label), got.mean, exact.mean, exact.mean_error(kCount));
    s.check_sampled(fmt::format("variance of {}", label), got.variance, exact.variance,
                    exact.variance_error(kCount));
  }
  const GaussianMoments rectified = gaussian_moments(ctx, relu());
  s.check_close("E ReLU = 1/sqrt(2 pi)", rectified.mean, 1 / std::sqrt(2 * std::numbers::pi), 1e-7);
  s.check_close("Var ReLU = 1/2 - 1/(2 pi)", rectified.variance, 0.5 - 1 / (2 * std::numbers::pi), 1e-7);
}

void relu_active_path(const Context& ctx, Section& s) {
  constexpr std::int64_t kDepth = 40;
  const Vector slopes = cli::evaluate(ctx, relu(), normal_sample(ctx, {kDepth}, 2400), 1).to_doubles(ctx);
  const double active = std::accumulate(slopes.begin(), slopes.end(), 0.0);
  const bool survives = active == kDepth;
  s.print("random ReLU slopes: {}", rounded(slopes, 0));
  s.print("{} of {} active; path survives: {}; P(survival) = 2^-40 = {:.2e}", active, kDepth, survives,
          std::exp2(-40));

  // Many short paths, of which some survive: the product of the slopes is what backward makes of dy = 1.
  constexpr std::int64_t kPaths = 1 << 17, kLayers = 8;
  const double survival = std::exp2(-kLayers);
  Tensor dy = to_tensor(ctx, DType::kF64, Vector(kPaths, 1.0));
  for (std::uint64_t layer = 0; layer < kLayers; ++layer)
    backward(ctx, relu(), normal_sample(ctx, {kPaths}, 2401 + layer), dy, dy);
  const double survivors = signal_statistics(ctx, dy).mean * kPaths;
  s.print("{} of {} paths of {} layers survive", survivors, kPaths, kLayers);

  s.values = {{"slopes", slopes},
              {"active", active},
              {"survives", survives},
              {"survival_probability", std::exp2(-40)},
              {"short_paths", {{"paths", kPaths}, {"layers", kLayers}, {"survivors", survivors}}}};
  s.check("slopes are 0 or 1", std::ranges::all_of(slopes, [](double v) { return v == 0 || v == 1; }));
  s.check_sampled("active layers of 40", active, 20, std::sqrt(40.0) / 2);
  s.check_sampled("surviving short paths", survivors, kPaths * survival,
                  std::sqrt(kPaths * survival * (1 - survival)));
}

void dead_neurons(const Context& ctx, Section& s) {
  constexpr std::int64_t kRows = 1000, kUnits = 32;
  constexpr double kMean = -3, kDeviation = 0.5, kCount = kRows * kUnits;
  const Tensor z = normal_sample(ctx, {kRows, kUnits}, 2500, kMean, kDeviation);
  const SignalStatistics before = signal_statistics(ctx, z);
  const SignalStatistics slopes = signal_statistics(ctx, cli::evaluate(ctx, relu(), z, 1));
  const auto dead = std::ranges::count_if(before.active_fraction, [](double f) { return f < 0.01; });
  const double expected_active = normal_cdf(kMean / kDeviation);
  s.values = {{"dead_units", dead},
              {"units", kUnits},
              {"active_fraction", before.active_fraction},
              {"expected_active_fraction", expected_active},
              {"mean", before.mean},
              {"variance", before.variance},
              {"zero_slope_fraction", slopes.zero_fraction}};
  s.print("dead-like units: {} out of {}; expected active fraction Phi(-6) = {:.3e}", dead, kUnits,
          expected_active);
  s.print("ReLU slope 0 for {:.4f} % of {} inputs: no gradient reaches the weights",
          100 * slopes.zero_fraction, kRows * kUnits);
  s.check("negative-biased layer has dead-like units", dead > 0);
  s.check("all units are dead-like", dead == kUnits);
  s.check_at_most("share of non-zero slopes: one draw at most, as 3e-5 are expected",
                  1 - slopes.zero_fraction, 1.5 / kCount);
  s.check_sampled("mean of the draws", before.mean, kMean, kDeviation / std::sqrt(kCount));
  s.check_sampled("variance of the draws", before.variance, kDeviation * kDeviation,
                  kDeviation * kDeviation * std::sqrt(2 / kCount));
}

}  // namespace actium::cli::notebook

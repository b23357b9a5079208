#include "gaussian_moments.hpp"

#include <cmath>
#include <numbers>

#include "section.hpp"

namespace actium::cli::notebook {

double GaussianMoments::mean_error(double count) const { return std::sqrt(variance / count); }

double GaussianMoments::variance_error(double count) const {
  return std::sqrt((fourth_central - variance * variance) / count);
}

GaussianMoments gaussian_moments(const Context& ctx, const Activation& f, double deviation) {
  constexpr int kNodesPerUnit = 1024, kNodes = 24 * kNodesPerUnit + 1;
  constexpr double kStep = 1.0 / kNodesPerUnit;
  const Vector z = linspace(-12, 12, kNodes);
  Vector x = z;
  for (double& v : x) v *= deviation;
  const Vector y = evaluate(ctx, f, x);
  // The ends weigh exp(-72): halving them changes nothing. Mirrored nodes are paired: an odd f has mean 0.
  const auto expectation = [&](auto&& g) {
    double sum = 0;
    for (std::size_t i = 0, mirror = z.size() - 1; i < z.size(); ++i, --mirror)
      sum += (g(y[i]) + g(y[mirror])) / 2 * std::exp(-z[i] * z[i] / 2);
    return sum * kStep / std::sqrt(2 * std::numbers::pi);
  };
  GaussianMoments m;
  m.mean = expectation([](double v) { return v; });
  m.second_moment = expectation([](double v) { return v * v; });
  m.variance = expectation([&m](double v) { return (v - m.mean) * (v - m.mean); });
  m.fourth_central = expectation([&m](double v) { return std::pow(v - m.mean, 4); });
  return m;
}

double normal_cdf(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }

}  // namespace actium::cli::notebook

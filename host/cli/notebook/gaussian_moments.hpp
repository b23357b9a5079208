#pragma once
/// Moments of f(z) for a normal z: what the random sections expect.
#include <actium/activation.hpp>

namespace actium::cli::notebook {

struct GaussianMoments {
  double mean = 0, variance = 0, second_moment = 0;
  double fourth_central = 0;                  ///< E (f - mean)^4
  double mean_error(double count) const;      ///< standard error of the mean of `count` independent draws
  double variance_error(double count) const;  ///< and of their variance
};

/// For z of mean 0 and the given deviation, by the trapezoidal rule on [-12, 12] deviations with f from
/// forward() in f64. The rule converges exponentially for smooth f; a kink at 0 is a node, where it costs
/// about 1e-8.
GaussianMoments gaussian_moments(const Context& ctx, const Activation& f, double deviation = 1);

/// P(Z <= x) of a standard normal Z.
double normal_cdf(double x);

}  // namespace actium::cli::notebook

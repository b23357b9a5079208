#pragma once
// Cross-entropy of one row in long double, by its definition, and how far a result may be from it; labels
// where a context reads them.
#include <actium/cross_entropy.hpp>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "support/ulp.hpp"

namespace actium_test {

/// Labels in the context's memory.
class Labels {
 public:
  Labels(const actium::Context& ctx, const std::vector<std::int64_t>& labels)
      : labels_(ctx, as_doubles(labels)) {}
  actium::IndexView view(const actium::Shape& shape) const {
    return {static_cast<const std::int64_t*>(labels_.view().data()), shape};
  }

 private:
  static std::vector<double> as_doubles(const std::vector<std::int64_t>& labels) {
    std::vector<double> words;
    for (const std::int64_t label : labels) words.push_back(std::bit_cast<double>(label));
    return words;
  }
  actium::Tensor labels_;
};

/// What belongs to one row.
struct CrossEntropyCase {
  double label_smoothing = 0, z_loss = 0, dloss = 1;
  std::vector<double> weights = {};  // none: all 1
  double weight(std::size_t j) const { return weights.empty() ? 1 : weights[j]; }
};

struct ExactCrossEntropy {
  long double loss, logsumexp;
  std::vector<long double> dz;
  /// The size of the terms that a result is a sum of; a plain loss or gradient has but one.
  long double loss_terms, logsumexp_terms;
  std::vector<long double> dz_terms;

  /// z: the logits, by their column.
  ExactCrossEntropy(const std::function<double(std::size_t)>& z, std::size_t n, std::size_t label,
                    const CrossEntropyCase& of = {}) {
    std::vector<long double> logits(n), e(n);
    long double max = -INFINITY, sum = 0, sum_but_top = 0, sum_but_label = 0, all_weights = 0;
    for (std::size_t j = 0; j < n; ++j) logits[j] = static_cast<long double>(z(j));
    for (const long double logit : logits) max = std::max(max, logit);
    bool top_seen = false;
    for (std::size_t j = 0; j < n; ++j) {
      e[j] = std::exp(logits[j] - max);
      sum += e[j];
      if (top_seen || logits[j] != max)
        sum_but_top += e[j];
      else
        top_seen = true;
      if (j != label) sum_but_label += e[j];
      all_weights += static_cast<long double>(of.weight(j));
    }
    const long double log_sum = std::log1p(sum_but_top);
    logsumexp = max + log_sum;
    logsumexp_terms = std::fabs(max) + log_sum;
    const auto s = static_cast<long double>(of.label_smoothing), zeta = static_cast<long double>(of.z_loss),
               g = static_cast<long double>(of.dloss);
    const long double share = s / static_cast<long double>(n),
                      own = (1 - s) * static_cast<long double>(of.weight(label));
    const auto minus_log_p = [&](std::size_t j) { return log_sum + (max - logits[j]); };
    loss = own == 0 ? 0 : own * minus_log_p(label);
    if (s != 0)
      for (std::size_t j = 0; j < n; ++j)
        if (of.weight(j) != 0) loss += share * static_cast<long double>(of.weight(j)) * minus_log_p(j);
    loss += zeta * logsumexp * logsumexp;  // every term is >= 0
    // The square of what may cancel.
    loss_terms = loss + zeta * 2 * std::fabs(logsumexp) * logsumexp_terms;
    for (std::size_t j = 0; j < n; ++j) {
      const long double p = e[j] / sum, minus_y = j == label ? -sum_but_label / sum : p;
      const long double terms[] = {own * minus_y, share * p * all_weights,
                                   -share * static_cast<long double>(of.weight(j)), 2 * zeta * logsumexp * p};
      dz.push_back(g * (terms[0] + terms[1] + terms[2] + terms[3]));
      dz_terms.push_back(std::fabs(g) * (std::fabs(terms[0]) + std::fabs(terms[1]) + std::fabs(terms[2]) +
                                         2 * zeta * logsumexp_terms * p));
    }
  }
};

/// |got - want| in ULP of `stored`, less half an ULP of what it was rounded to and less `slack`; in those of
/// `computed`.
inline double computed_ulps(double got, long double want, long double slack, DType stored, DType computed) {
  if (got == static_cast<double>(want)) return 0;  // also infinities
  const auto unit = [](long double x, DType dtype) {
    const Format format = format_of(dtype);
    const int exponent = x == 0 ? format.min_exponent : std::max(std::ilogb(x), format.min_exponent);
    return std::ldexp(1.0L, exponent - format.mantissa_bits);
  };
  const long double rounding = stored == computed ? 0 : 0.5L * unit(want, stored);
  const long double distance = std::fabs(static_cast<long double>(got) - want) - rounding - slack;
  return std::max(0.0, static_cast<double>(distance / unit(want, computed)));
}

}  // namespace actium_test

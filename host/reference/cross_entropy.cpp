#include <cmath>
#include <limits>

#include "dispatch.hpp"
#include "reference.hpp"
#include "rows.hpp"

namespace actium::reference {

namespace {

/// A row's -log p_j, p_j and the rest. The maximum's own exponential, 1, is left out of `others`, so that
/// log_sum = log1p(others) is exact where one element dominates.
template <class S>
struct Distribution {
  std::vector<S> logits;
  std::size_t top = 0;
  S others = 0;

  explicit Distribution(std::vector<S> z) : logits(std::move(z)) {
    for (std::size_t j = 0; j < logits.size(); ++j)
      if (logits[j] > logits[top] || std::isnan(logits[j])) top = j;
    for (std::size_t j = 0; j < logits.size(); ++j)
      others += j == top ? exponential(j) - 1 : exponential(j);  // not 0, but NaN, for inf - inf
  }
  S exponential(std::size_t j) const { return std::exp(logits[j] - logits[top]); }
  S log_sum() const { return std::log1p(others); }
  S logsumexp() const {
    if (logits.empty()) return -std::numeric_limits<S>::infinity();
    return std::isinf(logits[top]) ? logits[top] : logits[top] + log_sum();
  }
  S minus_log_p(std::size_t j) const { return log_sum() + (logits[top] - logits[j]); }
  S p(std::size_t j) const { return exponential(j) / (1 + others); }
  S one_minus_p(std::size_t j) const { return j == top ? others / (1 + others) : 1 - p(j); }
};

/// The number at `i` of a tensor of f32 or f64; 1 where there is none.
template <class S>
S number_of(const ConstTensorView& t, std::int64_t i) {
  if (t.data() == nullptr) return 1;
  return t.dtype() == DType::kF64 ? static_cast<S>(t.data_as<double>()[i])
                                  : static_cast<S>(t.data_as<float>()[i]);
}

}  // namespace

void cross_entropy(const ConstTensorView& z, const IndexView& labels, const TensorView* loss,
                   const TensorView* dz, const CrossEntropyOptions& options, int threads) {
  const RowWalk walk(z.shape(), options.axis);
  visit_dtype(z.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    const auto smoothing = static_cast<S>(options.label_smoothing), z_loss = static_cast<S>(options.z_loss);
    const S share = smoothing / static_cast<S>(walk.cols());
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      const Distribution<S> row(logits_of<T>(walk, z, SoftmaxOptions{.axis = options.axis}, r));
      const std::int64_t label = labels.data()[r];
      const bool valid = label >= 0 && label < walk.cols();
      const bool ignored =
          label == options.ignore_index || (!valid && options.invalid_label == InvalidLabel::kIgnore);
      const auto weight = [&](std::int64_t j) { return number_of<S>(options.class_weights, j); };
      // A class without weight contributes nothing.
      const auto weighted = [](S w, S x) { return w == 0 && !std::isnan(x) ? S(0) : w * x; };
      const S nan = std::numeric_limits<S>::quiet_NaN(), logsumexp = row.logsumexp();
      const S own = valid ? (1 - smoothing) * weight(label) : nan;

      if (options.logsumexp.data() != nullptr) store_as<T>(options.logsumexp, r, logsumexp);
      if (loss != nullptr) {
        S result = valid ? weighted(own, row.minus_log_p(static_cast<std::size_t>(label))) : nan;
        if (smoothing != 0)
          for (std::int64_t j = 0; j < walk.cols(); ++j)
            result += share * weighted(weight(j), row.minus_log_p(static_cast<std::size_t>(j)));
        if (z_loss != 0) result += z_loss * logsumexp * logsumexp;
        store_as<T>(*loss, r, ignored ? S(0) : result);
      }
      if (dz == nullptr) return;
      S all = 0;
      for (std::int64_t j = 0; j < walk.cols(); ++j) all += weight(j);
      const RowPlace out = walk.place(r, *dz);
      for (std::int64_t j = 0; j < walk.cols(); ++j) {
        const auto at = static_cast<std::size_t>(j);
        const S p = row.p(at);
        S result = own * (j == label ? -row.one_minus_p(at) : p);
        if (smoothing != 0) result += share * (p * all - weight(j));
        if (z_loss != 0) result += 2 * z_loss * logsumexp * p;
        store_as<T>(*dz, out(j), ignored ? S(0) : number_of<S>(options.dloss, r) * result);
      }
    });
  });
}

}  // namespace actium::reference

#include <cmath>
#include <limits>

#include "dispatch.hpp"
#include "reference.hpp"
#include "rows.hpp"

namespace actium::reference {

namespace {

/// One row's maximum and normaliser. The sum of exp((z - max) / T) is kept as ties + rest, where `ties`
/// counts the elements equal to the maximum, so that log(sum) = log1p(ties - 1 + rest) stays accurate when
/// one element dominates.
template <class S>
struct Row {
  S max = -std::numeric_limits<S>::infinity();
  S rest = 0;
  S ties = 0;
  S weighted = 0;  // sum of exp(a) * a with a = (z - max) / T <= 0
  S sum() const { return ties + rest; }
  S log_sum() const { return std::log1p(ties - 1 + rest); }
};

template <class S>
Row<S> scan(const std::vector<S>& z, double temperature) {
  Row<S> row;
  if (std::isnan(temperature)) row.rest = std::numeric_limits<S>::quiet_NaN();
  for (const S v : z) {
    if (v > row.max || std::isnan(v)) row.max = v;
    if (std::isnan(v)) break;
  }
  for (const S v : z) {
    const S distance = v - row.max;
    if (distance == 0) {
      row.ties += 1;
    } else {
      const S a = distance / static_cast<S>(temperature), e = std::exp(a);
      row.rest += e;  // NaN where max is infinite or NaN: the whole row becomes NaN
      if (e != 0) row.weighted += e * a;
    }
  }
  return row;
}

/// What an empty row's probabilities, logarithms of them, or entropy are.
template <class S>
struct Empty {
  S p, log_p, entropy;
};
template <class S>
Empty<S> empty_row(EmptyRow policy, std::int64_t cols) {
  const auto n = static_cast<S>(cols);
  const S nan = std::numeric_limits<S>::quiet_NaN(), inf = std::numeric_limits<S>::infinity();
  if (policy == EmptyRow::kNaN) return {nan, nan, nan};
  if (policy == EmptyRow::kUniform && cols > 0) return {1 / n, -std::log(n), std::log(n)};
  return {0, -inf, 0};
}

/// body(row number, its logits, their scan, whether it is empty, its temperature)
template <class Body>
void for_each_row(const ConstTensorView& z, const SoftmaxOptions& options, int threads, const Body& body) {
  const RowWalk walk(z.shape(), options.axis);
  visit_dtype(z.dtype(), [&]<class T>(std::type_identity<T> type) {
    using S = Wide<T>;
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      const std::vector<S> logits = logits_of<T>(walk, z, options, r);
      const double temperature = temperature_of(options, r);
      const Row<S> row = scan(logits, temperature);
      body(type, r, logits, row, row.max == -std::numeric_limits<S>::infinity(), static_cast<S>(temperature));
    });
  });
}

}  // namespace

void softmax(const ConstTensorView& z, const TensorView& p, const SoftmaxOptions& options, int threads) {
  const RowWalk walk(z.shape(), options.axis);
  for_each_row(z, options, threads,
               [&]<class T, class S>(std::type_identity<T>, std::int64_t r, const std::vector<S>& logits,
                                     const Row<S>& row, bool empty, S temperature) {
                 const RowPlace place = walk.place(r, p);
                 const Empty<S> nothing = empty_row<S>(options.empty_row, walk.cols());
                 for (std::size_t i = 0; i < logits.size(); ++i)
                   store_as<T>(p, place(static_cast<std::int64_t>(i)),
                               empty ? nothing.p : std::exp((logits[i] - row.max) / temperature) / row.sum());
               });
}

void log_softmax(const ConstTensorView& z, const TensorView& log_p, const SoftmaxOptions& options,
                 int threads) {
  const RowWalk walk(z.shape(), options.axis);
  for_each_row(z, options, threads,
               [&]<class T, class S>(std::type_identity<T>, std::int64_t r, const std::vector<S>& logits,
                                     const Row<S>& row, bool empty, S temperature) {
                 const RowPlace place = walk.place(r, log_p);
                 const Empty<S> nothing = empty_row<S>(options.empty_row, walk.cols());
                 for (std::size_t i = 0; i < logits.size(); ++i)
                   store_as<T>(log_p, place(static_cast<std::int64_t>(i)),
                               empty ? nothing.log_p : (logits[i] - row.max) / temperature - row.log_sum());
               });
}

void logsumexp(const ConstTensorView& z, const TensorView& result, const SoftmaxOptions& options,
               int threads) {
  for_each_row(z, options, threads,
               [&]<class T, class S>(std::type_identity<T>, std::int64_t r, const std::vector<S>&,
                                     const Row<S>& row, bool, S temperature) {
                 // The sum of an infinite exponential is infinite, the sum of nothing is zero.
                 store_as<T>(result, r,
                             std::isinf(row.max) ? row.max : row.max / temperature + row.log_sum());
               });
}

void entropy(const ConstTensorView& z, const TensorView& result, const SoftmaxOptions& options, int threads) {
  for_each_row(z, options, threads,
               [&]<class T, class S>(std::type_identity<T>, std::int64_t r, const std::vector<S>& logits,
                                     const Row<S>& row, bool empty, S) {
                 // -sum p log p = log(sum) - sum(e a) / sum: two terms that are both >= 0
                 store_as<T>(result, r,
                             empty ? empty_row<S>(options.empty_row, std::ssize(logits)).entropy
                                   : row.log_sum() - row.weighted / row.sum());
               });
}

void softmax_jvp(const ConstTensorView& p, const ConstTensorView& tz, const TensorView& tp,
                 const SoftmaxOptions& options, int threads) {
  const RowWalk walk(tz.shape(), options.axis);
  visit_dtype(p.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      const RowPlace ps = walk.place(r, p), ts = walk.place(r, tz), out = walk.place(r, tp);
      const auto temperature = static_cast<S>(temperature_of(options, r));
      S mean = 0;
      for (std::int64_t i = 0; i < walk.cols(); ++i)
        mean += load(p.data_as<T>()[ps(i)]) * load(tz.data_as<T>()[ts(i)]);
      for (std::int64_t i = 0; i < walk.cols(); ++i)
        store_as<T>(tp, out(i),
                    load(p.data_as<T>()[ps(i)]) * (load(tz.data_as<T>()[ts(i)]) - mean) / temperature);
    });
  });
}

void softmax_jacobian(const ConstTensorView& p, const TensorView& jacobian, double temperature, int threads) {
  const std::int64_t cols = p.shape().back(), rows = p.count() == 0 ? 0 : p.count() / cols;
  visit_dtype(p.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    parallel_for(rows * cols, threads, cols, [&](std::int64_t ri) {
      const T* ps = p.data_as<T>() + ri / cols * cols;
      T* out = jacobian.data_as<T>() + ri * cols;
      const std::int64_t i = ri % cols;
      for (std::int64_t j = 0; j < cols; ++j)
        out[j] = store<T>(load(ps[i]) * ((i == j ? S{1} : S{0}) - load(ps[j])) / static_cast<S>(temperature));
    });
  });
}

}  // namespace actium::reference

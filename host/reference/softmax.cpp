#include <cmath>
#include <limits>

#include "dispatch.hpp"
#include "reference.hpp"
#include "scalar.hpp"

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

template <class T>
Row<Wide<T>> scan(const T* z, std::int64_t cols, double temperature) {
  using S = Wide<T>;
  Row<S> row;
  for (std::int64_t i = 0; i < cols; ++i) {
    const S v = load(z[i]);
    if (v > row.max || std::isnan(v)) row.max = v;
    if (std::isnan(v)) break;
  }
  for (std::int64_t i = 0; i < cols; ++i) {
    const S distance = load(z[i]) - row.max;
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

/// body(row index, rows of T of z, the scan of that row)
template <class Body>
void for_each_row(const ConstTensorView& z, double temperature, int threads, const Body& body) {
  const std::int64_t cols = z.shape().back(), rows = z.shape().without_last().count();
  visit_dtype(z.dtype(), [&]<class T>(std::type_identity<T>) {
    parallel_for(rows, threads, cols, [&](std::int64_t r) {
      const T* row = z.data_as<T>() + r * cols;
      body(r, row, scan(row, cols, temperature));
    });
  });
}

}  // namespace

void softmax(const ConstTensorView& z, const TensorView& p, double temperature, int threads) {
  const std::int64_t cols = z.shape().back();
  for_each_row(z, temperature, threads,
               [&]<class T, class S>(std::int64_t r, const T* row, const Row<S>& scan) {
                 T* out = p.data_as<T>() + r * cols;
                 const S sum = scan.sum();
                 for (std::int64_t i = 0; i < cols; ++i)
                   out[i] = store<T>(std::exp((load(row[i]) - scan.max) / static_cast<S>(temperature)) / sum);
               });
}

void log_softmax(const ConstTensorView& z, const TensorView& log_p, double temperature, int threads) {
  const std::int64_t cols = z.shape().back();
  for_each_row(z, temperature, threads,
               [&]<class T, class S>(std::int64_t r, const T* row, const Row<S>& scan) {
                 T* out = log_p.data_as<T>() + r * cols;
                 const S log_sum = scan.log_sum();
                 for (std::int64_t i = 0; i < cols; ++i)
                   out[i] = store<T>((load(row[i]) - scan.max) / static_cast<S>(temperature) - log_sum);
               });
}

void logsumexp(const ConstTensorView& z, const TensorView& result, double temperature, int threads) {
  for_each_row(z, temperature, threads, [&]<class T, class S>(std::int64_t r, const T*, const Row<S>& scan) {
    // The sum of an infinite exponential is infinite, the sum of nothing is zero.
    const S log_sum =
        std::isinf(scan.max) ? scan.max : scan.max / static_cast<S>(temperature) + scan.log_sum();
    result.data_as<T>()[r] = store<T>(log_sum);
  });
}

void entropy(const ConstTensorView& z, const TensorView& result, double temperature, int threads) {
  for_each_row(z, temperature, threads, [&]<class T, class S>(std::int64_t r, const T*, const Row<S>& scan) {
    // -sum p log p = log(sum) - sum(e a) / sum: two terms that are both >= 0
    result.data_as<T>()[r] = store<T>(scan.log_sum() - scan.weighted / scan.sum());
  });
}

void softmax_jvp(const ConstTensorView& p, const ConstTensorView& tz, const TensorView& tp,
                 double temperature, int threads) {
  const std::int64_t cols = p.shape().back(), rows = p.shape().without_last().count();
  visit_dtype(p.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    parallel_for(rows, threads, cols, [&](std::int64_t r) {
      const T *ps = p.data_as<T>() + r * cols, *ts = tz.data_as<T>() + r * cols;
      T* out = tp.data_as<T>() + r * cols;
      S mean = 0;
      for (std::int64_t i = 0; i < cols; ++i) mean += load(ps[i]) * load(ts[i]);
      for (std::int64_t i = 0; i < cols; ++i)
        out[i] = store<T>(load(ps[i]) * (load(ts[i]) - mean) / static_cast<S>(temperature));
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

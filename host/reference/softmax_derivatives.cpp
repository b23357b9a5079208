#include <algorithm>
#include <cmath>
#include <limits>

#include "dispatch.hpp"
#include "reference.hpp"
#include "rows.hpp"

namespace actium::reference {

namespace {

/// A row of a tensor, widened.
template <class T>
std::vector<Wide<T>> row_of(const RowWalk& walk, const ConstTensorView& t, std::int64_t row) {
  const RowPlace place = walk.place(row, t);
  std::vector<Wide<T>> values(static_cast<std::size_t>(walk.cols()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = load(t.data_as<T>()[place(static_cast<std::int64_t>(i))]);
  return values;
}

/// A number of each row, of dtype T or f32.
template <class T>
Wide<T> row_number(const ConstTensorView& t, std::int64_t row) {
  return t.dtype() == dtype_of<T>::value ? load(t.data_as<T>()[row])
                                         : static_cast<Wide<T>>(t.data_as<float>()[row]);
}

/// body(type, row number) for each row of the shape.
template <class Body>
void for_each_row(const ConstTensorView& t, const SoftmaxOptions& options, int threads, const Body& body) {
  const RowWalk walk(t.shape(), options.axis);
  visit_dtype(t.dtype(), [&]<class T>(std::type_identity<T> type) {
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      body(type, walk, r, static_cast<Wide<T>>(temperature_of(options, r)));
    });
  });
}

/// Of each element of a row with nothing in it.
double empty_probability(EmptyRow policy, std::int64_t cols) {
  if (policy == EmptyRow::kNaN) return std::numeric_limits<double>::quiet_NaN();
  return policy == EmptyRow::kUniform ? 1 / static_cast<double>(cols) : 0;
}

/// Softmax of a row of logits.
template <class S>
struct Distribution {
  std::vector<S> p;
  bool empty = true;
};
template <class S>
Distribution<S> distribution(const std::vector<S>& z, S temperature) {
  Distribution<S> result;
  S max = -std::numeric_limits<S>::infinity(), sum = 0;
  for (const S v : z) {
    max = v > max || std::isnan(v) ? v : max;
    if (std::isnan(v)) break;
  }
  result.empty = max == -std::numeric_limits<S>::infinity();
  for (const S v : z) result.p.push_back(result.empty ? S(0) : std::exp((v - max) / temperature));
  for (const S e : result.p) sum += e;
  if (!result.empty)
    for (S& e : result.p) e /= sum;
  return result;
}

/// A row of a tangent, 0 where the logits are -inf.
template <class T>
std::vector<Wide<T>> tangent_of(const RowWalk& walk, const ConstTensorView& t,
                                const std::vector<Wide<T>>& logits, std::int64_t row) {
  std::vector<Wide<T>> tangent = row_of<T>(walk, t, row);
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] == -std::numeric_limits<Wide<T>>::infinity()) tangent[i] = 0;
  return tangent;
}

/// Lets a mean under p be taken relative to what the most probable element has, so that a large mean that
/// the elements share is gone before anything is rounded.
template <class S>
void subtract_most_probable(const std::vector<S>& p, std::vector<S>& x) {
  if (x.empty()) return;
  const S shift = x[static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin())];
  for (S& xi : x) xi -= shift;
}

/// sum p x
template <class S>
S mean_of(const std::vector<S>& p, const std::vector<S>& x) {
  S mean = 0;
  for (std::size_t i = 0; i < p.size(); ++i) mean += p[i] * x[i];
  return mean;
}

/// Means and covariance under p / sum p; what has p = 0 does not count.
template <class S>
struct Covariance {
  S t = 0, u = 0, covariance = 0;
  Covariance(const std::vector<S>& p, std::vector<S>& ts, std::vector<S>& us) {
    subtract_most_probable(p, ts);
    subtract_most_probable(p, us);
    S sum = 0;
    for (const S v : p) sum += v;
    if (sum == 0) return;
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) continue;
      t += p[i] * ts[i] / sum;
      u += p[i] * us[i] / sum;
    }
    for (std::size_t i = 0; i < p.size(); ++i)
      if (p[i] != 0) covariance += p[i] * (ts[i] - t) * (us[i] - u) / sum;
  }
};

}  // namespace

void softmax_value_and_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& p,
                           const TensorView& tp, const SoftmaxOptions& options, int threads) {
  for_each_row(z, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 const std::vector<S> logits = logits_of<T>(walk, z, options, r);
                 std::vector<S> tangent = tangent_of<T>(walk, tz, logits, r);
                 const Distribution<S> row = distribution(logits, temperature);
                 subtract_most_probable(row.p, tangent);
                 const S mean = mean_of(row.p, tangent);
                 const double nothing = empty_probability(options.empty_row, walk.cols());
                 const RowPlace ps = walk.place(r, p), ts = walk.place(r, tp);
                 for (std::size_t i = 0; i < logits.size(); ++i) {
                   const auto column = static_cast<std::int64_t>(i);
                   // Of an empty row 0, or NaN.
                   const S derivative = row.empty ? static_cast<S>(nothing - nothing)
                                                  : row.p[i] * (tangent[i] - mean) / temperature;
                   store_as<T>(p, ps(column), row.empty ? static_cast<S>(nothing) : row.p[i]);
                   store_as<T>(tp, ts(column), derivative);
                 }
               });
}

namespace {
/// dz = dy * derivative(p, a - <p, a>) / T for the statistics.
template <class Derivative>
void statistic_vjp(const ConstTensorView& z, const ConstTensorView& dy, const TensorView& dz,
                   const SoftmaxOptions& options, int threads, const Derivative& derivative) {
  for_each_row(z, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 std::vector<S> logits = logits_of<T>(walk, z, options, r);
                 const Distribution<S> row = distribution(logits, temperature);
                 for (std::size_t i = 0; i < logits.size(); ++i)
                   if (row.p[i] == 0) logits[i] = 0;  // also of -inf
                 subtract_most_probable(row.p, logits);
                 const S mean = mean_of(row.p, logits), gradient = row_number<T>(dy, r);
                 const double nothing = empty_probability(options.empty_row, walk.cols());
                 const RowPlace out = walk.place(r, dz);
                 for (std::size_t i = 0; i < logits.size(); ++i)
                   store_as<T>(dz, out(static_cast<std::int64_t>(i)),
                               row.empty ? static_cast<S>(nothing - nothing)
                                         : gradient * derivative(row.p[i], (logits[i] - mean) / temperature) /
                                               temperature);
               });
}
}  // namespace

void entropy_vjp(const ConstTensorView& z, const ConstTensorView& dh, const TensorView& dz,
                 const SoftmaxOptions& options, int threads) {
  // log p + H = a - <p, a>
  statistic_vjp(z, dh, dz, options, threads, [](auto p, auto distance) { return -p * distance; });
}

void logsumexp_vjp(const ConstTensorView& z, const ConstTensorView& dlse, const TensorView& dz,
                   const SoftmaxOptions& options, int threads) {
  statistic_vjp(z, dlse, dz, options, threads, [](auto p, auto) { return p; });
}

namespace {
/// tangent(softmax, logits, tz, T) for the statistics.
template <class Tangent>
void statistic_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& ty,
                   const SoftmaxOptions& options, int threads, const Tangent& tangent) {
  for_each_row(z, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 std::vector<S> logits = logits_of<T>(walk, z, options, r),
                                ts = tangent_of<T>(walk, tz, logits, r);
                 const Distribution<S> row = distribution(logits, temperature);
                 S result = options.empty_row == EmptyRow::kNaN ? std::numeric_limits<S>::quiet_NaN() : S(0);
                 if (!row.empty) result = tangent(row.p, logits, ts, temperature);
                 store_as<T>(ty, r, result);
               });
}
}  // namespace

void entropy_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& th,
                 const SoftmaxOptions& options, int threads) {
  // log p + H = (z - <p, z>) / T, and what is subtracted from tz does not count.
  statistic_jvp(z, tz, th, options, threads,
                []<class S>(const auto& p, auto& logits, auto& ts, S temperature) {
                  return -Covariance<S>(p, logits, ts).covariance / temperature / temperature;
                });
}

void logsumexp_jvp(const ConstTensorView& z, const ConstTensorView& tz, const TensorView& tlse,
                   const SoftmaxOptions& options, int threads) {
  statistic_jvp(z, tz, tlse, options, threads, [](const auto& p, auto&, auto& ts, auto temperature) {
    return mean_of(p, ts) / temperature;
  });
}

void log_softmax_vjp(const ConstTensorView& log_p, const ConstTensorView& dy, const TensorView& dz,
                     const SoftmaxOptions& options, int threads) {
  for_each_row(
      log_p, options, threads,
      [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
        using S = Wide<T>;
        const std::vector<S> logs = row_of<T>(walk, log_p, r), gradient = row_of<T>(walk, dy, r);
        const auto takes_part = [&](std::size_t i) { return logs[i] != -std::numeric_limits<S>::infinity(); };
        S sum = 0;
        for (std::size_t i = 0; i < logs.size(); ++i)
          if (takes_part(i)) sum += gradient[i];
        const RowPlace out = walk.place(r, dz);
        for (std::size_t i = 0; i < logs.size(); ++i) {
          // dy - p sum, where p is nearly 1 as (dy - sum) + (1 - p) sum
          const S difference = logs[i] > S(-0.5) ? (gradient[i] - sum) - std::expm1(logs[i]) * sum
                                                 : gradient[i] - std::exp(logs[i]) * sum;
          store_as<T>(dz, out(static_cast<std::int64_t>(i)), takes_part(i) ? difference / temperature : 0);
        }
      });
}

void log_softmax_jvp(const ConstTensorView& log_p, const ConstTensorView& tz, const TensorView& ty,
                     const SoftmaxOptions& options, int threads) {
  for_each_row(log_p, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 const std::vector<S> logs = row_of<T>(walk, log_p, r), tangent = row_of<T>(walk, tz, r);
                 const auto takes_part = [&](std::size_t i) {
                   return logs[i] != -std::numeric_limits<S>::infinity();
                 };
                 S mean = 0;
                 for (std::size_t i = 0; i < logs.size(); ++i)
                   if (takes_part(i)) mean += std::exp(logs[i]) * tangent[i];
                 const RowPlace out = walk.place(r, ty);
                 for (std::size_t i = 0; i < logs.size(); ++i)
                   store_as<T>(ty, out(static_cast<std::int64_t>(i)),
                               takes_part(i) ? (tangent[i] - mean) / temperature : 0);
               });
}

void softmax_hvp(const ConstTensorView& p, const ConstTensorView& dp, const ConstTensorView& tz,
                 const TensorView& result, const SoftmaxOptions& options, int threads) {
  for_each_row(p, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 const std::vector<S> ps = row_of<T>(walk, p, r);
                 std::vector<S> us = row_of<T>(walk, dp, r), ts = row_of<T>(walk, tz, r);
                 const Covariance<S> row(ps, ts, us);
                 const RowPlace out = walk.place(r, result);
                 for (std::size_t i = 0; i < ps.size(); ++i)
                   store_as<T>(result, out(static_cast<std::int64_t>(i)),
                               ps[i] == 0 ? 0
                                          : ps[i] * ((ts[i] - row.t) * (us[i] - row.u) - row.covariance) /
                                                temperature / temperature);
               });
}

void softmax_temperature_gradient(const ConstTensorView& z, const ConstTensorView& p,
                                  const ConstTensorView& dp, const TensorView& dT,
                                  const SoftmaxOptions& options, int threads) {
  for_each_row(z, options, threads,
               [&]<class T>(std::type_identity<T>, const RowWalk& walk, std::int64_t r, Wide<T> temperature) {
                 using S = Wide<T>;
                 std::vector<S> logits = logits_of<T>(walk, z, options, r), us = row_of<T>(walk, dp, r),
                                ps = row_of<T>(walk, p, r);
                 for (std::size_t i = 0; i < ps.size(); ++i)
                   if (logits[i] == -std::numeric_limits<S>::infinity()) ps[i] = 0;
                 const Covariance<S> row(ps, logits, us);
                 store_as<T>(dT, r, -row.covariance / temperature / temperature);
               });
}

}  // namespace actium::reference

#pragma once
// The derivatives of softmax on rows of any layout against closed forms in long double.
#include <gtest/gtest.h>
#include <actium/softmax.hpp>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace actium_test {

using Numbers = std::vector<long double>;

/// Results, and the size of the terms that they are sums of: an error is a few roundings of those.
struct Bounded {
  Numbers value, terms;
};

/// The type that the kernels compute in.
struct Computing {
  long double epsilon;
  long double least;  // subnormal, in epsilons
  /// The error of a sum, in epsilons: kernels add in two words; for f64 this test and the CPU add in long
  /// double, one rounding of 2^-64 a term.
  long double rest_of_sum(std::size_t terms) const {
    return epsilon > 0x1p-30L ? epsilon : 0x1p-12L * static_cast<long double>(terms);
  }
};
template <class T>
Computing computing() {
  if (sizeof(T) == 8) return {0x1p-52L, 0x1p-1022L};
  return {0x1p-23L, 0x1p-126L};
}

/// What a mean is taken relative to: the difference is exact, so that a large mean costs nothing here.
inline std::size_t most_probable(const Numbers& p) {
  return static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
}
inline Numbers without(Numbers x, long double shift) {
  for (long double& xi : x) xi -= shift;
  return x;
}

/// One row in long double.
struct Exact {
  Numbers z, p;
  long double temperature;
  Computing c;

  Exact(const Numbers& logits, double t, const Computing& type)
      : z(logits), temperature(static_cast<long double>(t)), c(type) {
    const long double max = *std::max_element(z.begin(), z.end());
    long double sum = 0;
    for (const long double zi : z) {
      p.push_back(max == -kInfinity ? 0 : std::exp((zi - max) / temperature));
      sum += p.back();
    }
    for (std::size_t i = 0; i < z.size(); ++i) {
      if (sum > 0) p[i] /= sum;
      if (z[i] == -kInfinity) z[i] = 0;
    }
  }
  template <class T>
  Exact(const std::vector<T>& logits, double t) : Exact(widened(logits), t, computing<T>()) {}

  template <class T>
  static Numbers widened(const std::vector<T>& x) {
    Numbers wide;
    for (const T& xi : x) wide.push_back(static_cast<long double>(static_cast<double>(xi)));
    return wide;
  }

  /// p (x - <p, x>) * factor
  Bounded centred(const Numbers& given, long double factor) const {
    const long double top = given[most_probable(p)];
    const Numbers x = without(given, top);
    long double mean = 0, deviation = 0, size = 0;
    for (std::size_t i = 0; i < p.size(); ++i) mean += p[i] * x[i];
    for (std::size_t i = 0; i < p.size(); ++i) {
      deviation += p[i] * std::fabs(x[i] - mean);
      size = std::max(size, std::fabs(p[i] * given[i]));
    }
    Bounded result;
    for (std::size_t i = 0; i < p.size(); ++i) {
      result.value.push_back(p[i] * (x[i] - mean) * factor);
      result.terms.push_back(
          p[i] * (std::fabs(x[i] - mean) + deviation + c.epsilon * (size + std::fabs(mean + top))) *
              std::fabs(factor) +
          c.least * (1 + std::fabs(x[i] - mean)) * (1 + std::fabs(factor)));
    }
    return result;
  }
  template <class T>
  Bounded jvp(const std::vector<T>& tangent) const {
    return centred(widened(tangent), 1 / temperature);
  }
  Bounded entropy_vjp(double dh) const {
    return centred(z, -static_cast<long double>(dh) / temperature / temperature);
  }
  Bounded logsumexp_vjp(double dlse) const {
    Bounded result;
    for (const long double pi : p) {
      result.value.push_back(pi * static_cast<long double>(dlse) / temperature);
      result.terms.push_back(std::fabs(result.value.back()) +
                             c.least * std::fabs(static_cast<long double>(dlse) / temperature));
    }
    return result;
  }

  /// -cov(z, t) / T^2, <p, t> / T: sums of what the row's elements give.
  Bounded entropy_jvp(const Numbers& given) const {
    const long double scale = 1 / temperature / temperature;
    const Numbers a = without(z, z[most_probable(p)]), t = without(given, given[most_probable(p)]);
    long double mean_a = 0, mean_t = 0, size_a = 0, size_t_ = 0, covariance = 0, deviation = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      mean_a += p[i] * a[i];
      mean_t += p[i] * t[i];
      size_a += p[i] * std::fabs(a[i]);
      if (p[i] > c.least) size_t_ = std::max(size_t_, std::fabs(given[i]));
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      covariance += p[i] * (a[i] - mean_a) * (t[i] - mean_t);
      deviation += p[i] * std::fabs((a[i] - mean_a) * (t[i] - mean_t));
    }
    const long double rest = c.epsilon * size_a * size_t_ + c.rest_of_sum(p.size()) * deviation;
    const long double least = c.least * (1 + (1 + size_a / temperature) / temperature);
    return {{-covariance * scale}, {(deviation + rest) * scale + least}};
  }
  Bounded logsumexp_jvp(const Numbers& t) const {
    long double mean = 0, size = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      mean += p[i] * t[i];
      size += p[i] * std::fabs(t[i]);
    }
    return {{mean / temperature},
            {size * (1 + c.rest_of_sum(p.size())) / temperature + c.least * (1 + 1 / temperature)}};
  }

  static constexpr long double kInfinity = std::numeric_limits<long double>::infinity();
};

/// Of log softmax, from log p.
inline Bounded log_vjp(const Numbers& log_p, const Numbers& dy, long double temperature, const Computing& c) {
  long double sum = 0, size = 0;
  for (std::size_t i = 0; i < dy.size(); ++i)
    if (log_p[i] != -Exact::kInfinity) sum += dy[i], size += std::fabs(dy[i]);
  Bounded result;
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const long double p = std::exp(log_p[i]), rest = -std::expm1(log_p[i]);
    const bool none = log_p[i] == -Exact::kInfinity;
    result.value.push_back(none ? 0 : ((dy[i] - sum) + rest * sum) / temperature);
    result.terms.push_back(std::fabs(result.value.back()) +
                           (std::min(p, std::fabs(rest)) * std::fabs(sum) + c.rest_of_sum(dy.size()) * size) /
                               temperature);
  }
  return result;
}
inline Bounded log_jvp(const Numbers& log_p, const Numbers& tz, long double temperature) {
  long double mean = 0, size = 0;
  for (std::size_t i = 0; i < tz.size(); ++i)
    if (log_p[i] != -Exact::kInfinity)
      mean += std::exp(log_p[i]) * tz[i], size += std::exp(log_p[i]) * std::fabs(tz[i]);
  Bounded result;
  for (std::size_t i = 0; i < tz.size(); ++i) {
    const bool none = log_p[i] == -Exact::kInfinity;
    result.value.push_back(none ? 0 : (tz[i] - mean) / temperature);
    result.terms.push_back(std::fabs(result.value.back()) + size / temperature);
  }
  return result;
}

/// Under p / sum p: the Hessian's product, and the temperature's gradient where t is z.
struct ExactCovariance {
  Bounded hvp, temperature_gradient;
  ExactCovariance(const Numbers& p, const Numbers& given_u, const Numbers& given_t, long double temperature,
                  const Computing& c) {
    const Numbers u = without(given_u, given_u[most_probable(p)]),
                  t = without(given_t, given_t[most_probable(p)]);
    const long double scale = 1 / temperature / temperature;
    long double sum = 0, mean_u = 0, mean_t = 0, size_u = 0, size_t_ = 0, covariance = 0;
    for (const long double pi : p) sum += pi;
    for (std::size_t i = 0; i < p.size() && sum > 0; ++i) {
      if (p[i] == 0) continue;
      mean_u += p[i] / sum * u[i];
      mean_t += p[i] / sum * t[i];
      size_u = std::max(size_u, std::fabs(given_u[i]));
      size_t_ = std::max(size_t_, std::fabs(given_t[i]));
    }
    long double deviation = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
      if (p[i] != 0) {
        covariance += p[i] / sum * (u[i] - mean_u) * (t[i] - mean_t);
        deviation += p[i] / sum * std::fabs((u[i] - mean_u) * (t[i] - mean_t));
      }
    const long double rest = c.epsilon * size_u * size_t_ + c.rest_of_sum(p.size()) * deviation;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const long double product = p[i] == 0 ? 0 : (u[i] - mean_u) * (t[i] - mean_t);
      hvp.value.push_back(p[i] * (product - covariance) * scale);
      hvp.terms.push_back(p[i] * (std::fabs(product) + std::fabs(covariance) + rest) * scale +
                          c.least * (1 + 1 / temperature + scale));
    }
    temperature_gradient = {{-covariance * scale}, {(std::fabs(covariance) + rest) * scale}};
  }
};

/// Rows in an array: any axis, any strides.
struct RowLayout {
  actium::Shape shape;
  std::vector<std::int64_t> strides;
  int axis;
  std::int64_t rows, cols, inner = 1, row_step, inner_step = 0, col_step;
  std::size_t at(std::int64_t row, std::int64_t col) const {
    return static_cast<std::size_t>(row / inner * row_step + row % inner * inner_step + col * col_step);
  }
  std::size_t count() const { return at(rows - 1, cols - 1) + 1; }
  actium::TensorView view(const actium::TensorView& flat) const {
    return {flat.data(), flat.dtype(), shape, strides};
  }
};
inline RowLayout contiguous_rows(std::int64_t rows, std::int64_t cols) {
  return {{rows, cols}, {cols, 1}, -1, rows, cols, 1, cols, 0, 1};
}

/// Every derivative, of logits z (as the kernels see them: `logits`), tangent t and cotangent u.
template <class T, class Out = T>
void check_layout(const actium::Context& ctx, const RowLayout& rows, actium::SoftmaxOptions options,
                  const std::vector<T>& z, const Numbers& logits, const std::vector<T>& t,
                  const std::vector<T>& u, std::vector<double> temperatures = {}) {
  using namespace actium;
  options.axis = rows.axis;
  const auto of_rows = static_cast<std::size_t>(rows.rows);
  const std::size_t count = rows.count();
  if (temperatures.empty()) temperatures.assign(of_rows, options.temperature);
  const std::vector<Out> g = normal_sample<Out>(of_rows, kSeed + 3);
  Guarded<T> zs(ctx, z, 1), ts(ctx, t, 2), us(ctx, u, 1), saved_p(ctx, count, 3), saved_log(ctx, count);
  Guarded<Out> gs(ctx, g), p(ctx, count, 1), tp(ctx, count, 1), dz_h(ctx, count), dz_lse(ctx, count, 1),
      dz_log(ctx, count), ty(ctx, count, 3), hvp(ctx, count, 1), dT(ctx, of_rows), th(ctx, of_rows, 1),
      tlse(ctx, of_rows, 3);
  const auto in = [&](Guarded<T>& x) { return ConstTensorView(rows.view(x.view())); };
  const auto out = [&](auto& x) { return rows.view(x.view()); };
  const Shape row_shape = rows.shape.rank() == 2 ? Shape{rows.rows} : Shape{rows.shape[0], rows.shape[2]};
  softmax(ctx, in(zs), out(saved_p), options);
  log_softmax(ctx, in(zs), out(saved_log), options);
  softmax_value_and_jvp(ctx, in(zs), in(ts), out(p), out(tp), options);
  entropy_vjp(ctx, in(zs), gs.view(row_shape), out(dz_h), options);
  logsumexp_vjp(ctx, in(zs), gs.view(row_shape), out(dz_lse), options);
  entropy_jvp(ctx, in(zs), in(ts), th.view(row_shape), options);
  logsumexp_jvp(ctx, in(zs), in(ts), tlse.view(row_shape), options);
  log_softmax_vjp(ctx, in(saved_log), in(us), out(dz_log), options);
  log_softmax_jvp(ctx, in(saved_log), in(ts), out(ty), options);
  softmax_hvp(ctx, in(saved_p), in(us), in(ts), out(hvp), options);
  softmax_temperature_gradient(ctx, in(zs), in(saved_p), in(us), dT.view(row_shape), options);
  ASSERT_TRUE(zs.untouched() && ts.untouched() && us.untouched() && gs.untouched());
  ASSERT_TRUE(p.guards_intact() && tp.guards_intact() && dz_h.guards_intact() && dz_lse.guards_intact() &&
              dz_log.guards_intact() && ty.guards_intact() && hvp.guards_intact() && dT.guards_intact() &&
              th.guards_intact() && tlse.guards_intact());

  const auto of_saved_p = saved_p.read(), of_saved_log = saved_log.read();
  const auto of_p = p.read(), of_tp = tp.read(), of_h = dz_h.read(), of_lse = dz_lse.read(),
             of_log = dz_log.read(), of_ty = ty.read(), of_hvp = hvp.read(), of_dT = dT.read(),
             of_th = th.read(), of_tlse = tlse.read();
  const Computing type = computing<T>();
  const Format format = format_of(dtype_of<Out>::value);
  const long double stored = std::ldexp(1.0L, -format.mantissa_bits), computed = type.epsilon,
                    least = std::ldexp(1.0L, format.min_exponent - format.mantissa_bits);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const auto row = [&](const auto& x) {
      Numbers values;
      for (std::int64_t c = 0; c < rows.cols; ++c)
        values.push_back(static_cast<long double>(x[rows.at(r, c)]));
      return values;
    };
    const auto row_of = [&](const auto& x) {
      Numbers values;
      for (std::int64_t c = 0; c < rows.cols; ++c)
        values.push_back(static_cast<long double>(static_cast<double>(x[rows.at(r, c)])));
      return values;
    };
    // Half an ULP of what is stored, and eight roundings of the terms.
    const auto expect = [&](const Numbers& got, const Bounded& want, const char* what,
                            std::int64_t roundings = 8) {
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_LE(std::fabs(got[i] - want.value[i]),
                  0.5001L * stored * std::fabs(want.value[i]) + least +
                      static_cast<long double>(roundings) / 2 * computed * want.terms[i])
            << what << ", row " << r << " column " << i << ": got " << got[i] << ", want " << want.value[i];
    };
    const auto ri = static_cast<std::size_t>(r);
    const double temperature = temperatures[ri];
    const auto wide_t = static_cast<long double>(temperature);
    const Numbers own = row(logits);
    Numbers tangent = row_of(t), cotangent = row_of(u), z_or_0 = own;
    for (std::size_t i = 0; i < own.size(); ++i)
      if (own[i] == -Exact::kInfinity) tangent[i] = z_or_0[i] = 0;
    const Exact exact(own, temperature, type);
    const Bounded value{exact.p, exact.p};
    expect(row_of(of_p), value, "p");
    expect(row_of(of_tp), exact.centred(tangent, 1 / wide_t), "tp");
    expect(row_of(of_h), exact.entropy_vjp(static_cast<double>(g[ri])), "entropy_vjp");
    expect(row_of(of_lse), exact.logsumexp_vjp(static_cast<double>(g[ri])), "logsumexp_vjp");
    const auto number = [&](const auto& x) {
      return Numbers{static_cast<long double>(static_cast<double>(x[ri]))};
    };
    expect(number(of_th), exact.entropy_jvp(tangent), "entropy_jvp");
    expect(number(of_tlse), exact.logsumexp_jvp(tangent), "logsumexp_jvp");
    expect(row_of(of_log), log_vjp(row_of(of_saved_log), cotangent, wide_t, type), "log_softmax_vjp");
    expect(row_of(of_ty), log_jvp(row_of(of_saved_log), tangent, wide_t), "log_softmax_jvp");
    const Numbers weights = row_of(of_saved_p);
    expect(row_of(of_hvp), ExactCovariance(weights, cotangent, row_of(t), wide_t, type).hvp, "hvp");
    expect(number(of_dT), ExactCovariance(weights, cotangent, z_or_0, wide_t, type).temperature_gradient,
           "temperature gradient");
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <class T, class Out = T>
void check_every_derivative_of(const actium::Context& ctx, std::int64_t rows, std::int64_t cols,
                               const actium::SoftmaxOptions& options, const std::vector<T>& z,
                               const std::vector<T>& t, const std::vector<T>& u,
                               const std::vector<double>& temperatures = {}) {
  check_layout<T, Out>(ctx, contiguous_rows(rows, cols), options, z, Exact::widened(z), t, u, temperatures);
}

/// Of normal numbers: logits with this deviation, all with this mean.
template <class T, class Out = T>
void check_every_derivative(const actium::Context& ctx, std::int64_t rows, std::int64_t cols,
                            const actium::SoftmaxOptions& options, double spread, double mean,
                            const std::vector<double>& temperatures = {}) {
  const auto count = static_cast<std::size_t>(rows * cols);
  const std::uint64_t seed = kSeed + static_cast<std::uint64_t>(cols);
  check_every_derivative_of<T, Out>(ctx, rows, cols, options, normal_sample<T>(count, seed, mean, spread),
                                    normal_sample<T>(count, seed + 1, mean),
                                    normal_sample<T>(count, seed + 2, mean), temperatures);
}

/// Logits on both sides of where the kernels subtract the maximum before they multiply: parts of such a row
/// have different variables. f32 and f64.
template <class T>
std::vector<T> near_and_far(std::size_t count, std::int64_t cols) {
  const double threshold = sizeof(T) == 8 ? 0x1p40 * 0.6931471805599453 : 0x1p20 * 0.6931471805599453;
  std::vector<T> z = normal_sample<T>(count, kSeed + 5);
  for (std::size_t i = 0; i < count; ++i) {
    const bool far = static_cast<std::int64_t>(i) % cols > cols / 2;
    z[i] += static_cast<T>(threshold + (far ? 3 : -3));
  }
  return z;
}

/// Each kind of mask alone, and all together.
template <class T>
void check_masks(const actium::Context& ctx, std::int64_t rows, std::int64_t cols) {
  using namespace actium;
  const auto count = static_cast<std::size_t>(rows * cols);
  // Multiples of 1/8: the sum of a logit and its bias is exact.
  const auto eighths = [](std::size_t size, std::uint64_t seed, double deviation) {
    std::vector<T> x;
    for (const double v : normal_sample<double>(size, seed, 0, deviation))
      x.push_back(static_cast<T>(std::clamp(std::round(8 * v) / 8, -15.0, 15.0)));
    return x;
  };
  const std::vector<T> z = eighths(count, kSeed, 3), t = normal_sample<T>(count, kSeed + 1),
                       u = normal_sample<T>(count, kSeed + 2);
  std::vector<T> bias = eighths(static_cast<std::size_t>(cols), kSeed + 4, 1);
  std::vector<std::int64_t> lengths;
  for (std::int64_t r = 0; r < rows; ++r)
    lengths.push_back((cols + 2) * r / (rows - 1) - 1);  // -1 .. cols + 1
  std::vector<unsigned char> keep;
  for (std::size_t i = 0; i < count; ++i) keep.push_back(i * 2654435761u % 7 < 4);
  for (std::size_t i = 0; i < bias.size(); i += 5) bias[i] = T(-std::numeric_limits<float>::infinity());
  // Memory of the device: as words of eight bytes.
  const auto on_device = [&](const void* bytes, std::size_t size) {
    std::vector<double> words((size + 7) / 8);
    std::memcpy(words.data(), bytes, size);
    return Tensor(ctx, words);
  };
  const Tensor keeps = on_device(keep.data(), keep.size()),
               lens = on_device(lengths.data(), lengths.size() * 8), biases(ctx, bias);
  for (int kinds = 1; kinds < 16; kinds = kinds == 8 ? 15 : 2 * kinds) {
    SCOPED_TRACE("kinds of masks: " + std::to_string(kinds));
    SoftmaxOptions options{.temperature = 0.9};
    if (kinds & 1) options.mask = BoolView(static_cast<const bool*>(keeps.view().data()), {rows, cols});
    if (kinds & 2) options.bias = biases.view();
    if (kinds & 4) options.lengths = IndexView(static_cast<const std::int64_t*>(lens.view().data()), {rows});
    options.causal = (kinds & 8) != 0;
    options.causal_offset = cols / 2 - 2;
    Numbers logits = Exact::widened(z);
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const std::int64_t r = i / cols, c = i % cols;
      const auto at = static_cast<std::size_t>(i), column = static_cast<std::size_t>(c);
      if (kinds & 2) logits[at] += static_cast<long double>(static_cast<double>(bias[column]));
      const bool takes_part = !((kinds & 1) && keep[at] == 0) &&
                              !((kinds & 4) && c >= lengths[static_cast<std::size_t>(r)]) &&
                              !((kinds & 8) && c > r + options.causal_offset);
      if (!takes_part) logits[at] = -Exact::kInfinity;
    }
    check_layout<T>(ctx, contiguous_rows(rows, cols), options, z, logits, t, u);
  }
}

/// Along the middle axis of [outer, cols, inner], and with a gap behind each element of [outer, cols].
template <class T>
void check_axis(const actium::Context& ctx, std::int64_t outer, std::int64_t cols, std::int64_t inner) {
  const RowLayout layouts[] = {
      {{outer, cols, inner}, {cols * inner, inner, 1}, 1, outer * inner, cols, inner, cols * inner, 1, inner},
      {{outer, cols}, {3 * cols, 3}, 1, outer, cols, 1, 3 * cols, 0, 3}};
  for (const RowLayout& rows : layouts) {
    const std::size_t count = rows.count();
    const std::vector<T> z = normal_sample<T>(count, kSeed, 0, 3);
    check_layout<T>(ctx, rows, {.temperature = 0.7}, z, Exact::widened(z), normal_sample<T>(count, kSeed + 1),
                    normal_sample<T>(count, kSeed + 2));
  }
}

}  // namespace actium_test

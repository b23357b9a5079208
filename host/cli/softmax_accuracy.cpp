/// actium accuracy softmax: measures the errors of softmax and its relatives over rows of many lengths and
/// kinds, against long double.
#include <accuracy/metric.hpp>
#include <accuracy/page.hpp>
#include <actium/softmax.hpp>
#include <array>
#include <random>

#include "arrays.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "page_file.hpp"
#include "progress_bar.hpp"

namespace actium::cli {
namespace {

using Vector = std::vector<double>;

constexpr std::int64_t kLengths[] = {1,    2,     8,     33,    100,    1000,   1025,
                                     4096, 16384, 20000, 65536, 262144, 1 << 20};
constexpr std::int64_t kElements = 1 << 18;  // of a measurement at least, in rows of one length, 64 at most
constexpr std::uint64_t kSeed = 20261122;

/// How the logits of a row are made.
struct RowKind {
  const char* name;
  double deviation, offset;
  bool dominant;  // one element 25 above all others
};
constexpr RowKind kRowKinds[] = {{"normal", 1, 0, false},
                                 {"spread", 12, 0, false},
                                 {"offset 1e3", 3, 1e3, false},
                                 {"offset 1e6", 3, -1e6, false},
                                 {"sure", 1, 0, true}};

constexpr const char* kOperations[] = {"softmax",     "log_softmax",   "logsumexp",  "entropy",
                                       "softmax_jvp", "logsumexp_jvp", "entropy_jvp"};
constexpr std::size_t kOperationCount = std::size(kOperations);

/// The greatest error of an operation in a dtype, in ULP of the stored type, and where.
struct Worst {
  double ulp = -1;
  std::int64_t length = 0;
  const char* row = "";
  void take(double error, std::int64_t columns, const RowKind& kind) {
    if (!(error <= ulp)) *this = {error, columns, kind.name};
  }
};
using Figures = std::array<Worst, kOperationCount>;

Vector logits_of(const RowKind& kind, std::int64_t rows, std::int64_t columns, std::mt19937_64& random) {
  std::normal_distribution<double> normal(kind.offset, kind.deviation);
  Vector z(static_cast<std::size_t>(rows * columns));
  for (double& x : z) x = normal(random);
  if (kind.dominant)
    for (std::int64_t r = 0; r < rows; ++r)
      z[static_cast<std::size_t>(r * columns + columns / 3)] = 25 + kind.offset;
  return z;
}

void measure(const Context& ctx, DType dtype, std::int64_t columns, const RowKind& kind, Figures& figures) {
  std::mt19937_64 random(kSeed + static_cast<std::uint64_t>(columns));
  const std::int64_t rows = std::clamp<std::int64_t>(kElements / columns, 1, 64);
  const Shape shape{rows, columns};
  const Tensor z = to_tensor(ctx, dtype, logits_of(kind, rows, columns, random), shape),
               t = to_tensor(ctx, dtype, logits_of(kRowKinds[0], rows, columns, random), shape);
  Tensor p(ctx, dtype, shape), log_p(ctx, dtype, shape), lse(ctx, dtype, {rows}), h(ctx, dtype, {rows}),
      tp(ctx, dtype, shape), tlse(ctx, dtype, {rows}), th(ctx, dtype, {rows});
  softmax(ctx, z, p);
  log_softmax(ctx, z, log_p);
  logsumexp(ctx, z, lse);
  entropy(ctx, z, h);
  softmax_jvp(ctx, p, t, tp);
  logsumexp_jvp(ctx, z, t, tlse);
  entropy_jvp(ctx, z, t, th);
  const Vector zs = z.to_doubles(ctx), ts = t.to_doubles(ctx), ps = p.to_doubles(ctx),
               log_ps = log_p.to_doubles(ctx), lses = lse.to_doubles(ctx), hs = h.to_doubles(ctx),
               tps = tp.to_doubles(ctx), tlses = tlse.to_doubles(ctx), ths = th.to_doubles(ctx);
  const accuracy::Format format = accuracy::format_of(dtype);
  const auto ulp = [&](double got, long double want) { return accuracy::ulp_error(got, want, format); };
  // In ULP of what the terms that are added up come to, where that is a normal number.
  const auto take_ulp_of = [&](long double terms, double got, long double want, std::size_t operation) {
    if (terms >= std::ldexp(1.0L, format.min_exponent))
      figures[operation].take(static_cast<double>(std::fabs(static_cast<long double>(got) - want) /
                                                  std::ldexp(1.0L, std::ilogb(terms) - format.mantissa_bits)),
                              columns, kind);
  };
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto first = static_cast<std::size_t>(r * columns), n = static_cast<std::size_t>(columns);
    std::size_t top = first;
    for (std::size_t i = first; i < first + n; ++i)
      if (zs[i] > zs[top]) top = i;
    long double others = 0, weighted = 0, mean = 0, mean_size = 0;
    std::vector<long double> e(n);
    for (std::size_t c = 0; c < n; ++c) {
      const long double a = static_cast<long double>(zs[first + c]) - static_cast<long double>(zs[top]);
      e[c] = std::exp(a);
      if (first + c != top) others += e[c];
      weighted += e[c] * a;
      const long double product =
          static_cast<long double>(ps[first + c]) * static_cast<long double>(ts[first + c]);
      mean += product;
      mean_size += std::fabs(product);
    }
    const long double log_sum = std::log1p(others), sum = 1 + others;
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t i = first + c;
      const long double a = static_cast<long double>(zs[i]) - static_cast<long double>(zs[top]);
      // Probabilities that are normal numbers: a subnormal one has fewer digits.
      const long double want = e[c] / sum;
      if (want >= std::ldexp(1.0L, format.min_exponent)) figures[0].take(ulp(ps[i], want), columns, kind);
      figures[1].take(ulp(log_ps[i], a - log_sum), columns, kind);
      // In ULP of p (|t| + sum p |t|), the size of what is added up and subtracted.
      const long double tangent = static_cast<long double>(ts[i]), saved = static_cast<long double>(ps[i]);
      take_ulp_of(saved * (std::fabs(tangent) + mean_size), tps[i], saved * (tangent - mean), 4);
    }
    const auto row = static_cast<std::size_t>(r);
    // Where max z and log sum cancel, an ULP of the larger remains.
    const long double lse_want = static_cast<long double>(zs[top]) + log_sum,
                      larger = std::max(
                          {std::fabs(static_cast<long double>(zs[top])), log_sum, std::fabs(lse_want)});
    figures[2].take(larger == 0
                        ? ulp(lses[row], lse_want)
                        : static_cast<double>(std::fabs(static_cast<long double>(lses[row]) - lse_want) /
                                              std::ldexp(1.0L, std::ilogb(larger) - format.mantissa_bits)),
                    columns, kind);
    figures[3].take(ulp(hs[row], log_sum - weighted / sum), columns, kind);

    // The statistics' tangents: <p, t> and -cov(z, t).
    long double mean_t = 0, size = 0, covariance = 0, deviation = 0;
    for (std::size_t c = 0; c < n; ++c) {
      const long double product = e[c] / sum * static_cast<long double>(ts[first + c]);
      mean_t += product;
      size += std::fabs(product);
    }
    for (std::size_t c = 0; c < n; ++c) {
      const long double a = static_cast<long double>(zs[first + c]) - static_cast<long double>(zs[top]),
                        product = e[c] / sum * (a - weighted / sum) *
                                  (static_cast<long double>(ts[first + c]) - mean_t);
      covariance += product;
      deviation += std::fabs(product);
    }
    take_ulp_of(size, tlses[row], mean_t, 5);
    take_ulp_of(deviation, ths[row], -covariance, 6);
  }
}

std::string table(const std::vector<DType>& dtypes, const std::vector<Figures>& figures) {
  std::string text = "| operation |";
  for (const DType dtype : dtypes) text += fmt::format(" {} |", to_string(dtype));
  text += "\n|---|" + [&] {
    std::string line;
    for (std::size_t i = 0; i < dtypes.size(); ++i) line += "---|";
    return line;
  }() + "\n";
  for (std::size_t o = 0; o < kOperationCount; ++o) {
    text += fmt::format("| {} |", kOperations[o]);
    for (const Figures& of_dtype : figures)
      text += fmt::format(" {:.4f} ({}, {}) |", of_dtype[o].ulp, of_dtype[o].length, of_dtype[o].row);
    text += "\n";
  }
  return text;
}

}  // namespace

int run_softmax_accuracy(const AccuracyOptions& options) {
  const auto fail = [](const char* message) { throw Error(ErrorKind::kInvalidArgument, message); };
  if (options.order || options.exhaustive) fail("--order, --exhaustive: want neither for softmax");
  std::vector<DType> dtypes{std::begin(kDTypes), std::end(kDTypes)};
  if (options.dtype) dtypes = {parse_dtype(*options.dtype)};
  if (options.write && options.dtype) fail("--write: the page has every dtype: want no --dtype");
  const std::string page = options.write ? read_page(*options.write) : "";
  const Context ctx = open_context(options);
  Output out(options.json);
  out.print("{:<13} {:<5} {:>10} {:>9}  {}\n", "operation", "dtype", "max ULP", "length", "row");
  ProgressBar bar(dtypes.size() * std::size(kLengths));
  std::vector<Figures> figures(dtypes.size());
  Json list = Json::array();
  for (std::size_t d = 0; d < dtypes.size(); ++d) {
    for (const std::int64_t columns : kLengths) {
      bar.show(fmt::format("{} rows of {}", to_string(dtypes[d]), columns), 0);
      for (const RowKind& kind : kRowKinds) {
        if (dtypes[d] == DType::kF16 && std::fabs(kind.offset) > 6e4) continue;  // beyond its range
        measure(ctx, dtypes[d], columns, kind, figures[d]);
      }
      bar.next();
    }
    bar.clear();
    for (std::size_t o = 0; o < kOperationCount; ++o) {
      const Worst& worst = figures[d][o];
      out.print("{:<13} {:<5} {:>10.4f} {:>9}  {}\n", kOperations[o], to_string(dtypes[d]), worst.ulp,
                worst.length, worst.row);
      list.push_back({{"operation", kOperations[o]},
                      {"dtype", to_string(dtypes[d])},
                      {"max_ulp", worst.ulp},
                      {"length", worst.length},
                      {"row", worst.row}});
    }
    out.flush();
  }
  if (options.write) write_page(*options.write, accuracy::with_tables(page, table(dtypes, figures)));
  out.write_json({{"device", ctx.name()}, {"seed", kSeed}, {"figures", std::move(list)}});
  return 0;
}

}  // namespace actium::cli

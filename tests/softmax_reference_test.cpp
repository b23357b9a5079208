// The CPU's softmax against the definition in 200-bit arithmetic (MPFR).
#include <gtest/gtest.h>
#include <actium/softmax.hpp>

#include "dispatch.hpp"
#include "support/mpreal.hpp"
#include "support/samples.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

struct Exact {
  std::vector<MpReal> p, log_p;
  MpReal logsumexp, entropy;
};

template <class T>
Exact exact_softmax(const std::vector<T>& z, double temperature) {
  Exact row;
  std::vector<MpReal> a;
  std::size_t largest = 0;
  for (const T zi : z) {
    a.push_back(MpReal(static_cast<double>(zi)) / MpReal(temperature));
    if (a[largest] < a.back()) largest = a.size() - 1;
  }
  const MpReal top = a[largest];
  MpReal others(0.0);  // 200 bits would not hold 1 + others
  for (std::size_t i = 0; i < a.size(); ++i)
    if (i != largest) others = others + exp(a[i] - top);
  const MpReal sum = MpReal(1.0) + others, log_sum = log1p(others);
  row.logsumexp = top + log_sum;
  for (const MpReal& ai : a) {
    row.log_p.push_back(ai - top - log_sum);
    row.p.push_back(exp(ai - top) / sum);
    row.entropy = row.entropy - row.p.back() * row.log_p.back();
  }
  return row;
}

TEST(SoftmaxReference, AgreesWithMpfr) {
  const Context ctx = Context::cpu();
  double worst[2] = {0, 0};  // f64, and all others
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const double spread : {0.1, 1.0, 10.0, 150.0})
        for (const double temperature : {1.0, 0.7, 5.0})
          for (const std::size_t cols : {1u, 2u, 7u, 60u}) {
            const std::vector<T> z = normal_sample<T>(cols, kSeed + cols, 3, spread);
            std::vector<T> p(cols), log_p(cols), lse(1), h(1), p2(cols), jv(cols);
            const SoftmaxOptions options{.temperature = temperature};
            softmax(ctx, z, p, options);
            log_softmax(ctx, z, log_p, options);
            logsumexp(ctx, z, lse, options);
            entropy(ctx, z, h, options);
            const Exact want = exact_softmax(z, temperature);
            double& w = worst[dtype != DType::kF64];
            const auto check = [&](T got, const MpReal& exact, const char* what) {
              const double ulps = ulp_error(static_cast<double>(got), exact, format_of(dtype));
              w = std::max(w, ulps);
              // f64: the argument of exp is rounded to long double, |a| * 2^-64 of it.
              EXPECT_LE(ulps, dtype == DType::kF64 ? 1 : 0.5001)
                  << what << " " << to_string(dtype) << " spread " << spread << " T " << temperature
                  << " cols " << cols << ", " << seed_message(kSeed);
            };
            for (std::size_t i = 0; i < cols; ++i) {
              check(p[i], want.p[i], "p");
              check(log_p[i], want.log_p[i], "log p");
            }
            check(h[0], want.entropy, "entropy");
            // logsumexp = max / T + log(sum) may cancel: half an ULP of the stored type, plus what the wider
            // type left.
            const double terms = std::abs(want.logsumexp.to_double()) + 10;
            const double slack = dtype == DType::kF64 ? std::ldexp(terms, -62) : std::ldexp(terms, -51);
            EXPECT_LE(abs(MpReal(static_cast<double>(lse[0])) - want.logsumexp).to_double(),
                      slack + 0.5001 * std::ldexp(1.0, (want.logsumexp == MpReal(0.0)
                                                            ? -1074
                                                            : static_cast<int>(std::max<long>(
                                                                  want.logsumexp.exponent(),
                                                                  format_of(dtype).min_exponent))) -
                                                           format_of(dtype).mantissa_bits));
          }
    });
  std::printf("worst error of p, log p and entropy: %.4f ULP in f64, %.4f in f32, f16 and bf16\n", worst[0],
              worst[1]);
}

// Sums whose terms may cancel: half an ULP, and what the wider type left of the terms.
TEST(SoftmaxReference, TangentsOfTheStatisticsAgreeWithMpfr) {
  const Context ctx = Context::cpu();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const double spread : {0.1, 1.0, 10.0, 150.0})
        for (const double temperature : {1.0, 0.7, 5.0})
          for (const std::size_t cols : {1u, 2u, 7u, 60u}) {
            SCOPED_TRACE(std::string(to_string(dtype)) + " spread " + std::to_string(spread) + " T " +
                         std::to_string(temperature) + " cols " + std::to_string(cols) + ", " +
                         seed_message(kSeed));
            const std::vector<T> z = normal_sample<T>(cols, kSeed + cols, 3, spread),
                                 tz = normal_sample<T>(cols, kSeed + 1, 2);
            std::vector<T> tlse(1), th(1);
            logsumexp_jvp(ctx, z, tz, tlse, {.temperature = temperature});
            entropy_jvp(ctx, z, tz, th, {.temperature = temperature});
            const Exact row = exact_softmax(z, temperature);
            MpReal mean, along, mean_size, along_size;
            for (std::size_t i = 0; i < cols; ++i) {
              const MpReal t = MpReal(static_cast<double>(tz[i])) / MpReal(temperature),
                           of_mean = row.p[i] * t, of_entropy = of_mean * (row.log_p[i] + row.entropy);
              mean = mean + of_mean;
              along = along - of_entropy;
              mean_size = mean_size + abs(of_mean);
              along_size = along_size + abs(of_entropy);
            }
            const auto check = [&](T got, const MpReal& want, const MpReal& size, const char* what) {
              const Format format = format_of(dtype);
              const double ulp =
                  std::ldexp(1.0, static_cast<int>(std::max<long>(
                                      want == MpReal(0.0) ? -1074 : want.exponent(), format.min_exponent)) -
                                      format.mantissa_bits);
              EXPECT_LE(abs(MpReal(static_cast<double>(got)) - want).to_double(),
                        0.5001 * ulp + std::ldexp(size.to_double(), dtype == DType::kF64 ? -60 : -49))
                  << what;
            };
            check(tlse[0], mean, mean_size, "logsumexp_jvp");
            check(th[0], along, along_size, "entropy_jvp");
          }
    });
}

TEST(SoftmaxReference, DerivativeIsTheDerivative) {
  // A central difference of the probabilities in f64 along a direction, at steps where both its errors are
  // small.
  const Context ctx = Context::cpu();
  const std::vector<double> z = {2, 1, -1, 0.3, -4}, v = {0.5, -1, 2, 0.25, 1};
  constexpr double kStep = 1e-5, kT = 0.7;
  std::vector<double> plus(5), minus(5), p(5), jv(5);
  for (std::size_t i = 0; i < 5; ++i) {
    plus[i] = z[i] + kStep * v[i];
    minus[i] = z[i] - kStep * v[i];
  }
  softmax(ctx, plus, plus, {.temperature = kT});
  softmax(ctx, minus, minus, {.temperature = kT});
  softmax(ctx, z, p, {.temperature = kT});
  softmax_jvp(ctx, p, v, jv, {.temperature = kT});
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(jv[i], (plus[i] - minus[i]) / (2 * kStep), 1e-9);
}

}  // namespace

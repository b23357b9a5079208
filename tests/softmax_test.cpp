// Softmax, its statistics and its derivatives on every device: against long double, and by identities that
// hold whatever the implementation: rows sum to 1, shifting changes nothing, <Jv, u> = <v, Ju>, J 1 = 0, J is
// positive semidefinite.
#include <actium/softmax.hpp>
#include <cmath>
#include <functional>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr double kInf = std::numeric_limits<double>::infinity();
// Every size class of the kernels, and both sides of each boundary.
std::vector<std::int64_t> columns() {
  if (quick()) return {1, 33, 130, 513, 1025, 2051, 16400};
  return {1,   2,   3,    5,    31,   32,   33,   64,   100,   127,   128,   129,   511,
          512, 513, 1000, 1023, 1024, 1025, 2051, 4096, 10007, 16384, 16387, 33001, 70003};
}

double epsilon(DType dtype) { return std::ldexp(1.0, -format_of(dtype).mantissa_bits); }
DType computing(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

/// One row in long double, by the textbook.
struct ExactRow {
  std::vector<long double> p, log_p;
  long double logsumexp = 0, entropy = 0;
};
template <class T>
ExactRow exact_row(const T* z, std::int64_t cols, double temperature) {
  ExactRow row;
  std::vector<long double> a(static_cast<std::size_t>(cols));
  std::size_t top = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<long double>(static_cast<double>(z[i])) / static_cast<long double>(temperature);
    if (a[i] > a[top]) top = i;
  }
  long double others = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (i != top) others += std::exp(a[i] - a[top]);
  const long double log_sum = std::log1p(others);
  row.logsumexp = a[top] + log_sum;
  for (const long double ai : a) {
    row.log_p.push_back(ai - a[top] - log_sum);
    row.p.push_back(std::exp(ai - a[top]) / (1 + others));
    if (row.p.back() > 0) row.entropy -= row.p.back() * row.log_p.back();
  }
  return row;
}

/// |got - want| <= ulps ULP of the stored dtype, half an ULP of it included, plus `absolute`.
void expect_close(double got, long double want, DType dtype, double computed_ulps, double absolute,
                  const char* what) {
  const double scale = epsilon(computing(dtype)) / epsilon(dtype);
  const double ulps = 0.5 + computed_ulps * scale;
  if (std::fabs(static_cast<long double>(got) - want) <= static_cast<long double>(absolute)) return;
  ASSERT_LE(ulp_error(got, want, format_of(dtype)), ulps) << what << ": got " << got << ", want " << want;
}

class SoftmaxTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(SoftmaxTest);

TEST_P(SoftmaxTest, EveryOperationEveryDTypeEveryRowLength) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : columns())
        for (const auto& [temperature, spread] : {std::pair{1.0, 1.0}, {0.7, 12.0}, {3.0, 1.0}}) {
          SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols) + " T " +
                       std::to_string(temperature));
          const std::int64_t rows = cols > 2000 ? 3 : 7;
          const auto count = static_cast<std::size_t>(rows * cols);
          const std::vector<T> z =
              normal_sample<T>(count, kSeed + static_cast<std::uint64_t>(cols), 0, spread);
          Guarded<T> zs(ctx, z, 1), p(ctx, count), log_p(ctx, count, 3),
              lse(ctx, static_cast<std::size_t>(rows)), h(ctx, static_cast<std::size_t>(rows));
          const Shape shape{rows, cols};
          const SoftmaxOptions options{.temperature = temperature};
          softmax(ctx, zs.view(shape), p.view(shape), options);
          log_softmax(ctx, zs.view(shape), log_p.view(shape), options);
          logsumexp(ctx, zs.view(shape), lse.view(), options);
          entropy(ctx, zs.view(shape), h.view(), options);
          const auto ps = p.read(), log_ps = log_p.read(), lses = lse.read(), hs = h.read();
          for (std::int64_t r = 0; r < rows; ++r) {
            const ExactRow want = exact_row(z.data() + r * cols, cols, temperature);
            long double total = 0;
            for (std::int64_t c = 0; c < cols; ++c) {
              const auto i = static_cast<std::size_t>(r * cols + c), ci = static_cast<std::size_t>(c);
              expect_close(static_cast<double>(ps[i]), want.p[ci], dtype, 3.5, 0, "p");
              // log p = a - log(sum), two terms of one sign
              expect_close(static_cast<double>(log_ps[i]), want.log_p[ci], dtype, 3.5, 0, "log p");
              total += static_cast<long double>(static_cast<double>(ps[i]));
            }
            EXPECT_NEAR(
                static_cast<double>(total), 1,
                epsilon(dtype) * (1 + static_cast<double>(cols) / 200) + 1e-6 * (dtype != DType::kF64));
            const auto ri = static_cast<std::size_t>(r);
            // logsumexp may cancel: max / T and log(sum) of opposite signs; an ULP of the larger remains.
            const double lse_terms =
                std::fabs(static_cast<double>(want.logsumexp)) + std::log(static_cast<double>(cols)) + 1;
            expect_close(static_cast<double>(lses[ri]), want.logsumexp, dtype, 4,
                         4 * epsilon(computing(dtype)) * lse_terms, "logsumexp");
            expect_close(static_cast<double>(hs[ri]), want.entropy, dtype, 8, 0, "entropy");
          }
          ASSERT_TRUE(p.guards_intact() && log_p.guards_intact() && lse.guards_intact() &&
                      h.guards_intact() && zs.untouched());
        }
    });
}

// Equal terms are all rounded the same way, so their errors add up instead of cancelling.
TEST_P(SoftmaxTest, OneLargeElementAndManyEqualOnes) {
  const Context ctx = context();
  for (const std::int64_t columns : {33, 500, 1024, 1025, 4000, 20000})
    for (const float others : {-2.86515f, -1.265625f, -0.7f, -9.0f}) {
      std::vector<float> z(static_cast<std::size_t>(columns), others);
      z[5] = 0;
      const ExactRow want = exact_row(z.data(), columns, 1);
      Tensor zs(ctx, z), p(ctx, DType::kF32, {columns});
      softmax(ctx, zs, p);
      const std::vector<double> got = p.to_doubles(ctx);
      for (std::size_t i = 0; i < 7; ++i)
        EXPECT_LE(ulp_error(got[i], want.p[i], format_of(DType::kF32)), 4)
            << columns << " columns, others " << others << ", element " << i;
    }
}

TEST_P(SoftmaxTest, ShiftingALargeConstantChangesNoMoreThanTheRounding) {
  const Context ctx = context();
  for (const float shift : {1e4f, -7e5f})
    for (const std::int64_t cols : {5, 100, 700, 3000, 20000}) {
      // Multiples of 1/16 below 8: adding the shift is exact in f32.
      std::vector<float> z(static_cast<std::size_t>(cols)), shifted = z;
      for (std::size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>(i * 37 % 128) / 16;
      for (std::size_t i = 0; i < z.size(); ++i) shifted[i] = z[i] + shift;
      Guarded<float> zs(ctx, z), shifteds(ctx, shifted), p(ctx, z.size()), q(ctx, z.size());
      softmax(ctx, zs.view(), p.view(), {.temperature = 0.9});
      softmax(ctx, shifteds.view(), q.view(), {.temperature = 0.9});
      const auto ps = p.read(), qs = q.read();
      for (std::size_t i = 0; i < z.size(); ++i)
        ASSERT_LE(ulp_error(qs[i], ps[i], format_of(DType::kF32)), 8) << cols << " + " << shift;
    }
}

// The error of exp((z - max) / T) must not grow with the distance from the maximum, nor with max |z|.
TEST_P(SoftmaxTest, TinyProbabilitiesAreRelativelyExact) {
  const Context ctx = context();
  for (const float offset : {0.0f, 1e3f, 1e4f, 1e5f, -1e6f, 1e30f})
    for (const std::int64_t cols : {200, 3000, 20000, 40000}) {
      std::vector<float> z = normal_sample<float>(static_cast<std::size_t>(cols), kSeed, offset, 15);
      Guarded<float> zs(ctx, z), p(ctx, z.size());
      softmax(ctx, zs.view(), p.view(), {.temperature = 0.8});
      const auto ps = p.read();
      const ExactRow want = exact_row(z.data(), cols, 0.8);
      for (std::size_t i = 0; i < z.size(); ++i)
        ASSERT_LE(ulp_error(ps[i], want.p[i], format_of(DType::kF32)), 4)
            << "offset " << offset << " p " << want.p[i];
    }
}

TEST_P(SoftmaxTest, DominantElementKeepsItsLogarithm) {
  const Context ctx = context();
  for (const double gap : {10.0, 17.0, 30.0, 80.0}) {
    const std::vector<float> z = {static_cast<float>(gap), 0.0f, 0.0f, -1.0f};
    Guarded<float> zs(ctx, z), log_p(ctx, z.size());
    log_softmax(ctx, zs.view(), log_p.view());
    const long double want = -std::log1p(std::exp(-static_cast<long double>(gap)) * (2 + std::exp(-1.0L)));
    EXPECT_LE(ulp_error(log_p.read()[0], want, format_of(DType::kF32)), 3) << gap;
  }
}

TEST_P(SoftmaxTest, DerivativesAgainstTheJacobianAndItsIdentities) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : columns()) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        constexpr std::int64_t kRows = 3;
        const double temperature = 0.7;
        const SoftmaxOptions options{.temperature = temperature};
        const auto count = static_cast<std::size_t>(kRows * cols);
        const Shape shape{kRows, cols};
        const std::vector<T> z = normal_sample<T>(count, kSeed), v = normal_sample<T>(count, kSeed + 1),
                             u = normal_sample<T>(count, kSeed + 2);
        Guarded<T> zs(ctx, z), vs(ctx, v, 1), us(ctx, u), p(ctx, count), jv(ctx, count), ju(ctx, count, 2),
            vjp(ctx, count);
        softmax(ctx, zs.view(shape), p.view(shape), options);
        softmax_jvp(ctx, p.view(shape), vs.view(shape), jv.view(shape), options);
        softmax_jvp(ctx, p.view(shape), us.view(shape), ju.view(shape), options);
        softmax_vjp(ctx, p.view(shape), vs.view(shape), vjp.view(shape), options);
        const auto ps = p.read(), jvs = jv.read(), jus = ju.read();
        EXPECT_TRUE(same_bits(jvs, vjp.read())) << "the Jacobian is symmetric";
        for (std::int64_t r = 0; r < kRows; ++r) {
          long double mean = 0, left = 0, right = 0, size = 0;
          const auto at = [&](const std::vector<T>& x, std::int64_t c) {
            return static_cast<long double>(static_cast<double>(x[static_cast<std::size_t>(r * cols + c)]));
          };
          for (std::int64_t c = 0; c < cols; ++c) mean += at(ps, c) * at(v, c);
          for (std::int64_t c = 0; c < cols; ++c) {
            const long double want = at(ps, c) * (at(v, c) - mean) / static_cast<long double>(temperature);
            // t - mean cancels: the mean is right to a few ULP of the larger terms.
            const double slack =
                static_cast<double>(at(ps, c) * (std::fabs(at(v, c)) + 4)) * epsilon(computing(dtype)) * 4;
            ASSERT_LE(std::fabs(static_cast<double>(at(jvs, c) - want)),
                      0.5001 * epsilon(dtype) * std::fabs(static_cast<double>(want)) + slack +
                          std::ldexp(1.0, format_of(dtype).min_exponent - format_of(dtype).mantissa_bits))
                << c;
            left += at(jvs, c) * at(u, c);
            right += at(jus, c) * at(v, c);
            size += std::fabs(at(jvs, c) * at(u, c)) + std::fabs(at(jus, c) * at(v, c));
          }
          EXPECT_LE(std::fabs(static_cast<double>(left - right)),
                    static_cast<double>(size) * epsilon(dtype) * 8 + 1e-300)
              << "<Jv,u> = <v,Ju>";
        }
        ASSERT_TRUE(jv.guards_intact() && ju.guards_intact() && vjp.guards_intact() && vs.untouched());
      }
    });
}

TEST_P(SoftmaxTest, DenseJacobian) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {1, 2, 3, 17, 64}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        constexpr std::int64_t kRows = 4;
        const std::vector<T> z = normal_sample<T>(static_cast<std::size_t>(kRows * cols), kSeed);
        Guarded<T> zs(ctx, z), p(ctx, z.size()), jacobian(ctx, z.size() * static_cast<std::size_t>(cols));
        softmax(ctx, zs.view({kRows, cols}), p.view({kRows, cols}));
        softmax_jacobian(ctx, p.view({kRows, cols}), jacobian.view({kRows, cols, cols}), {.temperature = 2});
        const auto ps = p.read(), js = jacobian.read();
        for (std::int64_t r = 0; r < kRows; ++r) {
          const auto prob = [&](std::int64_t i) {
            return static_cast<double>(ps[static_cast<std::size_t>(r * cols + i)]);
          };
          const auto entry = [&](std::int64_t i, std::int64_t j) {
            return static_cast<double>(js[static_cast<std::size_t>((r * cols + i) * cols + j)]);
          };
          double quadratic = 0;
          for (std::int64_t i = 0; i < cols; ++i) {
            double row_sum = 0;
            for (std::int64_t j = 0; j < cols; ++j) {
              const double want = prob(i) * ((i == j ? 1.0 : 0.0) - prob(j)) / 2;
              ASSERT_NEAR(entry(i, j), want,
                          std::fabs(want) * (0.5001 * epsilon(dtype) + 2 * epsilon(computing(dtype))) +
                              epsilon(computing(dtype)) * prob(i) * prob(j) + 1e-7 * (dtype == DType::kF16));
              EXPECT_NEAR(entry(i, j), entry(j, i), 2 * epsilon(dtype) * std::fabs(want)) << "symmetric";
              row_sum += entry(i, j);
              const double vi = std::sin(static_cast<double>(i) + 1),
                           vj = std::sin(static_cast<double>(j) + 1);
              quadratic += vi * vj * entry(i, j);
            }
            EXPECT_NEAR(row_sum, 0, epsilon(dtype) * static_cast<double>(cols)) << "J 1 = 0";
          }
          EXPECT_GE(quadratic, -epsilon(dtype) * static_cast<double>(cols)) << "v' J v >= 0";
        }
        ASSERT_TRUE(jacobian.guards_intact());
      }
    });
}

TEST_P(SoftmaxTest, InfiniteAndNaNRowsFollowThePolicy) {
  const Context ctx = context();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::int64_t cols : {4, 300, 2500})
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        SoftmaxOptions options;
        const auto run = [&](const std::function<void(std::vector<double>&)>& edit) {
          std::vector<double> z(static_cast<std::size_t>(cols), 0.5);
          edit(z);
          std::vector<T> zt;
          for (const double zi : z) zt.push_back(static_cast<T>(zi));
          Tensor zs(ctx, zt), p(ctx, dtype, {cols}), log_p(ctx, dtype, {cols}), lse(ctx, dtype, {1}),
              h(ctx, dtype, {1});
          softmax(ctx, zs, p, options);
          log_softmax(ctx, zs, log_p, options);
          logsumexp(ctx, zs, lse, options);
          entropy(ctx, zs, h, options);
          std::vector<double> out = p.to_doubles(ctx);
          for (const Tensor* t : {&log_p, &lse, &h})
            for (const double x : t->to_doubles(ctx)) out.push_back(x);
          return out;  // p [cols], log p [cols], logsumexp, entropy
        };
        const auto n = static_cast<std::size_t>(cols);
        for (const std::size_t where : {std::size_t{0}, std::size_t{2}, n - 1}) {
          for (const double x : run([&](auto& z) { z[where] = nan; }))
            EXPECT_TRUE(std::isnan(x)) << "NaN at " << where;
          const auto infinite = run([&](auto& z) { z[where] = kInf; });
          for (std::size_t i = 0; i < infinite.size(); ++i) {
            if (i == 2 * n) {
              EXPECT_EQ(infinite[i], kInf) << "logsumexp of +inf";
            } else {
              EXPECT_TRUE(std::isnan(infinite[i])) << "+inf at " << where;
            }
          }
          const auto masked = run([&](auto& z) { z[where] = -kInf; });
          EXPECT_EQ(masked[where], 0) << "one -inf has probability 0";
          EXPECT_EQ(masked[n + where], -kInf);
          for (const double x : masked) EXPECT_FALSE(std::isnan(x));
          const auto one = run([&](auto& z) {
            std::fill(z.begin(), z.end(), -kInf);
            z[where] = 3;
          });
          EXPECT_EQ(one[where], 1);
          EXPECT_EQ(one[n + where], 0);
          EXPECT_EQ(one[2 * n], 3) << "logsumexp of one finite element";
          EXPECT_EQ(one[2 * n + 1], 0) << "entropy of certainty";
        }
        // Nothing in the row: p, log p, logsumexp, entropy.
        const double log_n = std::log(static_cast<double>(n));
        const auto as_stored = [](double x) { return static_cast<double>(static_cast<T>(x)); };
        for (const auto& [policy, want_p, want_log_p, want_entropy] :
             {std::tuple{EmptyRow::kZeros, 0.0, -kInf, 0.0},
              {EmptyRow::kNaN, nan, nan, nan},
              {EmptyRow::kUniform, 1.0 / static_cast<double>(n), -log_n, log_n}}) {
          options.empty_row = policy;
          const auto none = run([&](auto& z) { std::fill(z.begin(), z.end(), -kInf); });
          const auto expect_same = [&, p = policy](double got, double want) {
            if (std::isnan(want)) {
              EXPECT_TRUE(std::isnan(got)) << static_cast<int>(p);
            } else {
              EXPECT_EQ(got, as_stored(want)) << static_cast<int>(p);
            }
          };
          for (std::size_t i = 0; i < n; ++i) expect_same(none[i], want_p);
          for (std::size_t i = n; i < 2 * n; ++i) expect_same(none[i], want_log_p);
          EXPECT_EQ(none[2 * n], -kInf) << "logsumexp of nothing";
          expect_same(none[2 * n + 1], want_entropy);
        }
      });
}

TEST_P(SoftmaxTest, EmptyRowsAndNoRows) {
  const Context ctx = context();
  Tensor none(ctx, DType::kF32, {0, 7}), none_out(ctx, DType::kF32, {0, 7}), no_stats(ctx, DType::kF32, {0});
  softmax(ctx, none, none_out);
  logsumexp(ctx, none, no_stats);
  Tensor empty(ctx, DType::kF32, {3, 0}), empty_out(ctx, DType::kF32, {3, 0}), stats(ctx, DType::kF32, {3}),
      h(ctx, DType::kF32, {3});
  softmax(ctx, empty, empty_out);
  softmax_jvp(ctx, empty, empty, empty_out);
  Tensor no_jacobian(ctx, DType::kF32, {3, 0, 0});
  softmax_jacobian(ctx, empty, no_jacobian);
  logsumexp(ctx, empty, stats);
  entropy(ctx, empty, h);
  for (const double x : stats.to_doubles(ctx)) EXPECT_EQ(x, -kInf);
  for (const double x : h.to_doubles(ctx)) EXPECT_EQ(x, 0);
  entropy(ctx, empty, h, {.empty_row = EmptyRow::kNaN});
  for (const double x : h.to_doubles(ctx)) EXPECT_TRUE(std::isnan(x));
}

TEST_P(SoftmaxTest, ExtremeTemperatures) {
  const Context ctx = context();
  const std::vector<float> z = {1, 3, 3, -2};
  Tensor zs(ctx, z), p(ctx, DType::kF32, {4}), lse(ctx, DType::kF32, {});
  softmax(ctx, zs, p, {.temperature = 1e-300});
  EXPECT_EQ(p.to_doubles(ctx), (std::vector<double>{0, 0.5, 0.5, 0}));
  softmax(ctx, zs, p, {.temperature = 1e30});
  EXPECT_EQ(p.to_doubles(ctx), (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
  logsumexp(ctx, zs, lse, {.temperature = 1e30});
  EXPECT_NEAR(lse.to_doubles(ctx)[0], std::log(4.0), 1e-6);
  // exp(a) a, whatever a unit of z is worth.
  for (const double t : {1e-36, 1e-19, 1e15, 1e19, 1e37})
    for (const double gap : {0.5, 1.0, 12.0}) {
      std::vector<float> far(16, static_cast<float>(-gap * t));
      far[3] = 0;
      Tensor far_z(ctx, far), h(ctx, DType::kF32, {});
      entropy(ctx, far_z, h, {.temperature = t});
      EXPECT_LE(ulp_error(h.to_doubles(ctx)[0], exact_row(far.data(), 16, t).entropy, format_of(DType::kF32)),
                8)
          << t << " " << gap;
    }
  // z - max overflows, (z - max) / T does not.
  const std::vector<float> far = {-3e38f, 3e38f};
  Tensor far_z(ctx, far), far_p(ctx, DType::kF32, {2});
  softmax(ctx, far_z, far_p, {.temperature = 1e38});
  EXPECT_LE(ulp_error(far_p.to_doubles(ctx)[0], exact_row(far.data(), 2, 1e38).p[0], format_of(DType::kF32)),
            5);
  // 1 / T is 0 in f32 here; what is masked stays masked.
  const std::vector<float> masked = {0, static_cast<float>(-kInf), 1};
  Tensor masked_z(ctx, masked), masked_p(ctx, DType::kF32, {3});
  softmax(ctx, masked_z, masked_p, {.temperature = 1e46});
  EXPECT_EQ(masked_p.to_doubles(ctx), (std::vector<double>{0.5, 0, 0.5}));
}

// p (t - mean) where t - mean overflows and the product does not.
TEST_P(SoftmaxTest, ATangentNearTheLargestNumber) {
  const Context ctx = context();
  const std::vector<float> p = {0x1p-20f, 1 - 0x1p-20f}, t = {-3e38f, 3e38f};
  Tensor tp(ctx, DType::kF32, {2});
  softmax_jvp(ctx, Tensor(ctx, p), Tensor(ctx, t), tp);
  const double mean = static_cast<double>(p[0]) * static_cast<double>(t[0]) +
                      static_cast<double>(p[1]) * static_cast<double>(t[1]);
  EXPECT_LE(
      ulp_error(tp.to_doubles(ctx)[0],
                static_cast<long double>(static_cast<double>(p[0]) * (static_cast<double>(t[0]) - mean)),
                format_of(DType::kF32)),
      8);
}

// p (t - mean) with p = 0, where t - mean overflows: 0 times a large finite number.
TEST_P(SoftmaxTest, ZeroProbabilityBeatsAnOverflow) {
  const Context ctx = context();
  for (const std::int64_t columns : {2, 2000}) {
    const auto n = static_cast<std::size_t>(columns);
    std::vector<float> p(n, 0), t(n, 3e38f);
    p[n - 1] = 1;
    t[n - 1] = -3e38f;
    Tensor ps(ctx, p), ts(ctx, t), tp(ctx, DType::kF32, {columns});
    softmax_jvp(ctx, ps, ts, tp);
    EXPECT_EQ(tp.to_doubles(ctx), std::vector<double>(n, 0.0)) << columns;
    t[0] = std::numeric_limits<float>::quiet_NaN();
    copy(ctx, t, ts);
    softmax_jvp(ctx, ps, ts, tp);
    EXPECT_TRUE(std::isnan(tp.to_doubles(ctx)[0])) << "a NaN stays";
  }
}

TEST_P(SoftmaxTest, ARowDependsOnNothingButTheRow) {
  const Context ctx = context();
  for (const DType dtype : {DType::kF32, DType::kBF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {3, 37, 1001, 1537}) {  // odd: rows start at every alignment
        const std::vector<T> row = normal_sample<T>(static_cast<std::size_t>(cols), kSeed, 0, 4);
        std::vector<T> batch;
        for (int r = 0; r < 9; ++r) batch.insert(batch.end(), row.begin(), row.end());
        Guarded<T> one(ctx, row), one_p(ctx, row.size()), many(ctx, batch, 1), many_p(ctx, batch.size(), 2);
        softmax(ctx, one.view(), one_p.view());
        softmax(ctx, many.view({9, cols}), many_p.view({9, cols}));
        const auto want = one_p.read(), got = many_p.read();
        for (int r = 0; r < 9; ++r)
          EXPECT_TRUE(same_bits(want, std::vector<T>(got.begin() + r * cols, got.begin() + (r + 1) * cols)))
              << r;
      }
    });
}

TEST_P(SoftmaxTest, InPlaceGivesTheSameBits) {
  const Context ctx = context();
  for (const std::int64_t cols : {7, 900, 3000}) {
    const Shape shape{4, cols};
    const std::vector<float> z = normal_sample<float>(static_cast<std::size_t>(4 * cols), kSeed),
                             t = normal_sample<float>(z.size(), kSeed + 1);
    Guarded<float> zs(ctx, z), ts(ctx, t), p(ctx, z.size()), log_p(ctx, z.size()), tp(ctx, z.size());
    softmax(ctx, zs.view(shape), p.view(shape));
    log_softmax(ctx, zs.view(shape), log_p.view(shape));
    softmax_jvp(ctx, p.view(shape), ts.view(shape), tp.view(shape));
    Guarded<float> a(ctx, z), b(ctx, z), c(ctx, t), d(ctx, p.read());
    softmax(ctx, a.view(shape), a.view(shape));
    log_softmax(ctx, b.view(shape), b.view(shape));
    softmax_jvp(ctx, p.view(shape), c.view(shape), c.view(shape));
    softmax_jvp(ctx, d.view(shape), ts.view(shape), d.view(shape));
    EXPECT_TRUE(same_bits(a.read(), p.read()) && same_bits(b.read(), log_p.read()));
    EXPECT_TRUE(same_bits(c.read(), tp.read()) && same_bits(d.read(), tp.read()));
  }
}

}  // namespace

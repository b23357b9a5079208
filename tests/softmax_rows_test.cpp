// Softmax on devices of several kinds, at every length where the way of sharing out a row changes.
#include <actium/softmax.hpp>

#include <cmath>

#include "dispatch.hpp"
#include "support/guarded.hpp"
#include "support/row_devices.hpp"
#include "support/samples.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;
using kernels::RowScope;

class SoftmaxRows : public RowDeviceTest {};
ACTIUM_INSTANTIATE_ROW_DEVICES(SoftmaxRows);

template <class T>
struct Exact {
  std::vector<long double> p, log_p;
  long double logsumexp, entropy = 0;
  explicit Exact(const T* z, std::int64_t cols) {
    std::int64_t top = 0;
    const auto at = [&](std::int64_t i) { return static_cast<long double>(static_cast<double>(z[i])); };
    for (std::int64_t i = 0; i < cols; ++i)
      if (at(i) > at(top)) top = i;
    long double others = 0;
    for (std::int64_t i = 0; i < cols; ++i)
      if (i != top) others += std::exp(at(i) - at(top));
    const long double log_sum = std::log1p(others);
    logsumexp = at(top) + log_sum;
    for (std::int64_t i = 0; i < cols; ++i) {
      log_p.push_back(at(i) - at(top) - log_sum);
      p.push_back(std::exp(at(i) - at(top)) / (1 + others));
      if (p.back() > 0) entropy -= p.back() * log_p.back();
    }
  }
};

TEST_P(SoftmaxRows, EveryWayOfSharingOutARow) {
  SCOPED_TRACE(seed_message(kSeed));
  std::set<RowScope> seen;
  bool again = false;
  for (const DType dtype :
       quick() ? std::vector{DType::kF32} : std::vector{DType::kF32, DType::kF64, DType::kBF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : turns(sizeof(T), 1)) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(cols));
        const kernels::RowPlan plan = kernels::plan_row(cols, sizeof(T), 1, kernels::row_device());
        seen.insert(plan.scope);
        again = again || (plan.scope == RowScope::kGrid && plan.shared_bytes == 0);
        // Three rows, each with its maximum elsewhere; whole slices of the last are -inf.
        const std::int64_t rows = 3;
        const auto count = static_cast<std::size_t>(rows * cols), n = static_cast<std::size_t>(cols);
        std::vector<T> z = normal_sample<T>(count, kSeed + static_cast<std::uint64_t>(cols), 0, 4);
        z[n - 1] = T(20);
        z[n] = T(20);
        for (std::size_t i = 2 * n; i < 3 * n; ++i)
          if (i % n > n / 3) z[i] = T(-std::numeric_limits<float>::infinity());
        Guarded<T> zs(ctx, z, 1), p(ctx, count, 3), log_p(ctx, count), lse(ctx, 3), h(ctx, 3),
            jvp(ctx, count, 1);
        const Shape shape{rows, cols};
        softmax(ctx, zs.view(shape), p.view(shape));
        log_softmax(ctx, zs.view(shape), log_p.view(shape));
        logsumexp(ctx, zs.view(shape), lse.view());
        entropy(ctx, zs.view(shape), h.view());
        const std::vector<T> t = normal_sample<T>(count, kSeed + 1);
        const Guarded<T> ts(ctx, t, 2);
        softmax_jvp(ctx, p.view(shape), const_cast<Guarded<T>&>(ts).view(shape), jvp.view(shape));
        const auto ps = p.read(), log_ps = log_p.read(), lses = lse.read(), hs = h.read(), jvps = jvp.read();
        const Format format = format_of(dtype);
        const bool wide = dtype == DType::kF32 || dtype == DType::kF64;
        const double ulps = wide ? 4 : 0.502;
        for (std::size_t r = 0; r < 3; ++r) {
          const Exact<T> want(z.data() + r * n, cols);
          long double mean = 0;
          for (std::size_t c = 0; c < n; ++c)
            mean += static_cast<long double>(static_cast<double>(ps[r * n + c])) *
                    static_cast<long double>(static_cast<double>(t[r * n + c]));
          for (std::size_t c = 0; c < n; ++c) {
            const std::size_t i = r * n + c;
            ASSERT_LE(ulp_error(static_cast<double>(ps[i]), want.p[c], format), ulps)
                << "p " << r << " " << c;
            ASSERT_LE(ulp_error(static_cast<double>(log_ps[i]), want.log_p[c], format), ulps)
                << "log p " << r << " " << c;
            const long double pc = static_cast<double>(ps[i]), tc = static_cast<double>(t[i]),
                              tp = pc * (tc - mean);
            const double epsilon = std::ldexp(1.0, -format.mantissa_bits),
                         computed = std::ldexp(1.0, dtype == DType::kF64 ? -52 : -23);
            ASSERT_NEAR(static_cast<double>(jvps[i]), static_cast<double>(tp),
                        0.5001 * epsilon * std::fabs(static_cast<double>(tp)) +
                            4 * computed * static_cast<double>(pc * (std::fabs(tc) + std::fabs(mean))) +
                            std::ldexp(1.0, format.min_exponent - format.mantissa_bits));
          }
          ASSERT_LE(ulp_error(static_cast<double>(lses[r]), want.logsumexp, format), ulps)
              << "logsumexp " << r;
          ASSERT_LE(ulp_error(static_cast<double>(hs[r]), want.entropy, format), wide ? 16 : 0.51)
              << "entropy " << r;
        }
        ASSERT_TRUE(p.guards_intact() && log_p.guards_intact() && lse.guards_intact() && h.guards_intact() &&
                    jvp.guards_intact() && zs.untouched());

        // The same bits alone, elsewhere, and in place.
        Guarded<T> one(ctx,
                       std::vector<T>(z.begin() + static_cast<std::ptrdiff_t>(n),
                                      z.begin() + static_cast<std::ptrdiff_t>(2 * n)),
                       5);
        softmax(ctx, one.view(), one.view());
        EXPECT_TRUE(same_bits(one.read(), std::vector<T>(ps.begin() + static_cast<std::ptrdiff_t>(n),
                                                         ps.begin() + static_cast<std::ptrdiff_t>(2 * n))));
      }
    });
  EXPECT_EQ(seen, GetParam().scopes);
  EXPECT_EQ(again, GetParam().reads_again);
}

}  // namespace

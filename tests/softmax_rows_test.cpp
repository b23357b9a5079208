// Softmax on devices of several kinds, at every length where the way of sharing out a row changes.
#include <gtest/gtest.h>
#include <actium/softmax.hpp>

#include <cmath>
#include <set>

#include <cuda_runtime_api.h>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "kernels/softmax/plan_rows.hpp"
#include "support/guarded.hpp"
#include "support/samples.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;
using kernels::RowDevice;
using kernels::RowScope;

/// Small devices, so that short rows take every way.
struct Device {
  const char* name;
  int multiprocessors, shared_kib, clusters, longest_kib;
  std::set<RowScope> scopes;  // of rows up to `longest_kib`
  bool reads_again;           // some rows of the grid, which its shared memory does not hold
};
const Device kDevices[] = {
    {"clusters",
     132,
     227,
     1,
     300,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kSlice, RowScope::kCluster},
     false},
    {"small_clusters",
     12,
     19,
     1,
     200,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"little_memory",
     3,
     12,
     1,
     80,
     {RowScope::kLanes, RowScope::kBlock, RowScope::kCluster, RowScope::kGrid},
     true},
    {"no_clusters", 7, 19, 0, 80, {RowScope::kLanes, RowScope::kBlock, RowScope::kLaunches}, false}};

class SoftmaxRows : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    emulator::set_attribute(cudaDevAttrMultiProcessorCount, GetParam().multiprocessors);
    emulator::set_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, GetParam().shared_kib << 10);
    emulator::set_attribute(cudaDevAttrClusterLaunch, GetParam().clusters);
  }
  void TearDown() override {
    for (const cudaDeviceAttr attribute :
         {cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrClusterLaunch})
      emulator::set_attribute(attribute, -1);
  }
  const Context ctx = Context::cuda();

  /// Both sides of every length up to `most` at which the plan changes, but for the slices' number.
  static std::vector<std::int64_t> turns(int bytes, int inputs, std::int64_t most) {
    const RowDevice device = kernels::row_device();
    // First of all the length that fills the shared memory a block has without asking for more.
    std::vector<std::int64_t> lengths{(48 << 10) / bytes, 1};
    const auto plan = [&](std::int64_t cols) { return kernels::plan_row(cols, bytes, inputs, device); };
    for (std::int64_t cols = 2; cols <= most; ++cols) {
      const kernels::RowPlan now = plan(cols), before = plan(cols - 1);
      const bool slices = !quick() && now.scope > RowScope::kSlice && now.slices != before.slices &&
                          (now.slices <= 3 || now.slices == device.multiprocessors);
      if (now.scope != before.scope || now.packets != before.packets ||
          now.threads_log2 != before.threads_log2 || slices ||
          (now.shared_bytes == 0) != (before.shared_bytes == 0)) {
        if (!quick() || now.scope <= RowScope::kBlock) lengths.push_back(cols - 1);
        lengths.push_back(cols);
      }
    }
    lengths.push_back(most);
    return lengths;
  }
};
INSTANTIATE_TEST_SUITE_P(, SoftmaxRows, testing::ValuesIn(kDevices),
                         [](const auto& device) { return std::string(device.param.name); });

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
      const auto most = (std::int64_t{GetParam().longest_kib} << 10) / static_cast<std::int64_t>(sizeof(T));
      for (const std::int64_t cols : turns(sizeof(T), 1, most)) {
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

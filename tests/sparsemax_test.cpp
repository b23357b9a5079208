// Sparsemax and its derivative on every device: against a bisection in long double, and by what holds
// whatever the implementation.
#include <actium/sparsemax.hpp>
#include <cmath>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr double kInf = std::numeric_limits<double>::infinity();

/// p of one row of u = (z - max z) / T: tau by bisection, then from its support.
std::vector<long double> exact(const std::vector<long double>& u) {
  long double low = -1, high = 0;
  for (int step = 0; step < 80; ++step) {
    const long double middle = (low + high) / 2;
    long double sum = 0;
    for (const long double v : u) sum += std::max(v - middle, 0.0L);
    (sum > 1 ? low : high) = middle;
  }
  long double sum = 0, count = 0;
  for (const long double v : u)
    if (v > high) sum += v, count += 1;
  const long double tau = (sum - 1) / count;
  std::vector<long double> p;
  for (const long double v : u) p.push_back(std::max(v - tau, 0.0L));
  return p;
}

class SparsemaxTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(SparsemaxTest);

TEST_P(SparsemaxTest, EveryDTypeAndRowLength) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t n : {1, 2, 31, 100, 255, 257, 2048, 2049, 5000, 40001})
        for (const auto& [temperature, deviation] : {std::pair{1.0, 1.0}, {2.0, 0.05}, {0.7, 4.0}}) {
          if (quick() && n > 3000 && temperature != 1) continue;
          SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(n) + ", T " +
                       std::to_string(temperature));
          const std::int64_t rows = 3;
          const auto count = static_cast<std::size_t>(rows * n);
          const std::vector<T> z =
              normal_sample<T>(count, kSeed + static_cast<std::uint64_t>(n), 0, deviation);
          const std::vector<T> d = normal_sample<T>(count, kSeed + 1);
          Guarded<T> zs(ctx, z, 1), p(ctx, count, 3), ds(ctx, d), dz(ctx, count);
          const Shape shape{rows, n};
          const SoftmaxOptions options{.temperature = temperature};
          sparsemax(ctx, zs.view(shape), p.view(shape), options);
          sparsemax_vjp(ctx, p.view(shape), ds.view(shape), dz.view(shape), options);
          const auto ps = p.read(), dzs = dz.read();
          ASSERT_TRUE(p.guards_intact() && dz.guards_intact() && zs.untouched());
          const double computed = std::ldexp(1.0, std::is_same_v<T, double> ? -53 : -24),
                       stored = std::ldexp(1.0, -format_of(dtype).mantissa_bits - 1);
          for (std::int64_t r = 0; r < rows; ++r) {
            const auto at = [&](const std::vector<T>& v, std::int64_t c) {
              return static_cast<double>(v[static_cast<std::size_t>(r * n + c)]);
            };
            double max = -kInf;
            for (std::int64_t c = 0; c < n; ++c) max = std::max(max, at(z, c));
            std::vector<long double> u;
            for (std::int64_t c = 0; c < n; ++c)
              u.push_back((static_cast<long double>(at(z, c)) - static_cast<long double>(max)) /
                          static_cast<long double>(temperature));
            const std::vector<long double> want = exact(u);
            long double total = 0, mean = 0, support = 0;
            for (std::int64_t c = 0; c < n; ++c) {
              const auto i = static_cast<std::size_t>(c);
              ASSERT_NEAR(at(ps, c), static_cast<double>(want[i]),
                          4 * computed + stored * (sizeof(T) == 2) * static_cast<double>(want[i]) +
                              (sizeof(T) == 2 ? 0x1p-24 : 0))
                  << c;
              total += static_cast<long double>(at(ps, c));
              if (at(ps, c) != 0) mean += static_cast<long double>(at(d, c)), support += 1;
            }
            ASSERT_NEAR(static_cast<double>(total), 1,
                        static_cast<double>(support) * 4 * computed + stored * 2);
            mean /= support;
            for (std::int64_t c = 0; c < n; ++c) {
              const long double w = at(ps, c) == 0 ? 0
                                                   : (static_cast<long double>(at(d, c)) - mean) /
                                                         static_cast<long double>(temperature);
              ASSERT_NEAR(at(dzs, c), static_cast<double>(w),
                          (stored * (sizeof(T) == 2) + 4 * computed) * std::fabs(static_cast<double>(w)) +
                              8 * computed * (std::fabs(at(d, c)) + 1) / temperature +
                              (sizeof(T) == 2 ? 0x1p-24 : 0))
                  << "dz " << c;
            }
          }
          // In place.
          sparsemax(ctx, zs.view(shape), zs.view(shape), options);
          EXPECT_TRUE(same_bits(zs.read(), ps));
        }
    });
}

TEST_P(SparsemaxTest, TiesAndTheEdgeOfTheSupport) {
  const Context ctx = context();
  const auto run = [&](const std::vector<float>& z) {
    Tensor zs(ctx, z), p(ctx, DType::kF32, {std::ssize(z)});
    sparsemax(ctx, zs, p);
    return p.to_doubles(ctx);
  };
  EXPECT_EQ(run({3, 3, 3, 3}), std::vector<double>(4, 0.25));
  EXPECT_EQ(run({1, 0, -5}), (std::vector<double>{1, 0, 0})) << "exactly at the edge";
  EXPECT_EQ(run({1, 0.5, 0}), (std::vector<double>{0.75, 0.25, 0}));
  EXPECT_EQ(run({3e38f, -3e38f}), (std::vector<double>{1, 0}));
  // Elements at equal steps that leave the support one after the other.
  std::vector<float> steps;
  for (int i = 0; i < 3000; ++i) steps.push_back(-static_cast<float>(i) / 4096);
  const std::vector<double> p = run(steps);
  double sum = 0;
  for (const double x : p) sum += x;
  EXPECT_NEAR(sum, 1, 1e-5);
  // The support has the k largest with k (k - 1) / 2 / 4096 < 1: 91.
  EXPECT_GT(p[90], 0);
  EXPECT_EQ(p[91], 0);
}

TEST_P(SparsemaxTest, InfinitiesNaNMasksAndEmptyRows) {
  const Context ctx = context();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::int64_t n : {5, 3000}) {
    const auto run = [&](double special, const SoftmaxOptions& options) {
      std::vector<double> z(static_cast<std::size_t>(n), 0.25);
      z[2] = special;
      Tensor zs(ctx, z), p(ctx, DType::kF64, {n});
      sparsemax(ctx, zs, p, options);
      return p.to_doubles(ctx);
    };
    for (const double x : run(nan, {})) EXPECT_TRUE(std::isnan(x));
    for (const double x : run(kInf, {})) EXPECT_TRUE(std::isnan(x));
    const auto one = run(-kInf, {.temperature = 0.3});
    EXPECT_EQ(one[2], 0);
    EXPECT_NEAR(one[0], 1 / static_cast<double>(n - 1), 1e-15);
    Tensor length(ctx, DType::kF64, {1});
    for (const auto& [policy, want] : {std::pair{EmptyRow::kZeros, 0.0},
                                       {EmptyRow::kNaN, nan},
                                       {EmptyRow::kUniform, 1 / static_cast<double>(n)}}) {
      const std::int64_t none = 0;
      copy(ctx, ConstTensorView(&none, DType::kF64, {1}), length);
      const IndexView lengths(static_cast<const std::int64_t*>(length.view().data()), {1});
      for (const double x : run(0.5, {.lengths = lengths, .empty_row = policy})) {
        if (std::isnan(want))
          EXPECT_TRUE(std::isnan(x));
        else
          EXPECT_EQ(x, want);
      }
    }
    // Two elements take part, one of them with a bias.
    const std::int64_t two = 2;
    copy(ctx, ConstTensorView(&two, DType::kF64, {1}), length);
    std::vector<double> bias(static_cast<std::size_t>(n));
    bias[1] = 0.5;
    Tensor biases(ctx, bias);
    const auto p = run(
        nan,
        {.bias = biases, .lengths = IndexView(static_cast<const std::int64_t*>(length.view().data()), {1})});
    EXPECT_EQ(p[0], 0.25);
    EXPECT_EQ(p[1], 0.75);
    for (std::size_t i = 2; i < p.size(); ++i) EXPECT_EQ(p[i], 0);
  }
}

TEST_P(SparsemaxTest, OtherAxesAndTemperaturesInMemory) {
  const Context ctx = context();
  for (const std::int64_t n : {7, 600}) {
    const std::int64_t columns = 5;
    const auto z = normal_sample<float>(static_cast<std::size_t>(n * columns), kSeed, 0, 0.3);
    const std::vector<float> temperature = {1, 0.5f, 2, -1, 0.3f};
    Tensor zs(ctx, z), p(ctx, DType::kF32, {n, columns}), ts(ctx, temperature),
        dz(ctx, DType::kF32, {n, columns});
    SoftmaxOptions options{.axis = 0};
    options.temperatures = ts;
    const TensorView view = zs.view().reshaped({n, columns});
    sparsemax(ctx, view, p, options);
    sparsemax_vjp(ctx, p, view, dz, options);
    const std::vector<double> ps = p.to_doubles(ctx), dzs = dz.to_doubles(ctx);
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto at = [&](std::int64_t r) { return static_cast<std::size_t>(r * columns + c); };
      float max = -std::numeric_limits<float>::infinity();
      for (std::int64_t r = 0; r < n; ++r) max = std::max(max, z[at(r)]);
      const float t = temperature[static_cast<std::size_t>(c)];
      std::vector<long double> u;
      for (std::int64_t r = 0; r < n; ++r)
        u.push_back((static_cast<long double>(z[at(r)]) - static_cast<long double>(max)) /
                    static_cast<long double>(t));
      long double mean = 0, support = 0;
      for (std::int64_t r = 0; r < n; ++r)
        if (ps[at(r)] != 0) mean += static_cast<long double>(z[at(r)]), support += 1;
      mean /= support;
      if (t < 0) {
        for (std::int64_t r = 0; r < n; ++r) EXPECT_TRUE(std::isnan(ps[at(r)]));
        continue;
      }
      const std::vector<long double> want = exact(u);
      for (std::int64_t r = 0; r < n; ++r) {
        ASSERT_NEAR(ps[at(r)], static_cast<double>(want[static_cast<std::size_t>(r)]), 4 * 0x1p-24);
        const double w = ps[at(r)] == 0 ? 0
                                        : static_cast<double>((static_cast<long double>(z[at(r)]) - mean) /
                                                              static_cast<long double>(t));
        ASSERT_NEAR(dzs[at(r)], w, 1e-6 * (1 + std::fabs(w)));
      }
    }
  }
}

TEST_P(SparsemaxTest, AnotherAxisInEveryDType) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      const std::vector<T> z(12, T(0.25f)), d = normal_sample<T>(12, kSeed);
      Tensor zs(ctx, z), ds(ctx, d), p(ctx, dtype, {4, 3}), dz(ctx, dtype, {4, 3});
      sparsemax(ctx, zs.view().reshaped({4, 3}), p, {.axis = 0});
      sparsemax_vjp(ctx, p, ds.view().reshaped({4, 3}), dz, {.axis = 0});
      for (const double x : p.to_doubles(ctx)) EXPECT_EQ(x, 0.25);
      const std::vector<double> got = dz.to_doubles(ctx);
      for (std::size_t c = 0; c < 3; ++c) {
        double mean = 0;
        for (std::size_t r = 0; r < 4; ++r) mean += static_cast<double>(d[r * 3 + c]) / 4;
        for (std::size_t r = 0; r < 4; ++r)
          EXPECT_NEAR(got[r * 3 + c], static_cast<double>(d[r * 3 + c]) - mean, sizeof(T) == 2 ? 0.02 : 1e-6);
      }
    });
}

// The difference times 1 / T overflows, whose second word has the other sign.
TEST_P(SparsemaxTest, SmallTemperaturesAndFarLogits) {
  const Context ctx = context();
  for (const double temperature : {3e-9, 6e-9, 1e-20, 1e-30}) {
    Tensor zs(ctx, std::vector<float>{0, -3e38f}), p(ctx, DType::kF32, {2});
    sparsemax(ctx, zs, p, {.temperature = temperature});
    EXPECT_EQ(p.to_doubles(ctx), (std::vector<double>{1, 0})) << temperature;
  }
}

TEST_P(SparsemaxTest, WhatDoesNotFitIsRefused) {
  const Context ctx = context();
  Tensor z(ctx, DType::kF32, {2, 3}), p(ctx, DType::kF32, {3, 2}), d(ctx, DType::kF64, {2, 3}),
      q(ctx, DType::kF32, {2, 3});
  EXPECT_THROW(sparsemax(ctx, z, p), Error);
  EXPECT_THROW(sparsemax(ctx, z, d), Error);
  EXPECT_THROW(sparsemax(ctx, z, q, {.temperature = 0}), Error);
  EXPECT_THROW(sparsemax(ctx, z, q, {.axis = 2}), Error);
  EXPECT_THROW(sparsemax_vjp(ctx, z, d, q), Error);
  EXPECT_THROW(sparsemax_vjp(ctx, z, p, q), Error);
  Tensor none(ctx, DType::kF32, {0, 3}), none_out(ctx, DType::kF32, {0, 3});
  sparsemax(ctx, none, none_out);
  sparsemax_vjp(ctx, none, none, none_out);
}

}  // namespace

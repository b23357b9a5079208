// One layer of signal propagation: the product against a triple loop in long double, the statistics against
// a direct computation, the layer against the variance that its weights predict.
#include <actium/propagation.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "dispatch.hpp"
#include "kernels/propagation/plan_propagation.hpp"
#include "support/devices.hpp"
#include "support/errors.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double epsilon(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x1p-52;
    case DType::kF32:
      return 0x1p-23;
    case DType::kF16:
      return 0x1p-10;
    default:
      return 0x1p-7;
  }
}
DType computing(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

template <class F>
void for_each_dtype(const F& f) {
  for (const DType dtype : kDTypes) {
    SCOPED_TRACE(to_string(dtype));
    visit_dtype(dtype, f);
  }
}

template <class T>
std::vector<T> cast(const std::vector<double>& x) {
  std::vector<T> values;
  for (const double v : x) values.push_back(static_cast<T>(v));
  return values;
}

// ---------------------------------------------------------------- matmul

struct Product {
  std::int64_t batch, m, k, n;
  bool shared;  // one b for the whole batch
};
constexpr Product kProducts[] = {{1, 1, 1, 1, false},     {1, 3, 5, 7, false},    {1, 64, 64, 64, false},
                                 {1, 17, 129, 33, false}, {1, 2, 1000, 3, false}, {1, 200, 1, 5, false},
                                 {4, 3, 5, 7, false},     {5, 16, 31, 8, false},  {4, 3, 5, 7, true},
                                 {6, 16, 33, 24, true},   {1, 0, 4, 5, false},    {1, 4, 0, 5, false},
                                 {1, 4, 5, 0, false},     {0, 4, 5, 6, false},    {3, 4, 0, 5, false},
                                 {0, 4, 5, 6, true},      {3, 2, 0, 5, true},     {1, 1, 300, 1, false}};

template <class T>
void check_product(const Context& ctx, const Product& p, bool rank_2) {
  const auto count = [](std::int64_t a, std::int64_t b, std::int64_t c) {
    return static_cast<std::size_t>(a * b * c);
  };
  const auto a = normal_sample<T>(count(p.batch, p.m, p.k), kSeed, 0.5);
  const auto b = normal_sample<T>(count(p.shared ? 1 : p.batch, p.k, p.n), kSeed + 1);
  const Shape a_shape = rank_2 ? Shape{p.m, p.k} : Shape{p.batch, p.m, p.k};
  const Shape b_shape = rank_2 || p.shared ? Shape{p.k, p.n} : Shape{p.batch, p.k, p.n};
  const Shape c_shape = rank_2 ? Shape{p.m, p.n} : Shape{p.batch, p.m, p.n};
  Guarded<T> da(ctx, a), db(ctx, b), dc(ctx, count(p.batch, p.m, p.n));
  matmul(ctx, da.view(a_shape), db.view(b_shape), dc.view(c_shape));
  EXPECT_TRUE(da.untouched() && db.untouched() && dc.guards_intact());
  const auto c = dc.read();

  constexpr DType kType = dtype_of<T>::value;
  for (std::int64_t i = 0; i < p.batch; ++i)
    for (std::int64_t row = 0; row < p.m; ++row)
      for (std::int64_t column = 0; column < p.n; ++column) {
        long double exact = 0, magnitude = 0;
        for (std::int64_t l = 0; l < p.k; ++l) {
          const long double term =
              static_cast<long double>(
                  static_cast<double>(a[static_cast<std::size_t>((i * p.m + row) * p.k + l)])) *
              static_cast<double>(b[static_cast<std::size_t>(((p.shared ? 0 : i) * p.k + l) * p.n + column)]);
          exact += term;
          magnitude += std::fabs(term);
        }
        // k roundings of the sum, and one on store.
        const double bound =
            static_cast<double>(p.k) * epsilon(computing(kType)) * static_cast<double>(magnitude) +
            epsilon(kType) / 2 * static_cast<double>(std::fabs(exact)) * 1.001;
        const double got = static_cast<double>(c[static_cast<std::size_t>((i * p.m + row) * p.n + column)]);
        ASSERT_NEAR(got, static_cast<double>(exact), bound)
            << p.batch << " x [" << p.m << ", " << p.k << ", " << p.n << "] at " << i << ", " << row << ", "
            << column;
      }
}

class Matmul : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(Matmul);

TEST_P(Matmul, EqualsATripleLoop) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    for (const Product& p : kProducts) {
      check_product<T>(ctx, p, false);
      if (p.batch == 1) check_product<T>(ctx, p, true);
    }
  });
}

TEST_P(Matmul, LeadingAxesAreOneBatch) {
  const Context ctx = context();
  const auto a = normal_sample<float>(2 * 3 * 4 * 5, kSeed),
             b = normal_sample<float>(2 * 3 * 5 * 6, kSeed + 1);
  const Tensor da(ctx, a), db(ctx, b);
  Tensor c4(ctx, DType::kF32, {2, 3, 4, 6}), c3(ctx, DType::kF32, {6, 4, 6});
  matmul(ctx, da.view().reshaped({2, 3, 4, 5}), db.view().reshaped({2, 3, 5, 6}), c4);
  matmul(ctx, da.view().reshaped({6, 4, 5}), db.view().reshaped({6, 5, 6}), c3);
  EXPECT_EQ(c4.to_doubles(ctx), c3.to_doubles(ctx));
}

TEST_P(Matmul, RepeatsBitForBit) {
  const Context ctx = context();
  const Tensor a(ctx, normal_sample<float>(130 * 257, kSeed)),
      b(ctx, normal_sample<float>(257 * 70, kSeed + 1));
  Tensor c(ctx, DType::kF32, {130, 70});
  std::vector<double> first;
  for (int i = 0; i < 3; ++i) {
    matmul(ctx, a.view().reshaped({130, 257}), b.view().reshaped({257, 70}), c);
    const auto got = c.to_doubles(ctx);
    if (first.empty()) first = got;
    EXPECT_EQ(got, first);
  }
}

TEST_P(Matmul, NaNAndInfinityPropagate) {
  const Context ctx = context();
  const Tensor a(ctx, std::vector<float>{1, 2, static_cast<float>(kNaN), 1, static_cast<float>(kInf), 1});
  const Tensor b(ctx, std::vector<float>{1, 1});
  Tensor c(ctx, DType::kF32, {3, 1});
  matmul(ctx, a.view().reshaped({3, 2}), b.view().reshaped({2, 1}), c);
  const auto got = c.to_doubles(ctx);
  EXPECT_EQ(got[0], 3);
  EXPECT_TRUE(std::isnan(got[1]));
  EXPECT_EQ(got[2], kInf);
}

TEST(MatmulOnCpu, ThreadsDoNotChangeTheProcess) {
  const auto a = normal_sample<float>(64 * 64, kSeed);
  std::vector<float> one(64 * 64), two(64 * 64);
  const auto square = [](std::vector<float>& x) { return TensorView(x.data(), Shape{64, 64}); };
  const ConstTensorView view(a.data(), Shape{64, 64});
  matmul(Context::cpu(1), view, view, square(one));
  matmul(Context::cpu(2), view, view, square(two));
  for (std::size_t i = 0; i < one.size(); ++i) ASSERT_NEAR(one[i], two[i], 1e-4);
}

TEST(MatmulOnCpu, BadInput) {
  constexpr ErrorKind kBad = ErrorKind::kInvalidArgument;
  const Context ctx = Context::cpu();
  std::vector<float> memory(200, 42);
  const auto at = [&](std::size_t offset, const Shape& shape) {
    return TensorView(memory.data() + offset, shape);
  };
  const auto fails = [&](const std::string& text, ConstTensorView a, ConstTensorView b, TensorView c) {
    expect_error(kBad, text, [&] { matmul(ctx, a, b, c); });
  };
  const TensorView a = at(0, {2, 3}), b = at(10, {3, 4}), c = at(30, {2, 4});
  fails("matmul: a.rank: want at least 2, got 1", at(0, {6}), b, c);
  fails("matmul: b.rank: want at least 2, got 1", a, at(10, {12}), c);
  fails("matmul: b.shape: want [3, 4], got [4, 4]", a, at(10, {4, 4}), c);
  fails("matmul: c.shape: want [2, 4], got [4, 2]", a, b, at(30, {4, 2}));
  fails("matmul: c.shape: want [2, 4], got [1, 2, 4]", a, b, at(30, {1, 2, 4}));
  fails("matmul: b.shape: want [2, 3, 4], got [3, 3, 4]", at(0, {2, 2, 3}), at(20, {3, 3, 4}),
        at(60, {2, 2, 4}));
  fails("matmul: b.shape: want [2, 2, 3, 4], got [2, 3, 4]", at(0, {2, 2, 1, 3}), at(20, {2, 3, 4}),
        at(60, {2, 2, 1, 4}));
  fails("matmul: b.dtype: want f32, got f64", a, ConstTensorView(nullptr, DType::kF64, {3, 4}), c);
  fails("matmul: c.dtype: want f32, got f16", a, b, TensorView(memory.data(), DType::kF16, {2, 4}));
  fails("matmul: a: want memory for 6 elements, got a null pointer",
        ConstTensorView(nullptr, DType::kF32, {2, 3}), b, c);
  fails("matmul: c: want memory for 8 elements, got a null pointer", a, b,
        TensorView(nullptr, DType::kF32, {2, 4}));
  fails("matmul: a.strides: want those of contiguous [2, 3], got [1, 2]",
        ConstTensorView(memory.data(), DType::kF32, {2, 3}, std::array<std::int64_t, 2>{1, 2}), b, c);
  fails("matmul: c and a: want disjoint memory, got an overlap", a, b, at(5, {2, 4}));
  fails("matmul: c and b: want disjoint memory, got an overlap", a, b, at(15, {2, 4}));
  EXPECT_EQ(memory, std::vector<float>(200, 42));
  EXPECT_EQ(blas_name().substr(0, 11), "OpenBLAS 0.");
  EXPECT_EQ(blas_name().find(' ', 9), std::string::npos);
}

// Sizes that OpenBLAS cannot take are refused; no memory of that size is looked at.
TEST(MatmulOnCpu, SizesBeyond32Bits) {
  float x = 42;
  const std::int64_t huge = std::int64_t{1} << 31;
  // The views claim more than there is, which only the check of sizes keeps from being read.
  std::vector<float> c(1);
  expect_error(ErrorKind::kInvalidArgument, "matmul: columns of a: want at most 2147483647, got 2147483648",
               [&] {
                 matmul(Context::cpu(),
                        ConstTensorView(reinterpret_cast<float*>(std::uintptr_t{1} << 40), Shape{1, huge}),
                        ConstTensorView(reinterpret_cast<float*>(std::uintptr_t{1} << 41), Shape{huge, 1}),
                        TensorView(&x, Shape{1, 1}));
               });
  EXPECT_EQ(x, 42);
}

// ---------------------------------------------------------------- signal_statistics

/// The same numbers by the shortest way, in long double.
template <class T>
SignalStatistics direct_statistics(const std::vector<T>& x, std::int64_t units) {
  SignalStatistics s;
  s.units = units;
  s.rows = static_cast<std::int64_t>(x.size()) / units;
  const long double n = static_cast<long double>(x.size());
  long double sum = 0, squares = 0, distances = 0;
  std::vector<std::int64_t> active(static_cast<std::size_t>(units));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = static_cast<double>(x[i]);
    sum += v;
    squares += static_cast<long double>(v) * v;
    s.zero_fraction += v == 0;
    active[i % static_cast<std::size_t>(units)] += v > 0;
  }
  for (const T v : x) distances += (static_cast<double>(v) - sum / n) * (static_cast<double>(v) - sum / n);
  s.mean = static_cast<double>(sum / n);
  s.variance = static_cast<double>(distances / n);
  s.second_moment = static_cast<double>(squares / n);
  s.zero_fraction /= static_cast<double>(x.size());
  for (const std::int64_t a : active)
    s.active_fraction.push_back(static_cast<double>(a) / static_cast<double>(s.rows));
  return s;
}

class Statistics : public DeviceTest {
 protected:
  /// Errors allowed of a device: relative to the second moment for the mean's square, to the variance, and so
  /// on. The CPU sums 2^14 elements in double at a time. On a GPU a tile's sums are in f32 (f64 for f64),
  /// with at most about 600 roundings each.
  double tolerance(DType dtype) const { return on_cuda() ? 600 * epsilon(computing(dtype)) / 2 : 1e-12; }
  template <class T>
  void expect_statistics(const Context& ctx, const std::vector<T>& x, const Shape& shape,
                         std::size_t offset = 0) {
    Guarded<T> tensor(ctx, x, offset);
    const SignalStatistics got = signal_statistics(ctx, tensor.view(shape));
    const SignalStatistics want = direct_statistics(x, shape.back());
    SCOPED_TRACE(shape.to_string() + " at offset " + std::to_string(offset));
    const double relative = tolerance(dtype_of<T>::value);
    const double eps = epsilon(on_cuda() ? computing(dtype_of<T>::value) : DType::kF64);
    EXPECT_EQ(got.rows, want.rows);
    EXPECT_EQ(got.units, want.units);
    // The mean carries the rounding of one value of its size and of sums of distances from it.
    EXPECT_NEAR(got.mean, want.mean,
                2 * eps * std::fabs(want.mean) + relative * std::sqrt(want.variance) + 1e-300);
    EXPECT_NEAR(got.variance, want.variance,
                relative * want.variance + 4 * eps * eps * want.second_moment + 1e-300);
    EXPECT_NEAR(got.second_moment, want.second_moment, relative * want.second_moment);
    EXPECT_EQ(got.zero_fraction, want.zero_fraction);
    EXPECT_EQ(got.active_fraction, want.active_fraction);
    EXPECT_TRUE(tensor.untouched());
  }
};
ACTIUM_INSTANTIATE_DEVICES(Statistics);

TEST_P(Statistics, EqualTheDirectComputation) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    for (const Shape& shape : {Shape{1}, Shape{7}, Shape{1000}, Shape{1, 1}, Shape{5000, 1}, Shape{1, 5000},
                               Shape{3, 4, 5}, Shape{64, 1024}, Shape{513, 96}, Shape{1025, 33},
                               Shape{2, 2, 2, 3}, Shape{70, 257}, Shape{300, 10}, Shape{9000, 16}}) {
      auto x = normal_sample<T>(static_cast<std::size_t>(shape.count()), kSeed, 0.3, 2);
      for (std::size_t i = 0; i < x.size(); i += 3) x[i] = static_cast<T>(i % 2 ? 0.0 : -0.0);
      expect_statistics(ctx, x, shape);
      expect_statistics(ctx, x, shape, 1);
    }
  });
}

TEST_P(Statistics, LargeMeanSmallDeviation) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    expect_statistics(ctx, normal_sample<T>(512 * 96, kSeed, 1e4, 1), {512, 96});
    expect_statistics(ctx, normal_sample<T>(512 * 97, kSeed, -1e4, 1), {512, 97});
    expect_statistics(ctx, normal_sample<T>(5 * 96, kSeed, 1e4, 1), {5, 96});
  });
}

// What comes first is not typical: one wild value, or nothing but zeros.
TEST_P(Statistics, MisleadingStart) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    auto x = normal_sample<T>(600 * 64, kSeed);
    x[0] = static_cast<T>(3e4);
    expect_statistics(ctx, x, {600, 64});
    std::fill(x.begin(), x.begin() + 20 * 64, T(0));
    expect_statistics(ctx, x, {600, 64});
  });
}

TEST_P(Statistics, ExtremeMagnitudes) {
  const Context ctx = context();
  for (const double deviation : {1e-36, 1e-30, 1e-20, 1e20, 1e30, 4e37}) {  // squares leave the range of f32
    expect_statistics(ctx, normal_sample<float>(200 * 64, kSeed, 0, deviation), {200, 64});
    expect_statistics(ctx, normal_sample<bf16>(200 * 65, kSeed, 0, deviation), {200, 65});
  }
}

TEST_P(Statistics, ConstantsAndZeros) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    for (const double v : {0.0, -0.0, 1.0, -0.375, 4096.0})
      expect_statistics(ctx, std::vector<T>(300 * 40, static_cast<T>(v)), {300, 40});
  });
  const auto dead =
      signal_statistics(ctx, Tensor(ctx, std::vector<float>(12, -0.0f)).view().reshaped({3, 4}));
  EXPECT_EQ(dead.zero_fraction, 1);
  EXPECT_EQ(dead.second_moment, 0);
  EXPECT_EQ(dead.variance, 0);
  EXPECT_EQ(dead.active_fraction, std::vector<double>(4, 0));
}

// Units that are always, never and half the time active, far enough apart to lie in different tiles.
TEST_P(Statistics, ActiveFractionIsPerUnit) {
  constexpr std::size_t kRows = 700, kUnits = 600;
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    std::vector<T> x(kRows * kUnits);
    for (std::size_t r = 0; r < kRows; ++r)
      for (std::size_t u = 0; u < kUnits; ++u) x[r * kUnits + u] = static_cast<T>(r < u ? 1.0 : -1.0);
    const Tensor tensor(ctx, x);
    const auto s = signal_statistics(ctx, tensor.view().reshaped({kRows, kUnits}));
    for (std::size_t u = 0; u < kUnits; ++u)
      ASSERT_EQ(s.active_fraction[u], static_cast<double>(u) / double{kRows}) << u;
  });
}

TEST_P(Statistics, NaNAndInfinityShow) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    for (const std::size_t place : {std::size_t{0}, std::size_t{9999}, std::size_t{23456}}) {
      auto x = normal_sample<T>(40000, kSeed);
      x[place] = static_cast<T>(kNaN);
      const auto nan = signal_statistics(ctx, Tensor(ctx, x).view().reshaped({400, 100}));
      EXPECT_TRUE(std::isnan(nan.mean) && std::isnan(nan.variance) && std::isnan(nan.second_moment)) << place;
      EXPECT_EQ(nan.zero_fraction, 0);
      x[place] = static_cast<T>(-kInf);
      const auto inf = signal_statistics(ctx, Tensor(ctx, x).view().reshaped({400, 100}));
      EXPECT_EQ(inf.mean, -kInf) << place;
      EXPECT_EQ(inf.second_moment, kInf) << place;
      EXPECT_TRUE(std::isnan(inf.variance)) << place;
    }
  });
}

TEST_P(Statistics, RepeatBitForBit) {
  const Context ctx = context();
  const Tensor x(ctx, normal_sample<float>(3000 * 100, kSeed));
  const auto measure = [&](const Context& c) { return signal_statistics(c, x.view().reshaped({3000, 100})); };
  const auto first = measure(ctx);
  for (int threads = 1; threads <= 3; ++threads) {
    const auto again = measure(on_cuda() ? ctx : Context::cpu(threads));
    EXPECT_EQ(again.mean, first.mean);
    EXPECT_EQ(again.variance, first.variance);
    EXPECT_EQ(again.second_moment, first.second_moment);
  }
}

TEST_P(Statistics, Empty) {
  const Context ctx = context();
  for (const Shape& shape : {Shape{0}, Shape{0, 5}, Shape{5, 0}, Shape{2, 0, 3}}) {
    const auto s = signal_statistics(ctx, ConstTensorView(nullptr, DType::kF32, shape));
    SCOPED_TRACE(shape.to_string());
    EXPECT_EQ(s.units, shape.back());
    EXPECT_EQ(s.rows, shape.without_last().count());
    EXPECT_TRUE(std::isnan(s.mean) && std::isnan(s.variance) && std::isnan(s.second_moment) &&
                std::isnan(s.zero_fraction));
    EXPECT_EQ(s.active_fraction.size(), static_cast<std::size_t>(shape.back()));
    for (const double a : s.active_fraction) EXPECT_TRUE(std::isnan(a));
  }
}

TEST(StatisticsOnCpu, BadInput) {
  const Context ctx = Context::cpu();
  std::vector<float> x(8);
  const auto fails = [&](const std::string& text, ConstTensorView view) {
    expect_error(ErrorKind::kInvalidArgument, text, [&] { signal_statistics(ctx, view); });
  };
  fails("signal_statistics: x.rank: want at least 1, got 0", ConstTensorView(x.data(), Shape{}));
  fails("signal_statistics: x: want memory for 8 elements, got a null pointer",
        ConstTensorView(nullptr, DType::kF32, Shape{2, 4}));
  fails("signal_statistics: x.strides: want those of contiguous [2, 2], got [4, 1]",
        ConstTensorView(x.data(), DType::kF32, Shape{2, 2}, std::array<std::int64_t, 2>{4, 1}));
}

// The tiles cover x, fit a grid and the launcher's integers, and are neither too short nor too few.
TEST(StatisticsPlan, CoversAnyShape) {
  using namespace actium::kernels;
  constexpr std::int64_t kSizes[] = {1,   2,   7,    31,   32,    33,      255,
                                     256, 257, 1000, 1024, 65536, 1 << 20, 1ll << 40};
  for (const std::int64_t rows : kSizes)
    for (const std::int64_t units : kSizes)
      for (const int columns : {1, 2, 4, 8}) {
        if (rows > (std::int64_t{1} << 40) / units || units % columns != 0) continue;
        const Shape shape{rows, units};
        SCOPED_TRACE(shape.to_string() + " by " + std::to_string(columns));
        const SignalStatisticsPlan plan = plan_signal_statistics(rows, units, columns);
        EXPECT_EQ(plan.across * plan.down, kStatisticsThreads);
        EXPECT_EQ(plan.across & (plan.across - 1), 0);
        EXPECT_EQ(plan.columns_per_tile, plan.across * columns);
        EXPECT_EQ(plan.tiles, plan.groups * plan.splits);
        EXPECT_GE(plan.groups * plan.columns_per_tile, units);
        EXPECT_LT((plan.groups - 1) * plan.columns_per_tile, units);
        EXPECT_GE(plan.splits * plan.rows_per_tile, rows);
        EXPECT_LT((plan.splits - 1) * plan.rows_per_tile, rows);
        EXPECT_LE(plan.rows_per_tile, kStatisticsMaxRowsPerThread * plan.down);
        EXPECT_GE(plan.blocks(), 1u);
        EXPECT_LE(plan.blocks(), kLargestGrid);
        EXPECT_GE(plan.tiles, rows * units >= std::int64_t{1} << 26 ? kStatisticsWantedTiles / 2 : 1);
      }
  EXPECT_EQ(fill_blocks(1), 1u);
  EXPECT_EQ(fill_blocks(1024), 1u);
  EXPECT_EQ(fill_blocks(1025), 2u);
  EXPECT_EQ(fill_blocks(std::int64_t{1} << 60), kLargestGrid);
  EXPECT_EQ(statistics_columns_per_thread(12, true, 4), 4);
  EXPECT_EQ(statistics_columns_per_thread(13, true, 4), 1);
  EXPECT_EQ(statistics_columns_per_thread(12, false, 4), 1);
}

// ---------------------------------------------------------------- propagate_layer

class PropagateLayer : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(PropagateLayer);

/// The one-step conditional law: given x [rows, fan_in] with Gram matrix K = x x^T, the columns of z = x w
/// are independent with covariance var_w K, so the mean of z^2 is var_w fan_in E[x^2], with relative standard
/// error sqrt(2 tr(K^2) / (fan_out tr(K)^2)) for normal weights, less for uniform ones.
double relative_error(const std::vector<double>& x, std::size_t fan_in, double fan_out) {
  const std::size_t rows = x.size() / fan_in;
  double trace = 0, squares = 0;
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < rows; ++j) {
      const double k = std::inner_product(x.begin() + static_cast<std::ptrdiff_t>(i * fan_in),
                                          x.begin() + static_cast<std::ptrdiff_t>((i + 1) * fan_in),
                                          x.begin() + static_cast<std::ptrdiff_t>(j * fan_in), 0.0);
      squares += k * k;
      if (i == j) trace += k;
    }
  return std::sqrt(2 * squares / fan_out) / trace;
}

TEST_P(PropagateLayer, VarianceIsTheWeightsTimesTheInput) {
  constexpr std::int64_t kRows = 48, kIn = 384, kOut = 640;
  const Context ctx = context();
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16})
    for (const Initializer& initializer :
         {xavier_normal(), xavier_uniform(), he_normal(), he_uniform(), xavier_normal(1.5)}) {
      SCOPED_TRACE(initializer.to_string() + " " + std::string(to_string(dtype)));
      Tensor x(ctx, dtype, {kRows, kIn}), y(ctx, dtype, {kRows, kOut});
      fill_normal(ctx, x, {kSeed, 100}, 0.5, 1.25);
      const LayerResult result =
          propagate_layer(ctx, {identity(), initializer, kIn, kOut, dtype, {kSeed, 200}}, x, y);
      const auto host = x.to_doubles(ctx);
      double squares = 0;
      for (const double v : host) squares += v * v;
      const double fans = initializer.kind == InitializerKind::kXavier ? kIn + kOut : kIn;
      const double predicted = initializer.gain * initializer.gain * 2 / fans * squares / double{kRows};
      const double error = relative_error(host, kIn, kOut);
      EXPECT_LT(error, 0.03);
      EXPECT_NEAR(result.pre_activation.second_moment / predicted, 1, 4.5 * error);
      EXPECT_NEAR(result.pre_activation.mean, 0, 4.5 * std::sqrt(predicted) / std::sqrt(double{kOut}));
      EXPECT_EQ(result.pre_activation.rows, kRows);
      EXPECT_EQ(result.pre_activation.units, kOut);
      EXPECT_EQ(result.post_activation.second_moment, result.pre_activation.second_moment);  // identity
    }
}

// relu halves the second moment of a symmetric z, and silences half of the units' rows.
TEST_P(PropagateLayer, ReluKeepsHalf) {
  constexpr std::int64_t kRows = 64, kIn = 512, kOut = 600;
  const Context ctx = context();
  Tensor x(ctx, DType::kF32, {kRows, kIn}), y(ctx, DType::kF32, {kRows, kOut});
  fill_normal(ctx, x, {kSeed, 300});
  const LayerResult result =
      propagate_layer(ctx, {relu(), he_normal(), kIn, kOut, DType::kF32, {kSeed, 301}}, x, y);
  const double n = kRows * kOut;
  // Per element: +-z^2 / 2 about half, of deviation sqrt(3) / 2 E[z^2]; rows are nearly independent (1.3).
  EXPECT_NEAR(result.post_activation.second_moment / result.pre_activation.second_moment, 0.5,
              4.5 * 1.3 * std::sqrt(0.75 / n));
  EXPECT_NEAR(result.post_activation.zero_fraction, 0.5, 4.5 * 1.3 * 0.5 / std::sqrt(n));
  EXPECT_EQ(result.pre_activation.zero_fraction, 0);
  double active = 0;
  for (const double a : result.post_activation.active_fraction) active += a / double{kOut};
  EXPECT_NEAR(active, 1 - result.post_activation.zero_fraction, 1e-12);
  EXPECT_EQ(result.post_activation.active_fraction, result.pre_activation.active_fraction);
  // He's choice keeps the second moment of the signal.
  EXPECT_NEAR(result.post_activation.second_moment, 1, 0.1);
}

// The layer is initialize, matmul and forward, and its statistics are theirs.
TEST_P(PropagateLayer, IsItsParts) {
  const Context ctx = context();
  for (const DType dtype : kDTypes) {
    SCOPED_TRACE(to_string(dtype));
    Tensor x(ctx, dtype, {2, 5, 33}), y(ctx, dtype, {2, 5, 20}), w(ctx, dtype, {33, 20}),
        z(ctx, dtype, {2, 5, 20}), want(ctx, dtype, {2, 5, 20});
    fill_normal(ctx, x, {kSeed, 1});
    const LayerResult result =
        propagate_layer(ctx, {gelu(), xavier_uniform(), 33, 20, dtype, {kSeed, 2}}, x, y);
    initialize(ctx, xavier_uniform(), {kSeed, 2}, w);
    matmul(ctx, x, w, z);
    forward(ctx, gelu(), z, want);
    const SignalStatistics pre = signal_statistics(ctx, z), post = signal_statistics(ctx, want);
    EXPECT_EQ(y.to_doubles(ctx), want.to_doubles(ctx));
    EXPECT_EQ(result.pre_activation.variance, pre.variance);
    EXPECT_EQ(result.post_activation.mean, post.mean);
    EXPECT_EQ(result.post_activation.active_fraction, post.active_fraction);
  }
}

// One seed, one network: the same layer on the CPU, to the rounding of the product.
TEST_P(PropagateLayer, DeviceEqualsTheCpu) {
  const Context ctx = context(), cpu = Context::cpu(1);
  for (const DType dtype : kDTypes) {
    SCOPED_TRACE(to_string(dtype));
    const Layer layer{tanh(), xavier_normal(), 200, 100, dtype, {kSeed, 9}};
    std::vector<double> outputs[2];
    LayerResult results[2];
    for (int i = 0; i < 2; ++i) {
      const Context& c = i == 0 ? ctx : cpu;
      Tensor x(c, dtype, {30, 200}), y(c, dtype, {30, 100});
      fill_uniform(c, x, {kSeed, 8}, -1, 1);
      results[i] = propagate_layer(c, layer, x, y);
      outputs[i] = y.to_doubles(c);
    }
    const double near = 2 * epsilon(dtype) + 400 * epsilon(computing(dtype));
    for (std::size_t i = 0; i < outputs[0].size(); ++i) ASSERT_NEAR(outputs[0][i], outputs[1][i], near) << i;
    EXPECT_NEAR(results[0].pre_activation.variance, results[1].pre_activation.variance, near);
    EXPECT_NEAR(results[0].post_activation.second_moment, results[1].post_activation.second_moment, near);
  }
}

TEST_P(PropagateLayer, EmptySizes) {
  const Context ctx = context();
  Tensor x(ctx, DType::kF32, {3, 0}), y(ctx, DType::kF32, {3, 4});
  const auto no_inputs = propagate_layer(ctx, {tanh(), he_normal(), 0, 4}, x, y);
  EXPECT_EQ(no_inputs.post_activation.zero_fraction, 1);  // an empty sum
  EXPECT_EQ(y.to_doubles(ctx), std::vector<double>(12, 0));
  Tensor none(ctx, DType::kF32, {0, 4}), no_rows(ctx, DType::kF32, {0, 5}),
      no_outputs(ctx, DType::kF32, {3, 0});
  EXPECT_TRUE(
      std::isnan(propagate_layer(ctx, {tanh(), he_normal(), 4, 5}, none, no_rows).post_activation.mean));
  EXPECT_EQ(propagate_layer(ctx, {tanh(), he_normal(), 4, 0}, y, no_outputs).post_activation.units, 0);
}

TEST(PropagateLayerOnCpu, BadInput) {
  const Context ctx = Context::cpu();
  std::vector<float> x(12, 42), y(8, 42);
  const TensorView in(x.data(), Shape{4, 3}), out(y.data(), Shape{4, 2});
  const auto fails = [&](const std::string& text, const Layer& layer, ConstTensorView from, TensorView to) {
    expect_error(ErrorKind::kInvalidArgument, text, [&] { propagate_layer(ctx, layer, from, to); });
  };
  const Layer layer{tanh(), xavier_normal(), 3, 2};
  Layer bad = layer;
  bad.fan_in = -1;
  fails("propagate_layer: layer.fan_in: want at least 0, got -1", bad, in, out);
  bad = layer;
  bad.fan_out = -2;
  fails("propagate_layer: layer.fan_out: want at least 0, got -2", bad, in, out);
  bad = layer;
  bad.initializer.gain = 0;
  fails("propagate_layer: layer.initializer.gain: want finite and > 0, got 0", bad, in, out);
  bad = layer;
  bad.dtype = DType::kF16;
  fails("propagate_layer: x.dtype: want f16, got f32", bad, in, out);
  bad = layer;
  bad.activation = leaky_relu(kNaN);
  fails("leaky_relu", bad, in, out);
  fails("propagate_layer: x.rank: want at least 1, got 0", layer, TensorView(x.data(), Shape{}), out);
  fails("propagate_layer: x.shape: want [6, 3], got [6, 2]", layer, TensorView(x.data(), Shape{6, 2}), out);
  fails("propagate_layer: y.shape: want [4, 2], got [2, 4]", layer, in, TensorView(y.data(), Shape{2, 4}));
  fails("propagate_layer: y: want memory for 8 elements, got a null pointer", layer, in,
        TensorView(nullptr, DType::kF32, Shape{4, 2}));
  fails("propagate_layer: y and x: want the same memory or disjoint memory, got a partial overlap", layer, in,
        TensorView(x.data() + 1, Shape{4, 2}));
  EXPECT_EQ(x, std::vector<float>(12, 42));
  EXPECT_EQ(y, std::vector<float>(8, 42));
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process where an allocation fails
TEST(SignalStatisticsMemory, MoreUnitsThanMemoryIsAnError) {
  try {
    signal_statistics(Context::cpu(), ConstTensorView(nullptr, DType::kF32, Shape{0, std::int64_t{1} << 50}));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kOutOfMemory) << e.what();
  }
}
#endif

}  // namespace

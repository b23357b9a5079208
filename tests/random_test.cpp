// Random numbers and initialisers: the bits against the Philox paper's known answers, against a second
// implementation and against cuRAND's own; the distributions by moments and by Kolmogorov and Smirnov's
// distance; the same network on every device.
#include <actium/initializer.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "dispatch.hpp"
#include "support/curand_philox.hpp"
#include "support/devices.hpp"
#include "support/errors.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

using Words = std::array<std::uint32_t, 4>;

constexpr RandomKey kKeys[] = {{0, 0},
                               {1, 0},
                               {0, 1},
                               {kSeed, 7},
                               {0x299f31d0a4093822, 0x0370734413198a2e},
                               {0xffffffffffffffff, 0xffffffffffffffff},
                               {0x100000000, 0x100000000}};

/// Philox 4x32-10 as the paper writes it (Salmon et al. 2011), for the counter {c0, c1, c2, c3}.
Words philox(Words c, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}
Words philox(RandomKey key, std::uint64_t block) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
  return philox({low(block), high(block), low(key.sequence), high(key.sequence)}, low(key.seed),
                high(key.seed));
}

/// What a fill writes, on the host.
template <class T>
std::vector<T> filled(const Context& ctx, std::size_t count, const std::function<void(TensorView)>& fill,
                      std::size_t offset = 0) {
  Guarded<T> x(ctx, count, offset);
  fill(x.view());
  EXPECT_TRUE(x.guards_intact());
  return x.read();
}
template <class T>
std::vector<T> uniform(const Context& ctx, std::size_t count, RandomKey key, double low = 0, double high = 1,
                       std::size_t offset = 0) {
  return filled<T>(
      ctx, count, [&](TensorView x) { fill_uniform(ctx, x, key, low, high); }, offset);
}
template <class T>
std::vector<T> normal(const Context& ctx, std::size_t count, RandomKey key, double mean = 0,
                      double deviation = 1, std::size_t offset = 0) {
  return filled<T>(
      ctx, count, [&](TensorView x) { fill_normal(ctx, x, key, mean, deviation); }, offset);
}

/// The random words behind a fill: fill_uniform in f64 holds each exactly, as (word + 1/2) 2^-32.
std::vector<std::uint32_t> words(const Context& ctx, std::size_t count, RandomKey key) {
  std::vector<std::uint32_t> bits;
  for (const double u : uniform<double>(ctx, count, key)) {
    const double word = u * 0x1p32 - 0.5;
    EXPECT_EQ(word, std::floor(word));
    bits.push_back(static_cast<std::uint32_t>(word));
  }
  return bits;
}

/// The mean of x^power.
double mean_of(const std::vector<double>& x, int power = 1) {
  double sum = 0;
  for (const double v : x) {
    double term = 1;
    for (int i = 0; i < power; ++i) term *= v;
    sum += term;
  }
  return sum / static_cast<double>(x.size());
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const double mx = mean_of(x), my = mean_of(y);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xy / std::sqrt(xx * yy);
}

/// sqrt(n) times the largest distance between the sample's distribution function and `cdf`.
template <class Cdf>
double kolmogorov_smirnov(std::vector<double> x, const Cdf& cdf) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double distance = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double p = cdf(x[i]), below = static_cast<double>(i) / n;
    distance = std::max({distance, p - below, below + 1 / n - p});
  }
  return std::sqrt(n) * distance;
}
constexpr double kSmirnovCritical = 2.694;  // sqrt(ln(2 / alpha) / 2) for alpha = 1e-6

double normal_cdf(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }

template <class T>
std::vector<double> as_doubles(const std::vector<T>& x) {
  return {x.begin(), x.end()};
}

template <class F>
void for_each_dtype(const F& f) {
  for (const DType dtype : kDTypes) {
    SCOPED_TRACE(to_string(dtype));
    visit_dtype(dtype, f);
  }
}

// The three vectors of the paper's own test file (Random123, kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

#ifdef ACTIUM_HAVE_CURAND_HEADERS
// The kernels' counter is curand_init's, also for blocks that no test has the memory to fill.
TEST(Philox, CurandAgrees) {
  constexpr std::uint64_t kBlocks[] = {0, 1, 0xffffffff, 0x100000000, 0x123456789abcdef, (1ull << 62) - 1};
  for (const RandomKey key : kKeys)
    for (const std::uint64_t block : kBlocks) {
      EXPECT_EQ(curand_philox(key.seed, key.sequence, 4 * block), philox(key, block));
      EXPECT_EQ(curand_philox_block(key.seed, key.sequence, block), philox(key, block));
    }
}

TEST(Philox, FillsHoldCurandsWords) {
  constexpr std::size_t kBlocks = 12000;
  for (const RandomKey key : kKeys) {
    const auto got = words(Context::cpu(), 4 * kBlocks, key);
    std::size_t wrong = 0;
    for (std::size_t b = 0; b < kBlocks; ++b) {
      const Words want = curand_philox(key.seed, key.sequence, 4 * b);
      for (std::size_t k = 0; k < 4; ++k) wrong += got[4 * b + k] != want[k];
    }
    EXPECT_EQ(wrong, 0u) << "seed " << key.seed << " sequence " << key.sequence;
  }
}

// The order of the pair, and its formula. cuRAND rounds the angle, up to 2 pi, to f32: 2^-22, twice, times
// the radius, at most 6.8.
TEST(Philox, NormalPairsAreCurands) {
  const auto x = normal<float>(Context::cpu(), 4000, {kSeed, 1});
  for (std::size_t i = 0; i < x.size(); i += 2) {
    const Words block = philox({kSeed, 1}, i / 4);
    const auto want = curand_normal_pair(block[i % 4], block[i % 4 + 1]);
    for (std::size_t k = 0; k < 2; ++k) ASSERT_NEAR(x[i + k], want[k], 6.8 * 2 * 0x1p-22) << i + k;
  }
}
#endif

class Random : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(Random);

TEST_P(Random, WordsAreThePapers) {
  constexpr std::size_t kCount = 40002;
  for (const RandomKey key : kKeys) {
    const auto got = words(context(), kCount, key);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < kCount; ++i) wrong += got[i] != philox(key, i / 4)[i % 4];
    EXPECT_EQ(wrong, 0u) << "seed " << key.seed << " sequence " << key.sequence;
  }
}

// Element i depends on nothing but i: lengths, alignments and shapes do not enter.
TEST_P(Random, ElementsDependOnTheirIndexAlone) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    const auto u = uniform<T>(ctx, 5000, {kSeed, 3}, -2, 5);
    const auto n = normal<T>(ctx, 5000, {kSeed, 3}, 1, 2);
    const auto start = [](const std::vector<T>& x, std::size_t count) {
      return std::vector<T>(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(count));
    };
    for (const std::size_t count : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 255u, 1023u, 1024u, 1025u, 4999u})
      for (const std::size_t offset : {0u, 1u, 2u, 3u}) {
        EXPECT_TRUE(same_bits(uniform<T>(ctx, count, {kSeed, 3}, -2, 5, offset), start(u, count)))
            << count << " at offset " << offset;
        EXPECT_TRUE(same_bits(normal<T>(ctx, count, {kSeed, 3}, 1, 2, offset), start(n, count)))
            << count << " at offset " << offset;
      }
  });
}

TEST_P(Random, UniformIsTheDocumentedExpression) {
  const Context ctx = context();
  const RandomKey key{kSeed, 4};
  const auto x64 = uniform<double>(ctx, 4096, key, -0.3, 1.7);
  const auto x32 = uniform<float>(ctx, 4096, key, -0.3, 1.7);
  const auto x16 = uniform<f16>(ctx, 4096, key, -0.3, 1.7);
  const auto xb16 = uniform<bf16>(ctx, 4096, key, -0.3, 1.7);
  for (std::size_t i = 0; i < x32.size(); ++i) {
    const std::uint32_t word = philox(key, i / 4)[i % 4];
    const float u = std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
    ASSERT_EQ(x32[i], std::fma(static_cast<float>(1.7 + 0.3), u, -0.3f)) << i;
    ASSERT_EQ(x64[i], std::fma(1.7 + 0.3, (word + 0.5) * 0x1p-32, -0.3)) << i;
    ASSERT_EQ(x16[i].bits, f16(x32[i]).bits) << i;
    ASSERT_EQ(xb16[i].bits, bf16(x32[i]).bits) << i;
  }
}

// The documented bound: 8 ULP of the larger of |value| and the deviation.
TEST_P(Random, NormalIsBoxAndMullers) {
  const Context ctx = context();
  const RandomKey key{kSeed, 5};
  constexpr double kMean = 0.25, kDeviation = 3;
  const auto x64 = normal<double>(ctx, 40000, key, kMean, kDeviation);
  const auto x32 = normal<float>(ctx, 40000, key, kMean, kDeviation);
  const auto x16 = normal<f16>(ctx, 40000, key, kMean, kDeviation);
  const auto xb16 = normal<bf16>(ctx, 40000, key, kMean, kDeviation);
  for (std::size_t i = 0; i < x32.size(); ++i) {
    const Words block = philox(key, i / 4);
    const std::size_t even = i % 4 / 2 * 2;
    const auto exact = [&](long double u, long double v) {
      const long double radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi_v<long double> * v;
      return kMean + kDeviation * radius * (i % 2 == 0 ? std::sin(angle) : std::cos(angle));
    };
    const auto unit = [](std::uint32_t word) {
      return std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
    };
    const double want32 = static_cast<double>(exact(unit(block[even]), unit(block[even + 1])));
    ASSERT_NEAR(x32[i], want32, 8 * 0x1p-23 * std::max(kDeviation, std::fabs(want32))) << i;
    const double want64 =
        static_cast<double>(exact((block[even] + 0.5L) * 0x1p-32L, (block[even + 1] + 0.5L) * 0x1p-32L));
    ASSERT_NEAR(x64[i], want64, 8 * 0x1p-52 * std::max(kDeviation, std::fabs(want64))) << i;
    ASSERT_EQ(x16[i].bits, f16(x32[i]).bits) << i;
    ASSERT_EQ(xb16[i].bits, bf16(x32[i]).bits) << i;
  }
}

TEST_P(Random, DeviceEqualsTheCpu) {
  const Context ctx = context(), cpu = Context::cpu(1);
  const RandomKey key{kSeed, 0x1234567890};
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    EXPECT_TRUE(same_bits(uniform<T>(ctx, 100003, key, -1, 3), uniform<T>(cpu, 100003, key, -1, 3)));
    const auto got = normal<T>(ctx, 100003, key, -1, 3), want = normal<T>(cpu, 100003, key, -1, 3);
    const double epsilon = std::is_same_v<T, double>  ? 0x1p-52
                           : std::is_same_v<T, float> ? 0x1p-23
                           : std::is_same_v<T, f16>   ? 0x1p-10
                                                      : 0x1p-7;
    const double ulps = sizeof(T) == 2 ? 1 : 8;  // a last bit of f32 may turn a rounding to 16 bits
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double w = static_cast<double>(want[i]);
      ASSERT_NEAR(static_cast<double>(got[i]), w, ulps * epsilon * std::max(3.0, std::fabs(w))) << i;
    }
  });
}

// With n independent numbers each statistic below has the stated standard error; 4.5 of them are allowed.
TEST_P(Random, UniformDistribution) {
  constexpr double kCount = 200000;
  for (const RandomKey key : kKeys) {
    SCOPED_TRACE(seed_message(key.seed) + " sequence " + std::to_string(key.sequence));
    const auto x = as_doubles(uniform<float>(context(), static_cast<std::size_t>(kCount), key));
    EXPECT_NEAR(mean_of(x), 0.5, 4.5 * std::sqrt(1 / 12.0 / kCount));
    EXPECT_NEAR(mean_of(x, 2), 1 / 3.0, 4.5 * std::sqrt(4 / 45.0 / kCount));
    EXPECT_LT(kolmogorov_smirnov(x, [](double v) { return v; }), kSmirnovCritical);
    EXPECT_GE(*std::min_element(x.begin(), x.end()), 0x1p-34);
    EXPECT_LE(*std::max_element(x.begin(), x.end()), 1);
  }
}

TEST_P(Random, NormalDistribution) {
  constexpr double kCount = 200000;
  for (const RandomKey key : kKeys) {
    SCOPED_TRACE(seed_message(key.seed) + " sequence " + std::to_string(key.sequence));
    const auto x = as_doubles(normal<float>(context(), static_cast<std::size_t>(kCount), key));
    EXPECT_NEAR(mean_of(x), 0, 4.5 / std::sqrt(kCount));
    EXPECT_NEAR(mean_of(x, 2), 1, 4.5 * std::sqrt(2 / kCount));
    EXPECT_NEAR(mean_of(x, 3), 0, 4.5 * std::sqrt(15 / kCount));
    EXPECT_NEAR(mean_of(x, 4), 3, 4.5 * std::sqrt(96 / kCount));
    EXPECT_LT(kolmogorov_smirnov(x, normal_cdf), kSmirnovCritical);
    // The two of a pair, neighbouring pairs and neighbouring blocks are uncorrelated.
    for (const std::size_t lag : {1u, 2u, 4u}) {
      const std::vector<double> early(x.begin(), x.end() - static_cast<std::ptrdiff_t>(lag)),
          late(x.begin() + static_cast<std::ptrdiff_t>(lag), x.end());
      EXPECT_NEAR(correlation(early, late), 0, 4.5 / std::sqrt(kCount)) << "lag " << lag;
    }
  }
}

TEST_P(Random, KeysAreIndependent) {
  constexpr std::size_t kCount = 100000;
  const Context ctx = context();
  const auto base = as_doubles(normal<double>(ctx, kCount, {kSeed, 0}));
  for (const RandomKey key : {RandomKey{kSeed, 1}, RandomKey{kSeed + 1, 0}, RandomKey{kSeed, 1ull << 32},
                              RandomKey{kSeed + (1ull << 32), 0}, RandomKey{0, kSeed}})
    EXPECT_NEAR(correlation(base, normal<double>(ctx, kCount, key)), 0, 4.5 / std::sqrt(double{kCount}))
        << "seed " << key.seed << " sequence " << key.sequence;
}

TEST_P(Random, DegenerateRanges) {
  const Context ctx = context();
  for_each_dtype([&]<class T>(std::type_identity<T>) {
    for (const T v : uniform<T>(ctx, 9, {}, 0.75, 0.75)) EXPECT_EQ(static_cast<double>(v), 0.75);
    for (const T v : normal<T>(ctx, 9, {}, -0.5, 0)) EXPECT_EQ(static_cast<double>(v), -0.5);
  });
}

/// A statistic of weights has relative standard error sqrt((kurtosis - 1) / n): sqrt(2 / n) for normal ones,
/// sqrt(0.8 / n) for uniform ones.
TEST_P(Random, InitializersHaveTheirDeviation) {
  constexpr std::int64_t kBatch = 3, kIn = 300, kOut = 500, kCount = kBatch * kIn * kOut;
  const Context ctx = context();
  for (const Initializer& initializer :
       {xavier_normal(), xavier_uniform(), he_normal(), he_uniform(), he_normal(0.5), xavier_uniform(3)})
    for (const DType dtype : kDTypes) {
      SCOPED_TRACE(initializer.to_string() + " " + std::string(to_string(dtype)));
      const bool xavier = initializer.kind == InitializerKind::kXavier;
      const bool is_normal = initializer.distribution == Distribution::kNormal;
      const double deviation = initializer.gain * std::sqrt(2.0 / (xavier ? kIn + kOut : kIn));
      EXPECT_DOUBLE_EQ(initializer.deviation(kIn, kOut), deviation);
      Tensor w(ctx, dtype, {kBatch, kIn, kOut});
      initialize(ctx, initializer, {kSeed, 11}, w);
      const auto x = w.to_doubles(ctx);
      const double n = kCount, variance = deviation * deviation;
      EXPECT_NEAR(mean_of(x), 0, 4.5 * deviation / std::sqrt(n));
      EXPECT_NEAR(mean_of(x, 2), variance, 4.5 * std::sqrt((is_normal ? 2 : 0.8) / n) * variance);
      EXPECT_NEAR(mean_of(x, 4), (is_normal ? 3 : 1.8) * variance * variance,
                  4.5 * std::sqrt((is_normal ? 96 : 5.76) / n) * variance * variance);
      const auto [least, most] = std::minmax_element(x.begin(), x.end());
      const double bound = std::sqrt(3.0) * deviation;
      if (!is_normal) {
        const double rounding = dtype == DType::kBF16  ? 1 + 0x1p-8
                                : dtype == DType::kF16 ? 1 + 0x1p-11
                                                       : 1 + 1e-6;
        EXPECT_GE(*least, -bound * rounding);
        EXPECT_LE(*most, bound * rounding);
      } else {
        EXPECT_GT(*most, 4 * deviation);
      }
      // Different matrices of the batch are different.
      const auto matrix = [&](std::int64_t i) {
        return std::vector<double>(x.begin() + i * kIn * kOut, x.begin() + (i + 1) * kIn * kOut);
      };
      EXPECT_NEAR(correlation(matrix(0), matrix(1)), 0, 4.5 / std::sqrt(double{kIn * kOut}));
    }
}

TEST_P(Random, EmptyTensors) {
  const Context ctx = context();
  TensorView none;
  fill_uniform(ctx, none, {});
  fill_normal(ctx, none, {});
  for (const Shape& shape : {Shape{0, 5}, Shape{5, 0}, Shape{0, 0}, Shape{0, 3, 4}})
    initialize(ctx, he_normal(), {}, TensorView(nullptr, DType::kF32, shape));
}

TEST(Initializer, NamesGoBothWays) {
  for (const std::string name : {"xavier_normal", "xavier_uniform", "he_normal", "he_uniform"})
    EXPECT_EQ(Initializer::parse(name).to_string(), name);
  EXPECT_EQ(Initializer::parse("he_uniform").kind, InitializerKind::kHe);
  EXPECT_EQ(Initializer::parse("he_uniform").distribution, Distribution::kUniform);
  EXPECT_EQ(Initializer::parse("xavier_normal").kind, InitializerKind::kXavier);
  EXPECT_EQ(Initializer::parse("xavier_normal").distribution, Distribution::kNormal);
  expect_error(ErrorKind::kUnknownName,
               "no initializer 'xavier_norml'; did you mean 'xavier_normal'? there are: xavier_normal, "
               "xavier_uniform, he_normal, he_uniform",
               [] { Initializer::parse("xavier_norml"); });
}

TEST(Initializer, BadInput) {
  constexpr ErrorKind kBad = ErrorKind::kInvalidArgument;
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const Context ctx = Context::cpu();
  std::vector<float> x(8, 42);
  const auto untouched = [&] { return x == std::vector<float>(8, 42); };
  expect_error(kBad, "fill_uniform: low: want at most high = 1, got 2",
               [&] { fill_uniform(ctx, x, {}, 2, 1); });
  expect_error(kBad, "fill_uniform: low: want a finite number, got nan",
               [&] { fill_uniform(ctx, x, {}, kNaN, 1); });
  expect_error(kBad, "fill_uniform: high: want a finite number, got inf",
               [&] { fill_uniform(ctx, x, {}, 0, kInf); });
  expect_error(kBad, "fill_uniform: high: want a finite f32 number, got 1e+300",
               [&] { fill_uniform(ctx, x, {}, 0, 1e300); });
  expect_error(kBad, "fill_uniform: high - low: want a finite f32 number, got 6e+38",
               [&] { fill_uniform(ctx, x, {}, -3e38, 3e38); });
  expect_error(kBad, "fill_uniform: x: want memory for 8 elements, got a null pointer",
               [&] { fill_uniform(ctx, TensorView(nullptr, DType::kF32, Shape{8}), {}); });
  expect_error(kBad, "fill_uniform: x.strides: want those of contiguous [2, 2], got [4, 1]", [&] {
    fill_uniform(ctx, TensorView(x.data(), DType::kF32, Shape{2, 2}, std::array<std::int64_t, 2>{4, 1}), {});
  });
  expect_error(kBad, "fill_normal: deviation: want at least 0, got -1",
               [&] { fill_normal(ctx, x, {}, 0, -1); });
  expect_error(kBad, "fill_normal: mean: want a finite number, got nan",
               [&] { fill_normal(ctx, x, {}, kNaN, 1); });
  expect_error(kBad, "fill_normal: deviation: want a finite number, got inf",
               [&] { fill_normal(ctx, x, {}, 0, kInf); });
  expect_error(kBad, "fill_normal: x: want memory for 8 elements, got a null pointer",
               [&] { fill_normal(ctx, TensorView(nullptr, DType::kF32, Shape{8}), {}); });
  expect_error(kBad, "initialize: w.rank: want at least 2, got 1",
               [&] { initialize(ctx, he_normal(), {}, x); });
  const TensorView w(x.data(), DType::kF32, Shape{2, 4});
  for (const double gain : {0.0, -1.0, kNaN, kInf}) {
    expect_error(kBad, "initialize: initializer.gain: want finite and > 0",
                 [&] { initialize(ctx, he_normal(gain), {}, w); });
    expect_error(kBad, "Initializer: gain: want finite and > 0", [&] { he_normal(gain).deviation(1, 1); });
  }
  expect_error(kBad, "initialize: w: want memory for 8 elements, got a null pointer", [&] {
    initialize(ctx, he_normal(), {}, TensorView(nullptr, DType::kF32, Shape{2, 4}));
  });
  expect_error(kBad, "Initializer: fan_in: want at least 1, got 0", [] { he_normal().deviation(0, 1); });
  expect_error(kBad, "Initializer: fan_out: want at least 1, got -3", [] { he_normal().deviation(1, -3); });
  EXPECT_TRUE(untouched());
}

}  // namespace

/// The CPU reference against MPFR and against an independent table. Its results, rounded once to f32 (from
/// double) or f64 (from long double), are nearly correctly rounded: docs/accuracy.md states the bounds
/// asserted here.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <reference/activation_formulas.hpp>
#include <sstream>
#include <string>
#include <support/ulp.hpp>
#include <vector>

namespace actium_test {
namespace {

using namespace actium;
using reference::Dual;

constexpr std::uint64_t kSeed = 20240229;

template <ActivationKind>
constexpr std::array<double, kMaxParameters> kDefaults = {};
#define P0() \
  {}
#define P1(a, x, u) \
  { x }
#define P2(a, x, u, b, y, v) \
  { x, y }
#define P3(a, x, u, b, y, v, c, z, w) \
  { x, y, z }
#define ACTIUM_ACTIVATION(name, parameters, ...) \
  template <>                                    \
  constexpr std::array<double, kMaxParameters> kDefaults<ActivationKind::name> = parameters;
#include <actium/activations.def>
#undef P0
#undef P1
#undef P2
#undef P3

/// What is asserted for results of type T, which the reference computes as Scalar.
template <class T>
struct Contract;
template <>
struct Contract<float> {
  using Scalar = double;
  static constexpr DType dtype = DType::kF32;
  static constexpr double bound = 0.5001;
  // A slope or a curvature next to its zero is a difference: right to 2^-40 absolutely, measured in ULP of
  // 2^-16 or more.
  static constexpr int floor_exponent = -16;
};
template <>
struct Contract<double> {
  using Scalar = long double;
  static constexpr DType dtype = DType::kF64;
  static constexpr double bound = 0.51;
  static constexpr int floor_exponent = -5;
};

template <ActivationKind K, class T>
void check(const char* name) {
  using C = Contract<T>;
  using Scalar = typename C::Scalar;
  constexpr Format kFormat = format_of(C::dtype);
  const double* parameters = kDefaults<K>.data();
  using Triple = std::array<Scalar, 3>;
  const auto reference = [&](T x) -> Triple {
    const auto y = reference::derivatives<K>(static_cast<Scalar>(x), parameters);
    return {y.value, y.slope, y.curvature};
  };

  std::vector<T> inputs = special_values<T>();
  const auto sampled = std::is_same_v<T, double> ? sample_inputs<T>(kSeed, 1, 1000, 780)
                                                 : sample_inputs<T>(kSeed, 4, 1500, 120);
  inputs.insert(inputs.end(), sampled.begin(), sampled.end());
  std::array<std::vector<T>, 3> zeros;
  for (std::size_t order = 1; order < 3; ++order) {
    zeros[order] = sign_changes<T>([&](T x) { return reference(x)[order]; }, -20, 20);
    for (T zero : zeros[order]) append_neighbours(zero, 20, inputs);
  }

  std::array<double, 3> worst = {}, where = {};
  for (T x : inputs) {
    const Triple y = reference(x);
    const auto e = reference::derivatives<K>(MpReal(static_cast<double>(x)), parameters);
    const std::array<MpReal, 3> exact = {e.value, e.slope, e.curvature};
    for (std::size_t order = 0; order < 3; ++order) {
      bool next_to_zero = false;
      for (T zero : zeros[order]) next_to_zero |= std::fabs(x - zero) < T(0.3);
      // 1 + sin(2 alpha x) touches 0 without a change of sign.
      if (K == ActivationKind::snake && order == 1) next_to_zero |= y[1] < Scalar(0.1);
      const auto result = static_cast<T>(y[order]);
      const double error = next_to_zero ? ulp_error(result, exact[order], kFormat, C::floor_exponent)
                                        : ulp_error(result, exact[order], kFormat);
      if (error > worst[order]) {
        worst[order] = error;
        where[order] = static_cast<double>(x);
      }
    }
    // The value alone is the value of the dual number.
    const Scalar alone = reference::value<K>(static_cast<Scalar>(x), parameters);
    EXPECT_TRUE(alone == y[0] || (std::isnan(alone) && std::isnan(y[0]))) << name << " at " << x;
  }
  for (std::size_t order = 0; order < 3; ++order) {
    constexpr const char* kFunctionNames[] = {"value", "slope", "curvature"};
    std::printf("  %-12s %-4s %-9s  %.5f ULP at x = %.17g\n", name, std::string(to_string(C::dtype)).c_str(),
                kFunctionNames[order], worst[order], where[order]);
    EXPECT_LE(worst[order], C::bound)
        << name << " order " << order << " at x = " << where[order] << ", seed " << kSeed;
  }
}

#define ACTIUM_ACTIVATION(name, ...)                                                   \
  TEST(ActivationReference, name##_f32) { check<ActivationKind::name, float>(#name); } \
  TEST(ActivationReference, name##_f64) { check<ActivationKind::name, double>(#name); }
#include <actium/activations.def>

TEST(ActivationReference, limits_and_kinks) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity(),
                   kNaN = std::numeric_limits<double>::quiet_NaN();
  const double slope[] = {0.25, 0, 0};
  struct Limit {
    const char* name;
    Dual<double> low, high, nan;
    double high_value, low_value, high_slope, low_slope;
  };
#define ACTIUM_LIMIT(kind, low_value, low_slope, high_value, high_slope)                                    \
  Limit {                                                                                                   \
#kind, reference::value_and_slope < ActivationKind::kind>(-kInfinity, slope),                           \
        reference::value_and_slope < ActivationKind::kind>(kInfinity, slope),                               \
        reference::value_and_slope < ActivationKind::kind>(kNaN, slope), high_value, low_value, high_slope, \
        low_slope                                                                                           \
  }
  const Limit limits[] = {ACTIUM_LIMIT(identity, -kInfinity, 1, kInfinity, 1),
                          ACTIUM_LIMIT(sigmoid, 0, 0, 1, 0),
                          ACTIUM_LIMIT(tanh, -1, 0, 1, 0),
                          ACTIUM_LIMIT(relu, 0, 0, kInfinity, 1),
                          ACTIUM_LIMIT(leaky_relu, -kInfinity, 0.25, kInfinity, 1),
                          ACTIUM_LIMIT(softplus, 0, 0, kInfinity, 1),
                          ACTIUM_LIMIT(gelu, 0, 0, kInfinity, 1),
                          ACTIUM_LIMIT(gelu_tanh, 0, 0, kInfinity, 1),
                          ACTIUM_LIMIT(silu, 0, 0, kInfinity, 1),
                          ACTIUM_LIMIT(mish, 0, 0, kInfinity, 1)};
  for (const Limit& limit : limits) {
    EXPECT_EQ(limit.low.value, limit.low_value) << limit.name;
    EXPECT_EQ(limit.low.slope, limit.low_slope) << limit.name;
    EXPECT_EQ(limit.high.value, limit.high_value) << limit.name;
    EXPECT_EQ(limit.high.slope, limit.high_slope) << limit.name;
    EXPECT_TRUE(std::isnan(limit.nan.value)) << limit.name;
    EXPECT_EQ(std::isnan(limit.nan.slope), std::string(limit.name) != "identity") << limit.name;
  }
  EXPECT_EQ(reference::value_and_slope<ActivationKind::relu>(0.0, slope).slope, 0);
  EXPECT_EQ(reference::value_and_slope<ActivationKind::leaky_relu>(0.0, slope).slope, 0.25);
}

/// tests/golden/activations.csv holds plain definitions and numerical derivatives, computed with 500 digits
/// (scripts/make_golden.py).
TEST(ActivationReference, golden_table) {
  const auto here = std::filesystem::path(__FILE__).parent_path();
  std::ifstream file(here / "golden/activations.csv");
  ASSERT_TRUE(file) << "no golden/activations.csv in " << here;
  std::string line, name, x_text, value_text, slope_text;
  std::getline(file, line);
  std::map<std::string, int> rows;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::getline(fields, name, ',');
    std::getline(fields, x_text, ',');
    std::getline(fields, value_text, ',');
    std::getline(fields, slope_text, ',');
    const double x = std::stod(x_text);
    const Dual<MpReal> golden = {MpReal::parse(value_text), MpReal::parse(slope_text)};
    Dual<MpReal> formula = 0.0;
    Dual<long double> computed = 0.0;
#define ACTIUM_ACTIVATION(kind, ...)                                                                      \
  if (name == #kind) {                                                                                    \
    const double* parameters = kDefaults<ActivationKind::kind>.data();                                    \
    formula = reference::value_and_slope<ActivationKind::kind>(MpReal(x), parameters);                    \
    computed = reference::value_and_slope<ActivationKind::kind>(static_cast<long double>(x), parameters); \
    ++rows[name];                                                                                         \
  }
#include <actium/activations.def>
    const auto agree = [](const MpReal& a, const MpReal& b) { return abs(a - b) <= abs(b) * MpReal(1e-45); };
    EXPECT_TRUE(agree(formula.value, golden.value)) << line;
    EXPECT_TRUE(agree(formula.slope, golden.slope)) << line;
    EXPECT_LE(ulp_error(static_cast<double>(computed.value), golden.value, format_of(DType::kF64)), 0.51)
        << line;
    EXPECT_LE(ulp_error(static_cast<double>(computed.slope), golden.slope, format_of(DType::kF64)), 0.51)
        << line;
  }
  // A new activation is not in the file until scripts/make_golden.py knows its definition.
#define ACTIUM_ACTIVATION(kind, ...)                                                   \
  if (rows[#kind] == 0)                                                                \
    std::printf("no golden values for " #kind ": add it to scripts/make_golden.py\n"); \
  else                                                                                 \
    EXPECT_GE(rows[#kind], 25) << #kind;
#include <actium/activations.def>
}

}  // namespace
}  // namespace actium_test

/// The functors of include/actium/device, compiled by the host compiler and measured against the bounds of
/// activations.def. Many inputs are compared with the reference in double (f32, f16, bf16) or long double
/// (f64), which activation_reference_test ties to MPFR; the worst of them, and all next to a zero of the
/// slope, with MPFR itself.
///
/// ACTIUM_EXHAUSTIVE=1 checks every float instead of samples. ACTIUM_SEED=n changes the samples.
#include <gtest/gtest.h>

// The approximate reciprocal of the functors is this many ULP off here, so that a hardware error can be
// played.
namespace actium_test {
inline int reciprocal_ulp_error = 0;
}
#define ACTIUM_RECIPROCAL_ULP_ERROR ::actium_test::reciprocal_ulp_error

#include <actium/activation.hpp>
#include <actium/device/activation_ops.cuh>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <reference/activation_formulas.hpp>
#include <support/ulp.hpp>
#include <vector>

namespace actium_test {
namespace {

using namespace actium;
using reference::Dual;

constexpr ActivationInfo kRegistry[] = {
#define P0() \
  0, {}, {}
#define P1(a, x) \
  1, {#a}, { x }
#define P2(a, x, b, y) \
  2, {#a, #b}, { x, y }
#define ACTIUM_ACTIVATION(name, parameters, f32_value, f32_slope, f64_value, f64_slope, formula) \
  {ActivationKind::name, #name, parameters, f32_value, f32_slope, f64_value, f64_slope, formula},
#include <actium/activations.def>
#undef P0
#undef P1
#undef P2
};

template <ActivationKind K>
constexpr const ActivationInfo& kInfo = kRegistry[static_cast<int>(K)];

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* text = std::getenv("ACTIUM_SEED");
    const std::uint64_t s = text ? std::strtoull(text, nullptr, 10) : 20240229;
    std::printf("ACTIUM_SEED=%llu\n", static_cast<unsigned long long>(s));
    return s;
  }();
  return value;
}

bool exhaustive() {
  const char* text = std::getenv("ACTIUM_EXHAUSTIVE");
  return text != nullptr && text[0] == '1';
}

/// The default parameters, and for a kind that has some a few more: 0, negative, huge.
template <ActivationKind K>
std::vector<std::array<double, 2>> parameter_sets() {
  std::vector<std::array<double, 2>> sets = {kInfo<K>.parameter_defaults};
  if constexpr (kInfo<K>.parameter_count > 0)
    for (double p : {0.0, 0.3, 1.0, -2.5, 1e10}) sets.push_back({p, p});
  return sets;
}

/// Reference arithmetic for results of type T.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, long double, double>;

template <ActivationKind K, class T>
struct Subject {
  std::array<double, 2> parameters;
  device::Parameters<T> device_parameters = device::make_parameters<T>(parameters[0], parameters[1]);

  device::ValueSlope<T> computed(T x) const { return device::Op<K>::eval(x, device_parameters); }
  Dual<Wide<T>> expected(T x) const {
    return reference::value_and_slope<K, Wide<T>>(static_cast<Wide<T>>(x), parameters.data());
  }
  Dual<MpReal> exact(T x) const {
    return reference::value_and_slope<K, MpReal>(MpReal(static_cast<double>(x)), parameters.data());
  }
};

struct Error {
  double ulp = 0, x = 0;
  bool operator<(const Error& other) const { return ulp > other.ulp; }  // greatest first
};

/// The greatest few of many errors.
class Worst {
 public:
  void add(Error e) {
    if (errors_.size() == kCapacity && e.ulp <= errors_.back().ulp) return;
    errors_.insert(std::upper_bound(errors_.begin(), errors_.end(), e), e);
    if (errors_.size() > kCapacity) errors_.pop_back();
  }
  void add(const Worst& other) {
    for (const Error& e : other.errors_) add(e);
  }
  const std::vector<Error>& errors() const { return errors_; }

 private:
  static constexpr std::size_t kCapacity = 16;
  std::vector<Error> errors_;
};

void report(const ActivationInfo& info, DType dtype, std::size_t order, const Error& worst) {
  const double bound = info.ulp_bound(dtype, static_cast<int>(order));
  const char* what = order == 0 ? "value" : "slope";
  std::printf("  %-10s %-4s %s  %.5g ULP at x = %.17g (bound %.6g)\n", std::string(info.name).c_str(),
              std::string(to_string(dtype)).c_str(), what, worst.ulp, worst.x, bound);
  EXPECT_LE(worst.ulp, bound) << info.name << " " << to_string(dtype) << " " << what << " at x = " << worst.x
                              << ", ACTIUM_SEED=" << seed();
}

/// The worst values and slopes, by order.
using WorstOfBoth = std::array<Worst, 2>;

/// Sorts out the worst of `inputs` by comparing with the reference.
template <ActivationKind K, class T>
void sort_out(const Subject<K, T>& subject, const std::vector<T>& inputs, const std::vector<T>& zeros,
              WorstOfBoth& worst) {
  constexpr Format kFormat = format_of(dtype_of<T>::value);
  // Next to a zero of the slope the reference's slope has no relative accuracy to speak of: MPFR at once.
  constexpr T kNextTo = std::is_same_v<T, double> ? T(0.03) : T(0.0005);
  const auto slope_error = [&](T x, T slope, Wide<T> expected) {
    for (T zero : zeros)
      if (std::fabs(x - zero) < kNextTo)
        return ulp_error(static_cast<double>(slope), subject.exact(x).slope, kFormat);
    return ulp_error(static_cast<double>(slope), static_cast<long double>(expected), kFormat);
  };
  const auto count = static_cast<std::int64_t>(inputs.size());
#pragma omp parallel
  {
    WorstOfBoth mine;
#pragma omp for schedule(dynamic, 1024)
    for (std::int64_t i = 0; i < count; ++i) {
      const T x = inputs[static_cast<std::size_t>(i)];
      const auto y = subject.computed(x);
      const auto expected = subject.expected(x);
      const double value_error =
          ulp_error(static_cast<double>(y.value), static_cast<long double>(expected.value), kFormat);
      mine[0].add({value_error, static_cast<double>(x)});
      mine[1].add({slope_error(x, y.slope, expected.slope), static_cast<double>(x)});
    }
#pragma omp critical
    for (std::size_t order = 0; order < 2; ++order) worst[order].add(mine[order]);
  }
}

/// Measures the worst with MPFR, reports the greatest errors and compares them with the bounds.
template <ActivationKind K, class T>
void judge(const Subject<K, T>& subject, const WorstOfBoth& worst) {
  constexpr DType kDType = dtype_of<T>::value;
  for (std::size_t order = 0; order < 2; ++order) {
    Error greatest = {-1, 0};
    for (const Error& e : worst[order].errors()) {
      const T x = static_cast<T>(e.x);
      const auto y = subject.computed(x);
      const auto exact = subject.exact(x);
      const double ulp = order == 0 ? ulp_error(static_cast<double>(y.value), exact.value, format_of(kDType))
                                    : ulp_error(static_cast<double>(y.slope), exact.slope, format_of(kDType));
      if (ulp > greatest.ulp) greatest = {ulp, e.x};
    }
    report(kInfo<K>, kDType, order, greatest);
  }
}

template <ActivationKind K, class T>
void check_samples() {
  constexpr bool kF64 = std::is_same_v<T, double>;
  for (const auto& parameters : parameter_sets<K>()) {
    const Subject<K, T> subject{parameters};
    std::vector<T> inputs = special_values<T>();
    const auto sampled =
        kF64 ? sample_inputs<T>(seed(), 12, 100000, 780) : sample_inputs<T>(seed(), 200, 150000, 120);
    inputs.insert(inputs.end(), sampled.begin(), sampled.end());
    const auto zeros = sign_changes<T>([&](T x) { return subject.expected(x).slope; }, -20, 20);
    for (T zero : zeros) append_neighbours(zero, 100, inputs);
    for (T point : {T(0.25), T(1), T(-1), T(-0.25)}) append_neighbours(point, 100, inputs);
    WorstOfBoth worst;
    sort_out(subject, inputs, zeros, worst);
    judge(subject, worst);
  }
}

/// f16 and bf16: every one of the 65,536 inputs through the float functor, rounded once.
template <ActivationKind K, class T>
void check_every_16_bit_input() {
  constexpr DType kDType = dtype_of<T>::value;
  constexpr Format kFormat = format_of(kDType);
  const Subject<K, float> subject{kInfo<K>.parameter_defaults};
  Worst worst[2];
  for (int bits = 0; bits < 65536; ++bits) {
    const float x = T::from_bits(static_cast<std::uint16_t>(bits));
    const auto y = subject.computed(x);
    const auto expected = subject.expected(x);
    const double stored[] = {T(static_cast<double>(y.value)), T(static_cast<double>(y.slope))};
    const long double reference[] = {expected.value, expected.slope};
    for (std::size_t order = 0; order < 2; ++order)
      worst[order].add({ulp_error(stored[order], reference[order], kFormat), x});
  }
  for (std::size_t order = 0; order < 2; ++order) {
    Error judged = {-1, 0};
    for (const Error& e : worst[order].errors()) {
      const auto y = subject.computed(static_cast<float>(e.x));
      const auto exact = subject.exact(static_cast<float>(e.x));
      const double stored = T(static_cast<double>(order == 0 ? y.value : y.slope));
      const double ulp = ulp_error(stored, order == 0 ? exact.value : exact.slope, kFormat);
      if (ulp > judged.ulp) judged = {ulp, e.x};
    }
    report(kInfo<K>, kDType, order, judged);
  }
}

template <ActivationKind K>
void check_every_float() {
  const Subject<K, float> subject{kInfo<K>.parameter_defaults};
  const auto zeros = sign_changes<float>([&](float x) { return subject.expected(x).slope; }, -20, 20);
  WorstOfBoth worst;
  constexpr std::uint64_t kSlice = 1u << 24,
                          kAll = std::uint64_t{1} << 32;  // in slices, to keep memory small
  std::vector<float> inputs(kSlice);
  for (std::uint64_t first = 0; first < kAll; first += kSlice) {
    for (std::uint64_t i = 0; i < kSlice; ++i)
      inputs[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i));
    sort_out(subject, inputs, zeros, worst);
  }
  judge(subject, worst);
}

template <ActivationKind K, class T>
void check_special_values() {
  constexpr T kInfinity = std::numeric_limits<T>::infinity(), kNaN = std::numeric_limits<T>::quiet_NaN();
  for (const auto& parameters : parameter_sets<K>()) {
    const Subject<K, T> subject{parameters};
    const auto nan = subject.computed(kNaN);
    EXPECT_TRUE(std::isnan(nan.value)) << kInfo<K>.name;
    EXPECT_EQ(std::isnan(nan.slope), K != ActivationKind::identity) << kInfo<K>.name;
    for (T x : special_values<T>()) {
      if (std::isnan(x)) continue;
      const auto y = subject.computed(x);
      EXPECT_FALSE(std::isnan(y.value)) << kInfo<K>.name << " at " << x;
      EXPECT_FALSE(std::isnan(y.slope)) << kInfo<K>.name << "' at " << x;
    }
    for (T x : {kInfinity, -kInfinity}) {
      const auto y = subject.computed(x);
      const auto limit = subject.expected(x);
      EXPECT_EQ(static_cast<Wide<T>>(y.value), limit.value) << kInfo<K>.name << " at " << x;
      EXPECT_EQ(y.slope, static_cast<T>(limit.slope)) << kInfo<K>.name << "' at " << x;
    }
  }
  // f(-0) is -0 where f is odd or x times something; +0 for relu: as the formula says.
  const Subject<K, T> subject{kInfo<K>.parameter_defaults};
  const T zero = subject.computed(T(-0.0)).value;
  if (zero == 0) {
    EXPECT_EQ(std::signbit(zero), std::signbit(subject.expected(T(-0.0)).value)) << kInfo<K>.name;
  }
}

/// A float check with the reciprocal right, and 1 ULP off in either direction as hardware may be.
template <class Check>
void for_each_reciprocal(const Check& check) {
  for (int error : {0, 1, -1}) {
    std::printf("  reciprocal %+d ULP\n", error);
    reciprocal_ulp_error = error;
    check();
  }
  reciprocal_ulp_error = 0;
}

#define ACTIUM_ACTIVATION(name, ...)                                                                   \
  TEST(ActivationOps, name##_f32) { for_each_reciprocal(check_samples<ActivationKind::name, float>); } \
  TEST(ActivationOps, name##_f64) { check_samples<ActivationKind::name, double>(); }                   \
  TEST(ActivationOps, name##_f16) {                                                                    \
    for_each_reciprocal(check_every_16_bit_input<ActivationKind::name, f16>);                          \
  }                                                                                                    \
  TEST(ActivationOps, name##_bf16) {                                                                   \
    for_each_reciprocal(check_every_16_bit_input<ActivationKind::name, bf16>);                         \
  }                                                                                                    \
  TEST(ActivationOps, name##_special_values) {                                                         \
    for_each_reciprocal(check_special_values<ActivationKind::name, float>);                            \
    check_special_values<ActivationKind::name, double>();                                              \
  }                                                                                                    \
  TEST(ActivationOpsExhaustive, name) {                                                                \
    if (!exhaustive()) GTEST_SKIP() << "set ACTIUM_EXHAUSTIVE=1 to check every float";                 \
    check_every_float<ActivationKind::name>();                                                         \
  }
#include <actium/activations.def>

TEST(ActivationOps, kinks) {
  const auto no_parameters = device::make_parameters<float>(0, 0);
  EXPECT_EQ(device::Op<ActivationKind::relu>::eval(0.0f, no_parameters).slope, 0);
  const auto slope = device::make_parameters<float>(0.25, 0);
  EXPECT_EQ(device::Op<ActivationKind::leaky_relu>::eval(0.0f, slope).slope, 0.25f);
}

}  // namespace
}  // namespace actium_test

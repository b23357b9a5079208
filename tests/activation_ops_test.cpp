/// The functors of include/actium/device, compiled by the host compiler and measured by host/accuracy against
/// the bounds of activations.def: every kind, dtype and order, with the approximate instructions at every
/// corner of their errors. Then what a bound does not say: special values, monotonicity, slopes with respect
/// to parameters, slopes from outputs and masks.
///
/// ACTIUM_EXHAUSTIVE=1 checks every float instead of samples. ACTIUM_SEED=n changes the samples.
#include <gtest/gtest.h>

#include <accuracy/inputs.hpp>
#include <accuracy/measure.hpp>
#include <accuracy/metric.hpp>
#include <accuracy/naive.hpp>
#include <accuracy/page.hpp>
#include <accuracy/sweep.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <regex>
#include <string>
#include <support/samples.hpp>

namespace actium_test {
namespace {

using namespace actium;
using namespace actium::accuracy;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kFunctionNames[] = {"value", "slope", "curvature"};

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* text = std::getenv("ACTIUM_SEED");
    const std::uint64_t s = text ? std::strtoull(text, nullptr, 10) : Options().seed;
    std::printf("ACTIUM_SEED=%llu\n", static_cast<unsigned long long>(s));
    return s;
  }();
  return value;
}

Options options(double effort) {
  return {.seed = seed(), .effort = quick() ? effort / 10 : effort, .progress = {}};
}

std::string name_of(const Subject& subject) {
  const ParameterValues& p = subject.parameters();
  return Activation(subject.info().kind, p).to_string();
}

/// The kind at its default parameters, and at a few others.
std::vector<std::unique_ptr<Subject>> subjects_of(ActivationKind kind) {
  std::vector<std::unique_ptr<Subject>> subjects;
  subjects.push_back(make_subject(kind));
  for (const ParameterValues& p : more_parameters(subjects[0]->info()))
    subjects.push_back(make_subject(kind, p));
  return subjects;
}

void expect_within_bound(const std::string& name, const std::string& what, const Figure& figure) {
  const std::string dtype(to_string(figure.dtype));
  std::printf("  %-20s %-4s %-9s  %.5g ULP at x = %.17g (bound %.6g)\n", name.c_str(), dtype.c_str(),
              what.c_str(), figure.ulp, figure.x, figure.bound);
  EXPECT_LE(figure.ulp, figure.bound)
      << name << " " << dtype << " " << what << " at x = " << figure.x << ", reciprocal "
      << figure.corner.reciprocal << ", exp2 " << figure.corner.exp2 << ", reciprocal_sqrt "
      << figure.corner.reciprocal_sqrt << ", ACTIUM_SEED=" << seed();
}

/// The pairs "measured / bound" in a row of one of docs/accuracy.md's tables; each number as it stands there.
std::vector<std::pair<std::string, std::string>> pairs_in(const std::string& row) {
  static const std::regex kPair("\\| ([0-9.e+inf]+) / ([0-9.e+]+) ");
  std::vector<std::pair<std::string, std::string>> pairs;
  for (std::sregex_iterator match(row.begin(), row.end(), kPair), end; match != end; ++match)
    pairs.emplace_back((*match)[1], (*match)[2]);
  return pairs;
}

/// What the tables of docs/accuracy.md hold: by activation f32, f64, f16 and bf16, each by order.
struct Page {
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> pairs;
};
constexpr DType kPageDTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16};
constexpr const char* kRewrite = "run `actium accuracy --write docs/accuracy.md`";

Page read_page() {
  Page page;
  std::ifstream file(std::filesystem::path(__FILE__).parent_path().parent_path() / "docs/accuracy.md");
  EXPECT_TRUE(file);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line + "\n" == kBeginTables) inside = true;
    if (line + "\n" == kEndTables) inside = false;
    const std::size_t end = line.find(' ', 2);
    if (!inside || !line.starts_with("| ") || end == std::string::npos) continue;
    const std::string name = line.substr(2, end - 2);
    if (name == "activation") continue;
    if (!page.pairs.contains(name)) page.names.push_back(name);
    for (const auto& pair : pairs_in(line)) page.pairs[name].push_back(pair);
  }
  return page;
}

/// What is measured at the default parameters stands on the page, whose inputs are other ones in f32 and f64
/// and more: there a figure is not much greater than the page's. Of 16-bit types all inputs are measured.
void expect_on_page(const ActivationInfo& info, const Figure& figure) {
  if (!judges_exactly()) return;
  static const Page page = read_page();
  const auto row = page.pairs.find(std::string(info.name));
  ASSERT_TRUE(row != page.pairs.end() && row->second.size() == 12) << info.name << ": " << kRewrite;
  const auto column = static_cast<std::size_t>(
      3 * (std::ranges::find(kPageDTypes, figure.dtype) - kPageDTypes) + figure.order);
  const auto& [documented, bound] = row->second[column];
  const std::string what = std::string(info.name) + " " + std::string(to_string(figure.dtype)) + " " +
                           kFunctionNames[figure.order] + ": " + kRewrite;
  if (size_of(figure.dtype) == 2) {
    EXPECT_EQ(measured_and_bound(figure), documented + " / " + bound) << what;
  } else {
    EXPECT_LE(figure.ulp, 1.1 * std::stod(documented) + 0.05) << what << ", x = " << figure.x;
  }
}

void check_bounds(ActivationKind kind, DType dtype) {
  double effort = 0.25;
  for (const auto& subject : subjects_of(kind)) {
    for (const Figure& figure : measure(*subject, dtype, options(effort))) {
      expect_within_bound(name_of(*subject), kFunctionNames[figure.order], figure);
      if (effort == 0.25) expect_on_page(subject->info(), figure);
    }
    effort = 0.05;  // at parameters besides the defaults
    if (dtype == DType::kBF16) break;
  }
}

void check_every_float(ActivationKind kind) {
  Options all = options(1);
  all.exhaustive = true;
  for (const Figure& figure : measure(*make_subject(kind), DType::kF32, all))
    expect_within_bound(name_of(*make_subject(kind)), kFunctionNames[figure.order], figure);
}

template <class T>
std::vector<double> numbers_of_note() {
  std::vector<double> numbers;
  for (T x : special_values<T>())
    if (!std::isnan(x)) numbers.push_back(x);
  return numbers;
}
std::vector<double> numbers_of_note(DType dtype) {
  if (dtype == DType::kF64) return numbers_of_note<double>();
  std::vector<double> numbers = numbers_of_note<float>();
  for (double& x : numbers) x = rounded(dtype, x);
  return numbers;
}

Triple<double> computed(const Subject& subject, DType dtype, double x) {
  Triple<double> y;
  subject.compute(dtype, {&x, 1}, &y);
  return y;
}
Triple<long double> expected(const Subject& subject, double x) {
  Triple<long double> y;
  subject.expect({&x, 1}, &y);
  return y;
}

void check_special_values(const Subject& subject, DType dtype) {
  const std::string name = name_of(subject) + " " + std::string(to_string(dtype));
  const std::vector<double> numbers = numbers_of_note(dtype);
  // NaN in gives NaN out, but what is the same everywhere may stay so.
  const Triple<double> of_nan = computed(subject, dtype, kNaN);
  for (std::size_t order = 0; order < 3; ++order) {
    bool constant = true;
    for (double x : numbers)
      constant &= expected(subject, x)[order] == expected(subject, 1)[order] || std::isinf(x);
    if (!constant || order == 0) {
      EXPECT_TRUE(std::isnan(of_nan[order])) << name << " " << kFunctionNames[order];
    }
  }
  for (double x : numbers) {
    const Triple<double> y = computed(subject, dtype, x);
    const Triple<long double> limit = expected(subject, x);
    for (std::size_t order = 0; order < 3; ++order) {
      const std::string what = name + " " + kFunctionNames[order] + " at " + std::to_string(x);
      if (std::isfinite(x)) {
        EXPECT_FALSE(std::isnan(y[order])) << what;
      } else if (!std::isnan(limit[order])) {
        const double want = rounded(dtype, limit[order]);
        EXPECT_EQ(y[order], want) << what << ", off by " << y[order] - want;
      }
    }
  }
  // f(-0) is -0 where f is odd or x times something, +0 for relu: as the formula says.
  const double zero = computed(subject, dtype, -0.0)[0];
  const long double expected_zero = expected(subject, -0.0)[0];
  if (zero == 0 && subject.parameters() == subject.info().parameter_defaults) {
    EXPECT_EQ(std::signbit(zero), std::signbit(expected_zero)) << name;
  }
}

void check_special_values(ActivationKind kind) {
  for (const auto& subject : subjects_of(kind))
    for (DType dtype : kDTypes)
      for (Corner corner : kCorners) {
        hardware = corner;
        check_special_values(*subject, dtype);
        hardware = {};
        if (dtype == DType::kF64 || testing::Test::HasFailure()) break;
      }
}

/// A parameter that stretches the axis, at the ends of f32's range (in f64 farther): results are within the
/// bound where |p x| is of ordinary size, no finite x gives NaN, and the limits hold. What the tail may lose
/// is beyond exp(-70) of the largest.
void check_extreme_parameter(ActivationKind kind, DType dtype, double parameter) {
#if ACTIUM_HAVE_MPFR
  const auto subject = make_subject(kind, {parameter});
  const std::string name = name_of(*subject) + " " + std::string(to_string(dtype));
  for (Corner corner : kCorners) {
    hardware = corner;
    check_special_values(*subject, dtype);
    for (double magnitude : {0.1, 0.5, 1.0, 2.0, 3.0, 20.0, 100.0, 160.0})
      for (double product : {magnitude, -magnitude}) {
        const double x = rounded(dtype, product / parameter);
        if (!std::isfinite(x) || (x == 0 && dtype != DType::kF32)) continue;
        const Triple<double> y = computed(*subject, dtype, x);
        const Triple<MpReal> exact = subject->exact(x);
        const double sizes[] = {1 / parameter, 1, parameter};
        for (std::size_t order = 0; order < 3; ++order) {
          const double error = ulp_error(y[order], exact[order], format_of(dtype));
          const double difference = abs(MpReal(y[order]) - exact[order]).to_double();
          const double lost = std::exp(-70.0) * sizes[order];
          EXPECT_TRUE(error <= subject->info().ulp_bound(dtype, static_cast<int>(order)) ||
                      difference <= lost)
              << name << " " << kFunctionNames[order] << " at x = " << x << ": " << y[order] << ", " << error
              << " ULP, reciprocal " << corner.reciprocal << ", exp2 " << corner.exp2;
        }
      }
    hardware = {};
    if (dtype == DType::kF64) break;
  }
#else
  (void)kind, (void)dtype, (void)parameter;
#endif
}

/// How far, in ULP, values go back between neighbours where the function rises, or rise where it falls.
struct StepBack {
  double ulp = 0, x = 0;
  void add(const Subject& subject, DType dtype, std::span<const double> x_ascending) {
    const std::size_t count = x_ascending.size();
    std::vector<Triple<double>> y(count), f(count);
    subject.compute(dtype, x_ascending, y.data());
    subject.expect(x_ascending, f.data());
    for (std::size_t i = 0; i + 1 < count; ++i) {
      const auto &a = f[i], &b = f[i + 1];
      const bool rises = a[1] > 0 && b[1] > 0 && a[0] <= b[0], falls = a[1] < 0 && b[1] < 0 && a[0] >= b[0];
      if ((rises && y[i][0] > y[i + 1][0]) || (falls && y[i][0] < y[i + 1][0])) {
        const double back = ulp_error(y[i][0], static_cast<long double>(y[i + 1][0]), format_of(dtype));
        if (back > ulp) *this = {back, x_ascending[i]};
      }
    }
  }
};

template <class T>
StepBack step_back_among_neighbours(const Subject& subject) {
  constexpr std::int64_t kRun = 8;
  constexpr DType kDType = dtype_of<T>::value;
  StepBack step;
  const std::vector<double> starts = inputs_of(subject, kDType, options(0.03));
  for (std::size_t start = 0; start < starts.size(); start += 4) {
    std::vector<double> x;
    for (std::int64_t i = 0; i < kRun; ++i)
      x.push_back(from_ordinal<T>(to_ordinal(static_cast<T>(starts[start])) + i));
    if (std::isfinite(x.front()) && std::isfinite(x.back())) step.add(subject, kDType, x);
  }
  return step;
}

/// Whether docs/accuracy.md names the kind among those whose values in `dtype` may go back by 1 ULP.
bool may_go_back(std::string_view name, DType dtype) {
  std::ifstream file(std::filesystem::path(__FILE__).parent_path().parent_path() / "docs/accuracy.md");
  const std::string start = "- " + std::string(to_string(dtype)) + ", back by 1 ULP: ";
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(start))
      return (", " + line.substr(start.size()) + ",").find(", " + std::string(name) + ",") !=
             std::string::npos;
  ADD_FAILURE() << "no line '" << start << "' in docs/accuracy.md";
  return false;
}

/// f16 and bf16 never go back, f32 and f64 by 1 ULP in the kinds that docs/accuracy.md names.
void check_monotone(ActivationKind kind) {
  const auto subject = make_subject(kind);
  const std::string name(subject->info().name);
  StepBack f32;
  for (Corner corner : kCorners) {
    hardware = corner;
    const StepBack step = step_back_among_neighbours<float>(*subject);
    hardware = {};
    if (step.ulp > f32.ulp) f32 = step;
  }
  const StepBack f64 = step_back_among_neighbours<double>(*subject);
  std::printf("  %-20s f32 %g ULP back at %.9g, f64 %g ULP back at %.17g\n", name.c_str(), f32.ulp, f32.x,
              f64.ulp, f64.x);
  EXPECT_LE(f32.ulp, may_go_back(name, DType::kF32) ? 1 : 0) << name << " f32 at " << f32.x;
  EXPECT_LE(f64.ulp, may_go_back(name, DType::kF64) ? 1 : 0) << name << " f64 at " << f64.x;
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<double> x = inputs_of(*subject, dtype, options(1));
    std::erase_if(x, [](double v) { return std::isinf(v); });
    std::ranges::sort(x);
    for (Corner corner : kCorners) {
      hardware = corner;
      StepBack step;
      step.add(*subject, dtype, x);
      hardware = {};
      EXPECT_EQ(step.ulp, 0) << name << " " << to_string(dtype) << " goes back at " << step.x;
    }
  }
}

void check_parameter_slopes(ActivationKind kind) {
  const ActivationInfo& info = make_subject(kind)->info();
  EXPECT_EQ(make_subject(kind)->has_parameter_slopes(), info.parameter_count > 0) << info.name;
  double effort = 0.25;
  for (const auto& subject : subjects_of(kind)) {
    for (DType dtype : {DType::kF32, DType::kF64})
      for (const Figure& figure : measure_parameter_slopes(*subject, dtype, options(effort)))
        expect_within_bound(name_of(*subject),
                            "d/d" + std::string(info.parameter_names[static_cast<std::size_t>(figure.order)]),
                            figure);
    effort = 0.05;
  }
}

/// The slope from the output y that was stored: as right as the slope, but for what the rounding of y does to
/// it, f''/f' times that.
void check_slope_from_output(ActivationKind kind) {
  const auto subject = make_subject(kind);
  const ActivationInfo& info = subject->info();
  const auto from = static_cast<int>(info.backward_from);
  EXPECT_EQ(subject->has_slope_from_output(), (from & static_cast<int>(BackwardFrom::input_output)) != 0)
      << info.name;
  if (!subject->has_slope_from_output()) return;
  for (DType dtype : kDTypes) {
    double worst = 0, at = 0;
    for (double x : inputs_of(*subject, dtype, options(0.05))) {
      const Triple<long double> f = expected(*subject, x);
      const double y = computed(*subject, dtype, x)[0], slope = subject->slope_from_output(dtype, y);
      const double error = ulp_error(slope, f[1], format_of(dtype));
      if (!std::isfinite(x) || std::isinf(y) || error == 0) continue;
      const long double carried = f[1] == 0 ? 0 : std::fabs(f[2] / f[1] * (y - f[0]));
      const double share =
          std::fabs(slope - static_cast<double>(f[1])) <= static_cast<double>(1.01L * carried)
              ? 0
              : error * static_cast<double>(1 - 1.01L * carried / std::fabs(slope - f[1]));
      if (!(share <= worst)) {
        worst = share;
        at = x;
      }
    }
    std::printf("  %-20s %-4s slope from output  %.5g ULP at x = %.17g\n", std::string(info.name).c_str(),
                std::string(to_string(dtype)).c_str(), worst, at);
    EXPECT_LE(worst, info.ulp_bound(dtype, 1)) << info.name << " " << to_string(dtype) << " at x = " << at;
  }
}

/// The mask bit stands for the very slope that eval gives.
void check_mask(ActivationKind kind) {
  const auto from = static_cast<int>(make_subject(kind)->info().backward_from);
  EXPECT_EQ(make_subject(kind)->has_mask(), (from & static_cast<int>(BackwardFrom::input_mask)) != 0)
      << make_subject(kind)->info().name;
  for (const auto& subject : subjects_of(kind)) {
    if (!subject->has_mask()) return;
    for (DType dtype : kDTypes) {
      int differences = 0;
      double at = 0;
      for (double x : inputs_of(*subject, dtype, options(0.05))) {
        const double slope = computed(*subject, dtype, x)[1];
        if (subject->slope_of_mask(dtype, subject->is_on(dtype, x)) == slope) continue;
        ++differences;
        at = x;
      }
      EXPECT_EQ(differences, 0) << name_of(*subject) << " " << to_string(dtype) << " at x = " << at;
    }
  }
}

#define ACTIUM_ACTIVATION(name, ...)                                                               \
  TEST(ActivationOps, name##_f32) { check_bounds(ActivationKind::name, DType::kF32); }             \
  TEST(ActivationOps, name##_f64) { check_bounds(ActivationKind::name, DType::kF64); }             \
  TEST(ActivationOps, name##_f16) { check_bounds(ActivationKind::name, DType::kF16); }             \
  TEST(ActivationOps, name##_bf16) { check_bounds(ActivationKind::name, DType::kBF16); }           \
  TEST(ActivationOps, name##_special_values) { check_special_values(ActivationKind::name); }       \
  TEST(ActivationOps, name##_monotone) { check_monotone(ActivationKind::name); }                   \
  TEST(ActivationOps, name##_parameter_slopes) { check_parameter_slopes(ActivationKind::name); }   \
  TEST(ActivationOps, name##_slope_from_output) { check_slope_from_output(ActivationKind::name); } \
  TEST(ActivationOps, name##_mask) { check_mask(ActivationKind::name); }                           \
  TEST(ActivationOpsExhaustive, name) {                                                            \
    const char* wanted = std::getenv("ACTIUM_EXHAUSTIVE");                                         \
    if (wanted == nullptr || wanted[0] != '1')                                                     \
      GTEST_SKIP() << "set ACTIUM_EXHAUSTIVE=1 to check every float";                              \
    check_every_float(ActivationKind::name);                                                       \
  }
#include <actium/activations.def>

TEST(ActivationOps, extreme_parameters) {
  if (!judges_exactly()) GTEST_SKIP() << "without MPFR";
  for (ActivationKind kind : {ActivationKind::swish, ActivationKind::softplus, ActivationKind::snake}) {
    for (DType dtype : kDTypes)
      for (double parameter : {1.2e-38, 1e-36, 1e-30, 1e-20, 1e20, 1e30, 1e38, 3.4e38})
        if (kind != ActivationKind::snake || parameter > 1e-35 || dtype != DType::kF32)
          check_extreme_parameter(kind, dtype, parameter);
    for (double parameter : {1e-300, 1e300}) check_extreme_parameter(kind, DType::kF64, parameter);
  }
}

#if ACTIUM_HAVE_MPFR
/// Before the first zero of the slope, where the floor of measure_parameter_slopes() means nothing: alpha x
/// may be subnormal or less, and x^2 beyond the range.
TEST(ActivationOps, snake_slope_of_alpha_where_alpha_x_is_small) {
  for (DType dtype : {DType::kF32, DType::kF64})
    for (double alpha : {1.2e-38, 1.3e-30, 1.4e-20, 1.5e-10, 1.6, 1.7e10, 1.8e20, 1.9e30})
      for (double product : {1e-60, 1e-46, 1e-44, 1e-39, 1e-30, 1e-20, 1e-10, 6e-5, 6.2e-5, 1e-3, 0.5})
        for (double sign : {1.0, -1.0}) {
          const double x = static_cast<float>(sign * product / alpha);
          if (std::isinf(x)) continue;
          const auto subject = make_subject(ActivationKind::snake, {alpha});
          Triple<double> y;
          subject->compute_parameter_slopes(dtype, {&x, 1}, &y);
          const double ulp = ulp_error(y[0], subject->exact_parameter_slopes(x)[0], format_of(dtype));
          EXPECT_LE(ulp, 4) << to_string(dtype) << " alpha = " << alpha << ", x = " << x << ": " << y[0];
        }
}
#endif

TEST(ActivationOps, kinks) {
  EXPECT_EQ(computed(*make_subject(ActivationKind::relu), DType::kF32, 0)[1], 0);
  EXPECT_EQ(computed(*make_subject(ActivationKind::leaky_relu, {0.25}), DType::kF32, 0)[1], 0.25);
}

/// A sigmoid with one wrong value, and with a reference in long double that is wrong wherever |x| < 2.
class FaultySigmoid final : public Subject {
 public:
  FaultySigmoid(double at, double ulp)
      : Subject(ActivationKind::sigmoid, {}),
        right_(make_subject(ActivationKind::sigmoid)),
        at_(at),
        ulp_(ulp) {}

  void compute(DType dtype, std::span<const double> x, Triple<double>* y) const override {
    right_->compute(dtype, x, y);
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i] == at_) y[i][0] = static_cast<double>(off_by(ulp_, expected(*right_, x[i])[0]));
  }
  void expect(std::span<const double> x, Triple<double>* y) const override { right_->expect(x, y); }
  void expect(std::span<const double> x, Triple<long double>* y) const override {
    right_->expect(x, y);
    for (std::size_t i = 0; i < x.size(); ++i)
      if (std::fabs(x[i]) < 2) y[i][0] = off_by(1e6, y[i][0]);
  }
#if ACTIUM_HAVE_MPFR
  Triple<MpReal> exact(double x) const override { return right_->exact(x); }
  Triple<MpReal> exact_parameter_slopes(double x) const override { return right_->exact_parameter_slopes(x); }
#endif

  bool has_parameter_slopes() const override { return false; }
  void compute_parameter_slopes(DType, std::span<const double>, Triple<double>*) const override {}
  void expect_parameter_slopes(std::span<const double>, Triple<double>*) const override {}
  void expect_parameter_slopes(std::span<const double>, Triple<long double>*) const override {}
  bool has_slope_from_output() const override { return false; }
  double slope_from_output(DType, double) const override { return 0; }
  bool has_mask() const override { return false; }
  bool is_on(DType, double) const override { return false; }
  double slope_of_mask(DType, bool) const override { return 0; }

 private:
  static long double off_by(double ulp, long double y) {
    return y +
           std::ldexp(static_cast<long double>(ulp), std::ilogb(y) - format_of(DType::kF64).mantissa_bits);
  }

  std::unique_ptr<Subject> right_;
  double at_, ulp_;
};

/// The reference's own errors, at however many inputs before, do not hide one of the functor.
TEST(Accuracy, finds_one_wrong_result_behind_many_errors_of_the_reference) {
  if (!judges_exactly()) GTEST_SKIP() << "without MPFR the reference is right by definition";
  const Options all{.effort = 0.25, .progress = {}};
  const std::vector<double> inputs = inputs_of(*make_subject(ActivationKind::sigmoid), DType::kF64, all);
  EXPECT_GT(std::ranges::count_if(inputs, [](double x) { return std::fabs(x) < 2; }), 25000);
  const double at = inputs.back();
  EXPECT_GT(std::fabs(at), 2);
  for (double ulp : {3.0, 1000.0}) {
    const Figure figure = measure(FaultySigmoid(at, ulp), DType::kF64, all)[0];
    EXPECT_EQ(figure.x, at);
    EXPECT_NEAR(figure.ulp, ulp, 0.51);
  }
}

/// The formulas that are usually written do not pass: the checks above can fail.
TEST(ActivationOps, naive_formulas_fail) {
  int formulas = 0;
  for (const ActivationInfo& info : activations()) {
    const auto naive = measure_naive(*make_subject(info.kind), options(0.05));
    for (std::size_t order = 0; order < 2; ++order) {
      if (!naive[order]) continue;
      ++formulas;
      std::printf("  %-20s naive %s  %.5g ULP at x = %.17g\n", std::string(info.name).c_str(),
                  kFunctionNames[order], naive[order]->ulp, naive[order]->x);
      EXPECT_GT(naive[order]->ulp, naive[order]->bound) << info.name << " " << kFunctionNames[order];
    }
  }
  EXPECT_GE(formulas, 10);
  for (const char* name : {"silu", "gelu", "gelu_tanh"}) {
    const auto naive = measure_naive(*make_subject(Activation::parse(name).kind()), options(0.05));
    EXPECT_GT(naive[0]->ulp, 1e6) << name;
    EXPECT_GT(naive[1]->ulp, 1e6) << name;
  }
}

/// docs/accuracy.md is what `actium accuracy --write docs/accuracy.md` makes of the registry, and has nothing
/// beyond a bound.
TEST(AccuracyPage, IsTheRegistryWithinItsBounds) {
  Page page = read_page();
  std::vector<std::string> registry;
  for (const ActivationInfo& info : activations()) {
    registry.emplace_back(info.name);
    const auto& documented = page.pairs[std::string(info.name)];
    ASSERT_EQ(documented.size(), 12u) << info.name << ": " << kRewrite;
    std::size_t i = 0;
    for (DType dtype : kPageDTypes)
      for (int order = 0; order < 3; ++order, ++i) {
        char bound[30];
        std::snprintf(bound, sizeof bound, "%g", info.ulp_bound(dtype, order));
        const auto& [measured, documented_bound] = documented[i];
        const std::string what = std::string(info.name) + " " + std::string(to_string(dtype)) + " " +
                                 kFunctionNames[order] + ": " + kRewrite;
        EXPECT_EQ(documented_bound, bound) << what;
        EXPECT_LE(std::stod(measured), info.ulp_bound(dtype, order)) << what;
      }
  }
  EXPECT_EQ(page.names, registry) << kRewrite;
}

#if ACTIUM_HAVE_MPFR
/// The greatest error of an f32 result at x over all corners of the hardware.
double f32_error_at(const Subject& subject, double x, std::size_t order) {
  double greatest = 0;
  const auto exact = subject.exact(x);
  for (Corner corner : kCorners) {
    hardware = corner;
    Triple<double> y;
    subject.compute(DType::kF32, {&x, 1}, &y);
    hardware = {};
    greatest = std::max(greatest, ulp_error(y[order], exact[order], format_of(DType::kF32)));
  }
  return greatest;
}

/// The table of what every float gave (accuracy_sweep) is of these functors: the worst results are what it
/// says, and it is within the bounds and the list of kinds that go back.
TEST(AccuracyPage, EveryFloatIsOfTheseFunctors) {
  std::ifstream file(std::filesystem::path(__FILE__).parent_path().parent_path() / "docs/accuracy.md");
  const std::regex row_pattern("\\| (\\w+) \\| (\\S+) \\| (\\S+) \\| (\\S+) \\| (\\S+) \\| (\\d+) \\|");
  bool inside = false;
  int rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line == kBeginSweep) inside = true;
    if (line == kEndSweep) inside = false;
    std::smatch cells;
    if (!inside || !std::regex_match(line, cells, row_pattern)) continue;
    ++rows;
    const auto subject = make_subject(Activation::parse(cells[1].str()).kind());
    ASSERT_EQ(subject->info().name, cells[1].str());
    for (std::size_t order = 0; order < 2; ++order) {
      const double documented = std::stod(cells[2 + 2 * order]), x = std::stof(cells[3 + 2 * order]);
      EXPECT_NEAR(f32_error_at(*subject, x, order), documented, 1e-4)
          << line << ": run `accuracy_sweep --write docs/accuracy.md " << cells[1] << "`";
      EXPECT_LE(documented, subject->info().ulp_bound(DType::kF32, static_cast<int>(order))) << line;
    }
    EXPECT_LE(std::stoi(cells[6]), may_go_back(cells[1].str(), DType::kF32) ? 1 : 0) << line;
  }
  EXPECT_GT(rows, 0);
}
#endif

TEST(AccuracyPage, TablesAreReplacedBetweenTheMarkers) {
  const std::string begin(kBeginTables), end(kEndTables);
  EXPECT_EQ(with_tables("a\n" + begin + "old\n" + end + "b\n", "new\n"),
            "a\n" + begin + "\nnew\n\n" + end + "b\n");
  EXPECT_EQ(with_tables("a\n" + begin, "new\n"), "");
  EXPECT_EQ(with_tables("a\n", "new\n"), "");
  Figure figure{.ulp = 1.4812, .corner = {}, .bound = 1.5};
  figure.dtype = DType::kF32;
  EXPECT_EQ(measured_and_bound(figure), "1.49 / 1.5");
  figure.bound = 1.483;
  EXPECT_EQ(measured_and_bound(figure), "1.48 / 1.483") << "rounded up, but not past the bound";
}

}  // namespace
}  // namespace actium_test

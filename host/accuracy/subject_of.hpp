#pragma once
/// The Subject of one kind; kind.cpp.in instantiates it, a file for each kind.
#include <accuracy/subject.hpp>

#include <accuracy/metric.hpp>
#include <actium/device/activation_ops.cuh>
#include <reference/activation_formulas.hpp>

namespace actium::accuracy {

template <ActivationKind K>
class SubjectOf final : public Subject {
  using Op = device::Op<K>;
  static constexpr int kCount = [] {
#define P0() 0
#define P1(...) 1
#define P2(...) 2
#define P3(...) 3
#define ACTIUM_ACTIVATION(name, parameters, ...) \
  if (K == ActivationKind::name) return parameters;
#include <actium/activations.def>
#undef P0
#undef P1
#undef P2
#undef P3
    return 0;
  }();
  template <class T>
  static constexpr bool kHasParameterSlopes = requires(T x, const device::Parameters<T>& p) {
    Op::parameter_slopes(x, p);
  };
  static constexpr bool kHasSlopeFromOutput = requires(float y, const device::Parameters<float>& p) {
    Op::slope_from_output(y, p);
  };
  static constexpr bool kHasMask = requires(float x, const device::Parameters<float>& p) { Op::is_on(x, p); };

 public:
  explicit SubjectOf(const ParameterValues& parameters)
      : Subject(K, parameters),
        f32_(device::make_parameters<K, float>({parameters[0], parameters[1], parameters[2]})),
        f64_(device::make_parameters<K, double>({parameters[0], parameters[1], parameters[2]})) {}

  void compute(DType dtype, std::span<const double> x, Triple<double>* y) const override {
    const auto each = [&](const auto& eval) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto jet = eval(x[i]);
        y[i] = {rounded(dtype, jet.value), rounded(dtype, jet.slope), rounded(dtype, jet.curvature)};
      }
    };
    if (dtype == DType::kF64)
      each([&](double v) { return Op::eval(v, f64_); });
    else if (dtype == DType::kF32)
      each([&](double v) { return Op::eval(static_cast<float>(v), f32_); });
    else
      each([&](double v) { return device::Op16<K>::eval(static_cast<float>(v), f32_); });
  }

  void expect(std::span<const double> x, Triple<double>* y) const override { reference_of(x, y); }
  void expect(std::span<const double> x, Triple<long double>* y) const override { reference_of(x, y); }

  bool has_parameter_slopes() const override { return kHasParameterSlopes<float>; }
  void compute_parameter_slopes([[maybe_unused]] DType dtype, [[maybe_unused]] std::span<const double> x,
                                [[maybe_unused]] Triple<double>* y) const override {
    if constexpr (kHasParameterSlopes<float>) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (dtype == DType::kF64) {
          const auto slopes = Op::parameter_slopes(x[i], f64_);
          y[i] = {slopes.p[0], slopes.p[1], slopes.p[2]};
        } else {
          const auto slopes = Op::parameter_slopes(static_cast<float>(x[i]), f32_);
          y[i] = {slopes.p[0], slopes.p[1], slopes.p[2]};
        }
      }
    }
  }
  void expect_parameter_slopes(std::span<const double> x, Triple<double>* y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = parameter_slopes(x[i]);
  }
  void expect_parameter_slopes(std::span<const double> x, Triple<long double>* y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = parameter_slopes(static_cast<long double>(x[i]));
  }

#if ACTIUM_HAVE_MPFR
  Triple<MpReal> exact(double x) const override { return derivatives(MpReal(x)); }
  Triple<MpReal> exact_parameter_slopes(double x) const override { return parameter_slopes(MpReal(x)); }
#endif

  bool has_slope_from_output() const override { return kHasSlopeFromOutput; }
  double slope_from_output([[maybe_unused]] DType dtype, [[maybe_unused]] double y) const override {
    if constexpr (kHasSlopeFromOutput)
      return dtype == DType::kF64 ? Op::slope_from_output(y, f64_)
                                  : rounded(dtype, Op::slope_from_output(static_cast<float>(y), f32_));
    return 0;
  }

  bool has_mask() const override { return kHasMask; }
  bool is_on([[maybe_unused]] DType dtype, [[maybe_unused]] double x) const override {
    if constexpr (kHasMask)
      return dtype == DType::kF64 ? Op::is_on(x, f64_) : Op::is_on(static_cast<float>(x), f32_);
    return false;
  }
  double slope_of_mask([[maybe_unused]] DType dtype, [[maybe_unused]] bool on) const override {
    if constexpr (kHasMask) {
      if (dtype == DType::kF64) {
        const auto slopes = Op::template two_slopes<double>(f64_);
        return on ? slopes.on : slopes.off;
      }
      const auto slopes = Op::template two_slopes<float>(f32_);
      return rounded(dtype, on ? slopes.on : slopes.off);
    }
    return 0;
  }

 private:
  template <class S>
  Triple<S> derivatives(const S& x) const {
    const auto y = reference::derivatives<K>(x, parameters().data());
    return {y.value, y.slope, y.curvature};
  }
  template <class S>
  void reference_of(std::span<const double> x, Triple<S>* y) const {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = derivatives(static_cast<S>(x[i]));
  }
  template <class S>
  Triple<S> parameter_slopes([[maybe_unused]] const S& x) const {
    Triple<S> y{S(0.0), S(0.0), S(0.0)};
    if constexpr (kCount > 0)
      for (int i = 0; i < kCount; ++i)
        y[static_cast<std::size_t>(i)] = reference::parameter_slope<K>(x, parameters().data(), i);
    return y;
  }

  device::Parameters<float> f32_;
  device::Parameters<double> f64_;
};

/// Makes the Subject of one kind.
template <ActivationKind K>
std::unique_ptr<Subject> make_subject_of(const ParameterValues& parameters);

}  // namespace actium::accuracy

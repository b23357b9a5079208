#pragma once
/// sweep() of one kind; sweep_kind.cpp.in instantiates it, a file for each kind.
#include <accuracy/sweep.hpp>

#include <accuracy/inputs.hpp>
#include <accuracy/mpreal.hpp>
#include <actium/activation.hpp>
#include <actium/device/activation_ops.cuh>
#include <reference/activation_formulas.hpp>

namespace actium::accuracy {

template <ActivationKind K>
class Sweeper {
 public:
  static constexpr int kBlock = 1024;
  static constexpr bool kPeriodic = K == ActivationKind::sine || K == ActivationKind::snake;

  explicit Sweeper(const std::array<double, kMaxParameters>& p)
      : f32_(device::make_parameters<K, float>({p[0], p[1], p[2]})),
        f64_(device::make_parameters<K, double>({p[0], p[1], p[2]})) {}

  /// kBlock floats from `bits` on, in ascending order of x, and the neighbour that follows.
  void add(std::uint32_t bits, bool negative, SweepResult& result) {
    for (int i = 0; i <= kBlock; ++i) {
      const auto offset = static_cast<std::uint32_t>(negative ? kBlock - i : i);
      x_[i] = std::bit_cast<float>((bits + offset) | (negative ? 0x80000000u : 0u));
    }
    compute_f64();
    // rsqrt.approx stands in squareplus alone.
    constexpr Corner kAll[] = {{0, 0, 0}, {1, 0, 2}, {-1, 0, -2}, {1, 0, -2}, {-1, 0, 2}};
    constexpr int kCount = K == ActivationKind::squareplus ? 5 : 3;
    for (int c = 0; c < kCount; ++c) {
      hardware = kAll[c];
      compute_f32();
      hardware = {};
      for (std::size_t order = 0; order < 3; ++order) {
        SweepWorst& worst = result.worst[order];
        if (greatest_error(y_[order], expected_[order]) <= worst.ulp) continue;
        for (int i = 0; i < kBlock; ++i)
          if (const double ulp = error(y_[order][i], expected_[order][i]); !(ulp <= worst.ulp))
            worst = {ulp, x_[i], kAll[c]};
      }
      // Neighbours far out are whole waves apart.
      if (kPeriodic && std::fabs(x_[0]) >= 0x1p20f) continue;
      if (const std::int64_t back = greatest_step_back(y_[0], expected_[1]); back > result.step_back) {
        result.step_back = back;
        result.step_back_x = x_[0];
      }
    }
    result.inputs += kBlock;
  }

 private:
  // Each loop is a function of its own with everything inlined, or the compiler does not vectorise it.
  [[gnu::noinline, gnu::flatten]] void compute_f32() {
    const device::Parameters<float> parameters = f32_;
    for (int i = 0; i <= kBlock; ++i) {
      const device::Jet<float> y = device::Op<K>::eval(x_[i], parameters);
      y_[0][i] = y.value;
      y_[1][i] = y.slope;
      y_[2][i] = y.curvature;
    }
  }
  [[gnu::noinline, gnu::flatten]] void compute_f64() {
    const device::Parameters<double> parameters = f64_;
    for (int i = 0; i <= kBlock; ++i) {
      const device::Jet<double> y = device::Op<K>::eval(static_cast<double>(x_[i]), parameters);
      expected_[0][i] = y.value;
      expected_[1][i] = y.slope;
      expected_[2][i] = y.curvature;
    }
  }

  /// In ULP of float. An infinity counts as 2^128; NaN gives NaN.
  static double error(float computed, double expected) {
    const auto within = [](double y) { return y > 0x1p128 ? 0x1p128 : y < -0x1p128 ? -0x1p128 : y; };
    const double exact = within(expected), y = within(computed);
    const auto biased = static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(exact) >> 52 & 0x7ff);
    const std::int64_t exponent = biased < 1023 - 126 ? -126 : biased - 1023;
    return std::fabs(y - exact) *
           std::bit_cast<double>(static_cast<std::uint64_t>(1023 + 23 - exponent) << 52);
  }
  /// As bits, errors and NaN (the greatest) are in order: a maximum that is vectorised.
  [[gnu::noinline, gnu::flatten]] static double greatest_error(const float* y, const double* expected) {
    std::int64_t greatest = 0;
    for (int i = 0; i < kBlock; ++i) {
      const auto bits = std::bit_cast<std::int64_t>(std::fabs(error(y[i], expected[i])));
      greatest = bits > greatest ? bits : greatest;
    }
    return std::bit_cast<double>(greatest);
  }

  /// In ULP, where the slopes at both neighbours agree that the function rises (falls).
  [[gnu::noinline, gnu::flatten]] static std::int64_t greatest_step_back(const float* y,
                                                                         const double* slope) {
    const auto ordinal = [](float v) {
      const auto bits = std::bit_cast<std::int32_t>(v);
      return std::int64_t{bits < 0 ? std::numeric_limits<std::int32_t>::min() - bits : bits};
    };
    std::int64_t greatest = 0;
    for (int i = 0; i < kBlock; ++i) {
      const std::int64_t step = ordinal(y[i]) - ordinal(y[i + 1]);
      const bool rises = slope[i] > 0 && slope[i + 1] > 0, falls = slope[i] < 0 && slope[i + 1] < 0;
      const std::int64_t back = rises ? step : falls ? -step : 0;
      greatest = back > greatest ? back : greatest;
    }
    return greatest;
  }

  device::Parameters<float> f32_;
  device::Parameters<double> f64_;
  float x_[kBlock + 1], y_[3][kBlock + 1];
  double expected_[3][kBlock + 1];
};

template <ActivationKind K>
SweepResult sweep(float first, float last, std::uint32_t stride) {
  const auto& defaults = activations()[static_cast<std::size_t>(K)].parameter_defaults;
  const auto begin = std::bit_cast<std::uint32_t>(first), end = std::bit_cast<std::uint32_t>(last);
  const std::uint32_t step = Sweeper<K>::kBlock * stride;
  const auto blocks = static_cast<std::int64_t>((end - begin + step - 1) / step);
  SweepResult result;
#pragma omp parallel
  {
    Sweeper<K> sweeper(defaults);
    SweepResult mine;
#pragma omp for schedule(dynamic, 64)
    for (std::int64_t block = 0; block < 2 * blocks; ++block)
      sweeper.add(begin + static_cast<std::uint32_t>(block / 2) * step, block % 2 != 0, mine);
#pragma omp critical
    result.add(mine);
  }
  return result;
}

template <ActivationKind K>
double judged_by_mpfr(const SweepWorst& worst, int order) {
  const auto& p = activations()[static_cast<std::size_t>(K)].parameter_defaults;
  hardware = worst.corner;
  const device::Jet<float> y =
      device::Op<K>::eval(worst.x, device::make_parameters<K, float>({p[0], p[1], p[2]}));
  hardware = {};
  const auto exact = reference::derivatives<K>(MpReal(static_cast<double>(worst.x)), p.data());
  const Format format = format_of(DType::kF32);
  return order == 0   ? ulp_error(y.value, exact.value, format)
         : order == 1 ? ulp_error(y.slope, exact.slope, format)
                      : ulp_error(y.curvature, exact.curvature, format);
}

}  // namespace actium::accuracy

#include "option_tolerance.hpp"

#include <reference/evaluate.hpp>
#include <vector>

#include "formats.hpp"

namespace actium_fuzz {

using namespace actium;

namespace {

bool close(double want, double got, DType dtype, Real computing_error) {
  if (want == got || (std::isnan(want) && std::isnan(got))) return true;
  if (std::isnan(want) || std::isnan(got)) return false;
  const Real target = bounded(dtype, want);
  const Real roundings = dtype == DType::kF64 ? 1.6L : 1.01L;
  return std::fabs(bounded(dtype, got) - target) <= roundings * ulp(dtype, target) + computing_error;
}

/// What the arithmetic before the last rounding may be off by, for f(z) = `value` in a result of `stored`.
/// Forms for 16 bits have bounds in ULP of both.
Real value_error(const ActivationInfo& info, DType stored, Real value) {
  if (stored == DType::kF64 || stored == DType::kF32) return info.ulp_bound(stored, 0) * ulp(stored, value);
  const auto of = [&](DType dtype) { return (info.ulp_bound(dtype, 0) - 0.5) * ulp(dtype, value); };
  return std::fmax(of(DType::kF16), of(DType::kBF16));
}

class Comparison {
 public:
  Comparison(const OptionCase& c, const Memory& start, const Memory& want, const Memory& got)
      : c_(c), start_(start), want_(want), got_(got) {
    const DType computes = c.f64() ? DType::kF64 : DType::kF32;
    computes_ = computes;
    eps_ = epsilon(computes);
    tiny_ = smallest(computes);
    overflow_ = bounded(computes, INFINITY) * (1 - 8 * eps_);
    const auto threshold = static_cast<std::uint32_t>(c.dropout.p * 0x1p32);
    keep_ = Real{0x1p32} / (Real{0x1p32} - threshold);
    // Sums of a wider type than dx's want slopes of full precision.
    const Part &dx = c.parts[kResult], &sum = c.parts[kSum];
    narrow_ = size_of(dx.dtype) == 2 && (!sum.there || size_of(sum.dtype) == 2);
  }

  void check() {
    switch (c_.op) {
      case OptionOp::kForward:
        return forward();
      case OptionOp::kParameterGradient:
        return parameter_gradient();
      default:
        return backward();
    }
  }

 private:
  double number(const Memory& memory, std::size_t part, std::int64_t i) const {
    return load(c_.parts[part].dtype, memory[part], c_.parts[part].at(i));
  }
  std::int64_t count() const { return c_.shape.count(); }
  std::int64_t inner(int axis) const {
    std::int64_t n = 1;
    for (int a = axis + 1; a < c_.shape.rank(); ++a) n *= c_.shape[a];
    return n;
  }

  /// x + bias, rounded as the header says.
  double argument(std::int64_t i) const {
    const double x = number(start_, kX, i);
    if (!c_.parts[kBias].there) return x;
    const double bias = number(start_, kBias, i % c_.shape.back());
    return c_.f64() ? x + bias : static_cast<double>(static_cast<float>(x) + static_cast<float>(bias));
  }
  std::array<double, kMaxParameters> parameters(std::int64_t i) const {
    const auto own = c_.f.parameters();
    std::array<double, kMaxParameters> p = {own[0], own[1], own[2]};
    if (c_.parts[kSlope].there)
      p[0] = number(start_, kSlope, i / inner(c_.channel_axis) % c_.shape[c_.channel_axis]);
    return p;
  }

  void expect(std::size_t part, std::int64_t i, Real error) const {
    const double want = number(want_, part, i), got = number(got_, part, i);
    if (close(want, got, c_.parts[part].dtype, error)) return;
    std::string inputs;
    for (std::size_t p = 0; p < kParts; ++p)
      if (c_.parts[p].there && i < c_.parts[p].shape.count()) {
        char text[80];
        std::snprintf(text, sizeof text, " part %zu dtype %d: %.17g", p, static_cast<int>(c_.parts[p].dtype),
                      number(start_, p, i));
        inputs += text;
      }
    char text[400];
    std::snprintf(text, sizeof text,
                  "call with options %d (%s) %s: part %zu element %lld: got %.17g, want %.17g +- %Lg; scale "
                  "%g, p %g, quantization %g, axis %d;",
                  static_cast<int>(c_.op), c_.f.to_string().c_str(), c_.shape.to_string().c_str(), part,
                  static_cast<long long>(i), got, want, error, c_.scale, c_.dropout.p, c_.quantization_scale,
                  c_.channel_axis);
    fail(text + inputs);
  }

  void forward() const {
    const auto value_of = reference::value_function<Real>(c_.f.kind());
    const DType stored = c_.parts[kResult].dtype;
    const Real scale = std::fabs(c_.scale) * keep_, quantization = c_.quantization_scale;
    for (std::int64_t i = 0; i < count(); ++i) {
      const Real value = std::fabs(value_of(argument(i), parameters(i).data()));
      if (std::isfinite(value) && (value >= overflow_ || scale * value >= overflow_)) continue;
      const Real residual = c_.parts[kResidual].there ? std::fabs(number(start_, kResidual, i)) : 0;
      const Real error = scale == 0 || !std::isfinite(value)
                             ? 0
                             : scale * (value_error(c_.f.info(), stored, value) + 3 * eps_ * value);
      expect(kResult, i,
             quantization *
                     (error + 2 * eps_ * (std::isfinite(residual) ? residual : 0) + 2 * tiny_ * (1 + scale)) +
                 tiny_);
    }
    if (c_.parts[kMask].there) {
      const std::size_t bytes = c_.parts[kMask].bytes();
      require(std::memcmp(want_[kMask], got_[kMask], bytes) == 0, "forward: the mask's bits");
    }
    if (c_.parts[kSum].there) amax();
  }

  /// The largest |y| that was stored; where one is at the format's end, that of the result before.
  void amax() const {
    const double got = number(got_, kSum, 0), want = number(want_, kSum, 0);
    const double end = c_.parts[kResult].dtype == DType::kE4M3 ? e4m3::kLargest : e5m2::kLargest;
    double largest = 0;
    bool nan = false;
    for (std::int64_t i = 0; i < count(); ++i) {
      const double y = std::fabs(number(got_, kResult, i));
      nan |= std::isnan(y);
      largest = std::fmax(largest, y);
    }
    const double of_stored = largest / c_.quantization_scale;
    const auto near = [](double a, double b, double relative) {
      return a == b || std::fabs(a - b) <= relative * std::fabs(b);
    };
    if (nan ? std::isnan(got)
            : near(got, of_stored, 1e-6) ||
                  (largest == end && got >= of_stored * (1 - 1e-6) && (near(got, want, 1e-4) || want > 1e30)))
      return;
    char text[200];
    std::snprintf(text, sizeof text, "forward: amax: got %.9g, want %.9g; the largest stored is %.9g / %g",
                  got, want, largest, c_.quantization_scale);
    fail(text);
  }

  /// A slope and what it may be off by.
  std::pair<Real, Real> slope(std::int64_t i) const {
    const auto p = parameters(i);
    const Activation& f = c_.f;
    if (c_.op == OptionOp::kFromMask) return {1 + std::fabs(p[0]), (1 + std::fabs(p[0])) * eps_};
    if (c_.op == OptionOp::kFromOutput) {
      const Real x = reference::inverse_function<Real>(f.kind())(number(start_, kX, i), p.data());
      const Real s = std::fabs(reference::slope_function<Real>(f.kind())(x, p.data()).slope);
      return {s, 4 * eps_ * s};
    }
    const auto at = reference::curvature_function<Real>(f.kind())(argument(i), p.data());
    const Real s = std::fabs(at.slope);
    const DType dx = c_.parts[kResult].dtype;
    const Real own = narrow_ ? (f.info().ulp_bound(dx, 1) - 0.5) * ulp(dx, s)
                             : f.info().ulp_bound(computes_, 1) * ulp(computes_, s);
    return {s, std::isfinite(s) ? own + slope_floor(f, c_.f64(), argument(i), at.slope, at.curvature) : 0};
  }

  void backward() const {
    const Part& sum = c_.parts[kSum];
    const Real scale = std::fabs(c_.scale) * keep_;
    const auto columns = static_cast<std::size_t>(c_.shape.back());
    std::vector<Real> errors(columns), magnitudes(columns);
    for (std::int64_t i = 0; i < count(); ++i) {
      const auto column = static_cast<std::size_t>(i) % columns;
      const auto [s, slope_error] = slope(i);
      const Real dy = std::fabs(number(start_, kDy, i)), g = dy * scale;
      const bool beyond = s >= overflow_ || g >= overflow_ || g * s >= overflow_ || dy * s >= overflow_;
      if (beyond || !std::isfinite(g * s)) magnitudes[column] = INFINITY;
      if (beyond && std::isfinite(s) && std::isfinite(g)) continue;
      if ((std::isinf(g) && s < tiny_) || (std::isinf(s) && g < tiny_)) continue;  // infinity times 0, or not
      const Real error =
          std::isfinite(g * s) ? g * slope_error + 4 * eps_ * g * s + tiny_ * (2 + s + g) : Real{0};
      expect(kResult, i, error);
      errors[column] += error;
      magnitudes[column] += g * s;
    }
    if (!sum.there || count() == 0) return;
    for (std::size_t column = 0; column < columns; ++column)
      if (magnitudes[column] < overflow_ / 4)
        expect(kSum, static_cast<std::int64_t>(column),
               errors[column] + 64 * eps_ * eps_ * static_cast<Real>(count()) * magnitudes[column]);
  }

  void parameter_gradient() const {
    const auto slope_of = reference::parameter_function<Real>(c_.f.kind());
    const std::int64_t channels = c_.channel_axis < 0 ? 1 : c_.shape[c_.channel_axis];
    const std::int64_t inner_count =
        c_.channel_axis < 0 ? std::max<std::int64_t>(1, count()) : inner(c_.channel_axis);
    for (int j = 0; j < c_.f.info().parameter_count; ++j) {
      std::vector<Real> magnitudes(static_cast<std::size_t>(channels));
      for (std::int64_t i = 0; i < count(); ++i) {
        const Real x = number(start_, kX, i), dy = std::fabs(number(start_, kDy, i));
        magnitudes[static_cast<std::size_t>(i / inner_count % channels)] +=
            dy * (1 + std::fabs(x)) + dy * std::fabs(slope_of(x, c_.f.parameters().data(), j));
      }
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        const Real magnitude = magnitudes[static_cast<std::size_t>(channel)];
        if (magnitude < 1e30L) expect(kSum, j * channels + channel, 16 * eps_ * magnitude + tiny_);
      }
    }
  }

  const OptionCase& c_;
  const Memory &start_, &want_, &got_;
  DType computes_;
  Real eps_, tiny_, overflow_, keep_;
  bool narrow_;
};

}  // namespace

Real slope_floor(const Activation& f, bool f64, double x, Real slope, Real curvature) {
  const Real floor = std::ldexp(Real{1}, f64 ? -58 : -40);
  if (f.kind() == ActivationKind::snake) return floor * (1 + std::fabs(Real{f.parameters()[0]} * x));
  return std::fabs(slope) < 0x1p-10L * std::fabs(curvature) ? floor : 0;
}

void compare(const OptionCase& c, const Memory& start, const Memory& want, const Memory& got) {
  Comparison(c, start, want, got).check();
}

void expect_value(const Activation& f, DType dtype, double x, double want, double got) {
  const Real value = std::fabs(bounded(dtype, want));
  if (close(want, got, dtype, value_error(f.info(), dtype, value))) return;
  char text[300];
  std::snprintf(text, sizeof text, "forward_many (%s) dtype %d: f(%.17g): got %.17g, want %.17g",
                f.to_string().c_str(), static_cast<int>(dtype), x, got, want);
  fail(text);
}

}  // namespace actium_fuzz

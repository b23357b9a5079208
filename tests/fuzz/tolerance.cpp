#include "tolerance.hpp"

#include <algorithm>
#include <cmath>
#include <reference/evaluate.hpp>

#include "formats.hpp"
#include "option_tolerance.hpp"

namespace actium_fuzz {

using namespace actium;

namespace {

class Comparison {
 public:
  Comparison(const KernelCase& c, const unsigned char* const (&inputs)[3],
             const unsigned char* const (&want)[2], const unsigned char* const (&got)[2])
      : c_(c), inputs_(inputs), want_(want), got_(got), stored_(c.dtype), computed_(computing(c.dtype)) {
    in_ulp_ = epsilon(computed_) / epsilon(stored_);
  }

  double in(std::size_t tensor, std::size_t k) const { return load(stored_, inputs_[tensor], k); }

  /// `ulps`: of the computing type, before the one rounding to the stored type. Both paths' roundings are
  /// added.
  void expect(std::size_t output, std::size_t k, Real ulps, Real absolute) const {
    const double want = load(stored_, want_[output], k), got = load(stored_, got_[output], k);
    if (want == got || (std::isnan(want) && std::isnan(got))) return;  // mostly
    const Real target = bounded(stored_, want);
    const Real roundings = c_.dtype == DType::kF64 ? 1.6L : 1.01L;
    const Real tolerance = (roundings + ulps * in_ulp_) * ulp(stored_, target) + absolute;
    if (std::isnan(want) || std::isnan(got) || !(std::fabs(bounded(stored_, got) - target) <= tolerance))
      report(output, k, want, got, tolerance);
  }
  [[noreturn]] void report(std::size_t output, std::size_t k, double want, double got, Real tolerance) const {
    char text[600];
    int n = std::snprintf(text, sizeof text,
                          "operation %d (%s, %s) dtype %d [%lld, %lld] output %zu element %zu: got %.17g, "
                          "want %.17g +- %Lg; T %g; inputs",
                          static_cast<int>(c_.op), c_.activation.to_string().c_str(),
                          std::string(c_.unit.name()).c_str(), static_cast<int>(c_.dtype),
                          static_cast<long long>(c_.rows), static_cast<long long>(c_.columns), output, k, got,
                          want, tolerance, c_.temperature);
    for (std::size_t i = 0; i < c_.inputs() && k < static_cast<std::size_t>(c_.shape(i).count()); ++i)
      n += std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), " %.17g", in(i, k));
    fail(text);
  }

  void elementwise() const {
    const bool gated = c_.op == Op::kGatedForward || c_.op == Op::kGatedBackward;
    const ActivationInfo& info = gated
                                     ? activations()[static_cast<std::size_t>(c_.unit.info().gate_activation)]
                                     : c_.activation.info();
    // The operations on 16-bit types have forms of their own, with bounds in ULP of these.
    const bool narrow = size_of(stored_) == 2;
    const auto bound = [&](int order) {
      return narrow ? (info.ulp_bound(stored_, order) - 0.5) / static_cast<double>(in_ulp_)
                    : info.ulp_bound(computed_, order);
    };
    const double value_bound = bound(0), slope_bound = bound(1);
    const Real tiny = smallest(computed_),
               slope_tiny = smallest(narrow ? stored_ : computed_) * (narrow ? in_ulp_ : 1);
    const Activation f = gated ? Activation(info.kind, info.parameter_defaults) : c_.activation;
    const auto jet_of = reference::curvature_function<Real>(f.kind());
    for (std::size_t k = 0; k < static_cast<std::size_t>(c_.columns); ++k) {
      const double x = in(0, k);
      const auto jet = c_.op == Op::kForward || c_.op == Op::kGatedForward
                           ? reference::Derivatives<Real>{}
                           : jet_of(Real{x}, f.parameters().data());
      const bool f64 = stored_ == DType::kF64;
      const Real slope_absolute = slope_bound * slope_tiny + slope_floor(f, f64, x, jet.slope, jet.curvature);
      // A slope past the largest number is infinite in a kernel, whatever it is multiplied by.
      if (!gated && std::fabs(jet.slope) >= bounded(stored_, INFINITY)) continue;
      // A factor's ULP is at most one epsilon of the product: two of its ULP.
      const auto product = [&](double factor, double ulps, Real absolute) {
        return std::pair{2 * Real{ulps} + 1, std::fabs(Real{factor}) * absolute + tiny};
      };
      const auto expect_pair = [&](std::size_t output, std::pair<Real, Real> t) {
        expect(output, k, t.first, t.second);
      };
      switch (c_.op) {
        case Op::kForward:
          expect(0, k, value_bound, 0);
          break;
        case Op::kBackward:
          expect_pair(0, product(in(1, k), slope_bound, slope_absolute));
          break;
        case Op::kJvp:
          expect(0, k, value_bound, 0);
          expect_pair(1, product(in(1, k), slope_bound, slope_absolute));
          break;
        case Op::kBackwardOfBackward:  // x, dy, ddx
          expect_pair(0, product(in(2, k), slope_bound, slope_absolute));
          // A curvature is a sum, and right to as much everywhere.
          curvature(k, x, bound(2), slope_floor(f, f64, x, 0, 1));
          break;
        case Op::kGatedForward:
          expect_pair(0, product(in(1, k), value_bound, value_bound * tiny));
          break;
        default: {  // gate, content, dy
          const double both = in(1, k) * in(2, k);
          expect_pair(0, product(both, slope_bound + 1, slope_absolute + tiny));
          expect_pair(1, product(in(2, k), value_bound, value_bound * tiny));
        }
      }
    }
  }

  /// ddx * dy * f''(x), whose ULP is "no smaller than at 1/8 of the greatest magnitude within 1 of x".
  void curvature(std::size_t k, double x, double curvature_bound, Real absolute) const {
    const auto at = [&](Real z) {
      return std::fabs(
          reference::curvature_function<Real>(c_.activation.kind())(z, c_.activation.parameters().data())
              .curvature);
    };
    const Real both = std::fabs(Real{in(1, k)} * in(2, k)), own = at(x);
    // What overflows on the way, and jumps of f'': no bound.
    if (!(std::fmax(own, both) * 2 < bounded(computed_, INFINITY)) || own >= bounded(stored_, INFINITY))
      return;
    Real greatest = own;
    for (int i = -8; i <= 8; ++i) greatest = std::fmax(greatest, at(Real{x} + i / Real{8}) / 8);
    const Real unit = size_of(stored_) == 2 ? ulp(stored_, greatest) * in_ulp_ : ulp(computed_, greatest);
    expect(
        1, k, 4,
        both * ((curvature_bound + 1) * unit + absolute) + smallest(computed_) * (1 + std::fabs(in(1, k))));
  }

  void softmax() const {
    const auto rows = static_cast<std::size_t>(c_.rows), columns = static_cast<std::size_t>(c_.columns);
    const Real n = static_cast<Real>(columns), eps = epsilon(computed_), tiny = smallest(computed_),
               t = c_.temperature;
    // What one thread adds up, one after the other: equal terms are all rounded the same way.
    const Real terms = columns <= 1024 ? std::ceil(n / 32) : 10 + n / 512, sum = 4 + terms / 2;
    for (std::size_t r = 0; r < rows; ++r) {
      if (c_.op == Op::kLogSumExp) {
        const double want = load(stored_, want_[0], r);
        expect(0, r, 4, 4 * eps * (std::fabs(bounded(stored_, want)) + std::log(n + 1) + 1));
      } else if (c_.op == Op::kEntropy) {
        expect(0, r, 2 * sum, n * 1024 * tiny);
      } else if (c_.op == Op::kJacobian) {
        for (std::size_t i = 0; i < columns; ++i)
          for (std::size_t j = 0; j < columns; ++j)
            expect(0, (r * columns + i) * columns + j, 2,
                   eps * in(0, r * columns + i) * in(0, r * columns + j) / t + tiny * (1 + 1 / t));
      } else if (c_.op == Op::kSoftmax || c_.op == Op::kLogSoftmax) {
        for (std::size_t k = r * columns; k < (r + 1) * columns; ++k) expect(0, k, sum, 2 * tiny);
      } else {
        Real magnitude = 0;  // of the mean's terms
        for (std::size_t k = r * columns; k < (r + 1) * columns; ++k)
          magnitude += std::fabs(Real{in(0, k)} * in(1, k));
        for (std::size_t k = r * columns; k < (r + 1) * columns; ++k)
          expect(
              0, k, 2,
              in(0, k) * (std::fabs(in(1, k)) + magnitude) * eps * (8 + terms / 2) / t + tiny * (1 + 1 / t));
      }
    }
  }

  void random() const {
    const auto count = static_cast<std::size_t>(c_.rows * c_.columns);
    const bool normal = c_.op == Op::kFillNormal ||
                        (c_.op == Op::kInitialize && c_.initializer.distribution == Distribution::kNormal);
    if (!normal)
      return require(std::memcmp(want_[0], got_[0], count * size_of(stored_)) == 0,
                     "uniform numbers are the same bits on every device");
    const Real deviation = c_.op == Op::kFillNormal
                               ? c_.high - c_.low
                               : c_.initializer.deviation(std::max<std::int64_t>(1, c_.rows),
                                                          std::max<std::int64_t>(1, c_.columns));
    const Real ulps = size_of(stored_) == 2 ? 1 : 8;  // a last bit of f32 may turn a rounding to 16 bits
    for (std::size_t k = 0; k < count; ++k)
      expect(0, k, 0,
             ulps * epsilon(stored_) * std::max(deviation, std::fabs(Real{load(stored_, want_[0], k)})));
  }

  void matmul() const {
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    for (std::int64_t b = 0; b < c_.batch; ++b)
      for (std::int64_t i = 0; i < c_.rows; ++i)
        for (std::int64_t j = 0; j < c_.columns; ++j) {
          Real magnitude = 0;
          for (std::int64_t l = 0; l < c_.inner; ++l)
            magnitude += std::fabs(Real{in(0, at((b * c_.rows + i) * c_.inner + l))} *
                                   in(1, at(((c_.shared ? 0 : b) * c_.inner + l) * c_.columns + j)));
          expect(0, at((b * c_.rows + i) * c_.columns + j), 0,
                 2 * static_cast<Real>(c_.inner) * epsilon(computed_) * magnitude);
        }
  }

  /// The weights differ in their last bits and the products in the order of their sums, and 16-bit types
  /// round z: loosely.
  void layer() const {
    for (std::size_t k = 0; k < static_cast<std::size_t>(c_.rows * c_.columns); ++k)
      expect(0, k, 0, 200 * epsilon(stored_) * (4 + std::fabs(Real{load(stored_, want_[0], k)})));
  }

 private:
  const KernelCase& c_;
  const unsigned char* const (&inputs_)[3];
  const unsigned char* const (&want_)[2];
  const unsigned char* const (&got_)[2];
  DType stored_, computed_;
  Real in_ulp_;
};

}  // namespace

void compare(const KernelCase& c, const unsigned char* const (&inputs)[3],
             const unsigned char* const (&want)[2], const unsigned char* const (&got)[2]) {
  const Comparison comparison(c, inputs, want, got);
  if (c.op <= Op::kGatedBackward || c.op == Op::kBackwardOfBackward) return comparison.elementwise();
  if (c.op <= Op::kJacobian) return comparison.softmax();
  if (c.op == Op::kMatmul) return comparison.matmul();
  if (c.op == Op::kPropagateLayer) return comparison.layer();
  comparison.random();
}

void compare(const KernelCase& c, const SignalStatistics& want, const SignalStatistics& got) {
  const double eps = static_cast<double>(epsilon(computing(c.dtype))), relative = 300 * eps + 1e-12;
  const auto near = [](double a, double b, double tolerance) {
    return (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= tolerance;
  };
  const double w = want.variance, s = want.second_moment;
  require(got.rows == want.rows && got.units == want.units, "signal_statistics: its shape");
  require(near(got.mean, want.mean, 2 * eps * std::fabs(want.mean) + relative * std::sqrt(w) + 1e-300),
          "signal_statistics: mean");
  require(near(got.variance, w, relative * w + 4 * eps * eps * s + 1e-300), "signal_statistics: variance");
  require(near(got.second_moment, s, relative * s + 1e-300), "signal_statistics: second moment");
  require(near(got.zero_fraction, want.zero_fraction, 0), "signal_statistics: zeros");
  require(got.active_fraction.size() == want.active_fraction.size(), "signal_statistics: units");
  for (std::size_t i = 0; i < got.active_fraction.size(); ++i)
    require(near(got.active_fraction[i], want.active_fraction[i], 0), "signal_statistics: active rows");
}

}  // namespace actium_fuzz

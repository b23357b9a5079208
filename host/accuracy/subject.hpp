#pragma once
/// What is measured: one activation with its parameters, as the device functor computes it, as the reference
/// says it is, and exactly. Elements of every dtype travel as doubles, which hold them exactly.
#include <accuracy/hardware.hpp>
#if ACTIUM_HAVE_MPFR
#include <accuracy/mpreal.hpp>
#endif
#include <actium/activation.hpp>
#include <array>
#include <memory>
#include <span>
#include <vector>

namespace actium::accuracy {

/// Value, slope and curvature, by order; or the slopes with respect to the parameters.
template <class S>
using Triple = std::array<S, 3>;
static_assert(kMaxParameters == 3);

using ParameterValues = std::array<double, kMaxParameters>;

class Subject {
 public:
  virtual ~Subject() = default;
  const ActivationInfo& info() const { return activations()[static_cast<std::size_t>(kind_)]; }
  const ParameterValues& parameters() const { return parameters_; }

  /// What a kernel stores for x in a tensor of `dtype`, with the hardware as this thread's `hardware` says.
  virtual void compute(DType dtype, std::span<const double> x, Triple<double>* y) const = 0;
  /// The reference in double, for f32, f16 and bf16, and in long double, for f64.
  virtual void expect(std::span<const double> x, Triple<double>* y) const = 0;
  virtual void expect(std::span<const double> x, Triple<long double>* y) const = 0;

  /// The same for the slopes with respect to the parameters, in f32 and f64, where the functor has them.
  virtual bool has_parameter_slopes() const = 0;
  virtual void compute_parameter_slopes(DType dtype, std::span<const double> x, Triple<double>* y) const = 0;
  virtual void expect_parameter_slopes(std::span<const double> x, Triple<double>* y) const = 0;
  virtual void expect_parameter_slopes(std::span<const double> x, Triple<long double>* y) const = 0;

#if ACTIUM_HAVE_MPFR
  virtual Triple<MpReal> exact(double x) const = 0;
  virtual Triple<MpReal> exact_parameter_slopes(double x) const = 0;
#endif

  /// The slope from a stored value, where the functor has it.
  virtual bool has_slope_from_output() const = 0;
  virtual double slope_from_output(DType dtype, double y) const = 0;

  /// The mask bit of x and the slope that it stands for, where the functor has them.
  virtual bool has_mask() const = 0;
  virtual bool is_on(DType dtype, double x) const = 0;
  virtual double slope_of_mask(DType dtype, bool on) const = 0;

 protected:
  Subject(ActivationKind kind, const ParameterValues& parameters) : kind_(kind), parameters_(parameters) {}

 private:
  ActivationKind kind_;
  ParameterValues parameters_;
};

std::unique_ptr<Subject> make_subject(ActivationKind kind, const ParameterValues& parameters);
/// With the registry's default parameters.
std::unique_ptr<Subject> make_subject(ActivationKind kind);

/// A few more parameters than the defaults that the kind's domains allow: 0, negative and huge ones among
/// them, and some drawn between 2^-7 and 2^5, each parameter by itself.
std::vector<ParameterValues> more_parameters(const ActivationInfo& info);

}  // namespace actium::accuracy

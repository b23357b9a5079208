#pragma once
/// Every float through a functor, in a minute or a few: the loops are vectorised, and what results are
/// compared with is the same kind's functor in double, whose own errors `actium accuracy` measures. The worst
/// are then judged by MPFR. Built on demand for the machine that it runs on (the target accuracy_sweep): not
/// part of the program, which runs anywhere.
#include <accuracy/hardware.hpp>
#include <actium/activation_kind.hpp>
#include <array>
#include <cstdint>
#include <string_view>

namespace actium::accuracy {

/// The greatest error of one function and where.
struct SweepWorst {
  double ulp = -1;
  float x = 0;
  Corner corner;
};

struct SweepResult {
  std::array<SweepWorst, 3> worst;  ///< value, slope, curvature
  std::int64_t inputs = 0;
  std::int64_t step_back = 0;  ///< in ULP, of values between neighbours where the function is monotone
  float step_back_x = 0;
  void add(const SweepResult& other);
};

/// Floats of both signs with `first` <= |x| < `last`, infinity excluded; each block of 1024, or one in
/// `stride`.
template <ActivationKind K>
SweepResult sweep(float first, float last, std::uint32_t stride);

/// The error of one result against MPFR.
template <ActivationKind K>
double judged_by_mpfr(const SweepWorst& worst, int order);

/// Lines before and after the table of docs/accuracy.md with what every float gave.
inline constexpr std::string_view kBeginSweep =
                                      "<!-- every float, written by `accuracy_sweep --write`: begin -->",
                                  kEndSweep = "<!-- every float: end -->";

}  // namespace actium::accuracy

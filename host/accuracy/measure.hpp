#pragma once
/// Measures how far results are from f(x), f'(x) and f''(x), in ULP (metric.hpp): the inputs are compared
/// with the reference, and whatever would be among the worst with MPFR (200 bits). All figures are of MPFR.
#include <accuracy/subject.hpp>

#include <functional>
#include <optional>

namespace actium::accuracy {

/// True where MPFR was found when this was built; without it nothing is judged exactly.
bool judges_exactly();

struct Options {
  std::uint64_t seed = 20240229;
  double effort = 1;        ///< scales the number of samples of f32 and f64; f16 and bf16 take every input
  bool exhaustive = false;  ///< every float
  std::function<void(double)> progress;  ///< called now and then with the share that is done
};

/// One function in one dtype: the greatest error and where, over all corners of the hardware's errors.
struct Figure {
  DType dtype = DType::kF64;
  int order = 0;
  double ulp = -1, x = 0;
  Corner corner;
  std::int64_t inputs = 0, misrounded = 0;  ///< misrounded: not the nearest element of the dtype
  double bound = 0;
  bool within_bound() const { return ulp <= bound; }
  double misrounded_share() const {
    return inputs == 0 ? 0 : static_cast<double>(misrounded) / static_cast<double>(inputs);
  }
};

/// Value, slope and curvature. A curvature is a difference round its zeros: where f'' changes its sign within
/// kCurvatureZeroReach of x, ulp is taken no smaller than at kCurvatureFloor times the greatest |f''| within
/// kCurvatureReach. (Values and slopes have no such floor.)
std::array<Figure, 3> measure(const Subject& subject, DType dtype, const Options& options);
inline constexpr double kCurvatureFloor = 0x1p-3, kCurvatureReach = 1, kCurvatureZeroReach = 0.25;

/// Slopes with respect to the parameters, with the floor of the curvature, which reaches as far as |x| / 8
/// where that is more (a small parameter stretches the axis); f32 or f64.
std::vector<Figure> measure_parameter_slopes(const Subject& subject, DType dtype, const Options& options);

/// The formula that is usually written, in float with the host's libm: value and slope, where there is one.
/// On the same inputs as measure(subject, f32), against the bounds of the registry.
std::array<std::optional<Figure>, 2> measure_naive(const Subject& subject, const Options& options);

/// The inputs of measure(): finite and infinite ones by bit pattern, neighbours of zeros and kinks. Every one
/// for the 16-bit types.
std::vector<double> inputs_of(const Subject& subject, DType dtype, const Options& options);

}  // namespace actium::accuracy

#include <accuracy/measure.hpp>

#include <accuracy/inputs.hpp>
#include <accuracy/metric.hpp>
#include <accuracy/naive.hpp>
#include <algorithm>

namespace actium::accuracy {
namespace {

constexpr std::size_t kBlock = 1024;

/// What computes and what says how it should be: a Subject's derivatives or parameter slopes, or a naive
/// formula. S: the scalar of the reference.
struct Pairing {
  std::function<void(std::span<const double>, Triple<double>*)> compute;
  std::function<void(std::span<const double>, Triple<double>*)> expect_double;
  std::function<void(std::span<const double>, Triple<long double>*)> expect_long_double;
#if ACTIUM_HAVE_MPFR
  std::function<Triple<MpReal>(double)> exact;
#endif
  DType dtype;
  std::size_t functions;          ///< how many of the three are measured
  std::array<bool, 3> has_floor;  ///< of the curvature
  std::array<double, 3> bounds;
  std::span<const Corner> corners;
  bool finite_inputs = false;   ///< leave out the infinite ones
  bool reaches_with_x = false;  ///< the floor's reach is |x| / 8 where that is more

  void expect(std::span<const double> x, Triple<double>* y) const { expect_double(x, y); }
  void expect(std::span<const double> x, Triple<long double>* y) const { expect_long_double(x, y); }
};

double error_of(double y, double expected, Format format) { return narrow_ulp_error(y, expected, format); }
double error_of(double y, long double expected, Format format) { return ulp_error(y, expected, format); }

/// The smallest exponent that ulp is taken at, where a function is allowed a floor and changes its sign
/// nearby.
int floor_exponent(const Pairing& pairing, std::size_t which, double x) {
  if (!pairing.has_floor[which]) return kNoFloor;
  constexpr std::size_t kSteps = 8, kNearSteps = 2;
  static_assert(kCurvatureZeroReach * kSteps == kCurvatureReach * kNearSteps);
  const double reach = kCurvatureReach * (pairing.reaches_with_x ? std::max(1.0, std::fabs(x) / 8) : 1.0);
  std::array<double, 2 * kSteps + 1> around;
  std::array<Triple<double>, around.size()> f;
  for (std::size_t i = 0; i < around.size(); ++i)
    around[i] = x + reach * (static_cast<double>(i) / kSteps - 1);
  pairing.expect(around, f.data());
  double largest = 0;
  bool negative = false, positive = false;
  for (std::size_t i = 0; i < around.size(); ++i) {
    const double y = f[i][which];
    if (std::isfinite(y)) largest = std::max(largest, std::fabs(y));
    if (i + kNearSteps < kSteps || i > kSteps + kNearSteps) continue;
    negative |= y < 0;
    positive |= y > 0;
  }
  return negative && positive && largest > 0 ? std::ilogb(kCurvatureFloor * largest) : kNoFloor;
}

/// The error of one result as exactly as it can be known.
double judged_error(const Pairing& pairing, std::size_t which, double x, Corner corner) {
  hardware = corner;
  Triple<double> y;
  pairing.compute({&x, 1}, &y);
  hardware = {};
  const Format format = format_of(pairing.dtype);
#if ACTIUM_HAVE_MPFR
  const MpReal expected = pairing.exact(x)[which];
#else
  Triple<long double> f;
  pairing.expect({&x, 1}, &f);
  const long double expected = f[which];
#endif
  return ulp_error(y[which], expected, format, floor_exponent(pairing, which, x));
}

struct Error {
  double ulp, x;
  Corner corner;
};

/// The greatest few of many errors, each at another input.
class Worst {
 public:
  bool wants(double ulp) const { return errors_.size() < kCapacity || ulp > errors_.back().ulp; }
  void add(const Error& e) {
    if (!wants(e.ulp)) return;
    if (std::ranges::any_of(errors_, [&](const Error& other) { return other.x == e.x; })) return;
    const auto greater = [](const Error& a, const Error& b) {
      return a.ulp != b.ulp ? a.ulp > b.ulp : std::fabs(a.x) < std::fabs(b.x);  // whatever the threads' order
    };
    errors_.insert(std::upper_bound(errors_.begin(), errors_.end(), e, greater), e);
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

struct Tally {
  Worst worst;
  std::int64_t inputs = 0;
  std::array<std::int64_t, std::size(kCorners)> misrounded{};
  void add(const Tally& other) {
    worst.add(other.worst);
    inputs += other.inputs;
    for (std::size_t i = 0; i < misrounded.size(); ++i) misrounded[i] += other.misrounded[i];
  }
};

/// Sorts out the worst of the inputs.
template <class S>
class Sieve {
 public:
  Sieve(const Pairing& pairing, const std::array<std::vector<double>, 3>& zeros)
      : pairing_(pairing), zeros_(zeros) {}

  void add(std::span<const double> inputs) {
    const auto count = static_cast<std::int64_t>(inputs.size());
#pragma omp parallel
    {
      std::array<Tally, 3> mine;
#pragma omp for schedule(dynamic)
      for (std::int64_t begin = 0; begin < count; begin += static_cast<std::int64_t>(kBlock)) {
        const auto first = static_cast<std::size_t>(begin);
        add_block(inputs.subspan(first, std::min(kBlock, inputs.size() - first)), mine);
      }
#pragma omp critical
      for (std::size_t which = 0; which < 3; ++which) tallies_[which].add(mine[which]);
    }
  }

  /// Looks among the neighbours of the worst for worse ones: great errors live together. These inputs are not
  /// counted.
  template <class T>
  void add_neighbours_of_the_worst(int count) {
    std::vector<double> inputs;
    for (const Tally& tally : tallies_)
      for (const Error& e : tally.worst.errors())
        for (int i = -count; i <= count; ++i) {
          const double x = from_ordinal<T>(to_ordinal(static_cast<T>(e.x)) + i);
          if (!std::isnan(x)) inputs.push_back(x);
        }
    const std::array<Tally, 3> before = tallies_;
    add(inputs);
    for (std::size_t which = 0; which < 3; ++which) {
      tallies_[which].inputs = before[which].inputs;
      tallies_[which].misrounded = before[which].misrounded;
    }
  }

  Figure figure(std::size_t which) const {
    Figure figure{.dtype = pairing_.dtype,
                  .order = static_cast<int>(which),
                  .corner = {},
                  .inputs = tallies_[which].inputs,
                  .misrounded = std::ranges::max(tallies_[which].misrounded),
                  .bound = pairing_.bounds[which]};
    if (const auto& errors = tallies_[which].worst.errors(); !errors.empty()) {
      figure.ulp = errors[0].ulp;
      figure.x = errors[0].x;
      figure.corner = errors[0].corner;
    }
    return figure;
  }

 private:
  void add_block(std::span<const double> x, std::array<Tally, 3>& tallies) {
    const Format format = format_of(pairing_.dtype);
    std::array<Triple<S>, kBlock> expected;
    std::array<Triple<double>, kBlock> y;
    std::array<std::array<Error, kBlock>, 3> errors;
    pairing_.expect(x, expected.data());
    for (std::size_t corner = 0; corner < pairing_.corners.size(); ++corner) {
      hardware = pairing_.corners[corner];
      pairing_.compute(x, y.data());
      for (std::size_t which = 0; which < pairing_.functions; ++which)
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double ulp = error_of(y[i][which], expected[i][which], format);
          tallies[which].misrounded[corner] +=
              ulp > 0.499 && y[i][which] != rounded(pairing_.dtype, expected[i][which]);
          if (corner == 0 || ulp > errors[which][i].ulp) errors[which][i] = {ulp, x[i], hardware};
        }
    }
    hardware = {};
    for (std::size_t which = 0; which < pairing_.functions; ++which) {
      std::vector<Error> candidates;
      for (std::size_t i = 0; i < x.size(); ++i) {
        // What has no limit at an infinity has none to miss.
        if (std::isinf(x[i]) && (pairing_.finite_inputs || std::isnan(expected[i][which]))) continue;
        ++tallies[which].inputs;
        Error e = errors[which][i];
        if (is_near_zero(which, e.x)) e.ulp = 2 * e.ulp + 1;
        if (!is_wanted(which, e, tallies[which].worst)) continue;
        e.ulp = with_floor(which, e, expected[i][which]);
        candidates.push_back(e);
      }
      // The greatest first, so that few are judged even where errors grow from input to input.
      std::ranges::sort(candidates, std::greater(), &Error::ulp);
      for (const Error& e : candidates) {
        if (!is_wanted(which, e, tallies[which].worst)) break;
        // Only judged errors stand among the worst: others may be the reference's own and would drive them
        // out.
        Error judged = e;
        judged.ulp = judged_error(pairing_, which, e.x, e.corner);
        if (is_wanted(which, judged, tallies[which].worst)) tallies[which].worst.add(judged);
      }
    }
  }

  /// The error with the floor that judged_error() takes.
  double with_floor(std::size_t which, const Error& e, S expected) const {
    if (!std::isfinite(expected)) return e.ulp;
    const int lowest = format_of(pairing_.dtype).min_exponent;
    const int exponent = expected == 0 ? lowest : std::max(lowest, std::ilogb(expected));
    return std::ldexp(e.ulp, std::min(0, exponent - floor_exponent(pairing_, which, e.x)));
  }

  bool is_wanted(std::size_t which, const Error& e, const Worst& worst) const {
    return worst.wants(e.ulp) && tallies_[which].worst.wants(e.ulp);
  }

  /// Where long double cancels, and its own error may hide some of an f64 result's: lesser errors are judged
  /// too. At a zero at 0 it does not.
  bool is_near_zero(std::size_t which, double x) const {
    if (pairing_.dtype != DType::kF64) return false;
    return std::ranges::any_of(zeros_[which], [&](double zero) {
      return std::fabs(x - zero) < std::min(0.03, std::fabs(zero) / 4);
    });
  }

  const Pairing& pairing_;
  const std::array<std::vector<double>, 3>& zeros_;
  std::array<Tally, 3> tallies_;
};

/// Where the reference changes its sign, to the nearest element of T below; the few next to 0.
template <class T>
std::array<std::vector<double>, 3> zeros_of(const Pairing& pairing) {
  constexpr double kWidth = 20;
  constexpr std::size_t kIntervals = 4000, kMost = 6;
  std::vector<double> grid;
  for (std::size_t i = 0; i <= kIntervals; ++i)
    grid.push_back(static_cast<T>(kWidth * (2 * static_cast<double>(i) / kIntervals - 1)));
  std::vector<Triple<double>> f(grid.size());
  pairing.expect(grid, f.data());
  std::array<std::vector<double>, 3> zeros;
  for (std::size_t which = 0; which < pairing.functions; ++which) {
    for (std::size_t i = 0; i < kIntervals; ++i) {
      if ((f[i][which] < 0) == (f[i + 1][which] < 0)) continue;
      std::int64_t a = to_ordinal(static_cast<T>(grid[i])), b = to_ordinal(static_cast<T>(grid[i + 1]));
      while (b - a > 1) {
        const std::int64_t middle = a + (b - a) / 2;
        const double x = from_ordinal<T>(middle);
        Triple<long double> y;
        pairing.expect({&x, 1}, &y);
        ((y[which] < 0) == (f[i][which] < 0) ? a : b) = middle;
      }
      zeros[which].push_back(from_ordinal<T>(a));
    }
    const auto nearer = [](double a, double b) { return std::fabs(a) < std::fabs(b); };
    std::ranges::sort(zeros[which], nearer);
    if (zeros[which].size() > kMost) zeros[which].resize(kMost);
  }
  return zeros;
}

std::array<std::vector<double>, 3> zeros_of(const Pairing& pairing) {
  return pairing.dtype == DType::kF64 ? zeros_of<double>(pairing) : zeros_of<float>(pairing);
}

/// By bit pattern, in f32 at even distances too where activations bend, and next to zeros, kinks and what the
/// parameters are.
template <class T>
std::vector<double> sampled_inputs(const std::array<std::vector<double>, 3>& zeros, const Subject& subject,
                                   const Options& options) {
  constexpr bool kF64 = std::is_same_v<T, double>;
  const auto scaled = [&](double count) { return std::max(1, static_cast<int>(count * options.effort)); };
  std::vector<T> inputs = special_values<T>();
  inputs.pop_back();  // NaN
  const auto sampled = kF64 ? sample_inputs<T>(options.seed, scaled(12), scaled(100000), 780)
                            : sample_inputs<T>(options.seed, scaled(200), scaled(150000), 120);
  inputs.insert(inputs.end(), sampled.begin(), sampled.end());
  if constexpr (!kF64) {
    const auto stride = static_cast<std::uint32_t>(std::max(1.0, 244 / options.effort));
    for (auto bits = std::bit_cast<std::uint32_t>(0x1p-10f); bits < std::bit_cast<std::uint32_t>(128.0f);
         bits += stride)
      for (std::uint32_t sign : {0u, 0x80000000u}) inputs.push_back(std::bit_cast<float>(sign | bits));
  }
  const int nearest = scaled(100);
  const double growth = 1 + std::min(0.5, 0.05 / options.effort);
  for (const auto& list : zeros)
    for (double zero : list) append_neighbours(static_cast<T>(zero), nearest, inputs, growth);
  std::vector<double> points = {0.25, 0.5, 1, 3, 6};
  for (int i = 0; i < subject.info().parameter_count; ++i)
    points.push_back(subject.parameters()[static_cast<std::size_t>(i)]);
  for (double point : points)
    for (T x : {static_cast<T>(point), static_cast<T>(-point)}) append_neighbours(x, nearest, inputs, growth);
  return {inputs.begin(), inputs.end()};
}

template <class T>
std::vector<double> every_16_bit_input() {
  std::vector<double> inputs;
  for (int bits = 0; bits < 65536; ++bits) {
    const float x = T::from_bits(static_cast<std::uint16_t>(bits));
    if (!std::isnan(x)) inputs.push_back(x);
  }
  return inputs;
}

std::vector<double> inputs_of(const Subject& subject, DType dtype,
                              const std::array<std::vector<double>, 3>& zeros, const Options& options) {
  switch (dtype) {
    case DType::kF64:
      return sampled_inputs<double>(zeros, subject, options);
    case DType::kF32:
      return sampled_inputs<float>(zeros, subject, options);
    case DType::kF16:
      return every_16_bit_input<f16>();
    default:
      return every_16_bit_input<bf16>();
  }
}

Pairing derivatives_of(const Subject& subject, DType dtype) {
  Pairing pairing {
    .compute = [&subject, dtype](auto x, auto* y) { subject.compute(dtype, x, y); },
    .expect_double = [&subject](auto x, auto* y) { subject.expect(x, y); },
    .expect_long_double = [&subject](auto x, auto* y) { subject.expect(x, y); },
#if ACTIUM_HAVE_MPFR
    .exact = [&subject](double x) { return subject.exact(x); },
#endif
    .dtype = dtype, .functions = 3, .has_floor = {false, false, true}, .bounds = {}, .corners = kCorners
  };
  for (int order = 0; order < 3; ++order)
    pairing.bounds[static_cast<std::size_t>(order)] = subject.info().ulp_bound(dtype, order);
  if (dtype == DType::kF64)
    pairing.corners = pairing.corners.first(1);  // which has no approximate instruction
  return pairing;
}

template <class S>
std::vector<Figure> sieved(const Pairing& pairing, const Subject& subject, const Options& options) {
  const auto zeros = zeros_of(pairing);
  Sieve<S> sieve(pairing, zeros);
  const auto report = [&](double share) {
    if (options.progress) options.progress(share);
  };
  if (options.exhaustive && pairing.dtype == DType::kF32) {
    constexpr std::uint64_t kSlice = 1u << 20, kAll = std::uint64_t{1} << 32;
    std::vector<double> slice;
    for (std::uint64_t first = 0; first < kAll; first += kSlice) {
      slice.clear();
      for (std::uint64_t bits = first; bits < first + kSlice; ++bits)
        if (const float x = std::bit_cast<float>(static_cast<std::uint32_t>(bits)); !std::isnan(x))
          slice.push_back(x);
      sieve.add(slice);
      report(static_cast<double>(first + kSlice) / static_cast<double>(kAll));
    }
  } else {
    const auto inputs = inputs_of(subject, pairing.dtype, zeros, options);
    constexpr std::size_t kSlice = 1u << 16;
    for (std::size_t first = 0; first < inputs.size(); first += kSlice) {
      const std::size_t count = std::min(kSlice, inputs.size() - first);
      sieve.add(std::span(inputs).subspan(first, count));
      report(static_cast<double>(first + count) / static_cast<double>(inputs.size()));
    }
    const int neighbours = std::max(1, static_cast<int>(200 * options.effort));
    if (pairing.dtype == DType::kF32) sieve.template add_neighbours_of_the_worst<float>(neighbours);
    if (pairing.dtype == DType::kF64) sieve.template add_neighbours_of_the_worst<double>(neighbours);
  }
  std::vector<Figure> figures;
  for (std::size_t which = 0; which < pairing.functions; ++which) figures.push_back(sieve.figure(which));
  return figures;
}

std::vector<Figure> measured(const Pairing& pairing, const Subject& subject, const Options& options) {
  return pairing.dtype == DType::kF64 ? sieved<long double>(pairing, subject, options)
                                      : sieved<double>(pairing, subject, options);
}

}  // namespace

bool judges_exactly() { return ACTIUM_HAVE_MPFR; }

std::array<Figure, 3> measure(const Subject& subject, DType dtype, const Options& options) {
  const auto figures = measured(derivatives_of(subject, dtype), subject, options);
  return {figures[0], figures[1], figures[2]};
}

std::vector<Figure> measure_parameter_slopes(const Subject& subject, DType dtype, const Options& options) {
  if (!subject.has_parameter_slopes()) return {};
  constexpr double kBound = 4;
  Pairing pairing {
    .compute = [&](auto x, auto* y) { subject.compute_parameter_slopes(dtype, x, y); },
    .expect_double = [&](auto x, auto* y) { subject.expect_parameter_slopes(x, y); },
    .expect_long_double = [&](auto x, auto* y) { subject.expect_parameter_slopes(x, y); },
#if ACTIUM_HAVE_MPFR
    .exact = [&](double x) { return subject.exact_parameter_slopes(x); },
#endif
    .dtype = dtype, .functions = static_cast<std::size_t>(subject.info().parameter_count),
    .has_floor = {true, true, true}, .bounds = {kBound, kBound, kBound}, .corners = kCorners,
    .reaches_with_x = true
  };
  if (dtype == DType::kF64) pairing.corners = pairing.corners.first(1);
  return measured(pairing, subject, options);
}

std::array<std::optional<Figure>, 2> measure_naive(const Subject& subject, const Options& options) {
  const NaiveFormula* naive = naive_formula(subject.info().name);
  if (naive == nullptr) return {};
  Pairing pairing = derivatives_of(subject, DType::kF32);
  pairing.compute = [&](std::span<const double> x, Triple<double>* y) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto v = static_cast<float>(x[i]);
      y[i] = {naive->value != nullptr ? naive->value(v) : 0, naive->slope != nullptr ? naive->slope(v) : 0,
              0};
    }
  };
  pairing.functions = 2;
  pairing.corners = pairing.corners.first(1);
  pairing.finite_inputs = true;  // at the others many are NaN
  const auto figures = measured(pairing, subject, options);
  std::array<std::optional<Figure>, 2> both;
  if (naive->value != nullptr) both[0] = figures[0];
  if (naive->slope != nullptr) both[1] = figures[1];
  return both;
}

std::vector<double> inputs_of(const Subject& subject, DType dtype, const Options& options) {
  return inputs_of(subject, dtype, zeros_of(derivatives_of(subject, dtype)), options);
}

}  // namespace actium::accuracy

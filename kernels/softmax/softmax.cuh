#pragma once
// Softmax of rows and its statistics: p = exp(a) / sum exp(a), log p, log sum exp(z / T) and the entropy,
// with a = (z - max z) / T <= 0. Bytes moved: one read, and one write of what is written. Parallel shape:
// rows.cuh; exactness: exponential.cuh.
#include <cmath>
#include <limits>

#include "softmax/exponential.cuh"
#include "softmax/launch_rows.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class C>
struct SoftmaxSums {
  RowSum<C> sum;
  C weighted;  // sum of exp(a) * a, for the entropy
  __device__ static SoftmaxSums none() { return {RowSum<C>::none(), C(0)}; }
  __device__ SoftmaxSums merged(const SoftmaxSums& other) const {
    return {sum.merged(other.sum), weighted + other.weighted};
  }
  __device__ SoftmaxSums shuffled(int offset) const {
    return {sum.shuffled(offset), shuffle_xor(weighted, offset)};
  }
};

template <SoftmaxResult R, class Element>
struct Softmax {
  using T = Element;
  using C = Compute<T>;
  using Peak = kernels::Peak<C>;
  using State = RowScale<C>;
  using Sums = SoftmaxSums<C>;
  static constexpr bool kStatistic = R == SoftmaxResult::kLogSumExp || R == SoftmaxResult::kEntropy;
  static constexpr int kInputs = 1, kElementResults = kStatistic ? 0 : 1, kRowResults = kStatistic ? 1 : 0;
  static constexpr bool kMasked = true;
  static constexpr Exponential kExponential = sizeof(T) != 2 ? Exponential::kPolynomial
                                              : kStatistic   ? Exponential::kShort
                                                             : Exponential::kInstruction;

  struct Finish {
    C max;
    C reciprocal;  // of the sum
    C log_sum;     // log sum exp(a), accurate also where one element dominates
    C mean;        // of a
    C least;       // of an empty row: every probability, its logarithm or entropy; else no result is less
  };

  LogitScale<C> scale;
  const C* temperatures;  // [rows], or null
  C empty;                // what an empty row's results are

  __device__ Softmax of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {logit_scale_of(temperatures[row]), temperatures, empty};
  }

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&x)[1]) { return {x[0]}; }
  __device__ State state(const Peak& peak) const { return row_scale(peak.number, scale); }

  __device__ void add(C (&x)[1], std::int64_t, const State& state, Sums& sums) const {
    const C v = variable(x[0], scale, state), e = exponential<kExponential>(v, scale, state);
    sums.sum.add(e);
    if constexpr (R == SoftmaxResult::kEntropy)
      sums.weighted = device::fma(e, (v - state.top) * scale.nats, sums.weighted);
    if constexpr (R == SoftmaxResult::kProbability) x[0] = e;
  }

  /// Powers of two where both parts take z itself as the variable; else by the ratio of their exponentials of
  /// the part's maximum.
  __device__ Sums rescaled(const Sums& sums, const Peak& from, const Peak& to) const {
    if (from.number == Max::identity<C>()) return to.number == from.number ? sums : Sums::none();
    const State own = state(from), all = state(to);
    // Further down nothing is left.
    const C steps = device::max_nan(all.rounder - own.rounder, C(-4096));
    const C ratio = own.shift == all.shift
                        ? scalbn(C(1), static_cast<int>(steps))
                        : exponential<kExponential>(variable(from.number, scale, all), scale, all) /
                              exponential<kExponential>(own.top, scale, own);
    Sums result{sums.sum.times(ratio), sums.weighted * ratio};
    if constexpr (R == SoftmaxResult::kEntropy) {
      const C distance = (variable(from.number, scale, all) - all.top) * scale.nats;
      result.weighted = device::fma(result.sum.hi, distance, result.weighted);
    }
    return result;
  }

  __device__ Finish finish(const Peak& peak, const State& state, const Sums& sums) const {
    Finish f;
    f.max = peak.number;
    if (peak.number == Max::identity<C>()) {
      if (R == SoftmaxResult::kLogProbability) f.max = 0;  // so that no difference is inf - inf
      f.reciprocal = f.log_sum = f.mean = 0;
      f.least = empty;
      return f;
    }
    const C top = exponential<kExponential>(state.top, scale, state), sum = sums.sum.hi + sums.sum.lo;
    f.reciprocal = C(1) / sum;
    f.log_sum = log1p(((sums.sum.hi - top) + sums.sum.lo) / top);
    f.mean = sums.weighted * f.reciprocal;
    f.least = R == SoftmaxResult::kProbability ? C(0) : Max::identity<C>();
    return f;
  }

  __device__ void results(const C (&x)[1], std::int64_t, const Finish& f, C (&y)[1]) const {
    if constexpr (R == SoftmaxResult::kProbability) {
      y[0] = device::fma(x[0], f.reciprocal, f.least);
    } else {
      const C distance = device::fma(x[0], scale.before, -(f.max * scale.before));
      y[0] = device::max_nan(device::fma(distance, scale.nats, -f.log_sum), f.least);
    }
  }
  __device__ void row_results(const Finish& f, C (&y)[1]) const {
    const C z = f.max * scale.before;
    if (R == SoftmaxResult::kEntropy)
      y[0] = f.max == Max::identity<C>() ? f.least : f.log_sum - f.mean;  // two terms >= 0
    else if (device::absolute(f.max) > device::Constants<C>::largest)
      y[0] = f.max;
    else if (device::absolute(z * scale.nats) > device::Constants<C>::largest)
      y[0] = z * scale.nats;
    else
      y[0] = device::fma(z, scale.nats, device::fma(z, scale.nats_rest, f.log_sum));
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_scratch(const RowCall& call) {
  return rows_scratch<Softmax<SoftmaxResult::kProbability, T>>(call);
}

/// What the results of a row with nothing in it are: a probability, a logarithm of one, or the entropy.
inline double empty_row_result(SoftmaxResult result, const RowCall& call) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const bool log = result == SoftmaxResult::kLogProbability;
  const auto n = static_cast<double>(call.cols);
  switch (call.empty) {
    case EmptyRow::kZeros:
      return log ? -kInf : 0;
    case EmptyRow::kNaN:
      return std::numeric_limits<double>::quiet_NaN();
    case EmptyRow::kUniform:
      break;
  }
  if (call.cols == 0) return 0;
  return log ? -std::log(n) : result == SoftmaxResult::kEntropy ? std::log(n) : 1 / n;
}

template <class T>
Status launch_softmax(SoftmaxResult result, const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const LogitScale<C> scale = logit_scale<C>(call.temperature);
  const C empty = static_cast<C>(empty_row_result(result, call));
  const auto launch_op = [&]<SoftmaxResult R>(std::integral_constant<SoftmaxResult, R>) {
    return launch_rows(Softmax<R, T>{scale, static_cast<const C*>(call.temperatures), empty}, call, stream);
  };
  switch (result) {
    case SoftmaxResult::kProbability:
      return launch_op(std::integral_constant<SoftmaxResult, SoftmaxResult::kProbability>{});
    case SoftmaxResult::kLogProbability:
      return launch_op(std::integral_constant<SoftmaxResult, SoftmaxResult::kLogProbability>{});
    case SoftmaxResult::kLogSumExp:
      return launch_op(std::integral_constant<SoftmaxResult, SoftmaxResult::kLogSumExp>{});
    case SoftmaxResult::kEntropy:
      return launch_op(std::integral_constant<SoftmaxResult, SoftmaxResult::kEntropy>{});
  }
  return cudaErrorInvalidValue;
}

}  // namespace actium::kernels

#pragma once
// Softmax of rows and its statistics: p = exp(a) / sum exp(a), log p, log sum exp(z / T) and the entropy,
// with a = (z - max z) / T <= 0. Bytes moved: one read, and one write of what is written. Parallel shape:
// rows.cuh; exactness: exponential.cuh.
#include "softmax/exponential.cuh"
#include "softmax/rows.cuh"

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
  static constexpr int kInputs = 1;
  static constexpr bool kOneResult = R == SoftmaxResult::kLogSumExp || R == SoftmaxResult::kEntropy;
  static constexpr Exponential kExponential = sizeof(T) != 2 ? Exponential::kPolynomial
                                              : kOneResult   ? Exponential::kShort
                                                             : Exponential::kInstruction;

  struct Finish {
    C max;
    C reciprocal;  // of the sum
    C log_sum;     // log sum exp(a), accurate also where one element dominates
    C mean;        // of a
  };

  LogitScale<C> scale;

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&x)[1]) { return {x[0]}; }
  __device__ State state(const Peak& peak) const { return row_scale(peak.number, scale); }

  __device__ C add(const C (&x)[1], const State& state, Sums& sums) const {
    const C v = variable(x[0], scale, state), e = exponential<kExponential>(v, scale, state);
    sums.sum.add(e);
    if constexpr (R == SoftmaxResult::kEntropy)
      sums.weighted = device::fma(e, (v - state.top) * scale.nats, sums.weighted);
    return R == SoftmaxResult::kProbability ? e : x[0];
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
    const C top = exponential<kExponential>(state.top, scale, state), sum = sums.sum.hi + sums.sum.lo;
    f.max = peak.number;
    f.reciprocal = C(1) / sum;
    f.log_sum = log1p(((sums.sum.hi - top) + sums.sum.lo) / top);
    f.mean = sums.weighted * f.reciprocal;
    return f;
  }

  __device__ C result(const C (&x)[1], const Finish& f) const {
    if constexpr (R == SoftmaxResult::kProbability) {
      return x[0] * f.reciprocal;
    } else {
      const C distance = device::fma(x[0], scale.before, -(f.max * scale.before));
      return device::fma(distance, scale.nats, -f.log_sum);
    }
  }
  __device__ C row_result(const Finish& f) const {
    if constexpr (R == SoftmaxResult::kEntropy) return f.log_sum - f.mean;  // two terms >= 0
    if (device::absolute(f.max) > device::Constants<C>::largest) return f.max;
    const C z = f.max * scale.before;
    return device::fma(z, scale.nats, device::fma(z, scale.nats_rest, f.log_sum));
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_scratch(SoftmaxResult, std::int64_t rows, std::int64_t cols) {
  return rows_scratch<Softmax<SoftmaxResult::kProbability, T>>(rows, cols);
}

template <class T>
Status launch_softmax(SoftmaxResult result, double temperature, const T* z, T* out, std::int64_t rows,
                      std::int64_t cols, void* scratch, Stream stream) {
  const LogitScale<Compute<T>> scale = logit_scale<Compute<T>>(temperature);
  const auto launch_op = [&]<SoftmaxResult R>(std::integral_constant<SoftmaxResult, R>) {
    return launch_rows(Softmax<R, T>{scale}, {{z}, out, rows, cols}, scratch, stream);
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

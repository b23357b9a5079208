#pragma once
// The tangents of the statistics of rows along tz, from logits: of log sum exp(z / T), <p, tz> / T, and of
// the entropy, -cov(a, tz) / T with a = z / T, which is -sum p (log p + H) tz / T. Bytes moved: two reads.
// Parallel shape: rows.cuh. Means and covariance come from sums in two words, a relative to its maximum
// (covariance.cuh): neither logits nor a tangent far from 0 cost anything.
#include "softmax/covariance.cuh"
#include "softmax/softmax.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <bool IsEntropy, class Element>
struct StatisticJvp {
  using T = Element;
  using C = Compute<T>;
  using Peak = kernels::Peak<C>;
  using State = RowScale<C>;
  using Sums = std::conditional_t<IsEntropy, CovarianceSums<C>, WeightedSums<C>>;
  using Finish = C;  // the tangent
  static constexpr int kInputs = 2, kElementResults = 0, kRowResults = 1;
  static constexpr bool kMasked = true;
  static constexpr bool kFewWays = true;
  static constexpr Exponential kExponential =
      sizeof(T) == 2 ? Exponential::kInstruction : Exponential::kPolynomial;

  LogitScale<C> scale;
  const C* temperatures;  // [rows], or null
  C empty;                // the tangent of an empty row

  __device__ StatisticJvp of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {logit_scale_of(temperatures[row]), temperatures, empty};
  }

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&x)[2]) { return {x[0]}; }
  __device__ State state(const Peak& peak) const { return row_scale(peak.number, scale); }

  /// a - b, in the unit of variables, exactly.
  __device__ device::Pair<C> distance(C a, C b) const {
    const device::Pair<C> difference = device::two_sum<C>(a, -b);
    const device::Real<C> unit = variable_unit(scale);
    return {difference.hi * unit, difference.lo * unit};
  }

  __device__ void add(C (&x)[2], std::int64_t, const State& state, Sums& sums) const {
    if (x[0] == padding()) x[1] = 0;  // What takes no part does not count, whatever it is.
    const C v = variable(x[0], scale, state), e = exponential<kExponential>(v, scale, state), t = x[1];
    if constexpr (IsEntropy) {
      const C weight = e * WeightedSums<C>::kWeight;
      const device::Pair<C> of_a = device::multiply<C>(distance(v, state.top), weight);
      sums.add(weight, device::two_product<C>(weight, t), of_a, device::multiply<C>(of_a, t));
    } else {
      sums.add(e, t);
    }
  }

  __device__ Sums rescaled(const Sums& sums, const Peak& from, const Peak& to) const {
    if (from.number == padding()) return to.number == from.number ? sums : Sums::none();
    const C ratio = part_ratio<kExponential>(from.number, scale, state(from), state(to));
    if (ratio == 0) return Sums::none();
    if constexpr (IsEntropy)
      return sums.times(ratio).shifted(distance(from.number * scale.before, to.number * scale.before));
    else
      return sums.times(ratio);
  }

  __device__ Finish finish(const Peak& peak, const State&, const Sums& sums) const {
    if (peak.number == padding()) return empty;
    if constexpr (IsEntropy) {
      constexpr C kRoom = 256;  // <a, tz> may be beyond C where tz is not
      const C covariance = sums.moments(kRoom).covariance * (scale.nats / variable_unit(scale));
      return -divided(covariance, scale) * kRoom;
    } else {
      return divided(sums.mean().hi.number, scale);
    }
  }
  __device__ void row_results(const Finish& tangent, C (&y)[1]) const { y[0] = tangent; }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t statistic_jvp_scratch(const RowCall& call) {
  return rows_scratch<StatisticJvp<true, T>>(call);  // whose sums take more
}

template <class T>
Status launch_statistic_jvp(SoftmaxResult statistic, const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const LogitScale<C> scale = logit_scale<C>(call.temperature);
  const auto* temperatures = static_cast<const C*>(call.temperatures);
  const C empty = call.empty == EmptyRow::kNaN ? std::numeric_limits<C>::quiet_NaN() : C(0);
  if (statistic == SoftmaxResult::kEntropy)
    return launch_rows(StatisticJvp<true, T>{scale, temperatures, empty}, call, stream);
  return launch_rows(StatisticJvp<false, T>{scale, temperatures, empty}, call, stream);
}

}  // namespace actium::kernels

#pragma once
// The derivatives of log softmax from saved logarithms of probabilities: dz = (dy - p sum dy) / T and
// ty = (tz - <p, tz>) / T with p = exp(log p). Bytes moved: two reads and a write. Parallel shape: rows.cuh.
// Next to p = 1 the gradient takes 1 - p from log p, so that the dominant element's is not lost.
#include "softmax/division.cuh"
#include "softmax/launch_rows.cuh"
#include "softmax/softmax_jvp.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class Element>
struct LogSoftmaxDerivative {
  using T = Element;
  using C = Compute<T>;
  using Peak = NoPeak;
  using State = NoPeak;
  using Sums = RowSum<C>;
  using Finish = RowSum<C>;  // of dy, or of p tz
  static constexpr int kInputs = 2, kElementResults = 1, kRowResults = 0;
  static constexpr bool kMasked = false;
  static constexpr bool kFewWays = true;

  bool vjp;  // else the jvp
  Division<C> temperature;
  const C* temperatures;  // [rows], or null

  __device__ LogSoftmaxDerivative of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {vjp, division_by_one_of(temperatures[row]), temperatures};
  }

  __device__ static device::Exponential<C> probability(C log_p) {
    return device::exponential<C>({device::max_nan(log_p, device::Constants<C>::smallest_exponent), C(0)});
  }

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&)[2]) { return {}; }
  __device__ State state(const Peak&) const { return {}; }
  __device__ void add(C (&x)[2], std::int64_t, const State&, Sums& sums) const {
    if (x[0] == padding()) return;
    sums.add(vjp ? x[1] : probability(x[0]).value.number * x[1]);
  }
  __device__ Sums rescaled(const Sums& sums, const Peak&, const Peak&) const { return sums; }
  __device__ Finish finish(const Peak&, const State&, const Sums& sums) const {
    const device::Pair<C> sum = device::two_sum<C>(sums.hi, sums.lo);
    const bool finite = device::absolute(sums.hi) <= device::Constants<C>::largest;
    return finite ? RowSum<C>{sum.hi.number, sum.lo.number} : RowSum<C>{sums.hi, C(0)};
  }
  __device__ void results(const C (&x)[2], std::int64_t, const Finish& sum, C (&y)[1]) const {
    C difference = (x[1] - sum.hi) - sum.lo;
    if (vjp) {
      const device::Exponential<C> p = probability(x[0]);
      if (x[0] > C(-0.5))
        difference = device::fma(p.one_minus.number, sum.hi, difference);
      else
        difference = device::fma(-p.value.number, sum.hi, x[1]);
    }
    y[0] = x[0] == padding() ? C(0) : divided(difference, temperature);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t log_softmax_derivative_scratch(const RowCall& call) {
  return rows_scratch<LogSoftmaxDerivative<T>>(call);
}

template <class T>
Status launch_log_softmax_derivative(bool vjp, const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const Division<C> temperature = division_by<C>(call.temperature);
  const auto* temperatures = static_cast<const C*>(call.temperatures);
  return launch_rows(LogSoftmaxDerivative<T>{vjp, temperature, temperatures}, call, stream);
}

}  // namespace actium::kernels

#pragma once
// p = softmax(z / T) and tp = p (tz - <p, tz>) / T from logits and a tangent. Bytes moved: two reads, two
// writes. Parallel shape: rows.cuh. The mean <p, tz> is known in two words (weighted_sums.cuh): a tangent
// that is nearly constant loses nothing.
#include "softmax/softmax.cuh"
#include "softmax/weighted_sums.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <class Element>
struct SoftmaxValueAndJvp {
  using T = Element;
  using C = Compute<T>;
  using Peak = kernels::Peak<C>;
  using State = RowScale<C>;
  using Sums = WeightedSums<C>;
  static constexpr int kInputs = 2, kElementResults = 2, kRowResults = 0;
  static constexpr bool kMasked = true;
  static constexpr Exponential kExponential =
      sizeof(T) == 2 ? Exponential::kInstruction : Exponential::kPolynomial;

  struct Finish {
    C reciprocal;          // of the sum
    device::Pair<C> mean;  // of the tangent
    C least;               // of an empty row: every probability
  };

  LogitScale<C> scale;
  const C* temperatures;  // [rows], or null
  C empty;                // probability in an empty row

  __device__ SoftmaxValueAndJvp of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {logit_scale_of(temperatures[row]), temperatures, empty};
  }

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&x)[2]) { return {x[0]}; }
  __device__ State state(const Peak& peak) const { return row_scale(peak.number, scale); }

  /// The exponential and the tangent; a tangent of what takes no part does not count, whatever it is.
  __device__ void add(C (&x)[2], std::int64_t, const State& state, Sums& sums) const {
    if (x[0] == padding()) x[1] = 0;
    x[0] = exponential<kExponential>(variable(x[0], scale, state), scale, state);
    sums.add(x[0], x[1]);
  }

  __device__ Sums rescaled(const Sums& sums, const Peak& from, const Peak& to) const {
    if (from.number == padding()) return to.number == from.number ? sums : Sums::none();
    return sums.times(part_ratio<kExponential>(from.number, scale, state(from), state(to)));
  }

  __device__ Finish finish(const Peak& peak, const State&, const Sums& sums) const {
    // The tangent of an empty row is 0, or NaN where its probabilities are.
    if (peak.number == padding()) return {C(0), {empty - empty, C(0)}, empty};
    return {C(1) / (sums.sum.hi + sums.sum.lo), sums.mean(), C(0)};
  }

  __device__ void results(const C (&x)[2], std::int64_t, const Finish& f, C (&y)[2]) const {
    const C p = x[0] * f.reciprocal, distance = distance_from(f.mean, x[1]);
    y[0] = device::fma(x[0], f.reciprocal, f.least);
    if (device::absolute(distance) <= device::Constants<C>::largest || distance != distance)
      y[1] = divided(p * distance, scale);
    else  // The distance overflows; a probability of 0 beats it.
      y[1] = p == 0 ? C(0) : C(2) * divided(p * (C(0.5) * x[1] - C(0.5) * f.mean.hi.number), scale);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_value_and_jvp_scratch(const RowCall& call) {
  return rows_scratch<SoftmaxValueAndJvp<T>>(call);
}

template <class T>
Status launch_softmax_value_and_jvp(const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const C empty = static_cast<C>(empty_row_result(SoftmaxResult::kProbability, call));
  return launch_rows(SoftmaxValueAndJvp<T>{logit_scale<C>(call.temperature),
                                           static_cast<const C*>(call.temperatures), empty},
                     call, stream);
}

}  // namespace actium::kernels

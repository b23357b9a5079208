#pragma once
// tp = p (tz - <p, tz>) / T, the product of the Jacobian with a tangent from saved probabilities. Bytes
// moved: two reads and a write. Parallel shape: rows.cuh.
#include "softmax/division.cuh"
#include "softmax/launch_rows.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// Nothing to know before the sums.
struct NoPeak {
  __device__ static NoPeak none() { return {}; }
  __device__ NoPeak merged(const NoPeak&) const { return {}; }
  __device__ NoPeak shuffled(int) const { return {}; }
};

template <class Element>
struct SoftmaxJvp {
  using T = Element;
  using C = Compute<T>;
  using Peak = NoPeak;
  using State = NoPeak;
  using Sums = RowSum<C>;
  using Finish = C;  // <p, tz>
  static constexpr int kInputs = 2, kElementResults = 1, kRowResults = 0;
  static constexpr bool kMasked = false;

  Division<C> temperature;
  const C* temperatures;  // [rows], or null

  __device__ SoftmaxJvp of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {division_by_one_of(temperatures[row]), temperatures};
  }

  __device__ static C padding() { return C(0); }
  __device__ static Peak peak(const C (&)[2]) { return {}; }
  __device__ State state(const Peak&) const { return {}; }
  __device__ void add(C (&x)[2], std::int64_t, const State&, Sums& sums) const { sums.add(x[0] * x[1]); }
  __device__ Sums rescaled(const Sums& sums, const Peak&, const Peak&) const { return sums; }
  __device__ Finish finish(const Peak&, const State&, const Sums& sums) const {
    const C mean = sums.hi + sums.lo;
    return mean == mean ? mean : sums.hi;  // an infinite sum has no rest
  }
  __device__ void results(const C (&x)[2], std::int64_t, const Finish& mean, C (&y)[1]) const {
    const C p = x[0], distance = x[1] - mean;
    if (device::absolute(distance) <= device::Constants<C>::largest || distance != distance)
      y[0] = divided(p * distance, temperature);
    else  // The distance overflows; a probability of 0 beats it.
      y[0] = p == 0 ? C(0) : C(2) * divided(p * (C(0.5) * x[1] - C(0.5) * mean), temperature);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_jvp_scratch(const RowCall& call) {
  return rows_scratch<SoftmaxJvp<T>>(call);
}

template <class T>
Status launch_softmax_jvp(const RowCall& call, Stream stream) {
  using C = Compute<T>;
  return launch_rows(
      SoftmaxJvp<T>{division_by<C>(call.temperature), static_cast<const C*>(call.temperatures)}, call,
      stream);
}

}  // namespace actium::kernels

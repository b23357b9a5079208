#pragma once
// tp = p (tz - <p, tz>) / T, the product of the Jacobian with a tangent from saved probabilities. Bytes
// moved: two reads and a write. Parallel shape: rows.cuh.
#include "softmax/division.cuh"
#include "softmax/rows.cuh"

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
  static constexpr int kInputs = 2;
  static constexpr bool kOneResult = false;

  Division<C> temperature;

  __device__ static C padding() { return C(0); }
  __device__ static Peak peak(const C (&)[2]) { return {}; }
  __device__ State state(const Peak&) const { return {}; }
  __device__ C add(const C (&x)[2], const State&, Sums& sums) const {
    sums.add(x[0] * x[1]);
    return x[0];
  }
  __device__ Sums rescaled(const Sums& sums, const Peak&, const Peak&) const { return sums; }
  __device__ Finish finish(const Peak&, const State&, const Sums& sums) const {
    const C mean = sums.hi + sums.lo;
    return mean == mean ? mean : sums.hi;  // an infinite sum has no rest
  }
  __device__ C result(const C (&x)[2], const Finish& mean) const {
    const C p = x[0], distance = x[1] - mean;
    if (device::absolute(distance) <= device::Constants<C>::largest || distance != distance)
      return divided(p * distance, temperature);
    // The distance overflows; a probability of 0 beats it.
    return p == 0 ? C(0) : C(2) * divided(p * (C(0.5) * x[1] - C(0.5) * mean), temperature);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_jvp_scratch(std::int64_t rows, std::int64_t cols) {
  return rows_scratch<SoftmaxJvp<T>>(rows, cols);
}

template <class T>
Status launch_softmax_jvp(double temperature, const T* p, const T* tz, T* tp, std::int64_t rows,
                          std::int64_t cols, void* scratch, Stream stream) {
  return launch_rows(SoftmaxJvp<T>{division_by<Compute<T>>(temperature)}, {{p, tz}, tp, rows, cols}, scratch,
                     stream);
}

}  // namespace actium::kernels

#pragma once
// What is a covariance under saved probabilities: the Hessian of <dp, softmax(z)> times a tangent,
// p ((tz - <tz>) (dp - <dp>) - cov(tz, dp)) / T^2, and the gradient of <dp, softmax(z)> with respect to the
// temperature, -cov(z, dp) / T^2. Bytes moved: three reads, and the Hessian's product one write. Parallel
// shape: rows.cuh. Means and covariance are taken with p / sum p from sums in two words (covariance.cuh), so
// that neither the rounding of p nor a large mean costs anything.
#include "softmax/covariance.cuh"
#include "softmax/division.cuh"
#include "softmax/launch_rows.cuh"
#include "softmax/softmax_jvp.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// Inputs: p, dp, tz; for the temperature's gradient z, p, dp, so that masks apply to z.
template <bool OfTemperature, class Element>
struct SoftmaxCovariance {
  using T = Element;
  using C = Compute<T>;
  using Peak = NoPeak;
  using State = NoPeak;
  using Sums = CovarianceSums<C>;
  using Finish = Moments<C>;
  static constexpr int kInputs = 3, kElementResults = OfTemperature ? 0 : 1,
                       kRowResults = 1 - kElementResults;
  static constexpr bool kMasked = OfTemperature;
  static constexpr bool kFewWays = true;

  Division<C> temperature;
  const C* temperatures;  // [rows], or null

  __device__ SoftmaxCovariance of_row(std::int64_t row) const {
    if (temperatures == nullptr) return *this;
    return {division_by_one_of(temperatures[row]), temperatures};
  }

  __device__ static C padding() { return OfTemperature ? Max::identity<C>() : C(0); }
  __device__ static Peak peak(const C (&)[3]) { return {}; }
  __device__ State state(const Peak&) const { return {}; }

  __device__ void add(C (&x)[3], std::int64_t, const State&, Sums& sums) const {
    C &p = x[OfTemperature ? 1 : 0], &u = x[OfTemperature ? 2 : 1], &t = x[OfTemperature ? 0 : 2];
    if (p == 0 || (OfTemperature && t == padding())) p = u = t = C(0);  // takes no part
    const device::Pair<C> pt = device::two_product<C>(p, t);
    sums.add(p, pt, device::two_product<C>(p, u), device::multiply<C>(pt, u));
  }
  __device__ Sums rescaled(const Sums& sums, const Peak&, const Peak&) const { return sums; }

  __device__ Finish finish(const Peak&, const State&, const Sums& sums) const { return sums.moments(); }
  __device__ C over_squared_temperature(C x) const { return divided(divided(x, temperature), temperature); }
  __device__ void results(const C (&x)[3], std::int64_t, const Finish& f, C (&y)[1]) const {
    const C u = distance_from(f.u, x[1]), t = distance_from(f.t, x[2]);
    y[0] = over_squared_temperature(x[0] * device::fma(t, u, -f.covariance));
  }
  __device__ void row_results(const Finish& f, C (&y)[1]) const {
    y[0] = -over_squared_temperature(f.covariance);
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t softmax_covariance_scratch(const RowCall& call) {
  return rows_scratch<SoftmaxCovariance<true, T>>(call);
}

template <class T>
Status launch_softmax_covariance(bool of_temperature, const RowCall& call, Stream stream) {
  using C = Compute<T>;
  const Division<C> temperature = division_by<C>(call.temperature);
  const auto* temperatures = static_cast<const C*>(call.temperatures);
  if (of_temperature) return launch_rows(SoftmaxCovariance<true, T>{temperature, temperatures}, call, stream);
  return launch_rows(SoftmaxCovariance<false, T>{temperature, temperatures}, call, stream);
}

}  // namespace actium::kernels

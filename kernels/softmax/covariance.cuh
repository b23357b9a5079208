#pragma once
// A covariance over a row under weights, from sums of products in two words (weighted_sums.cuh): means far
// from 0 cost nothing.
#include "softmax/weighted_sums.cuh"

namespace actium::kernels {

/// Means of t and u, and their covariance.
template <class C>
struct Moments {
  device::Pair<C> t, u;
  C covariance;
};

/// Of weights p, and of p t, p u and p t u.
template <class C>
struct CovarianceSums {
  RowSum<C> p, pt, pu, ptu;
  __device__ static CovarianceSums none() {
    return {RowSum<C>::none(), RowSum<C>::none(), RowSum<C>::none(), RowSum<C>::none()};
  }
  __device__ void add(C weight, const device::Pair<C>& of_t, const device::Pair<C>& of_u,
                      const device::Pair<C>& of_tu) {
    p.add(weight);
    add_pair(of_t, pt);
    add_pair(of_u, pu);
    add_pair(of_tu, ptu);
  }
  __device__ CovarianceSums merged(const CovarianceSums& other) const {
    return {p.merged(other.p), pt.merged(other.pt), pu.merged(other.pu), ptu.merged(other.ptu)};
  }
  __device__ CovarianceSums shuffled(int offset) const {
    return {p.shuffled(offset), pt.shuffled(offset), pu.shuffled(offset), ptu.shuffled(offset)};
  }
  __device__ CovarianceSums times(C factor) const {
    return {times_exactly(p, factor), times_exactly(pt, factor), times_exactly(pu, factor),
            times_exactly(ptu, factor)};
  }
  /// The same weights with u + shift in place of u.
  __device__ CovarianceSums shifted(const device::Pair<C>& shift) const {
    CovarianceSums result = *this;
    add_product(p, shift, result.pu);
    add_product(pt, shift, result.ptu);
    return result;
  }
  /// Of t / divisor (a power of two) and u.
  __device__ Moments<C> moments(C divisor = C(1)) const {
    const RowSum<C> divided_by = p.times(divisor);
    const device::Pair<C> t = quotient(pt, divided_by), u = quotient(pu, p);
    const device::Pair<C> tu = quotient(ptu, divided_by), product = device::multiply(t, u.hi);
    const C rest = device::fma(t.hi.number, u.lo.number, product.lo.number);
    return {t, u, (tu.hi.number - product.hi.number) + (tu.lo.number - rest)};
  }
};

}  // namespace actium::kernels

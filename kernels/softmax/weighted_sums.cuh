#pragma once
// Means over a row so exact that they can be subtracted from what they are the means of: sums of products in
// two words, and their quotients.
#include "softmax/exponential.cuh"
#include "softmax/rows.cuh"

namespace actium::kernels {

template <class C>
__device__ void add_pair(const device::Pair<C>& x, RowSum<C>& sum) {
  sum.add(x.hi.number);
  sum.lo += x.lo.number;
}

/// RowSum::times() rounds; this does not.
template <class C>
__device__ RowSum<C> times_exactly(const RowSum<C>& sum, C factor) {
  const device::Pair<C> product = device::multiply<C>({sum.hi, sum.lo}, factor);
  return {product.hi.number, product.lo.number};
}

/// sum += x * shift, where `sum` is of products with what x is the sum of.
template <class C>
__device__ void add_product(const RowSum<C>& x, const device::Pair<C>& shift, RowSum<C>& sum) {
  add_pair(device::multiply<C>({x.hi, x.lo}, shift.hi), sum);
  sum.lo = device::fma(x.hi, shift.lo.number, sum.lo);
}

/// a / b, 0 where b is: no element takes part.
template <class C>
__device__ device::Pair<C> quotient(const RowSum<C>& a, const RowSum<C>& b) {
  if (b.hi == 0) return {C(0), C(0)};
  // Where terms cancel, or are many, the low words are not small.
  const device::Pair<C> n = device::two_sum<C>(a.hi, a.lo), d = device::two_sum<C>(b.hi, b.lo);
  const C reciprocal = C(1) / d.hi.number, q = n.hi.number * reciprocal;
  if (!(device::absolute(q) <= device::Constants<C>::largest)) return {a.hi * reciprocal, C(0)};
  const C rest = device::fma(-d.hi.number, q, n.hi.number) + device::fma(-d.lo.number, q, n.lo.number);
  return device::fast_two_sum<C>(q, rest * reciprocal);
}

/// x - mean, right to a rounding of the difference.
template <class C>
__device__ C distance_from(const device::Pair<C>& mean, C x) {
  return (x - mean.hi.number) - mean.lo.number;
}

/// x / T.
template <class C>
__device__ C divided(C x, const LogitScale<C>& by) {
  const C scaled = x * by.before;
  const C quotient = scaled * by.nats;  // as in division.cuh
  return device::absolute(quotient) <= device::Constants<C>::largest
             ? device::fma(scaled, by.nats, scaled * by.nats_rest)
             : quotient;
}

/// The power of two below 1 / T: variables times this are in about the unit of z / T, and exact.
template <class C>
__device__ C variable_unit(const LogitScale<C>& scale) {
  constexpr int kMantissa = device::Constants<C>::mantissa_bits;
  return device::from_bits(device::to_bits(scale.nats) >> kMantissa << kMantissa);
}

/// Exponentials e and products e x. x may be any number: before the product, e is made so small that a sum of
/// 2^24 products does not overflow (2^64 in f64). So |x| below 2^-102 loses bits (2^-958).
template <class C>
struct WeightedSums {
  static constexpr C kWeight = sizeof(C) == 8 ? C(0x1p-576) : C(0x1p-88);
  RowSum<C> sum, weighted;
  __device__ static WeightedSums none() { return {RowSum<C>::none(), RowSum<C>::none()}; }
  __device__ void add(C e, C x) {
    sum.add(e);
    add_pair(device::two_product<C>(e * kWeight, x), weighted);
  }
  __device__ WeightedSums merged(const WeightedSums& other) const {
    return {sum.merged(other.sum), weighted.merged(other.weighted)};
  }
  __device__ WeightedSums shuffled(int offset) const {
    return {sum.shuffled(offset), weighted.shuffled(offset)};
  }
  __device__ WeightedSums times(C factor) const {
    return {times_exactly(sum, factor), times_exactly(weighted, factor)};
  }
  /// Of x.
  __device__ device::Pair<C> mean() const { return quotient(weighted, sum.times(kWeight)); }
};

/// What the exponentials of a part of a row are multiplied by for the scale of the row: a power of two where
/// both take z itself as the variable, else the ratio of their exponentials of the part's maximum.
template <Exponential E, class C>
__device__ C part_ratio(C part_max, const LogitScale<C>& scale, const RowScale<C>& part,
                        const RowScale<C>& row) {
  if (part.shift == row.shift) {
    const C steps = device::max_nan(row.rounder - part.rounder, C(-4096));  // Further down nothing is left.
    return scalbn(C(1), static_cast<int>(steps));
  }
  return exponential<E>(variable(part_max, scale, row), scale, row) / exponential<E>(part.top, scale, part);
}

}  // namespace actium::kernels

#pragma once
/// mish = x tanh(softplus(x)).
#include <actium/device/activation_op.cuh>

namespace actium::device {

/// With D = (1 + E)^2 + 1 for x < 0 and (1 + E)^2 + E^2 for x >= 0:
///   x >= 0: x - x 2 E^2 / D              slope ((1 + 2E) D + 4 x E^2 (1 + E)) / D^2
///   x <  0: x E - x E (E + E^2) / D      slope E (4 (1 + E) (1 + x) + E (2 + 4 E + E^2)) / D^2
/// and the curvature, in which only the first of these factors can cancel and only next to its zeros:
///   x >= 0: 4 E^2 (2 (1 - x) + E (6 + 8 E + 4 E^2 - x (3 - 2 E - 2 E^2))) / D^3
///   x <  0: 4 E (2 (1 + E) (2 + x) + E (4 + 6 E + 2 E^2) - x E^2 (3 + 2 E)) / D^3
template <>
struct Op<ActivationKind::mish> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number), one(1), two(2), three(3), four(4);
    const bool negative = x < 0;
    const Exponential<T> decay = exponential_decay(x);
    const Real<T> e = decay.value, scale_or_one = negative ? decay.scaled : one;
    const Real<T> unscale_factor = negative ? Constants<T>::inverse_scale : T(1);

    // The value is x N / D with N = 2 E + E^2 and D = 2 + N or, for x >= 0, N = 1/2 + E and D = N + E^2. What
    // N / D lacks is found by its remainder, and the product with x is rounded once.
    const Real<T> first = negative ? decay.scaled + decay.scaled : Real<T>(T(0.5));
    const Real<T> n = fma(e, scale_or_one, first), n_rest = fma(e, scale_or_one, first - n);
    const Real<T> d_hi = negative ? two : n, d_lo = negative ? unscale(n) : e * e;
    const Real<T> reciprocal = approximate_reciprocal(d_hi + d_lo), ratio = n * reciprocal;
    const Real<T> remainder = fma(-d_lo, ratio, fma(-d_hi, ratio, n)) + n_rest;
    const Real<T> not_less = max_nan(x, 2 * Constants<T>::smallest_exponent);
    // Of inf, what is lacking is 0, and not 0 inf.
    const Real<T> lacking = min_nan(not_less, Constants<T>::largest) * (remainder * reciprocal);
    const Real<T> value = copy_sign(fma(not_less, ratio, lacking) * unscale_factor, x);

    const Real<T> k = negative ? e : e + e;  // D = k E + (2 E + (2 or 1))
    const Real<T> partial = fma(two, e, negative ? two : one);
    const Pair<T> d = {fma(k, e, partial), fma(k, e, partial - fma(k, e, partial))};
    const Real<T> bounded = clamp_nan(x, Real<T>(-Constants<T>::smallest_exponent));
    const Real<T> below = fma(four * decay.plus_one.hi, one + bounded, e * fma(e, e + four, two));
    const Real<T> above = fma(four * bounded * e, e * decay.plus_one.hi, fma(two, e, one) * d.hi);
    const Pair<T> numerator = two_product(negative ? below : above, scale_or_one);
    const Real<T> general = divide(numerator, square(d)) * unscale_factor;
    const Real<T> slope = near_root<coefficients::MishRoot<T>>(x, general);

    const Real<T> left = fma(-bounded * e, e * fma(two, e, three), e * fma(e, fma(two, e, T(6)), four));
    const Real<T> right =
        fma(-bounded, fma(-two * e, decay.plus_one.hi, three), fma(e, fma(four, e, T(8)), T(6)));
    const Real<T> factor =
        negative ? fma(two * decay.plus_one.hi, two + bounded, left) : fma(e, right, two * (one - bounded));
    const Real<T> power = four * decay.scaled * (negative ? one : e);
    const Pair<T> d2 = square(d), d3 = multiply(d2, d.hi);
    const Pair<T> cube = {d3.hi, fma(d2.hi, d.lo, d3.lo)};
    const Real<T> curvature = copy_sign(unscale(divide(two_product(factor, power), cube)), factor);
    return {value.number, slope.number, curvature.number};
  }
};

/// The same with E = H^2, of which the last factor comes last, so that nothing underflows too early.
template <>
struct Op16<ActivationKind::mish> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    constexpr float kBound = -2 * Constants<float>::smallest_exponent;
    const Real<float> x(x_number), one(1), two(2), three(3), four(4);
    const bool negative = x < 0;
    const Real<float> not_less = max_nan(x, -kBound), bounded = clamp_nan(x, Real<float>(kBound));
    const Real<float> h = approximate_exp2(absolute(not_less) * (Constants<float>::log2_e * -0.5f));
    const Real<float> e = h * h, one_plus_e = one + e, h_or_one = negative ? h : one;

    const Real<float> partial = fma(two, e, one);
    const Real<float> d = negative ? fma(e, e, partial + one) : fma(e + e, e, partial);
    const Real<float> r = approximate_reciprocal(d);
    const Real<float> value = not_less * r * (negative ? e + two : partial) * h_or_one * h_or_one;

    const Real<float> below = fma(four * one_plus_e, one + bounded, e * fma(e, e + four, two));
    const Real<float> above = fma(four * bounded * e, e * one_plus_e, partial * d);
    const Real<float> general = (negative ? below : above) * r * r * h_or_one * h_or_one;
    const Real<float> slope = near_root<coefficients::MishRoot16>(x, general);

    const Real<float> left = fma(-bounded * e, e * fma(two, e, three), e * fma(e, fma(two, e, 6.0f), four));
    const Real<float> right =
        fma(-bounded, fma(-two * e, one_plus_e, three), fma(e, fma(four, e, 8.0f), 6.0f));
    const Real<float> factor =
        negative ? fma(two * one_plus_e, two + bounded, left) : fma(e, right, two * (one - bounded));
    const Real<float> power = negative ? h : e;
    return {value.number, slope.number, (four * factor * r * r * r * power * power).number};
  }
};

}  // namespace actium::device

#pragma once
/// Linear between kinks, and powers.
#include <actium/device/activation_op.cuh>

namespace actium::device {

/// x < p and x > p, as the double decides that p is the head and the rest of.
template <class T>
ACTIUM_HD bool is_below(T x, Pair<T> p) {
  return x < p.hi.number || (x == p.hi.number && p.lo.number > 0);
}
template <class T>
ACTIUM_HD bool is_above(T x, Pair<T> p) {
  return x > p.hi.number || (x == p.hi.number && p.lo.number < 0);
}

/// 0, but NaN where x is NaN: what a piecewise constant is outside its pieces.
template <class T>
ACTIUM_HD T zero_or_nan(T x) {
  return x == x ? T(0) : x;
}

/// p / 6, rounded nearly correctly.
template <class T>
ACTIUM_HD Real<T> sixth(Pair<T> p) {
  constexpr T kSixth = T(1) / T(6);
  const Real<T> quotient = p.hi * kSixth;
  return fma(fma(Real<T>(-6), quotient, p.hi) + p.lo, kSixth, quotient);
}

template <>
struct Op<ActivationKind::identity> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    return {x, T(1), T(0)};
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T, const Parameters<T>&) {
    return T(1);
  }
};

template <>
struct Op<ActivationKind::relu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    return {x <= 0 ? T(0) : x, x > 0 ? T(1) : zero_or_nan(x), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>&) {
    return y > 0 ? T(1) : zero_or_nan(y);
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>&) {
    return x > 0;
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

template <>
struct Op<ActivationKind::relu6> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const T value = min_nan(max_nan(x, T(0)), T(6));
    return {value, slope_from_output(x, parameters), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>& parameters) {
    return is_on(y, parameters) ? T(1) : zero_or_nan(y);
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>&) {
    return x > 0 && x < 6;
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

template <>
struct Op<ActivationKind::leaky_relu> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const Pair<T> slope = parameters.p[0];
    constexpr T kLargest = Constants<T>::largest;
    // 0 * inf has the limit 0 here. The product's second part is left out where it could only do harm: it
    // changes neither an infinity nor the sign of a zero.
    const Real<T> scaled = slope.hi * (slope.hi == 0 ? max_nan(Real<T>(x), -kLargest) : Real<T>(x));
    const bool exact = scaled == 0 || absolute(scaled) > kLargest;
    const Real<T> product = exact ? scaled : fma(slope.hi, x, slope.lo * x);
    const T slope_here = x > 0 ? T(1) : x <= 0 ? slope.hi.number : x;
    return {x > 0 ? x : product.number, slope_here, zero_or_nan(x)};
  }
  /// min(x, 0)
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>&) {
    return {{x >= 0 ? T(0) : x}};
  }
  /// The output's sign is the input's only for slope >= 0.
  template <class Stored>
  static bool works_from_output(const double (&parameters)[kMaxParameters]) {
    return parameters[0] >= 0;
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>& parameters) {
    return y > 0 ? T(1) : y <= 0 ? parameters.p[0].hi.number : y;
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>&) {
    return x > 0;
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>& parameters) {
    return {T(1), parameters.p[0].hi.number};
  }
};

/// The same function; its slope is learnt, one for each channel.
template <>
struct Op<ActivationKind::prelu> : Op<ActivationKind::leaky_relu> {};

template <>
struct Op16<ActivationKind::leaky_relu> : Op<ActivationKind::leaky_relu> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const float slope = parameters.p[0].hi.number;
    const float product = slope * (slope == 0 ? max_nan(x, -Constants<float>::largest) : x);
    return {x > 0 ? x : product, x > 0 ? 1 : x <= 0 ? slope : x, zero_or_nan(x)};
  }
};
template <>
struct Op16<ActivationKind::prelu> : Op16<ActivationKind::leaky_relu> {};

template <>
struct Op<ActivationKind::relu_squared> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    const Real<T> positive = x <= 0 ? T(0) : x;
    return {(positive * positive).number, (positive + positive).number, x > 0 ? T(2) : zero_or_nan(x)};
  }
};

/// From the output it cannot be told apart: `value` may exceed `threshold`, be it only by rounding.
template <>
struct Op<ActivationKind::threshold> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const T below = x == x ? parameters.p[1].hi.number : x;
    const bool on = is_on(x, parameters);
    return {on ? x : below, on ? T(1) : zero_or_nan(x), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    return {{zero_or_nan(x), is_on(x, parameters) ? T(0) : x == x ? T(1) : x}};
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>& parameters) {
    return is_above(x, parameters.p[0]);
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

template <>
struct Op<ActivationKind::hardtanh> {
  /// Rounding keeps the order, so the value needs no more than the heads of the bounds.
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const T lo = parameters.p[0].hi.number, hi = parameters.p[1].hi.number;
    const T value = x >= hi ? hi : max_nan(x, lo);
    return {value, is_on(x, parameters) ? T(1) : zero_or_nan(x), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    const bool above = x == x && !is_below(x, parameters.p[1]), on = is_on(x, parameters);
    return {{on || above || x != x ? zero_or_nan(x) : T(1), above ? T(1) : zero_or_nan(x)}};
  }
  /// Only where the bounds are stored exactly: a lower bound that is rounded up would look like an input
  /// above it.
  template <class Stored>
  static bool works_from_output(const double (&parameters)[kMaxParameters]) {
    return static_cast<double>(static_cast<Stored>(parameters[0])) == parameters[0] &&
           static_cast<double>(static_cast<Stored>(parameters[1])) == parameters[1];
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>& parameters) {
    return is_on(y, parameters) ? T(1) : zero_or_nan(y);
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>& parameters) {
    return is_above(x, parameters.p[0]) && is_below(x, parameters.p[1]);
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

/// (3 + x) / 6 between -3 and 3. Not from the output, which rounds to 1 before x reaches 3.
template <>
struct Op<ActivationKind::hardsigmoid> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const Real<T> bounded = clamp_nan(Real<T>(x), Real<T>(3));
    const T slope = is_on(x, parameters) ? T(1) / T(6) : zero_or_nan(x);
    return {sixth(fast_two_sum(Real<T>(3), bounded)).number, slope, zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>&) {
    return absolute(x) < 3;
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1) / T(6), T(0)};
  }
};

template <>
struct Op16<ActivationKind::hardsigmoid> : Op<ActivationKind::hardsigmoid> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const Real<float> bounded = clamp_nan(Real<float>(x), Real<float>(3)), sixth(1.0f / 6);
    const Jet<float> other = Op<ActivationKind::hardsigmoid>::eval(x, parameters);
    return {((bounded + 3) * sixth).number, other.slope, other.curvature};
  }
};

/// x (3 + x) / 6, slope (3 + 2 x) / 6 between -3 and 3.
template <>
struct Op<ActivationKind::hardswish> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>&) {
    const Real<T> bounded = clamp_nan(Real<T>(x), Real<T>(3)), three(3), two(2);
    const Pair<T> product = multiply(fast_two_sum(three, bounded), bounded);
    const Real<T> value = copy_sign(sixth(product), Real<T>(x));  // -0 for x <= -3
    const Real<T> sum = fma(two, bounded, three), sum_rest = fma(two, bounded, three - sum);
    const T slope = sixth<T>({sum, sum_rest}).number;
    const T outside = x > 0 ? T(1) : zero_or_nan(x);
    const bool inside = absolute(x) < 3;
    return {x > 3 ? x : value.number, inside ? slope : outside, inside ? T(1) / T(3) : zero_or_nan(x)};
  }
};

template <>
struct Op16<ActivationKind::hardswish> : Op<ActivationKind::hardswish> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>&) {
    const Real<float> bounded = clamp_nan(Real<float>(x), Real<float>(3)), three(3), sixth(1.0f / 6);
    const Real<float> value = bounded * ((bounded + three) * sixth);
    const Real<float> slope = fma(Real<float>(2), bounded, three) * sixth;
    const bool inside = absolute(x) < 3;
    return {x > 3 ? x : value.number,
            inside  ? slope.number
            : x > 0 ? 1
                    : zero_or_nan(x),
            inside ? 1.0f / 3 : zero_or_nan(x)};
  }
};

template <>
struct Op<ActivationKind::hardshrink> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const bool on = is_on(x, parameters);
    return {on ? x : zero_or_nan(x), on ? T(1) : zero_or_nan(x), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>&) {
    return {{zero_or_nan(x)}};
  }
  template <class T>
  ACTIUM_HD static T slope_from_output(T y, const Parameters<T>&) {
    return y == 0 ? T(0) : y == y ? T(1) : y;
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>& parameters) {
    return is_above(absolute(x), parameters.p[0]);
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

/// Not from the output: the smallest differences of |x| and a lambda of more bits are stored as 0.
template <>
struct Op<ActivationKind::softshrink> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x, const Parameters<T>& parameters) {
    const Pair<T> lambda = parameters.p[0];
    const Real<T> magnitude = min_nan(absolute(x), Constants<T>::largest);
    const Pair<T> difference = fast_two_sum(magnitude, -lambda.hi);
    const T shrunk = copy_sign((difference.hi + (difference.lo - lambda.lo)).number, x);
    const bool on = is_on(x, parameters), finite = absolute(x) <= Constants<T>::largest;
    return {on ? (finite ? shrunk : x) : zero_or_nan(x), on ? T(1) : zero_or_nan(x), zero_or_nan(x)};
  }
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x, const Parameters<T>& parameters) {
    return {{is_on(x, parameters) ? copy_sign(T(1), -x) : zero_or_nan(x)}};
  }
  template <class T>
  ACTIUM_HD static bool is_on(T x, const Parameters<T>& parameters) {
    return is_above(absolute(x), parameters.p[0]);
  }
  template <class T>
  ACTIUM_HD static TwoSlopes<T> two_slopes(const Parameters<T>&) {
    return {T(1), T(0)};
  }
};

template <>
struct Op16<ActivationKind::softshrink> : Op<ActivationKind::softshrink> {
  ACTIUM_HD static Jet<float> eval(float x, const Parameters<float>& parameters) {
    const Pair<float> lambda = parameters.p[0];
    const Real<float> difference = (absolute(Real<float>(x)) - lambda.hi) - lambda.lo;
    const bool on = is_on(x, parameters);
    return {on ? copy_sign(difference.number, x) : zero_or_nan(x), on ? 1 : zero_or_nan(x), zero_or_nan(x)};
  }
};

}  // namespace actium::device

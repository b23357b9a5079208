#pragma once
/// Functions with a sine. Angles are counted in quarter turns of pi / 2.
///
/// At +-inf neither a sine nor its derivatives have a limit: NaN, as is the slope of snake there.
#include <actium/device/activation_op.cuh>

namespace actium::device {

/// An angle of (quadrant + f) pi / 2 with |f| <= 1/2 or hardly more: the quadrant (all bits but the lowest
/// two are meaningless) and r = f pi / 2.
template <class T>
struct Angle {
  std::uint32_t quadrant;
  Pair<T> r;
};

/// An angle in quarter turns modulo 4, times 2^126: 128 bits.
struct FixedAngle {
  std::uint64_t high, low;

  friend ACTIUM_HD FixedAngle operator+(FixedAngle a, FixedAngle b) {
    const std::uint64_t sum = a.low + b.low;
    return {a.high + b.high + (sum < a.low ? 1u : 0u), sum};
  }
  friend ACTIUM_HD FixedAngle operator-(FixedAngle a) {
    return {~a.high + (a.low == 0 ? 1u : 0u), ~a.low + 1};
  }
};

/// m 2^e radians, exactly but for the last bits of the result (after Payne and Hanek): of 2 / pi only those
/// bits count whose products with m 2^e are below 4 and not too small.
ACTIUM_HD FixedAngle fixed_angle(std::uint64_t m, int e) {
  // The bits of 2 / pi from that of weight 2^(1 - e) on. Before the first there are zeros.
  const int first = e > -254 ? e + 62 : -192, word = first >> 6, shift = first & 63;
  const auto word_at = [](int i) { return i < 1 ? 0 : coefficients::two_over_pi_word(i); };
  const std::uint64_t w0 = word_at(word), w1 = word_at(word + 1), w2 = word_at(word + 2),
                      w3 = word_at(word + 3);
  const std::uint64_t a = w0 << shift | w1 >> 1 >> (63 - shift), b = w1 << shift | w2 >> 1 >> (63 - shift),
                      c = w2 << shift | w3 >> 1 >> (63 - shift);
  return FixedAngle{m * a, 0} + FixedAngle{multiply_high(m, b), m * b} + FixedAngle{0, multiply_high(m, c)};
}

/// |x| = m 2^e.
template <class T>
struct Integral {
  static constexpr int kBits = Constants<T>::mantissa_bits, kBias = sizeof(T) == 4 ? 127 : 1023;
  std::uint64_t m;
  int e;

  ACTIUM_HD explicit Integral(Real<T> x) {
    const std::uint64_t bits = to_bits(absolute(x).number), leading = std::uint64_t{1} << kBits;
    const int field = static_cast<int>(bits >> kBits);
    m = (bits & (leading - 1)) | (field == 0 ? 0 : leading);
    e = (field == 0 ? 1 : field) - kBias - kBits;
  }
};

/// a x radians. The product is exact and may be beyond the range of T.
template <class T>
ACTIUM_HD FixedAngle fixed_angle(Real<T> a, Real<T> x) {
  const Integral<T> p(a), q(x);
  FixedAngle angle = fixed_angle(p.m * q.m, p.e + q.e);
  if constexpr (sizeof(T) == 8) angle = angle + fixed_angle(multiply_high(p.m, q.m), p.e + q.e + 64);
  return sign_bit(a) != sign_bit(x) ? -angle : angle;
}

template <class T>
ACTIUM_HD Angle<T> to_angle(FixedAngle a) {
  using Quarter = coefficients::QuarterTurn<T>;
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 61;
  const auto quadrant = static_cast<std::uint32_t>((a.high + kHalf) >> 62);
  // f 2^128, first its sign
  FixedAngle f = {a.high << 2 | a.low >> 62, a.low << 2};
  const bool negative = f.high >> 63 != 0;
  if (negative) f = -f;
  const T head = static_cast<T>(f.high);
  const T rest = static_cast<T>(static_cast<std::int64_t>(f.high - static_cast<std::uint64_t>(head)));
  const Pair<T> sum =
      fast_two_sum(Real<T>(head), fma(Real<T>(static_cast<T>(f.low)), Real<T>(T(0x1p-64)), Real<T>(rest)));
  const T power = negative ? T(-0x1p-64) : T(0x1p-64);
  const Pair<T> product = multiply(sum, Real<T>(Quarter::first) * power);
  return {quadrant, {product.hi, fma(sum.hi, Real<T>(Quarter::second) * power, product.lo)}};
}

/// The angle of t >= 0 radians.
template <class T>
ACTIUM_HD Angle<T> angle_of(Real<T> t) {
  using Quarter = coefficients::QuarterTurn<T>;
  constexpr T kLimit = sizeof(T) == 4 ? T(0x1p17) : T(0x1p20);
  constexpr T kRound = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);
  if (t < kLimit) {
    const Real<T> biased = fma(t, Quarter::inverse_first, kRound), n = biased - Real<T>(kRound);
    // The leading difference is exact, and the product with the second part is carried in full.
    const Pair<T> next = two_product(n, Real<T>(Quarter::second));
    const Pair<T> r = fast_two_sum(fma(-n, Quarter::first, t), -next.hi);
    return {static_cast<std::uint32_t>(to_bits(biased.number)),
            {r.hi, fma(-n, Quarter::third, r.lo - next.lo)}};
  }
  Angle<T> angle = to_angle<T>(fixed_angle(Real<T>(1), t));
  angle.r.hi = angle.r.hi + (t - t);  // NaN for inf and NaN
  return angle;
}

/// sin(r) and cos(r) for |r| <= pi / 4, as unevaluated sums.
template <class T>
ACTIUM_HD Pair<T> sine(Pair<T> r) {
  const Real<T> z = r.hi * r.hi;
  const Real<T> rest = fma(z * T(-0.5), r.lo, r.lo);  // r.lo cos(r)
  return {r.hi, fma(r.hi * z, polynomial<coefficients::SineTail<T>>(z), rest)};
}
template <class T>
ACTIUM_HD Pair<T> cosine(Pair<T> r) {
  const Real<T> z = r.hi * r.hi, half = z * T(0.5), head = Real<T>(1) - half;
  const Real<T> rest = fma(-r.hi, r.lo, (Real<T>(1) - head) - half);
  return {head, fma(z * z, polynomial<coefficients::CosineTail<T>>(z), rest)};
}

/// y, or -y where bit 1 of `quadrant` is set.
template <class T>
ACTIUM_HD Real<T> in_quadrant(std::uint32_t quadrant, Real<T> y) {
  constexpr int kShift = static_cast<int>(8 * sizeof(T)) - 2;
  using Bits = decltype(to_bits(T()));
  return from_bits(static_cast<Bits>(to_bits(y.number) ^ (static_cast<Bits>(quadrant & 2u) << kShift)));
}

/// sin(x), cos(x) and -sin(x).
template <>
struct Op<ActivationKind::sine> {
  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>&) {
    const Real<T> x(x_number);
    const Angle<T> angle = angle_of(absolute(x));
    const bool odd = (angle.quadrant & 1u) != 0;
    const Pair<T> s = sine(angle.r), c = cosine(angle.r);
    const Real<T> magnitude = in_quadrant(angle.quadrant, odd ? c.hi + c.lo : s.hi + s.lo);
    const Real<T> value = sign_bit(x) ? -magnitude : magnitude;
    const Real<T> slope = in_quadrant(angle.quadrant + 1, odd ? s.hi + s.lo : c.hi + c.lo);
    return {value.number, slope.number, -value.number};
  }
};

/// x + sin^2(alpha x) / alpha, with derivatives 1 + sin(2 alpha x) = 2 sin^2(alpha x + pi / 4), whose zeros
/// are factors, and 2 alpha cos(2 alpha x) = 2 alpha sin(2 (alpha x + pi / 4)).
/// derived: 2 / pi alpha; 1 / alpha; what hi + lo leave of 2 / pi alpha (hi: in float, lo: in double), and
/// what they leave of alpha in float.
template <>
struct Op<ActivationKind::snake> {
  static void derive(const double (&parameters)[kMaxParameters], Derived& derived) {
    using Quarter = coefficients::QuarterTurn<double>;
    const double alpha = parameters[0];
    const Pair<double> leading = two_product<double>(Quarter::inverse_first, alpha),
                       next = two_product<double>(Quarter::inverse_second, alpha);
    const Pair<double> middle = two_sum(leading.lo, next.hi), turns = fast_two_sum(leading.hi, middle.hi);
    derived.hi[0] = turns.hi.number;
    derived.lo[0] = turns.lo.number;
    const double inverse = 1 / alpha;
    derived.hi[1] = inverse;
    derived.lo[1] = std::fma(-inverse, alpha, 1) * inverse;
    const Pair<float> turns_head = detail::split<float>(derived.hi[0], derived.lo[0]);
    const Pair<float> alpha_head = detail::split<float>(alpha, 0);
    derived.hi[2] = static_cast<float>(without(turns_head, derived.hi[0]) + derived.lo[0]);
    derived.lo[2] = (middle.lo + fma(Real<double>(Quarter::inverse_third), alpha, next.lo)).number;
    derived.hi[3] = without(alpha_head, alpha);
  }

  template <class T>
  ACTIUM_HD static Jet<T> eval(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number);
    const Pair<T> inverse = parameters.derived[1];
    const Pair<T> square = sine_square(angle<0>(x, parameters));
    const Pair<T> wave = multiply(square, inverse.hi);
    const Real<T> value = (x + wave.hi) + fma(square.hi, inverse.lo, wave.lo);

    Angle<T> shifted = angle<1>(x, parameters);
    shifted.r.hi = shifted.r.hi + (x - x);  // NaN for inf
    const Pair<T> half_slope = sine_square(shifted);
    const Real<T> slope = (half_slope.hi + half_slope.lo) * T(2);

    const Pair<T> s = sine(shifted.r), c = cosine(shifted.r);
    const Real<T> curvature = parameters.p[0].hi * (Real<T>(4) * ((s.hi + s.lo) * (c.hi + c.lo)));
    return {value.number, slope.number, in_quadrant(shifted.quadrant << 1, curvature).number};
  }

  /// With s = sin(alpha x) / alpha: 2 s (x cos(alpha x) - s / 2). No limit at +-inf: NaN.
  template <class T>
  ACTIUM_HD static ParameterSlopes<T> parameter_slopes(T x_number, const Parameters<T>& parameters) {
    const Real<T> x(x_number);
    const Angle<T> a = angle<0>(x, parameters);
    const bool odd = (a.quadrant & 1u) != 0;
    const Pair<T> near_zero = sine(a.r), near_one = cosine(a.r);
    const Pair<T> sin = odd ? near_one : near_zero, inverse = parameters.derived[1];
    const Pair<T> cos = odd ? Pair<T>{-near_zero.hi, -near_zero.lo} : near_one;
    const Real<T> low = fma(sin.hi, inverse.lo, sin.lo * inverse.hi), s_hi = fma(sin.hi, inverse.hi, low);
    // Where it is all but x, alpha x may be too small a number.
    constexpr T kTiny = sizeof(T) == 4 ? T(0x1p-14) : T(0x1p-28);
    const bool tiny = absolute(x * parameters.p[0].hi) < Real<T>(kTiny);
    const Real<T> s = tiny ? x : s_hi, s_lo = tiny ? Real<T>(0) : fma(sin.hi, inverse.hi, -s_hi) + low;
    const Real<T> difference = fma(x, cos.hi, s * T(-0.5));
    const Real<T> factor = difference + fma(s_lo, T(-0.5), x * cos.lo);
    return {{fma(s + s, factor, x - x).number, T(0), T(0)}};
  }

 protected:
  /// alpha x radians.
  template <class T>
  ACTIUM_HD static FixedAngle fixed_product(Real<T> x, const Parameters<T>& parameters) {
    FixedAngle sum = fixed_angle(parameters.p[0].hi, x);
    if constexpr (sizeof(T) == 4)
      sum = sum + fixed_angle(parameters.p[0].lo, x) + fixed_angle(parameters.derived[3].hi, x);
    return sum;
  }

 private:
  static double without(Pair<float> head, double number) {
    return number - static_cast<double>(head.hi.number) - static_cast<double>(head.lo.number);
  }

  /// alpha x + Eighths pi / 4.
  template <int Eighths, class T>
  ACTIUM_HD static Angle<T> angle(Real<T> x, const Parameters<T>& parameters) {
    using Quarter = coefficients::QuarterTurn<T>;
    constexpr T kLimit = sizeof(T) == 4 ? T(0x1p16) : T(0x1p20);
    constexpr T kRound = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);
    const Pair<T> turns = parameters.derived[0];
    const Pair<T> leading = two_product(x, turns.hi);
    if (absolute(leading.hi) < Real<T>(kLimit)) {
      const Pair<T> next = two_product(x, turns.lo);
      const Real<T> shift(T(0.5) * Eighths);
      const Real<T> biased = (leading.hi + shift) + Real<T>(kRound), n = biased - Real<T>(kRound);
      const Pair<T> f = fast_two_sum(shift - n, leading.hi), rest = two_sum(leading.lo, next.hi);
      const Pair<T> sum = fast_two_sum(f.hi, rest.hi);
      const Real<T> last =
          fma(x, sizeof(T) == 4 ? parameters.derived[2].hi : parameters.derived[2].lo, next.lo);
      const Real<T> low = sum.lo + (f.lo + (rest.lo + last));
      const Pair<T> r = multiply<T>({sum.hi, low}, Real<T>(Quarter::first));
      return {static_cast<std::uint32_t>(to_bits(biased.number)), {r.hi, fma(sum.hi, Quarter::second, r.lo)}};
    }
    return to_angle<T>(fixed_product(x, parameters) + FixedAngle{std::uint64_t{Eighths} << 61, 0});
  }

  /// The square of the sine of an angle; in odd quadrants it is 1 - sin(r)^2.
  template <class T>
  ACTIUM_HD static Pair<T> sine_square(Angle<T> angle) {
    const Pair<T> s = sine(angle.r), same = square(fast_two_sum(s.hi, s.lo));
    const Pair<T> other = fast_two_sum(Real<T>(1), -same.hi);
    const bool odd = (angle.quadrant & 1u) != 0;
    return {odd ? other.hi : same.hi, odd ? other.lo - same.lo : same.lo};
  }
};

/// For 16-bit results: an angle as a number of half turns, odd or even, and r with |r| <= pi / 2.
struct HalfTurns {
  bool odd;
  Real<float> r;

  ACTIUM_HD Real<float> sine() const {
    const Real<float> z = r * r, y = fma(r * z, polynomial<coefficients::SineTail16>(z), r);
    return from_bits(to_bits(y.number) ^ (odd ? 0x80000000u : 0u));
  }
};

/// turns * x quarter turns + Eighths pi / 4; where there are many, `exact()` says the angle.
template <int Eighths, class Exact>
ACTIUM_HD HalfTurns half_turns(Real<float> x, Pair<float> turns, const Exact& exact) {
  using Quarter = coefficients::QuarterTurn<float>;
  const Pair<float> leading = multiply(turns, x);
  constexpr float kLimit = 0x1p16f, kRound = 0x1.8p23f;
  if (absolute(leading.hi) < Real<float>(kLimit)) {
    const Real<float> shift(0.5f * Eighths), half(0.5f);
    const Real<float> biased = fma(half, leading.hi, half * shift) + Real<float>(kRound);
    const Real<float> n = biased - Real<float>(kRound);
    const Real<float> f = (leading.hi - fma(Real<float>(2), n, -shift)) + leading.lo;
    return {(to_bits(biased.number) & 1u) != 0, f * Quarter::first};
  }
  const FixedAngle angle = exact() + FixedAngle{std::uint64_t{Eighths} << 61, 0};
  const auto rest = static_cast<std::int64_t>(angle.high << 1);
  const bool odd = (angle.high + (std::uint64_t{1} << 62)) >> 63 != 0;
  return {odd, Real<float>(static_cast<float>(rest)) * (Quarter::first * 0x1p-63f) + (x - x)};
}

template <>
struct Op16<ActivationKind::sine> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>&) {
    using Quarter = coefficients::QuarterTurn<float>;
    const Real<float> x(x_number), t = absolute(x);
    const Pair<float> turns = {Quarter::inverse_first, Quarter::inverse_second};
    const auto exact = [&] { return fixed_angle(Real<float>(1), t); };
    const Real<float> magnitude = half_turns<0>(t, turns, exact).sine();
    const Real<float> value = sign_bit(x) ? -magnitude : magnitude;
    return {value.number, half_turns<2>(t, turns, exact).sine().number, -value.number};
  }
};

template <>
struct Op16<ActivationKind::snake> : Op<ActivationKind::snake> {
  ACTIUM_HD static Jet<float> eval(float x_number, const Parameters<float>& parameters) {
    const Real<float> x(x_number);
    const auto exact = [&] { return fixed_product(x, parameters); };
    const Real<float> sine = half_turns<0>(x, parameters.derived[0], exact).sine();
    // The sum is x where the sine does not count, and at +-inf.
    const Real<float> wave = sine * sine * parameters.derived[1].hi;
    const Real<float> value = absolute(x) < Real<float>(Constants<float>::largest) ? x + wave : x;

    const Real<float> root = half_turns<1>(x, parameters.derived[0], exact).sine();
    const Real<float> cosine = half_turns<3>(x, parameters.derived[0], exact).sine();
    const Real<float> curvature = parameters.p[0].hi * (Real<float>(4) * (root * cosine));
    return {value.number, (root * root * 2.0f).number, curvature.number};
  }
};

}  // namespace actium::device

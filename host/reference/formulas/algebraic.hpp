#pragma once
// Rational functions and square roots.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

/// x / (1 + |x|), and 1 / (1 / |x| + 1) for large |x|. The curvature at 0, between -2 and 2, counts as 0.
template <>
struct Formula<ActivationKind::softsign> {
  template <class S>
  static S value(const S& x, const S*) {
    if (x > S(1.0)) return 1.0 / (1.0 + 1.0 / x);
    if (x > S(0.0)) return x / (1.0 + x);
    if (x < S(-1.0)) return 1.0 / (1.0 / x - 1.0);
    if (x < S(0.0)) return x / (1.0 - x);
    if (x <= S(0.0)) return x;
    return x * x;  // NaN, and so are its slopes
  }
};

/// (x + sqrt(x^2 + b)) / 2 = b/2 / (sqrt(x^2 + b) - x). For b = 0 it is relu.
template <>
struct Formula<ActivationKind::squareplus> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    using std::sqrt;
    const S& b = parameters[0];
    const bool positive = x > S(0.0), negative = x < S(0.0);
    if (b <= S(0.0)) return positive ? x : x <= S(0.0) ? S(0.0) : S(x * x);
    const S square = x * x, magnitude = negative ? -x : x;
    const S root = square > b ? S(magnitude * sqrt(1.0 + b / square)) : S(sqrt(square + b));
    return negative ? S(b / 2.0 / (root + magnitude)) : S((x + root) / 2.0);
  }
};

}  // namespace actium::reference

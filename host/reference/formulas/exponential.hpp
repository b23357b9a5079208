#pragma once
// The exponential and what is made of it on one side of 0.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

namespace detail {
/// expm1(x) / x - 1 for small |x|, where the difference cancels, by its series.
template <class S>
S expm1_tail(const S& x) {
  S sum(0.0);
  for (int k = 44; k > 1; --k) sum = (1.0 + sum) * x / S(static_cast<double>(k));
  return sum;
}
}  // namespace detail

template <>
struct Formula<ActivationKind::exp> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::exp;
    return exp(x);
  }
};

template <>
struct Formula<ActivationKind::elu> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    using std::expm1;
    return x > S(0.0) ? x : product(parameters[0], S(expm1(x)));
  }
};

template <>
struct Formula<ActivationKind::celu> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    using std::expm1;
    if (x > S(0.0)) return x;
    const S quotient = x / parameters[0];
    // The same; so the derivative by alpha does not cancel.
    if (quotient > S(-0.5)) return x * (1.0 + detail::expm1_tail(quotient));
    const auto z = extended(x) / extended(parameters[0]);
    return product(parameters[0], S(expm1(z)));
  }
};

/// scale * elu(x, alpha), with the paper's constants.
template <>
struct Formula<ActivationKind::selu> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::expm1;
    // Decimals in parts, each a ratio of integers below 2^53.
    const S ten15(1e15), ten16(1e16);
    const S scale = S(105070098735548.0) / S(1e14) + S(4934193349852946.0) / ten15 / ten16;
    const S alpha =
        S(167326324235437.0) / S(1e14) + S(7284817042991671.0) / ten15 / ten15 + S(7.0) / ten15 / ten16;
    return x > S(0.0) ? product(scale, x) : product(scale * alpha, S(expm1(x)));
  }
};

/// x > 0: alpha_p x^2 + beta x; x <= 0: alpha_n (expm1(x) - x) + beta x.
template <>
struct Formula<ActivationKind::xielu> {
  template <class S>
  static S value(const S& x, const S* parameters) {
    using std::expm1;
    const S &alpha_p = parameters[0], &alpha_n = parameters[1], &beta = parameters[2];
    if (x > S(0.0)) return x * (alpha_p * x + beta);
    if (x < S(-0.5)) return product(alpha_n, S(expm1(x))) + product(beta - alpha_n, x);
    return x * (alpha_n * detail::expm1_tail(x) + beta);
  }
};

}  // namespace actium::reference

#pragma once
// Functions of the normal distribution.
#include <reference/formulas/formula.hpp>

namespace actium::reference {

/// x Phi(x) = x/2 erfc(-x / sqrt(2)): 1 + erf would cancel for x < 0.
template <>
struct Formula<ActivationKind::gelu> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::erfc;
    using std::sqrt;
    const auto z = extended(x);
    using Z = std::decay_t<decltype(z)>;
    return product(x, S(0.5 * erfc(-(z * sqrt(Z(0.5))))));
  }
};

template <>
struct Formula<ActivationKind::erf> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::erf;
    return erf(extended(x));
  }
};

}  // namespace actium::reference

#pragma once
// mish = x tanh(softplus(x)).
#include <reference/formulas/formula.hpp>

namespace actium::reference {

template <>
struct Formula<ActivationKind::mish> {
  template <class S>
  static S value(const S& x, const S*) {
    using std::tanh;
    return product(x, S(tanh(detail::softplus(x))));
  }
};

}  // namespace actium::reference

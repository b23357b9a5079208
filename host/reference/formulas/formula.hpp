#pragma once
// What a reference formula is: Formula<kind>::value(x, parameters), textbook mathematics generic over the
// scalar S (x and the parameters have one type). Written for relative accuracy everywhere, tails included.
#include <actium/activation_kind.hpp>
#include <reference/dual.hpp>
#include <reference/extended.hpp>

namespace actium::reference {

/// Where the registry has a backward from the output, Formula also has inverse(y, parameters): the x with
/// f(x) = y.
///
/// Left undefined: a line in activations.def without its Formula is a compile error that names the kind.
template <ActivationKind>
struct Formula;

namespace detail {
/// 1 / (1 + exp(-z)) without overflow: the exponential is at most 1.
template <class S>
auto sigmoid(const S& z) {
  using std::exp;
  if (z < S(0.0)) {
    const auto e = exp(z);
    return e / (1.0 + e);
  }
  const auto e = exp(-z);
  return 1.0 / (1.0 + e);
}

/// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).
template <class S>
S softplus(const S& x) {
  using std::exp;
  using std::log1p;
  if (x < S(0.0)) return log1p(exp(x));
  return x + log1p(exp(-x));
}
}  // namespace detail

}  // namespace actium::reference

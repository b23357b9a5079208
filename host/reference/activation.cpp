#include "activation_formulas.hpp"
#include "dispatch.hpp"
#include "reference.hpp"
#include "scalar.hpp"

namespace actium::reference {

namespace {

template <class S>
using ValueAndSlope = Dual<S> (*)(const S& x, const double* parameters);

/// The formula of an activation with its derivative by dual numbers.
template <class S>
ValueAndSlope<S> formula(ActivationKind kind) {
  switch (kind) {
#define ACTIUM_ACTIVATION(name, ...) \
  case ActivationKind::name:         \
    return value_and_slope<ActivationKind::name, S>;
#include <actium/activations.def>
  }
  return nullptr;
}

}  // namespace

void forward(const Activation& f, const ConstTensorView& x, const TensorView& y, int threads) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = formula<Wide<T>>(f.kind());
    const double* p = f.parameters().data();
    const T* xs = x.data_as<T>();
    T* ys = y.data_as<T>();
    parallel_for(x.count(), threads, 1,
                 [&](std::int64_t i) { ys[i] = store<T>(eval(load(xs[i]), p).value); });
  });
}

void backward(const Activation& f, const ConstTensorView& x, const ConstTensorView& dy, const TensorView& dx,
              int threads) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = formula<Wide<T>>(f.kind());
    const double* p = f.parameters().data();
    const T *xs = x.data_as<T>(), *dys = dy.data_as<T>();
    T* dxs = dx.data_as<T>();
    parallel_for(x.count(), threads, 1,
                 [&](std::int64_t i) { dxs[i] = store<T>(load(dys[i]) * eval(load(xs[i]), p).slope); });
  });
}

void jvp(const Activation& f, const ConstTensorView& x, const ConstTensorView& tx, const TensorView& y,
         const TensorView& ty, int threads) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = formula<Wide<T>>(f.kind());
    const double* p = f.parameters().data();
    const T *xs = x.data_as<T>(), *txs = tx.data_as<T>();
    T *ys = y.data_as<T>(), *tys = ty.data_as<T>();
    parallel_for(x.count(), threads, 1, [&](std::int64_t i) {
      const auto [value, slope] = eval(load(xs[i]), p);
      const auto tangent = load(txs[i]) * slope;  // read before y is written: y may be tx
      ys[i] = store<T>(value);
      tys[i] = store<T>(tangent);
    });
  });
}

void gated_forward(const GatedUnit& unit, const GatedInput& x, const TensorView& y, int threads) {
  visit_dtype(y.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = formula<Wide<T>>(unit.info().gate_activation);
    const double* p =
        activations()[static_cast<std::size_t>(unit.info().gate_activation)].parameter_defaults.data();
    const T *gates = x.gate.data_as<T>(), *contents = x.content.data_as<T>();
    T* ys = y.data_as<T>();
    parallel_for(y.count(), threads, 1, [&](std::int64_t i) {
      ys[i] = store<T>(load(contents[i]) * eval(load(gates[i]), p).value);
    });
  });
}

void gated_backward(const GatedUnit& unit, const GatedInput& x, const ConstTensorView& dy,
                    const GatedOutput& dx, int threads) {
  visit_dtype(dy.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = formula<Wide<T>>(unit.info().gate_activation);
    const double* p =
        activations()[static_cast<std::size_t>(unit.info().gate_activation)].parameter_defaults.data();
    const T *gates = x.gate.data_as<T>(), *contents = x.content.data_as<T>(), *dys = dy.data_as<T>();
    T *dgates = dx.gate.data_as<T>(), *dcontents = dx.content.data_as<T>();
    parallel_for(dy.count(), threads, 1, [&](std::int64_t i) {
      const auto g = load(dys[i]), content = load(contents[i]);
      const auto [value, slope] = eval(load(gates[i]), p);
      dgates[i] = store<T>(g * content * slope);
      dcontents[i] = store<T>(g * value);
    });
  });
}

}  // namespace actium::reference

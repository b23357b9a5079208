#include "evaluate.hpp"
#include "reference.hpp"
#include "scalar.hpp"

#include "dispatch.hpp"

namespace actium::reference {

void gated_forward(const GatedUnit& unit, const GatedInput& x, const TensorView& y, int threads) {
  visit_dtype(y.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto eval = slope_function<Wide<T>>(unit.info().gate_activation);
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
    const auto eval = slope_function<Wide<T>>(unit.info().gate_activation);
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

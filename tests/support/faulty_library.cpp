/// A wrong softmax_jacobian, to be linked into a second build of the program: a definition in the executable
/// hides the library's, so that section 18 of the notebook fails and the program has to say so.
#include <actium/softmax.hpp>
#include <algorithm>

namespace actium {

void softmax_jacobian(const Context&, ConstTensorView, TensorView jacobian, const SoftmaxOptions&) {
  std::fill_n(jacobian.data_as<double>(), jacobian.count(), 0.25);
}

}  // namespace actium

// A first program with actium::propagation.
#include <actium/actium.hpp>
#include <actium/propagation.hpp>
#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  const auto ctx = actium::Context::cpu();
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {1, 0, -1};
  std::vector<float> c(2);
  actium::matmul(ctx, actium::ConstTensorView(a).reshaped({2, 3}),
                 actium::ConstTensorView(b).reshaped({3, 1}), actium::TensorView(c).reshaped({2, 1}));
  const auto statistics = actium::signal_statistics(ctx, a);
  std::printf("a b = %g, %g by %s; mean of a = %g\n", static_cast<double>(c[0]), static_cast<double>(c[1]),
              actium::blas_name().c_str(), statistics.mean);
  return c[0] == -2 && c[1] == -2 && std::fabs(statistics.mean - 3.5) < 1e-12 ? 0 : 1;
}

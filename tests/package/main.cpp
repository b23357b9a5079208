// What a first program with actium looks like.
#include <actium/actium.hpp>
#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  const auto ctx = actium::Context::cpu();
  const std::vector<float> x = {-1, 0, 1, 2};
  std::vector<float> y(x.size()), p(x.size());
  actium::forward(ctx, actium::Activation::parse("gelu"), x, y);
  actium::softmax(ctx, x, p, {.temperature = 0.5});
  std::printf("gelu(1) = %.7f\n", static_cast<double>(y[2]));
  const double want = 0.5 * (1 + std::erf(1 / std::sqrt(2.0)));
  double sum = 0;
  for (const float v : p) sum += static_cast<double>(v);
  bool caught = false;
  try {  // an Error crosses from the library into the program
    actium::Activation::parse("gleu");
  } catch (const actium::Error& e) {
    caught = e.kind() == actium::ErrorKind::kUnknownName;
  }
  return std::fabs(static_cast<double>(y[2]) - want) < 1e-7 && std::fabs(sum - 1) < 1e-6 && caught ? 0 : 1;
}

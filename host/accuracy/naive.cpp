#include <accuracy/naive.hpp>

#include <cmath>

namespace actium::accuracy {
namespace {

// As PyTorch's kernels have them, or as they are commonly written. std::exp(float) and its like are float
// functions.

constexpr float kSqrtHalf = 0.70710678118654752440f, kTwoOverSqrtPi = 1.12837916709551257390f;
constexpr float kSqrtTwoOverPi = kTwoOverSqrtPi * kSqrtHalf;
constexpr float kSeluScale = 1.0507009873554804934193349852946f,
                kSeluAlpha = 1.6732632423543772848170429916717f;

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
float sigmoid_slope(float x) { return sigmoid(x) * (1 - sigmoid(x)); }
float softplus(float x) { return std::log(1 + std::exp(x)); }
float tanh_slope(float x) { return 1 - std::tanh(x) * std::tanh(x); }
float elu(float x) { return x > 0 ? x : std::exp(x) - 1; }
float elu_slope(float x) { return x > 0 ? 1 : elu(x) + 1; }
float selu(float x) { return kSeluScale * (x > 0 ? x : kSeluAlpha * (std::exp(x) - 1)); }
float selu_slope(float x) { return x > 0 ? kSeluScale : selu(x) + kSeluScale * kSeluAlpha; }
float silu(float x) { return x / (1 + std::exp(-x)); }
float silu_slope(float x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }
float quick_gelu(float x) { return x * sigmoid(1.702f * x); }
float quick_gelu_slope(float x) {
  const float s = sigmoid(1.702f * x);
  return s + 1.702f * x * s * (1 - s);
}
float gelu(float x) { return 0.5f * x * (1 + std::erf(x * kSqrtHalf)); }
float gelu_slope(float x) {
  const float density = std::exp(-0.5f * x * x) * (0.5f * kTwoOverSqrtPi * kSqrtHalf);
  return 0.5f * (1 + std::erf(x * kSqrtHalf)) + x * density;
}
float gelu_tanh(float x) { return 0.5f * x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715f * x * x * x))); }
float gelu_tanh_slope(float x) {
  const float t = std::tanh(kSqrtTwoOverPi * (x + 0.044715f * x * x * x));
  const float inner_slope = kSqrtTwoOverPi * (1 + 3 * 0.044715f * x * x);
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * inner_slope;
}
float mish(float x) { return x * std::tanh(std::log1p(std::exp(x))); }
float mish_slope(float x) {
  const float t = std::tanh(std::log1p(std::exp(x)));
  return t + x * sigmoid(x) * (1 - t * t);
}
float tanhshrink(float x) { return x - std::tanh(x); }
float tanhshrink_slope(float x) { return std::tanh(x) * std::tanh(x); }
float softsign(float x) { return x / (1 + std::fabs(x)); }
float softsign_slope(float x) { return 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x))); }
float log_sigmoid(float x) { return std::log(sigmoid(x)); }
float log_sigmoid_slope(float x) { return 1 - sigmoid(x); }
float hardsigmoid(float x) { return std::fmin(std::fmax(std::fma(x, 1.0f / 6, 0.5f), 0.0f), 1.0f); }
float hardswish(float x) { return x * std::fmin(std::fmax(x + 3, 0.0f), 6.0f) * (1.0f / 6); }
float hardswish_slope(float x) { return x < -3 ? 0 : x <= 3 ? x / 3 + 0.5f : 1; }
float squareplus(float x) { return 0.5f * (x + std::sqrt(x * x + 4)); }
float squareplus_slope(float x) { return 0.5f * (1 + x / std::sqrt(x * x + 4)); }
float snake(float x) { return x + std::sin(x) * std::sin(x); }
float snake_slope(float x) { return 1 + std::sin(2 * x); }
float exponential(float x) { return std::exp2(x * 1.44269504f); }
float erf_slope(float x) { return kTwoOverSqrtPi * std::exp(-x * x); }

constexpr NaiveFormula kFormulas[] = {
    {"sigmoid", sigmoid, sigmoid_slope},
    {"tanh", nullptr, tanh_slope},
    {"softplus", softplus, sigmoid},
    {"log_sigmoid", log_sigmoid, log_sigmoid_slope},
    {"silu", silu, silu_slope},
    {"swish", silu, silu_slope},
    {"quick_gelu", quick_gelu, quick_gelu_slope},
    {"gelu", gelu, gelu_slope},
    {"gelu_tanh", gelu_tanh, gelu_tanh_slope},
    {"mish", mish, mish_slope},
    {"tanhshrink", tanhshrink, tanhshrink_slope},
    {"softsign", softsign, softsign_slope},
    {"elu", elu, elu_slope},
    {"celu", elu, elu_slope},
    {"selu", selu, selu_slope},
    {"hardsigmoid", hardsigmoid, nullptr},
    {"hardswish", hardswish, hardswish_slope},
    {"squareplus", squareplus, squareplus_slope},
    {"snake", snake, snake_slope},
    {"exp", exponential, exponential},
    {"erf", nullptr, erf_slope},
};

}  // namespace

const NaiveFormula* naive_formula(std::string_view name) {
  for (const NaiveFormula& formula : kFormulas)
    if (formula.name == name) return &formula;
  return nullptr;
}

}  // namespace actium::accuracy

#pragma once
/// Elementwise activations and their derivatives.
#include <actium/activation_kind.hpp>
#include <actium/context.hpp>
#include <actium/tensor.hpp>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)
namespace actium {

/// One row of the registry.
struct ActivationInfo {
  ActivationKind kind;
  std::string_view name;
  int parameter_count;
  std::array<std::string_view, 2> parameter_names;
  std::array<double, 2> parameter_defaults;
  double f32_value_ulp, f32_slope_ulp, f64_value_ulp, f64_slope_ulp;
  std::string_view formula;

  /// The documented, tested error bound in ULP of `dtype`; order 0 = value, 1 = slope.
  constexpr double ulp_bound(DType dtype, int order) const {
    const double f32 = order == 0 ? f32_value_ulp : f32_slope_ulp;
    switch (dtype) {
      case DType::kF64:
        return order == 0 ? f64_value_ulp : f64_slope_ulp;
      case DType::kF32:
        return f32;
      case DType::kF16:
        return 0.5 + f32 / 8192;  // one f32 ULP is 2^-13 of an f16 ULP,
      case DType::kBF16:
        return 0.5 + f32 / 65536;  // and 2^-16 of a bf16 ULP
    }
    return 0;
  }
};

/// Every activation there is, in the order of activations.def.
std::span<const ActivationInfo> activations();

/// An activation is a value: a kind and its parameters. Make one by its factory (actium::gelu(),
/// actium::leaky_relu(0.1)) or by its name (Activation::parse("leaky_relu(0.1)")).
class Activation {
 public:
  constexpr Activation(ActivationKind kind, std::array<double, 2> parameters)
      : kind_(kind), parameters_(parameters) {}
  /// "gelu", "leaky_relu" (default parameters), "leaky_relu(0.1)" or "leaky_relu(slope=0.1)". Throws
  /// Error(kUnknownName) with the nearest name and the list, or Error(kInvalidArgument) for a bad parameter.
  static Activation parse(std::string_view text);
  constexpr ActivationKind kind() const { return kind_; }
  constexpr std::span<const double, 2> parameters() const { return parameters_; }
  const ActivationInfo& info() const { return activations()[static_cast<std::size_t>(kind_)]; }
  std::string_view name() const { return info().name; }
  std::string to_string() const;  ///< the text that parse() takes
  constexpr bool operator==(const Activation&) const = default;

 private:
  ActivationKind kind_;
  std::array<double, 2> parameters_;
};

// The factories: constexpr Activation gelu(), constexpr Activation leaky_relu(double slope = 0.01), ...
#define ACTIUM_SIGNATURE_P0() ()
#define ACTIUM_SIGNATURE_P1(a, x) (double a = x)
#define ACTIUM_SIGNATURE_P2(a, x, b, y) (double a = x, double b = y)
#define ACTIUM_ARGUMENTS_P0()
#define ACTIUM_ARGUMENTS_P1(a, x) a
#define ACTIUM_ARGUMENTS_P2(a, x, b, y) a, b
#define ACTIUM_ACTIVATION(name, parameters, ...)                    \
  constexpr Activation name ACTIUM_SIGNATURE_##parameters {         \
    return {ActivationKind::name, {ACTIUM_ARGUMENTS_##parameters}}; \
  }
#include <actium/activations.def>
#undef ACTIUM_SIGNATURE_P0
#undef ACTIUM_SIGNATURE_P1
#undef ACTIUM_SIGNATURE_P2
#undef ACTIUM_ARGUMENTS_P0
#undef ACTIUM_ARGUMENTS_P1
#undef ACTIUM_ARGUMENTS_P2

// Shapes and dtypes of the three calls below: any shape, one shape for all tensors, contiguous; f64, f32, f16
// or bf16, one dtype for all tensors; all on the context's device. f16 and bf16 compute in f32 and round
// once.
//
// NaN in gives NaN out (identity's slope, which is 1 everywhere, excepted); no finite x gives NaN; at +-inf
// the result is the mathematical limit. At a kink the slope is PyTorch's: relu'(0) = 0, leaky_relu'(0) =
// slope.
//
// In place is safe where an output is exactly an input (same pointer); any other overlap is an error. On CUDA
// the calls are asynchronous, allocate nothing, never synchronise and can be captured in a graph.
//
// Throws Error(kInvalidArgument) for a mismatched or strided tensor, a null pointer with elements, a pointer
// of another device, a partial overlap; Error(kCuda) when the launch fails. Nothing is written when a call
// throws.

/// y = f(x). Bytes moved: one read, one write. Bounds: ActivationInfo::ulp_bound.
void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y);

/// dx = dy * f'(x), the vector-Jacobian product, from the forward pass's input. Bytes moved: two reads, one
/// write. Does not accumulate into dx, and gives no gradient of f's parameters.
void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx);

/// y = f(x) and ty = f'(x) * tx in one pass: value and tangent. Bytes moved: two reads, two writes.
void jvp(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView tx, TensorView y,
         TensorView ty);

}  // namespace actium
#pragma GCC visibility pop

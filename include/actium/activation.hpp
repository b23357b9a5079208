#pragma once
/// Elementwise activations and their derivatives.
#include <actium/activation_kind.hpp>
#include <actium/context.hpp>
#include <actium/random_key.hpp>
#include <actium/tensor.hpp>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)
namespace actium {

/// What a parameter may be, besides finite.
enum class ParameterDomain : std::uint8_t { finite, positive, nonnegative, not_below_first };

/// What backward can work from besides the input: the output where that is accurate, one bit an element where
/// the slope has two values.
enum class BackwardFrom : std::uint8_t { input = 0, input_output = 1, input_mask = 2, input_output_mask = 3 };

/// One row of the registry.
struct ActivationInfo {
  ActivationKind kind;
  std::string_view name;
  int parameter_count;
  std::array<std::string_view, kMaxParameters> parameter_names;
  std::array<double, kMaxParameters> parameter_defaults;
  std::array<ParameterDomain, kMaxParameters> parameter_domains;
  std::array<double, 3> f32_ulp, f64_ulp;  ///< error bounds of value, slope and curvature
  BackwardFrom backward_from;
  std::string_view formula;

  /// The documented, tested error bound in ULP of `dtype`; order 0 = value, 1 = slope, 2 = curvature.
  constexpr double ulp_bound(DType dtype, int order) const {
    const auto i = static_cast<std::size_t>(order);
    switch (dtype) {
      case DType::kF64:
        return f64_ulp[i];
      case DType::kF32:
        return f32_ulp[i];
      case DType::kF16:  // computed in f32 by forms made for 16 bits, and rounded once
        return order == 0 ? 0.51 : 0.9;
      default:
        return order == 0 ? 0.501 : 0.9;
    }
  }
};

/// Every activation there is, in the order of activations.def.
std::span<const ActivationInfo> activations();

/// Another name that Activation::parse takes.
struct ActivationAlias {
  std::string_view alias, name;
};
std::span<const ActivationAlias> activation_aliases();

/// An activation is a value: a kind and its parameters. Make one by its factory (actium::gelu(),
/// actium::leaky_relu(0.1)) or by its name (Activation::parse("leaky_relu(0.1)")).
class Activation {
 public:
  constexpr Activation(ActivationKind kind, std::array<double, kMaxParameters> parameters)
      : kind_(kind), parameters_(parameters) {}
  /// "gelu", "leaky_relu" (default parameters), "leaky_relu(0.1)" or "leaky_relu(slope=0.1)", or an alias of
  /// activation_aliases() ("logistic"; "swish" without parameters is swish(1), which is silu). Parameters
  /// come by their place, then by their name, none twice: "hardtanh(-2, hi=2)". Throws Error(kUnknownName)
  /// with the nearest name and the list, or Error(kInvalidArgument) for a bad parameter.
  static Activation parse(std::string_view text);
  constexpr ActivationKind kind() const { return kind_; }
  constexpr std::span<const double, kMaxParameters> parameters() const { return parameters_; }
  const ActivationInfo& info() const { return activations()[static_cast<std::size_t>(kind_)]; }
  std::string_view name() const { return info().name; }
  std::string to_string() const;  ///< the text that parse() takes
  constexpr bool operator==(const Activation&) const = default;

 private:
  ActivationKind kind_;
  std::array<double, kMaxParameters> parameters_;
};

// The factories: constexpr Activation gelu(), constexpr Activation leaky_relu(double slope = 0.01), ...
#define ACTIUM_SIGNATURE_P0() ()
#define ACTIUM_SIGNATURE_P1(a, x, ...) (double a = x)
#define ACTIUM_SIGNATURE_P2(a, x, u, b, y, ...) (double a = x, double b = y)
#define ACTIUM_SIGNATURE_P3(a, x, u, b, y, v, c, z, ...) (double a = x, double b = y, double c = z)
#define ACTIUM_ARGUMENTS_P0()
#define ACTIUM_ARGUMENTS_P1(a, ...) a
#define ACTIUM_ARGUMENTS_P2(a, x, u, b, ...) a, b
#define ACTIUM_ARGUMENTS_P3(a, x, u, b, y, v, c, ...) a, b, c
#define ACTIUM_ACTIVATION(name, parameters, ...)                    \
  constexpr Activation name ACTIUM_SIGNATURE_##parameters {         \
    return {ActivationKind::name, {ACTIUM_ARGUMENTS_##parameters}}; \
  }
#include <actium/activations.def>
#undef ACTIUM_SIGNATURE_P0
#undef ACTIUM_SIGNATURE_P1
#undef ACTIUM_SIGNATURE_P2
#undef ACTIUM_SIGNATURE_P3
#undef ACTIUM_ARGUMENTS_P0
#undef ACTIUM_ARGUMENTS_P1
#undef ACTIUM_ARGUMENTS_P2
#undef ACTIUM_ARGUMENTS_P3

// What the calls below have in common.
//
// Shapes: any shape, one for all tensors of a call. Strides: all dense in the same order of axes (contiguous,
// or one and the same permutation), or such that axes merge into a matrix of contiguous rows that each tensor
// strides over as it likes (a slice of the last axis, say). What does not merge is Error(kInvalidArgument),
// as are elements 2^57 or more apart. Any alignment.
//
// Dtypes: f64, f32, f16 or bf16, one for all tensors of a call where nothing else is said. f16 and bf16
// compute in f32 and round once. All tensors are on the context's device.
//
// NaN in gives NaN out (a slope that is constant, as identity's, excepted); no finite x gives NaN; at +-inf
// the result is the mathematical limit (sine, which has none, gives NaN, as does snake's slope). What is 0 by
// a limit or by underflow has the sign of the numbers that lead there (but xielu is +0 at -1e-45 in f32). At
// a kink the slope is that of one side: relu'(0) = 0, leaky_relu'(0) = slope, hardswish'(-3) = 0,
// hardswish'(3) = 1. A parameter is used as the double that was given; for f32 and narrower types it is 0 or
// of a size between f32's smallest normal and its largest number.
//
// In place is safe where an output is exactly an input (same pointer, dtype and strides); any other overlap
// of elements is an error. On CUDA the calls are asynchronous, never synchronise, allocate nothing unless
// said, and can be captured in a graph.
//
// Throws Error(kInvalidArgument) for tensors that do not fit each other, a null pointer with elements, a
// pointer of another device, an overlap, a parameter out of its domain; Error(kCuda) when a launch fails.
// Nothing is written when a call throws; of a call with several launches (amax, dbias, parameter_gradient,
// lists of more than 128 tensors) the first may have been queued when the second fails.

/// y = f(x). Bytes moved: one read, one write. Bounds: ActivationInfo::ulp_bound.
void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y);

/// dx = dy * f'(x), the vector-Jacobian product, from the forward pass's input. Bytes moved: two reads, one
/// write. Does not accumulate into dx, and gives no gradient of f's parameters (parameter_gradient does).
void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx);

/// y = f(x) and ty = f'(x) * tx in one pass: value and tangent. Bytes moved: two reads, two writes.
void jvp(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView tx, TensorView y,
         TensorView ty);

/// The derivative of backward, for double backward and Hessian-vector products: with ddx, the gradient with
/// respect to backward's result,
///   ddy = ddx * f'(x)           the gradient with respect to dy
///   dx  = ddx * dy * f''(x)     the gradient with respect to x
/// in one pass. At a kink f'' is 0. Bytes moved: three reads, two writes.
void backward_of_backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy,
                          ConstTensorView ddx, TensorView ddy, TensorView dx);

/// x and y of one forward call.
struct ForwardPair {
  ConstTensorView x;
  TensorView y;
};

/// y = f(x) for each pair of a list, one dtype for all, contiguous; one launch for each 128
/// tensors. No y may overlap another pair's x or y. Bounds and errors as forward.
void forward_many(const Context& ctx, const Activation& f, std::span<const ForwardPair> pairs);

/// Dropout (Srivastava et al. 2014), inverted: an element is 0 with probability p (a multiple of 2^-32), and
/// so is its gradient, whatever f and its slope are there; else it is divided by 1 - p. Whether element i (in
/// order of memory) is kept depends on (key, i) alone, so that the backward pass makes the same mask again
/// from the same key; nothing is stored. p in [0, 1).
struct Dropout {
  double p = 0;
  RandomKey key = {};
};

/// What forward does besides y = f(x), in the same pass: y = residual + scale * dropout(f(x + bias)), and
/// what it writes besides y. Every part is optional.
struct ForwardOptions {
  ConstTensorView bias = {};      ///< [x.shape.back()]: added along the last axis
  ConstTensorView residual = {};  ///< y's shape; may be y itself
  double scale = 1;  ///< finite; but in f64 0 or at least 1.2e-38 in magnitude, f32's smallest normal number
  Dropout dropout = {};
  /// A slope for each channel instead of f's one, for leaky_relu and prelu: [x.shape[channel_axis]].
  ConstTensorView slope = {};
  int channel_axis = 1;
  /// Device memory for mask_words(count) words: one bit an element, for backward_from_mask. x and y must be
  /// contiguous.
  std::uint32_t* mask = nullptr;
  /// For a y of e4m3 or e5m2: y is the result times this, to nearest even; what exceeds the format becomes
  /// its largest finite number. Finite, > 0, at least 1.2e-38.
  double quantization_scale = 1;
  /// One float of device memory, for a y of e4m3 or e5m2: max |y| / quantization_scale of what was stored,
  /// taken before the limit where an element exceeded it (so that a value above largest / quantization_scale
  /// tells of saturation), but at most f32's largest number / quantization_scale where all results are
  /// finite. NaN if any result is NaN.
  float* amax = nullptr;
};

/// Words of 32 bits that hold one bit for each of `count` elements: bit i % 32 of word i / 32 belongs to
/// element i.
constexpr std::int64_t mask_words(std::int64_t count) { return (count + 31) / 32; }

/// forward with options. x, y, bias, residual and slope may each be f32, f16 or bf16, y also e4m3 or e5m2; or
/// all are f64. Computed in f32 (f64), where x + bias, f, the factor scale / (1 - p) and the residual round
/// one after the other, and once more as the result is stored; what f makes infinite in f32 stays so (but
/// times a scale of 0 it is 0). So the rounded x + bias decides on which side of a kink it lies (backward and
/// the mask alike), and a sum that overflows is an infinite argument: its sine is NaN. Bytes moved: those of
/// the tensors that are there, each once. With amax it takes scratch from the context: at most 2^20 bytes.
/// jvp and backward_of_backward take no options.
void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y,
             const ForwardOptions& options);

/// What the forward pass did besides f: the same bias, scale, dropout and slope.
struct BackwardOptions {
  ConstTensorView bias = {};
  double scale = 1;
  Dropout dropout = {};
  ConstTensorView slope = {};
  int channel_axis = 1;
  /// [x.shape.back()], written: the bias's gradient, the sums of dx along all axes but the last, before dx is
  /// rounded, in an order that depends on the shape alone. Each sum is carried in two numbers of f32 (f64 for
  /// f64) and rounded once. f64, f32, f16 or bf16. Takes scratch from the context: at most 6 MiB (12 in
  /// f64), or 24 bytes (48) a channel if that is more.
  TensorView dbias = {};
};

/// dx = scale * dropout(dy) * f'(x + bias). x, dy, dx, bias and slope may each be f32, f16 or bf16, or all
/// are f64.
void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx,
              const BackwardOptions& options);

/// backward from the forward pass's output y = f(x) instead of its input, for activations whose slope y
/// determines to full accuracy (ActivationInfo::backward_from); Error(kInvalidArgument) for any other, with
/// the reason. y is f's own result: neither scaled nor dropped nor with a residual; options.bias must be
/// absent. The slope is that of the stored y: rounding y to 16 bits moved it by up to half an ULP of y.
void backward_from_output(const Context& ctx, const Activation& f, ConstTensorView y, ConstTensorView dy,
                          TensorView dx, const BackwardOptions& options = {});

/// backward from the mask that forward wrote, one bit an element: for activations with two slopes
/// (ActivationInfo::backward_from); Error(kInvalidArgument) for any other. `mask` is mask_words(count) words
/// on the context's device; dy and dx are contiguous. options.bias must be absent. A NaN of x is not in the
/// mask.
void backward_from_mask(const Context& ctx, const Activation& f, const std::uint32_t* mask,
                        ConstTensorView dy, TensorView dx, const BackwardOptions& options = {});

/// dp[j] = sum over all elements of dy * df/dp_j(x), for each parameter p_j of f in the registry's order;
/// with a channel_axis, dp[j, c] = the same sum over channel c of that axis (prelu's gradient is its row 0).
/// dp: [parameters] or [parameters, channels], contiguous, f32 or f64. Each sum is carried in two numbers of
/// f32 (f64 for f64) on CUDA and in f64 or more on the CPU, in an order that depends on the shape and layout
/// alone, and rounded once. Two reads. Takes scratch from the context: for each parameter at most 6 MiB (12
/// in f64), or 24 bytes (48) a channel if that is more. Does not accumulate into dp.
/// Error(kInvalidArgument) for an f without parameters.
void parameter_gradient(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy,
                        TensorView dp, int channel_axis = -1);

}  // namespace actium
#pragma GCC visibility pop

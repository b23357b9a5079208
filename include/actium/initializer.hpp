#pragma once
/// Random numbers and weight initialisation. Part of actium::propagation.
///
/// Every number is a function of (seed, sequence, index) alone: Philox 4x32-10 (Salmon et al. 2011) with key
/// = seed, counter = {index / 4, sequence}, word = index % 4; cuRAND's device API on the GPU and Random123 on
/// the CPU give the same 32 bits. Launch geometry, device and dtype do not enter: one seed, one network.
#include <actium/context.hpp>
#include <actium/random_key.hpp>
#include <actium/tensor.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)
namespace actium {

// The fills below: x of any shape, contiguous, f64, f32, f16 or bf16, on the context's device. Asynchronous
// on CUDA, no allocation, capturable. f16 and bf16 are the f32 value rounded once. Parameters must be finite,
// and finite in f32 too for every dtype but f64: Error(kInvalidArgument) otherwise.

/// Uniform between low and high: low + (high - low) * u with u = (bits + 1/2) * 2^-32, evaluated in f32 (f64
/// for f64) by one fma; u may round to 1. Rounding may give low or high itself, and pass high by an ULP where
/// high - low is not exact. Bit-equal on every device. Throws Error(kInvalidArgument) unless low <= high,
/// both finite.
void fill_uniform(const Context& ctx, TensorView x, RandomKey key, double low = 0, double high = 1);

/// Normal with the given mean and standard deviation >= 0, by the Box-Muller transform of the two uniforms of
/// a pair of words, in f32 (f64 for f64). The 32 random bits are equal on every device; the transform uses
/// each device's log, sqrt and sincos, so values agree to a few ULP (tests hold them to 8 ULP of the larger
/// of |value| and the deviation).
void fill_normal(const Context& ctx, TensorView x, RandomKey key, double mean = 0, double deviation = 1);

enum class Distribution : std::uint8_t { kNormal, kUniform };
enum class InitializerKind : std::uint8_t { kXavier, kHe };

/// How weights are drawn: zero mean, standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Xavier: Glorot
/// and Bengio 2010) or gain * sqrt(2 / fan_in) (He et al. 2015); normal, or uniform on +-sqrt(3) deviations.
/// PyTorch's xavier_normal_, xavier_uniform_, and kaiming_* with mode fan_in and the gain of relu.
struct Initializer {
  InitializerKind kind = InitializerKind::kXavier;
  Distribution distribution = Distribution::kNormal;
  double gain = 1;  ///< finite, > 0
  double deviation(std::int64_t fan_in, std::int64_t fan_out) const;
  /// "xavier_normal", "xavier_uniform", "he_normal", "he_uniform".
  static Initializer parse(std::string_view name);
  std::string to_string() const;
};
inline Initializer xavier_normal(double gain = 1) {
  return {InitializerKind::kXavier, Distribution::kNormal, gain};
}
inline Initializer xavier_uniform(double gain = 1) {
  return {InitializerKind::kXavier, Distribution::kUniform, gain};
}
inline Initializer he_normal(double gain = 1) { return {InitializerKind::kHe, Distribution::kNormal, gain}; }
inline Initializer he_uniform(double gain = 1) {
  return {InitializerKind::kHe, Distribution::kUniform, gain};
}

/// Fills weights w, [..., fan_in, fan_out] (rank >= 2; leading axes are a batch of matrices, each different).
void initialize(const Context& ctx, const Initializer& initializer, RandomKey key, TensorView w);

}  // namespace actium
#pragma GCC visibility pop

#include <actium/initializer.hpp>
#include <cmath>
#include <numbers>

#include "dispatch.hpp"
#include "kernels/launch_propagation.hpp"
#include "reference/propagation.hpp"
#include "validate.hpp"

namespace actium {

namespace {

constexpr std::string_view kInitializers[] = {"xavier_normal", "xavier_uniform", "he_normal", "he_uniform"};

/// A parameter that stays finite in the type the numbers are computed in.
void check_range(const Validator& check, std::string_view name, double value, DType dtype) {
  check.finite(name, value);
  if (dtype != DType::kF64 && !std::isfinite(static_cast<float>(value)))
    check.fail(std::string(name), "a finite f32 number", number(value),
               std::string(to_string(dtype)) + " random numbers are computed in f32");
}

}  // namespace

void fill_uniform(const Context& ctx, TensorView x, RandomKey key, double low, double high) {
  const Validator check("fill_uniform", ctx);
  check.tensor("x", x);
  check_range(check, "low", low, x.dtype());
  check_range(check, "high", high, x.dtype());
  if (!(low <= high)) check.fail("low", "at most high = " + number(high), number(low));
  check_range(check, "high - low", high - low, x.dtype());
  if (x.count() == 0) return;
  if (run_on_cuda("fill_uniform", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_fill_uniform(key.seed, key.sequence, low, high - low, x.data_as<T>(),
                                            x.count(), ctx.stream());
      }))
    return;
  reference::fill_uniform(x, key, low, high - low, ctx.threads());
}

void fill_normal(const Context& ctx, TensorView x, RandomKey key, double mean, double deviation) {
  const Validator check("fill_normal", ctx);
  check.tensor("x", x);
  check_range(check, "mean", mean, x.dtype());
  check_range(check, "deviation", deviation, x.dtype());
  if (deviation < 0) check.fail("deviation", "at least 0", number(deviation));
  if (x.count() == 0) return;
  if (run_on_cuda("fill_normal", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_fill_normal(key.seed, key.sequence, mean, deviation, x.data_as<T>(), x.count(),
                                           ctx.stream());
      }))
    return;
  reference::fill_normal(x, key, mean, deviation, ctx.threads());
}

double Initializer::deviation(std::int64_t fan_in, std::int64_t fan_out) const {
  const auto fail = [](const std::string& what, const std::string& want, const std::string& got) {
    throw Error(ErrorKind::kInvalidArgument, "Initializer: " + what + ": want " + want + ", got " + got);
  };
  if (!(std::isfinite(gain) && gain > 0)) fail("gain", "finite and > 0", number(gain));
  if (fan_in < 1) fail("fan_in", "at least 1", std::to_string(fan_in));
  if (fan_out < 1) fail("fan_out", "at least 1", std::to_string(fan_out));
  const double in = static_cast<double>(fan_in), out = static_cast<double>(fan_out);
  return gain * std::sqrt(2 / (kind == InitializerKind::kXavier ? in + out : in));
}

Initializer Initializer::parse(std::string_view name) {
  for (const Initializer& initializer : {xavier_normal(), xavier_uniform(), he_normal(), he_uniform()})
    if (name == initializer.to_string()) return initializer;
  throw_unknown_name("initializer", name, kInitializers);
}

std::string Initializer::to_string() const {
  const std::size_t index =
      (kind == InitializerKind::kXavier ? 0u : 2u) + (distribution == Distribution::kNormal ? 0u : 1u);
  return std::string(kInitializers[index]);
}

void initialize(const Context& ctx, const Initializer& initializer, RandomKey key, TensorView w) {
  const Validator check("initialize", ctx);
  check.positive("initializer.gain", initializer.gain);
  check.rank("w", w, 2);
  check.tensor("w", w);
  const std::int64_t fan_in = w.shape().without_last().back(), fan_out = w.shape().back();
  if (fan_in == 0 || fan_out == 0) return;
  const double deviation = initializer.deviation(fan_in, fan_out);
  if (initializer.distribution == Distribution::kNormal) return fill_normal(ctx, w, key, 0, deviation);
  const double bound = std::numbers::sqrt3 * deviation;  // a uniform number on +-b has deviation b / sqrt(3)
  fill_uniform(ctx, w, key, -bound, bound);
}

}  // namespace actium

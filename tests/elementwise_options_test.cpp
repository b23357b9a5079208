// forward and backward with options, backward from the output and from the mask, parameter gradients, lists:
// every option alone and all together, for every activation, against the definitions written out in long
// double.
#include <Random123/philox.h>
#include <actium/activation.hpp>

#include <cmath>
#include <random>
#include <reference/evaluate.hpp>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

// ---------------------------------------------------------------- numbers of any dtype

/// Host values of one tensor, and what they mean as numbers.
struct Values {
  DType dtype;
  Shape shape;
  std::vector<double> numbers;  // as stored

  /// Normal numbers rounded to the dtype.
  Values(DType type, const Shape& s, std::uint64_t seed, double deviation = 2)
      : dtype(type), shape(s), numbers(static_cast<std::size_t>(s.count())) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal(0, deviation);
    for (double& v : numbers) v = rounded(normal(random));
  }
  double rounded(double v) const {
    return visit_dtype(
        dtype, [&]<class T>(std::type_identity<T>) { return static_cast<double>(static_cast<T>(v)); });
  }
  Tensor on(const Context& ctx) const {
    return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      std::vector<T> typed;
      for (const double v : numbers) typed.push_back(static_cast<T>(v));
      return Tensor(ctx, ConstTensorView(typed.data(), shape));
    });
  }
};

long double unit_in_last_place(long double x, DType dtype) {
  constexpr struct {
    int mantissa, min_exponent;
  } kFormats[] = {{52, -1022}, {23, -126}, {10, -14}, {7, -126}, {3, -6}, {2, -14}};
  const auto [mantissa, min_exponent] = kFormats[static_cast<int>(dtype)];
  const int exponent = x == 0 ? min_exponent : std::max(min_exponent, std::ilogb(x));
  return std::ldexp(1.0L, exponent - mantissa);
}

/// A number and how far a result may be from it: computed in f32 (f64) with `steps` roundings of the `terms`,
/// stored once.
struct Want {
  long double number, computing;  // computing: the sum of what the arithmetic may be off by
  void expect(double got, DType dtype, const std::string& where) const {
    if (std::isnan(number)) {
      EXPECT_TRUE(std::isnan(got)) << where << " got " << got;
      return;
    }
    const long double tolerance = 0.5001L * unit_in_last_place(number, dtype) + computing;
    EXPECT_LE(std::fabs(static_cast<long double>(got) - number), tolerance)
        << where << " got " << got << " want " << number;
  }
};

long double epsilon(DType x) { return x == DType::kF64 ? 0x1p-52L : 0x1p-23L; }

/// f, f' and f'' of the reference, to long double.
reference::Derivatives<long double> jet(const Activation& f, long double x) {
  return reference::curvature_function<long double>(f.kind())(x, f.parameters().data());
}

/// An activation in long double with what f32 arithmetic (or f64) on a rounded argument makes of it.
struct Evaluated {
  long double value, slope, value_error, slope_error;
};
Evaluated evaluate(const Activation& f, long double z, DType dtype, DType stored) {
  const auto [value, slope, curvature] = jet(f, z);
  const long double eps = epsilon(dtype), argument = std::fabs(z) * eps;
  // Forms for 16 bits have errors of 2^-16 relative or so; the registry's bounds are ULP of f32 or f64.
  const long double own = stored == DType::kF32 || stored == DType::kF64 ? 10 * eps : 0x1p-13L;
  return {value, slope, own * std::fabs(value) + std::fabs(slope) * argument,
          own * std::max(std::fabs(slope), 0x1p-8L) + std::fabs(curvature) * argument};
}

bool kept(const Dropout& dropout, std::int64_t i) {
  const auto threshold = static_cast<std::uint32_t>(dropout.p * 0x1p32);
  const auto block = static_cast<std::uint64_t>(i) / 4;
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
  const auto words =
      r123::Philox4x32{}({{low(block), high(block), low(dropout.key.sequence), high(dropout.key.sequence)}},
                         {{low(dropout.key.seed), high(dropout.key.seed)}});
  return words[static_cast<std::size_t>(i % 4)] >= threshold;
}

/// The parts that a case has; a mask of bits chooses them.
struct Parts {
  bool bias, residual, scale, dropout, slope;
  explicit Parts(unsigned bits)
      : bias(bits & 1), residual(bits & 2), scale(bits & 4), dropout(bits & 8), slope(bits & 16) {}
  static constexpr unsigned kAll = 31;
};

std::vector<Activation> every_activation() {
  std::vector<Activation> list;
  for (const ActivationInfo& info : activations()) list.emplace_back(info.kind, info.parameter_defaults);
  return list;
}

bool takes_slope(const Activation& f) { return f.name() == "leaky_relu" || f.name() == "prelu"; }
bool has_mask(const Activation& f) {
  return f.info().backward_from == BackwardFrom::input_mask ||
         f.info().backward_from == BackwardFrom::input_output_mask;
}
bool has_output(const Activation& f) {
  return f.info().backward_from == BackwardFrom::input_output ||
         f.info().backward_from == BackwardFrom::input_output_mask;
}

/// A number where f jumps or its slope does is decided by the last bit of the argument: not part of these
/// tests.
bool near_kink(const Activation& f, long double z) {
  const auto a = jet(f, z * (1 - 1e-5L) - 1e-6L), b = jet(f, z * (1 + 1e-5L) + 1e-6L);
  return std::fabs(a.slope - b.slope) > 0.01L ||
         std::fabs(a.value - b.value) > 0.01L * (1 + std::fabs(z) + std::fabs(a.value));
}

class ElementwiseOptionsTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(ElementwiseOptionsTest);

/// One forward and one backward call with the chosen parts, element by element.
void check_case(const Context& ctx, const Activation& f, DType x_type, DType y_type, const Shape& shape,
                unsigned bits, int channel_axis, std::uint64_t seed) {
  const Parts parts(bits);
  const std::int64_t columns = shape.back(), count = shape.count();
  SCOPED_TRACE(f.to_string() + " " + std::string(to_string(x_type)) + " to " +
               std::string(to_string(y_type)) + " " + shape.to_string() + " parts " + std::to_string(bits) +
               " " + seed_message(seed));
  const bool slope = parts.slope && takes_slope(f);
  const Values x(x_type, shape, seed), residual(y_type, shape, seed + 1), dy(y_type, shape, seed + 2),
      bias(x_type, Shape{columns}, seed + 3, 0.5), slopes(x_type, Shape{shape[channel_axis]}, seed + 4, 0.3);
  const Tensor xs = x.on(ctx), residuals = residual.on(ctx), dys = dy.on(ctx), biases = bias.on(ctx),
               slope_tensor = slopes.on(ctx);
  Tensor y(ctx, y_type, shape), dx(ctx, x_type, shape), dbias(ctx, x_type, Shape{columns});

  ForwardOptions forward_options;
  BackwardOptions backward_options;
  if (parts.bias) forward_options.bias = backward_options.bias = biases;
  if (parts.bias) backward_options.dbias = dbias;
  if (parts.residual) forward_options.residual = residuals;
  if (parts.scale) forward_options.scale = backward_options.scale = 0.7;
  if (parts.dropout) forward_options.dropout = backward_options.dropout = {.p = 0.3, .key = {seed, 5}};
  if (slope) {
    forward_options.slope = backward_options.slope = slope_tensor;
    forward_options.channel_axis = backward_options.channel_axis = channel_axis;
  }
  forward(ctx, f, xs, y, forward_options);
  backward(ctx, f, xs, dys, dx, backward_options);
  const std::vector<double> ys = y.to_doubles(ctx), dxs = dx.to_doubles(ctx);

  std::int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < shape.rank(); ++axis) inner *= shape[axis];
  const DType computes = x_type == DType::kF64 ? DType::kF64 : DType::kF32;
  const long double eps = epsilon(computes);
  std::vector<long double> sums(static_cast<std::size_t>(columns)), magnitudes(sums.size());
  bool sums_count = true;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i), column = static_cast<std::size_t>(i % columns);
    const std::string where = "element " + std::to_string(i);
    const long double z = static_cast<long double>(x.numbers[at]) + (parts.bias ? bias.numbers[column] : 0);
    Activation here = f;
    if (slope)
      here = Activation(f.kind(),
                        {slopes.numbers[static_cast<std::size_t>(i / inner % shape[channel_axis])], 0, 0});
    if (near_kink(here, z)) {
      sums_count = false;
      continue;
    }
    long double factor = parts.scale ? static_cast<long double>(0.7) : 1;
    if (parts.dropout)
      factor *= kept(forward_options.dropout, i) ? 0x1p32L / (0x1p32L - std::floor(0.3 * 0x1p32)) : 0;
    const Evaluated out = evaluate(here, z, computes, y_type), in = evaluate(here, z, computes, x_type);
    const long double added = parts.residual ? residual.numbers[at] : 0;
    Want{factor * out.value + added,
         std::fabs(factor) * (out.value_error + 4 * eps * std::fabs(out.value)) + 2 * eps * std::fabs(added)}
        .expect(ys[at], y_type, where + " y");
    const long double g = static_cast<long double>(dy.numbers[at]) * factor;
    const Want gradient{g * in.slope, std::fabs(g) * (in.slope_error + 4 * eps * std::fabs(in.slope))};
    gradient.expect(dxs[at], x_type, where + " dx");
    sums[column] += gradient.number;
    magnitudes[column] += gradient.computing + 8 * eps * std::fabs(gradient.number);
  }
  if (parts.bias && sums_count) {
    const std::vector<double> got = dbias.to_doubles(ctx);
    for (std::size_t c = 0; c < got.size(); ++c)
      Want{sums[c], magnitudes[c]}.expect(got[c], x_type, "dbias " + std::to_string(c));
  }
}

TEST_P(ElementwiseOptionsTest, EveryActivationWithEveryOptionTogether) {
  const Context ctx = context();
  for (const Activation& f : every_activation())
    for (const DType dtype : kDTypes) check_case(ctx, f, dtype, dtype, Shape{5, 37}, Parts::kAll, 1, kSeed);
}

TEST_P(ElementwiseOptionsTest, EveryCombination) {
  const Context ctx = context();
  for (unsigned bits = 0; bits <= Parts::kAll; ++bits) {
    check_case(ctx, leaky_relu(0.2), DType::kF32, DType::kF32, Shape{7, 9}, bits, 0, kSeed + bits);
    check_case(ctx, tanh(), DType::kBF16, DType::kBF16, Shape{3, 16}, bits & 15, 1, kSeed + bits);
  }
}

TEST_P(ElementwiseOptionsTest, MixedTypes) {
  const Context ctx = context();
  for (const DType in : {DType::kF32, DType::kF16, DType::kBF16})
    for (const DType out : {DType::kF32, DType::kF16, DType::kBF16})
      for (const unsigned bits : {0u, Parts::kAll})
        check_case(ctx, silu(), in, out, Shape{6, 50}, bits, 1, kSeed + bits);
}

TEST_P(ElementwiseOptionsTest, ShapesAroundTheTiles) {
  const Context ctx = context();
  for (const std::int64_t columns : {1, 3, 4, 5, 63, 64, 257, 1023, 1024, 1025, 4100})
    for (const std::int64_t rows : {1, 2, 33}) {
      if (quick() && rows * columns > 3000) continue;
      check_case(ctx, gelu(), DType::kF32, DType::kF32, Shape{rows, columns}, 15, 1, kSeed);
      check_case(ctx, leaky_relu(), DType::kF16, DType::kF16, Shape{rows, columns}, 17, 0, kSeed);
    }
  // Slopes along a middle axis, as prelu has them for images.
  check_case(ctx, leaky_relu(), DType::kF32, DType::kF32, Shape{2, 3, 5, 7}, 16, 1, kSeed);
}

TEST_P(ElementwiseOptionsTest, DropoutKeepsTheShareThatItSays) {
  const Context ctx = context();
  const std::int64_t count = quick() ? 4096 : 65536;
  Tensor x(ctx, std::vector<float>(static_cast<std::size_t>(count), 1)), y(ctx, DType::kF32, {count});
  for (const double p : {0.0, 0.1, 0.5, 0.9}) {
    forward(ctx, identity(), x, y, {.dropout = {.p = p, .key = {kSeed, 1}}});
    std::int64_t zeros = 0;
    for (const double v : y.to_doubles(ctx)) {
      zeros += v == 0;
      EXPECT_NEAR(v, v == 0 ? 0 : 1 / (1 - p), 1e-6);
    }
    const double deviation = std::sqrt(p * (1 - p) * static_cast<double>(count));
    EXPECT_NEAR(static_cast<double>(zeros), p * static_cast<double>(count), 5 * deviation) << "p = " << p;
  }
}

TEST_P(ElementwiseOptionsTest, TheMaskHoldsTheBackwardPass) {
  const Context ctx = context();
  for (const Activation& f : every_activation()) {
    if (!has_mask(f)) continue;
    for (const DType dtype : kDTypes)
      for (const std::int64_t count : {1, 31, 32, 33, 1000}) {
        SCOPED_TRACE(f.to_string() + " " + std::string(to_string(dtype)) + " " + std::to_string(count));
        const Values x(dtype, Shape{count}, kSeed), dy(dtype, Shape{count}, kSeed + 1);
        const Tensor xs = x.on(ctx), dys = dy.on(ctx);
        Tensor y(ctx, dtype, {count}), plain_y(ctx, dtype, {count}), dx(ctx, dtype, {count}),
            want(ctx, dtype, {count});
        const std::int64_t words = mask_words(count);
        Tensor mask(ctx, std::vector<float>(static_cast<std::size_t>(words) + 1, -1.5f));
        auto* bits = static_cast<std::uint32_t*>(mask.view().data());
        forward(ctx, f, xs, y, {.mask = bits});
        forward(ctx, f, xs, plain_y);
        EXPECT_EQ(y.to_doubles(ctx), plain_y.to_doubles(ctx));
        backward_from_mask(ctx, f, bits, dys, dx);
        backward(ctx, f, xs, dys, want);
        EXPECT_EQ(dx.to_doubles(ctx), want.to_doubles(ctx));

        std::vector<float> read(static_cast<std::size_t>(words) + 1);
        copy(ctx, mask, read);
        EXPECT_EQ(read.back(), -1.5f) << "past the last word";
        if (count % 32 != 0) {
          const auto last = std::bit_cast<std::uint32_t>(read[static_cast<std::size_t>(words) - 1]);
          EXPECT_EQ(last >> (count % 32), 0u) << "bits past the last element";
        }
      }
  }
}

TEST_P(ElementwiseOptionsTest, TheOutputHoldsTheBackwardPass) {
  const Context ctx = context();
  for (const Activation& f : every_activation()) {
    if (!has_output(f)) {
      Tensor t(ctx, std::vector<float>{1, 2}), dx(ctx, DType::kF32, {2});
      EXPECT_THROW(backward_from_output(ctx, f, t, t, dx), Error) << f.to_string();
      continue;
    }
    for (const DType dtype : kDTypes) {
      SCOPED_TRACE(f.to_string() + " " + std::string(to_string(dtype)));
      const Shape shape{500};
      const Values x(dtype, shape, kSeed, 3), dy(dtype, shape, kSeed + 1);
      const Tensor xs = x.on(ctx), dys = dy.on(ctx);
      Tensor y(ctx, dtype, shape), dx(ctx, dtype, shape);
      forward(ctx, f, xs, y);
      backward_from_output(ctx, f, y, dys, dx);
      const std::vector<double> dxs = dx.to_doubles(ctx);
      const DType computes = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
      for (std::size_t i = 0; i < dxs.size(); ++i) {
        const Evaluated in = evaluate(f, x.numbers[i], computes, dtype);
        // The stored y is off by half an ULP, which moves these slopes by as much, relatively, or less.
        const long double slope_error = in.slope_error + unit_in_last_place(1, dtype) * std::fabs(in.slope);
        Want{static_cast<long double>(dy.numbers[i]) * in.slope, std::fabs(dy.numbers[i]) * slope_error}
            .expect(dxs[i], dtype, "x = " + std::to_string(x.numbers[i]));
      }
    }
  }
}

/// f' at the x that f's output y came from, where y determines it: the definitions, written out once more.
long double slope_at_output(const Activation& f, long double y) {
  const auto p = f.parameters();
  const std::string_view name = f.name();
  const auto one_or = [](bool on, long double off) { return on ? 1 : off; };
  if (std::isnan(y)) return name == "identity" ? 1 : y;
  if (name == "identity") return 1;
  if (name == "relu") return one_or(y > 0, 0);
  if (name == "relu6") return one_or(y > 0 && y < 6, 0);
  if (name == "leaky_relu" || name == "prelu") return one_or(y > 0, p[0]);
  if (name == "hardtanh") return one_or(y > p[0] && y < p[1], 0);
  if (name == "hardshrink") return one_or(y != 0, 0);
  if (name == "exp") return y;
  if (name == "log_sigmoid") return -std::expm1(y);
  if (name == "softplus") return -std::expm1(-p[0] * y);
  ADD_FAILURE() << "no definition for " << name;
  return 0;
}

// y in another dtype than x may have been rounded over a kink: what counts is the y that is stored.
TEST_P(ElementwiseOptionsTest, TheSlopeIsThatOfTheStoredOutput) {
  const Context ctx = context();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  std::vector<Activation> list = every_activation();
  for (const Activation& f : {hardshrink(0.3), hardshrink(0), hardtanh(-0.5, 2), leaky_relu(0), prelu(3),
                              softplus(0.25), softplus(20)})
    list.push_back(f);
  for (const Activation& f : list) {
    if (!has_output(f)) continue;
    std::vector<double> inputs = {0.0, -0.0, kInf, -kInf, std::nan(""), 1e-30, -1e-30, 30000, -30000};
    for (const double kink : {f.parameters()[0], f.parameters()[1], 0.5, 1.0, 6.0})
      for (const double side : {kink, -kink})  // so near that it is the kink in 16 bits
        for (const double factor : {1 - 0x1p-20, 1.0, 1 + 0x1p-20}) inputs.push_back(side * factor);
    for (const double v : Values(DType::kF64, Shape{64}, kSeed, 3).numbers) inputs.push_back(v);
    const Shape shape{static_cast<std::int64_t>(inputs.size())};
    for (const DType x_type : kDTypes)
      for (const DType y_type : kDTypes)
        for (const DType d_type : kDTypes) {
          const bool f64 = x_type == DType::kF64;
          if ((y_type == DType::kF64) != f64 || (d_type == DType::kF64) != f64) continue;
          SCOPED_TRACE(f.to_string() + " x " + std::string(to_string(x_type)) + " y " +
                       std::string(to_string(y_type)) + " dy " + std::string(to_string(d_type)));
          Values x(x_type, shape, kSeed), dy(d_type, shape, kSeed + 1);
          for (std::size_t i = 0; i < inputs.size(); ++i) x.numbers[i] = x.rounded(inputs[i]);
          const Tensor xs = x.on(ctx), dys = dy.on(ctx);
          // dx in the dtypes that dy and y do not have, too.
          const DType dx_type = f64 ? d_type : y_type == DType::kBF16 ? DType::kF16 : DType::kF32;
          Tensor y(ctx, y_type, shape), dx(ctx, dx_type, shape);
          forward(ctx, f, xs, y);
          backward_from_output(ctx, f, y, dys, dx);
          const std::vector<double> ys = y.to_doubles(ctx), dxs = dx.to_doubles(ctx);
          const long double eps = epsilon(f64 ? DType::kF64 : DType::kF32);
          for (std::size_t i = 0; i < ys.size(); ++i) {
            const std::string where = "x = " + std::to_string(x.numbers[i]) + " y = " + std::to_string(ys[i]);
            const long double want = slope_at_output(f, ys[i]) * dy.numbers[i];
            if (std::isinf(Values(dx_type, Shape{0}, 0).rounded(static_cast<double>(want))))
              EXPECT_EQ(dxs[i], std::copysign(kInf, static_cast<double>(want))) << where;
            else
              Want{want, 4 * eps * std::fabs(want)}.expect(dxs[i], dx_type, where);
          }
        }
  }
}

TEST_P(ElementwiseOptionsTest, EightBitOutputs) {
  const Context ctx = context();
  for (const DType in : {DType::kF32, DType::kBF16})
    for (const DType out : {DType::kE4M3, DType::kE5M2})
      for (const double scale : {1.0, 16.0, 3e4}) {
        SCOPED_TRACE(std::string(to_string(in)) + " to " + std::string(to_string(out)) + " times " +
                     std::to_string(scale));
        const Shape shape{3, 101};
        const Values x(in, shape, kSeed, 4);
        const Tensor xs = x.on(ctx);
        Tensor y(ctx, out, shape), amax(ctx, DType::kF32, {1});
        forward(ctx, gelu(), xs, y,
                {.quantization_scale = scale, .amax = static_cast<float*>(amax.view().data())});
        const double largest = out == DType::kE4M3 ? 448 : 57344;
        double want_amax = 0;
        const std::vector<double> ys = y.to_doubles(ctx);
        for (std::size_t i = 0; i < ys.size(); ++i) {
          const long double exact = jet(gelu(), x.numbers[i]).value * scale;
          if (std::fabs(exact) >= largest) {
            EXPECT_EQ(ys[i], std::copysign(largest, static_cast<double>(exact)));
            want_amax = std::max(want_amax, static_cast<double>(std::fabs(exact)));
          } else {
            EXPECT_LE(std::fabs(ys[i] - exact),
                      0.5001L * unit_in_last_place(exact, out) + 0x1p-12L * std::fabs(exact));
            want_amax = std::max(want_amax, std::fabs(ys[i]));
          }
        }
        EXPECT_NEAR(amax.to_doubles(ctx)[0], want_amax / scale, 1e-5 * want_amax / scale);
      }
  // NaN is stored as NaN, and is the largest.
  Tensor x(ctx, std::vector<float>{1, std::nanf(""), 3}), y(ctx, DType::kE4M3, {3}),
      amax(ctx, DType::kF32, {1});
  forward(ctx, identity(), x, y, {.amax = static_cast<float*>(amax.view().data())});
  EXPECT_TRUE(std::isnan(y.to_doubles(ctx)[1]) && std::isnan(amax.to_doubles(ctx)[0]));
  EXPECT_EQ(y.to_doubles(ctx)[2], 3);
}

TEST_P(ElementwiseOptionsTest, ParameterGradients) {
  const Context ctx = context();
  for (const Activation& f : every_activation()) {
    const int parameters = f.info().parameter_count;
    for (const DType dtype : kDTypes)
      for (const auto& [shape, axis] :
           {std::pair(Shape{4, 3, 50}, -1), std::pair(Shape{4, 3, 50}, 1), std::pair(Shape{70, 5}, 1)}) {
        if (parameters == 0 || (quick() && dtype != DType::kF32)) continue;
        SCOPED_TRACE(f.to_string() + " " + std::string(to_string(dtype)) + " axis " + std::to_string(axis));
        const Values x(dtype, shape, kSeed), dy(dtype, shape, kSeed + 1);
        const Tensor xs = x.on(ctx), dys = dy.on(ctx);
        const std::int64_t channels = axis < 0 ? 1 : shape[axis];
        std::int64_t inner = axis < 0 ? shape.count() : 1;
        for (int a = axis + 1; axis >= 0 && a < shape.rank(); ++a) inner *= shape[a];
        const DType sum_type = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
        Tensor dp(ctx, sum_type, axis < 0 ? Shape{parameters} : Shape{parameters, channels});
        parameter_gradient(ctx, f, xs, dys, dp, axis);
        const std::vector<double> got = dp.to_doubles(ctx);
        for (int j = 0; j < parameters; ++j)
          for (std::int64_t c = 0; c < channels; ++c) {
            long double sum = 0, magnitude = 0;
            for (std::int64_t i = 0; i < shape.count(); ++i) {
              if (i / inner % channels != c) continue;
              const auto at = static_cast<std::size_t>(i);
              const long double term = dy.numbers[at] * reference::parameter_function<long double>(f.kind())(
                                                            x.numbers[at], f.parameters().data(), j);
              sum += term;
              magnitude += std::fabs(dy.numbers[at]) * (1 + std::fabs(x.numbers[at])) + std::fabs(term);
            }
            Want{sum, 16 * epsilon(dtype) * magnitude}.expect(
                got[static_cast<std::size_t>(j * channels + c)], sum_type,
                "parameter " + std::to_string(j) + " channel " + std::to_string(c));
          }
      }
  }
  Tensor x(ctx, std::vector<float>{1}), dp(ctx, DType::kF32, {1});
  EXPECT_THROW(parameter_gradient(ctx, gelu(), x, x, dp), Error);
}

TEST_P(ElementwiseOptionsTest, AListGivesWhatSingleCallsGive) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    for (const std::size_t length : {1u, 2u, 300u}) {
      std::vector<Tensor> xs, ys, want;
      std::vector<ForwardPair> pairs;
      for (std::size_t i = 0; i < length; ++i) {
        const Shape shape{static_cast<std::int64_t>(i == 1 ? 0 : i * 37 % 500 + (i == 0 ? 9000 : 1))};
        xs.push_back(Values(dtype, shape, kSeed + i).on(ctx));
        ys.emplace_back(ctx, dtype, shape);
        want.emplace_back(ctx, dtype, shape);
        forward(ctx, silu(), xs.back(), want.back());
      }
      for (std::size_t i = 0; i < length; ++i) pairs.push_back({xs[i], ys[i]});
      forward_many(ctx, silu(), pairs);
      for (std::size_t i = 0; i < length; ++i) EXPECT_EQ(ys[i].to_doubles(ctx), want[i].to_doubles(ctx)) << i;
      for (std::size_t i = 0; i < length; ++i) pairs[i].y = xs[i];  // in place
      forward_many(ctx, silu(), pairs);
      for (std::size_t i = 0; i < length; ++i) EXPECT_EQ(xs[i].to_doubles(ctx), want[i].to_doubles(ctx)) << i;
    }
  for (const Activation& f : every_activation())
    for (const DType dtype : kDTypes) {
      const Tensor x = Values(dtype, Shape{100}, kSeed).on(ctx);
      Tensor y(ctx, dtype, {100}), want(ctx, dtype, {100});
      const ForwardPair pair{x, y};
      forward_many(ctx, f, {&pair, 1});
      forward(ctx, f, x, want);
      EXPECT_EQ(y.to_doubles(ctx), want.to_doubles(ctx)) << f.to_string();
    }
}

// What dropout has taken from the result has no gradient, be its slope infinite or NaN; the mask is
// forward's.
TEST_P(ElementwiseOptionsTest, DroppedElementsAreZero) {
  const Context ctx = context();
  const std::size_t count = 256;
  const Dropout dropout{.p = 0.5, .key = {kSeed, 3}};
  for (const float x : {std::nanf(""), INFINITY, 100.0f, 1.0f}) {
    const Tensor xs(ctx, std::vector<float>(count, x)), dys(ctx, std::vector<float>(count, 2));
    Tensor y(ctx, DType::kF32, {256}), dx(ctx, DType::kF32, {256}), from_output(ctx, DType::kF32, {256});
    forward(ctx, exp(), xs, y, {.dropout = dropout});
    backward(ctx, exp(), xs, dys, dx, {.dropout = dropout});
    const Tensor output(ctx, std::vector<float>(count, std::exp(x)));
    backward_from_output(ctx, exp(), output, dys, from_output, {.dropout = dropout});
    for (const Tensor* result : {&y, &dx, &from_output}) {
      const std::vector<double> got = result->to_doubles(ctx);
      for (std::size_t i = 0; i < count; ++i) {
        const bool zero = got[i] == 0;
        EXPECT_EQ(zero, !kept(dropout, static_cast<std::int64_t>(i)))
            << x << " element " << i << " " << got[i];
      }
    }
  }
}

// Factors that are 0, and results that only a factor brings back into range.
TEST_P(ElementwiseOptionsTest, FactorsMakeNoNaN) {
  const Context ctx = context();
  Tensor x(ctx, std::vector<float>{100, -1, 0, 3e38f}), y(ctx, DType::kF32, {4}), dx(ctx, DType::kF32, {4});
  Tensor residual(ctx, std::vector<float>{1, 2, 3, 4}), dy(ctx, std::vector<float>{3e38f, 1, 1, 0});
  forward(ctx, exp(), x, y, {.residual = residual, .scale = 0});
  EXPECT_EQ(y.to_doubles(ctx), (std::vector<double>{1, 2, 3, 4}));
  backward(ctx, exp(), x, dy, dx, {.scale = 0});
  EXPECT_EQ(dx.to_doubles(ctx), (std::vector<double>{0, 0, 0, 0}));
  Tensor negative(ctx, std::vector<float>{-1, 1, -1, 1}), large(ctx, std::vector<float>{3e38f, 1, -3e38f, 2});
  backward(ctx, leaky_relu(2), negative, large, dx, {.scale = 1e-3});
  const std::vector<double> got = dx.to_doubles(ctx);
  EXPECT_NEAR(got[0], 6e35, 1e30);
  EXPECT_NEAR(got[2], -6e35, 1e30);
  Tensor y8(ctx, DType::kE5M2, {4}), lower(ctx, std::vector<float>{-10, -10, -10, -10});
  forward(ctx, relu(), x, y8, {.residual = lower, .quantization_scale = 1e38});
  EXPECT_EQ(y8.to_doubles(ctx), (std::vector<double>{57344, -57344, -57344, 57344}));
  // What is finite stays so, and what is not does not.
  Tensor amax(ctx, DType::kF32, {1}), infinite(ctx, std::vector<float>{1, -INFINITY, 0, 2});
  const auto amax_of = [&](const Tensor& values) {
    forward(ctx, identity(), values, y8,
            {.quantization_scale = 1e38, .amax = static_cast<float*>(amax.view().data())});
    return amax.to_doubles(ctx)[0];
  };
  EXPECT_NEAR(amax_of(lower), std::numeric_limits<float>::max() / 1e38, 1e-6);
  EXPECT_EQ(amax_of(infinite), INFINITY);
}

TEST_P(ElementwiseOptionsTest, NothingToDo) {
  const Context ctx = context();
  Tensor x(ctx, DType::kF32, {0, 3}), y(ctx, DType::kE4M3, {0, 3}), dx(ctx, DType::kF32, {0, 3});
  Tensor dbias(ctx, std::vector<float>{1, 2, 3}), amax(ctx, std::vector<float>{1}),
      dp(ctx, std::vector<float>{1});
  forward(ctx, relu(), x, y, {.amax = static_cast<float*>(amax.view().data())});
  backward(ctx, relu(), x, x, dx, {.dbias = dbias});
  parameter_gradient(ctx, leaky_relu(), x, x, dp);
  EXPECT_EQ(dbias.to_doubles(ctx), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(amax.to_doubles(ctx)[0], 0);
  EXPECT_EQ(dp.to_doubles(ctx)[0], 0);
  forward_many(ctx, relu(), {});
}

}  // namespace

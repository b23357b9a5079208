// The launchers of the elementwise kernels, called as the host calls them: random combinations of options,
// element types, shapes, strides and misalignments against plain double arithmetic over the reference's
// formulas. Nothing outside a tensor's elements may change.
#include <gtest/gtest.h>
#include <actium/actium.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <cuda_runtime_api.h>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "kernels/launch.hpp"
#include "kernels/plan.hpp"
#include "reference/evaluate.hpp"
#include "reference/philox.hpp"
#include "support/samples.hpp"

namespace {

using namespace actium;
using namespace actium_test;
using kernels::AnyMatrix;
using kernels::ChannelArguments;
using kernels::Extent;

double number_of(const std::byte* p, DType dtype) {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, p, sizeof value);
    return static_cast<double>(value);
  };
  switch (dtype) {
    case DType::kF64:
      return as(0.0);
    case DType::kF32:
      return as(0.0f);
    case DType::kF16:
      return as(f16());
    case DType::kBF16:
      return as(bf16());
    case DType::kE4M3:
      return as(e4m3());
    case DType::kE5M2:
      return as(e5m2());
  }
  return 0;
}
void store_number(std::byte* p, DType dtype, double x) {
  const auto as = [&](auto value) { std::memcpy(p, &value, sizeof value); };
  switch (dtype) {
    case DType::kF64:
      return as(x);
    case DType::kF32:
      return as(static_cast<float>(x));
    case DType::kF16:
      return as(f16(x));
    case DType::kBF16:
      return as(bf16(x));
    case DType::kE4M3:
      return as(e4m3(x));
    case DType::kE5M2:
      return as(e5m2(x));
  }
}
double rounded(double x, DType dtype) {
  std::byte bytes[8];
  store_number(bytes, dtype, x);
  return number_of(bytes, dtype);
}
/// Half a unit in the last place, relative to the number, and the smallest absolute one.
double relative_rounding(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x1p-53;
    case DType::kF32:
      return 0x1p-24;
    case DType::kF16:
      return 0x1p-11;
    case DType::kBF16:
      return 0x1p-8;
    case DType::kE4M3:
      return 0x1p-4;
    case DType::kE5M2:
      return 0x1p-3;
  }
  return 0;
}
double absolute_rounding(DType dtype) {
  return dtype == DType::kF16    ? 0x1p-25
         : dtype == DType::kE4M3 ? 0x1p-10
         : dtype == DType::kE5M2 ? 0x1p-17
                                 : 0;
}

/// A matrix in device memory, `offset` elements past an aligned address, between guards.
class Memory {
 public:
  Memory(DType dtype, Extent extent, std::int64_t stride, int offset)
      : dtype_(dtype), extent_(extent), stride_(extent.rows == 1 ? extent.cols : stride) {
    const std::size_t bytes =
        (static_cast<std::size_t>((extent.rows - 1) * stride_ + extent.cols + offset)) * size_of(dtype) +
        2 * kGuard;
    first_ = kGuard + static_cast<std::size_t>(offset) * size_of(dtype);
    // Large negative numbers of every type, others in each tensor: no activation of one guard is another.
    static unsigned tensors = 0;
    host_.assign(bytes, static_cast<std::byte>(0xc1 + tensors++ % 31));
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&device_), bytes), cudaSuccess);
    upload();
  }
  Memory(DType dtype, Extent extent, std::int64_t stride, int offset, const std::vector<double>& values)
      : Memory(dtype, extent, stride, offset) {
    for (std::int64_t i = 0; i < std::ssize(values); ++i)
      store_number(at(i), dtype, values[static_cast<std::size_t>(i)]);
    upload();
  }
  Memory(const Memory&) = delete;
  ~Memory() { cudaFree(device_); }

  AnyMatrix view() const { return {device_ + first_, stride_, dtype_}; }
  template <class T>
  kernels::Matrix<T> matrix() const {
    return {reinterpret_cast<T*>(device_ + first_), stride_};
  }
  double operator[](std::int64_t i) const { return number_of(at(i), dtype_); }
  DType dtype() const { return dtype_; }

  /// Reads the elements back; false if anything else has changed.
  bool download() {
    std::vector<std::byte> now(host_.size());
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(now.data(), device_, now.size(), cudaMemcpyDefault), cudaSuccess);
    std::swap(now, host_);
    std::vector<std::byte> masked_now = host_, masked_before = now;
    for (std::int64_t i = 0; i < extent_.rows * extent_.cols; ++i)
      for (std::size_t b = 0; b < size_of(dtype_); ++b)
        masked_now[position(i) + b] = masked_before[position(i) + b] = std::byte{0};
    return masked_now == masked_before;
  }

 private:
  static constexpr std::size_t kGuard = 64;
  std::size_t position(std::int64_t i) const {
    return first_ + static_cast<std::size_t>(i / extent_.cols * stride_ + i % extent_.cols) * size_of(dtype_);
  }
  std::byte* at(std::int64_t i) { return host_.data() + position(i); }
  const std::byte* at(std::int64_t i) const { return host_.data() + position(i); }
  void upload() {
    EXPECT_EQ(cudaMemcpy(device_, host_.data(), host_.size(), cudaMemcpyDefault), cudaSuccess);
  }
  DType dtype_;
  Extent extent_;
  std::int64_t stride_;
  std::size_t first_;
  std::vector<std::byte> host_;
  std::byte* device_ = nullptr;
};

/// Scratch memory of a promised size; guarded() says whether nothing behind it was written.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : bytes_(bytes) {
    EXPECT_EQ(cudaMalloc(&data_, bytes + kGuard), cudaSuccess);
    EXPECT_EQ(cudaMemset(data_, 0x4d, bytes + kGuard), cudaSuccess);
  }
  Scratch(const Scratch&) = delete;
  ~Scratch() { cudaFree(data_); }
  void* data() const { return data_; }
  bool guarded() const {
    std::vector<std::byte> after(kGuard);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(after.data(), static_cast<std::byte*>(data_) + bytes_, kGuard, cudaMemcpyDefault),
              cudaSuccess);
    return after == std::vector<std::byte>(kGuard, std::byte{0x4d});
  }

 private:
  static constexpr std::size_t kGuard = 256;
  std::size_t bytes_;
  void* data_ = nullptr;
};

/// One random case: shape, channels and a source of numbers.
struct Case {
  std::mt19937_64 random;
  Extent extent{};
  ChannelArguments map{};

  explicit Case(std::uint64_t seed) : random(seed) {
    if (chance(2)) {
      extent = {1, pick({1, 3, 4, 31, 32, 33, 100, 1023, 1024, 1025, 4099, 9000})};
    } else {
      extent = {pick({2, 3, 7, 33, 200}), pick({1, 2, 3, 4, 5, 12, 31, 48, 130, 1028})};
    }
    // Channels that come round a whole number of times, along columns or rows.
    const std::int64_t cols = extent.cols, rows = extent.rows;
    if (rows > 1 && chance(3)) {
      const std::int64_t channels = divisor(rows);
      map = {channels, cols * divisor(rows / channels)};
    } else {
      const std::int64_t period = divisor(cols), channels = divisor(period);
      map = {channels, period / channels};
    }
    if (rows == 1 && chance(6)) {  // rows of one channel that are long
      const std::int64_t channels = pick({1, 2, 3});
      extent = {1, channels * 1300 * pick({1, 2})};
      map = {channels, 1300};
    }
  }
  bool chance(int n) { return random() % static_cast<unsigned>(n) == 0; }
  std::int64_t pick(std::initializer_list<std::int64_t> list) { return list.begin()[random() % list.size()]; }
  std::int64_t divisor(std::int64_t n) {
    std::vector<std::int64_t> list;
    for (std::int64_t d = 1; d <= n; ++d)
      if (n % d == 0) list.push_back(d);
    return list[random() % list.size()];
  }
  DType dtype(std::initializer_list<DType> list) { return list.begin()[random() % list.size()]; }
  std::int64_t stride() { return extent.cols + pick({0, 0, 1, 4, 5, 8}); }
  int offset() { return static_cast<int>(pick({0, 0, 0, 1, 2, 3, 4})); }
  std::vector<double> numbers(std::int64_t count, double width = 3) {
    std::normal_distribution<double> normal(0, width);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = normal(random);
    return values;
  }
  std::int64_t count() const { return extent.rows * extent.cols; }
  std::int64_t channel(std::int64_t i) const { return i / map.inner % map.channels; }
  Memory matrix(DType dtype_of_it) { return {dtype_of_it, extent, stride(), offset(), numbers(count())}; }
  Memory empty(DType dtype_of_it) { return {dtype_of_it, extent, stride(), offset()}; }
  Memory vector(DType dtype_of_it, double width = 1) {
    return {dtype_of_it, {1, map.channels}, 0, offset(), numbers(map.channels, width)};
  }
  std::string to_string() const {
    return "[" + std::to_string(extent.rows) + ", " + std::to_string(extent.cols) + "], " +
           std::to_string(map.channels) + " channels of " + std::to_string(map.inner);
  }
};

constexpr std::initializer_list<DType> kNarrow = {DType::kF32, DType::kF16, DType::kBF16};
constexpr ActivationKind kKinds[] = {
    ActivationKind::relu,     ActivationKind::leaky_relu, ActivationKind::prelu,
    ActivationKind::silu,     ActivationKind::gelu,       ActivationKind::tanh,
    ActivationKind::softplus, ActivationKind::identity,   ActivationKind::hardshrink};

kernels::ActivationArguments arguments_of(ActivationKind kind) {
  kernels::ActivationArguments f{kind, {}};
  const auto& info = activations()[static_cast<std::size_t>(kind)];
  for (std::size_t i = 0; i < kMaxParameters; ++i) f.parameters[i] = info.parameter_defaults[i];
  return f;
}
bool takes_slopes(ActivationKind kind) {
  return kind == ActivationKind::leaky_relu || kind == ActivationKind::prelu;
}
bool has_mask(ActivationKind kind) {
  const BackwardFrom from = activations()[static_cast<std::size_t>(kind)].backward_from;
  return from == BackwardFrom::input_mask || from == BackwardFrom::input_output_mask;
}
bool works_from_output(ActivationKind kind) {
  const BackwardFrom from = activations()[static_cast<std::size_t>(kind)].backward_from;
  return from == BackwardFrom::input_output || from == BackwardFrom::input_output_mask;
}
/// f(x) and f'(x), good for f64 results too.
struct ValueAndSlope {
  double value, slope;
};
ValueAndSlope reference_of(ActivationKind kind, double x, const double* parameters) {
  const auto jet = reference::slope_function<long double>(kind)(static_cast<long double>(x), parameters);
  return {static_cast<double>(jet.value), static_cast<double>(jet.slope)};
}
/// x + bias as the kernels round it.
double plus(double x, double bias, bool in_double) {
  return in_double ? x + bias : static_cast<double>(static_cast<float>(x) + static_cast<float>(bias));
}

void expect_near(double got, double want, double scale, DType dtype, bool in_double, double ulps,
                 const std::string& what) {
  const double unit = relative_rounding(dtype), computing = in_double ? 0x1p-53 : 0x1p-24;
  const double bound = ulps * 2 * unit * std::fabs(want) + absolute_rounding(dtype) + 32 * computing * scale;
  EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : std::fabs(got - want) <= bound)
      << what << ": got " << got << ", want " << want << " +- " << bound;
}

constexpr int kCases = 400;
int cases() { return quick() ? kCases / 10 : kCases; }

// ---------------------------------------------------------------- fused forward

TEST(FusedForward, RandomCombinations) {
  for (int number = 0; number < cases(); ++number) {
    Case c(kSeed + static_cast<std::uint64_t>(number));
    const bool in_double = c.chance(5);
    const ActivationKind kind = kKinds[c.random() % std::size(kKinds)];
    const auto dtype = [&] { return in_double ? DType::kF64 : c.dtype(kNarrow); };
    SCOPED_TRACE("case " + std::to_string(number) + ", " +
                 std::string(activations()[static_cast<std::size_t>(kind)].name) + ", " + c.to_string());
    const DType y_dtype = in_double
                              ? DType::kF64
                              : c.dtype({DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3, DType::kE5M2});
    const bool all = c.chance(4);
    const auto with = [&] { return all || c.chance(4); };

    Memory x = c.matrix(dtype()), y = c.empty(y_dtype), residual = c.matrix(dtype()),
           bias = c.vector(dtype()), slope = c.vector(dtype()), amax(DType::kF32, {1, 1}, 0, 0),
           mask(DType::kF32, {1, (c.count() + 31) / 32}, 0, 0);
    kernels::FusedForward call{.f = arguments_of(kind), .extent = c.extent};
    call.x = x.view();
    call.y = y.view();
    if (with()) call.residual = residual.view();
    if (with()) call.bias = bias.view(), call.bias_map = c.map;
    if (with() && takes_slopes(kind)) call.slope = slope.view(), call.slope_map = c.map;
    if (with()) call.scale = -1.7;
    if (with()) call.dropout = {.threshold = 0x40000000u, .inverse_keep = 4.0 / 3, .seed = 7, .sequence = 5};
    if (with() && has_mask(kind) && c.extent.rows == 1)
      call.mask = reinterpret_cast<std::uint32_t*>(mask.view().data);
    if (is_8_bit(y_dtype)) {
      if (with()) call.quantization_scale = 30;
      if (with()) call.amax = static_cast<float*>(amax.view().data);
    }
    const bool in_place = !is_8_bit(y_dtype) && c.chance(5) && x.dtype() == y_dtype;
    if (in_place) call.y = call.x;
    const Scratch scratch(kernels::fused_forward_scratch(call));
    call.scratch = scratch.data();

    std::vector<double> inputs;
    for (std::int64_t i = 0; i < c.count(); ++i) inputs.push_back(x[i]);
    ASSERT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
    Memory& out = in_place ? x : y;
    EXPECT_TRUE(out.download() && mask.download() && amax.download() && scratch.guarded())
        << "wrote elsewhere";

    double largest = 0;
    for (std::int64_t i = 0; i < c.count() && !testing::Test::HasFailure(); ++i) {
      const double at = call.bias.data
                            ? plus(inputs[static_cast<std::size_t>(i)], bias[c.channel(i)], in_double)
                            : inputs[static_cast<std::size_t>(i)];
      double parameters[kMaxParameters] = {call.f.parameters[0], call.f.parameters[1], call.f.parameters[2]};
      if (call.slope.data) parameters[0] = slope[c.channel(i)];
      double want = reference_of(kind, at, parameters).value;
      if (call.mask != nullptr) {
        std::uint32_t word;
        const float as_float = static_cast<float>(mask[i / 32]);
        std::memcpy(&word, &as_float, sizeof word);
        const bool on = kind == ActivationKind::hardshrink ? std::fabs(at) > parameters[0] : at > 0;
        if (!std::isnan(as_float)) {
          EXPECT_EQ(word >> (i % 32) & 1, on ? 1u : 0u) << "mask " << i;
        }
      }
      if (call.dropout.threshold != 0)
        want =
            reference::philox_word({.seed = 7, .sequence = 5}, static_cast<std::uint64_t>(i)) >= 0x40000000u
                ? want * call.dropout.inverse_keep
                : 0;
      want *= call.scale;
      double scale = std::fabs(want);
      if (call.residual.data) want += residual[i], scale += std::fabs(residual[i]);
      want *= call.quantization_scale;
      scale *= call.quantization_scale;
      if (is_8_bit(y_dtype)) {
        const double limit = y_dtype == DType::kE4M3 ? e4m3::kLargest : e5m2::kLargest;
        largest = std::max(largest, std::fabs(want) > limit ? std::fabs(want) : std::fabs(out[i]));
        want = std::clamp(want, -limit, limit);
      }
      expect_near(out[i], want, scale, out.dtype(), in_double, is_8_bit(y_dtype) ? 0.52 : 0.51,
                  "y " + std::to_string(i));
    }
    if (call.amax != nullptr) {
      EXPECT_NEAR(amax[0], largest / call.quantization_scale, 1e-5 * largest / call.quantization_scale);
    }
    if (testing::Test::HasFailure()) return;
  }
}

// Every word of the mask is written, and the bits past the end are 0.
TEST(FusedForward, MaskWords) {
  for (const std::int64_t count : {1, 31, 32, 33, 64, 100, 1000, 1024, 4097}) {
    std::vector<double> values(static_cast<std::size_t>(count), 1.0);
    for (std::size_t i = 0; i < values.size(); i += 3) values[i] = -1;
    Memory x(DType::kBF16, {1, count}, 0, 3, values), y(DType::kF32, {1, count}, 0, 1);
    const std::int64_t words = (count + 31) / 32;
    Memory mask(DType::kF32, {1, words}, 0, 0);
    kernels::FusedForward call{.f = arguments_of(ActivationKind::relu), .extent = {1, count}};
    call.x = x.view();
    call.y = y.view();
    call.mask = static_cast<std::uint32_t*>(mask.view().data);
    ASSERT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    std::vector<std::uint32_t> got(static_cast<std::size_t>(words)), want(got.size());
    ASSERT_EQ(cudaMemcpy(got.data(), call.mask, got.size() * 4, cudaMemcpyDefault), cudaSuccess);
    for (std::size_t i = 0; i < values.size(); ++i) want[i / 32] |= (values[i] > 0 ? 1u : 0u) << (i % 32);
    EXPECT_EQ(got, want) << count;
    EXPECT_TRUE(mask.download());
  }
}

// Software rounding to 8 bits is dtype.hpp's, which is written another way.
TEST(FusedForward, EightBitsOfManyFloats) {
  std::vector<double> values;
  const std::uint32_t step = quick() ? 1000003 : 40009;
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += step)
    values.push_back(static_cast<double>(from_bits<float>(bits)));
  for (int code = 0; code < 256;
       ++code)  // the numbers themselves, the middles between them and their neighbours
    for (const double x : {static_cast<double>(e4m3::from_bits(static_cast<std::uint8_t>(code))),
                           static_cast<double>(e5m2::from_bits(static_cast<std::uint8_t>(code)))})
      for (const double part : {1.0, 1 + 0x1p-4, 1 + 0x1p-3, 1 + 0x1p-2, 1 - 0x1p-5, 1 - 0x1p-4, 1.5, 0.5})
        for (const float toward : {-1e30f, 1e30f}) {
          const auto at = static_cast<float>(x * part);
          values.push_back(static_cast<double>(at));
          values.push_back(static_cast<double>(std::nextafter(at, toward)));
        }
  const std::int64_t count = std::ssize(values);
  const Memory x(DType::kF32, {1, count}, 0, 0, values);
  for (const DType dtype : {DType::kE4M3, DType::kE5M2}) {
    Memory y(dtype, {1, count}, 0, 0);
    kernels::FusedForward call{.f = arguments_of(ActivationKind::identity), .extent = {1, count}};
    call.x = x.view();
    call.y = y.view();
    ASSERT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    std::vector<std::uint8_t> got(values.size());
    ASSERT_EQ(cudaMemcpy(got.data(), call.y.data, got.size(), cudaMemcpyDefault), cudaSuccess);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::uint8_t want = dtype == DType::kE4M3 ? e4m3(values[i]).bits : e5m2(values[i]).bits;
      ASSERT_EQ(int{got[i]}, int{want}) << to_string(dtype) << " of " << values[i];
    }
  }
}

TEST(FusedForward, AmaxOfNaNAndOfSaturation) {
  for (const bool nan : {false, true}) {
    std::vector<double> values(5000, 0.25);
    values[4321] = -1000;
    if (nan) values[17] = std::nan("");
    const Memory x(DType::kBF16, {1, 5000}, 0, 0, values);
    Memory y(DType::kE4M3, {1, 5000}, 0, 0), amax(DType::kF32, {1, 1}, 0, 0);
    kernels::FusedForward call{.f = arguments_of(ActivationKind::identity), .extent = {1, 5000}};
    call.x = x.view();
    call.y = y.view();
    call.quantization_scale = 2;
    call.amax = static_cast<float*>(amax.view().data);
    const Scratch scratch(kernels::fused_forward_scratch(call));
    call.scratch = scratch.data();
    ASSERT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
    EXPECT_TRUE(y.download() && amax.download() && scratch.guarded());
    EXPECT_EQ(y[4321], -448);
    EXPECT_EQ(y[0], 0.5);
    EXPECT_TRUE(nan ? std::isnan(amax[0]) && std::isnan(y[17]) : amax[0] == 1000) << amax[0];
  }
}

// ---------------------------------------------------------------- fused backward

TEST(FusedBackward, RandomCombinations) {
  for (int number = 0; number < cases(); ++number) {
    Case c(kSeed + 1000 + static_cast<std::uint64_t>(number));
    const bool in_double = c.chance(5);
    const ActivationKind kind = kKinds[c.random() % std::size(kKinds)];
    const auto dtype = [&] { return in_double ? DType::kF64 : c.dtype(kNarrow); };
    kernels::SlopeSource source = kernels::SlopeSource::kInput;
    if (works_from_output(kind) && c.chance(3)) source = kernels::SlopeSource::kOutput;
    if (has_mask(kind) && c.extent.rows == 1 && c.chance(3)) source = kernels::SlopeSource::kMask;
    SCOPED_TRACE("case " + std::to_string(number) + ", " +
                 std::string(activations()[static_cast<std::size_t>(kind)].name) + ", source " +
                 std::to_string(static_cast<int>(source)) + ", " + c.to_string());
    const bool all = c.chance(4);
    const auto with = [&] { return all || c.chance(4); };

    const DType dbias_dtype = in_double || c.chance(4)
                                  ? c.dtype({DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
                                  : c.dtype(kNarrow);
    std::vector<double> inputs = c.numbers(c.count());
    if (source == kernels::SlopeSource::kOutput)
      for (double& v : inputs) v = std::fabs(v);
    Memory x(dtype(), c.extent, c.stride(), c.offset(), inputs),
        dy = c.matrix(dtype()), dx = c.empty(dtype()), bias = c.vector(dtype()), slope = c.vector(dtype()),
        dbias(dbias_dtype, {1, c.map.channels}, 0, c.offset());
    kernels::FusedBackward call{.f = arguments_of(kind), .extent = c.extent, .source = source};
    call.dy = dy.view();
    call.dx = dx.view();
    std::vector<std::uint32_t> bits(static_cast<std::size_t>((c.count() + 31) / 32));
    for (auto& word : bits) word = static_cast<std::uint32_t>(c.random());
    std::uint32_t* mask = nullptr;
    ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&mask), bits.size() * 4), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(mask, bits.data(), bits.size() * 4, cudaMemcpyDefault), cudaSuccess);
    if (source == kernels::SlopeSource::kMask)
      call.mask = mask;
    else
      call.x = x.view();
    call.bias_map = c.map;
    if (with() && source == kernels::SlopeSource::kInput) call.bias = bias.view();
    if (with() && takes_slopes(kind)) call.slope = slope.view(), call.slope_map = c.map;
    if (with()) call.scale = -1.7;
    if (with()) call.dropout = {.threshold = 0x40000000u, .inverse_keep = 4.0 / 3, .seed = 7, .sequence = 5};
    if (all || c.chance(2)) call.dbias = dbias.view();
    const bool in_place = c.chance(5) && dx.dtype() == dy.dtype();
    if (in_place) call.dx = call.dy;
    const Scratch scratch(kernels::fused_backward_scratch(call));
    call.scratch = scratch.data();

    std::vector<double> gradients;
    for (std::int64_t i = 0; i < c.count(); ++i) gradients.push_back(dy[i]);
    ASSERT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
    Memory& out = in_place ? dy : dx;
    EXPECT_TRUE(out.download() && dbias.download() && scratch.guarded()) << "wrote elsewhere";
    cudaFree(mask);

    std::vector<double> sums(static_cast<std::size_t>(c.map.channels)), sizes(sums.size());
    for (std::int64_t i = 0; i < c.count() && !testing::Test::HasFailure(); ++i) {
      double parameters[kMaxParameters] = {call.f.parameters[0], call.f.parameters[1], call.f.parameters[2]};
      if (call.slope.data) parameters[0] = slope[c.channel(i)];
      double f;
      if (source == kernels::SlopeSource::kMask) {
        f = bits[static_cast<std::size_t>(i / 32)] >> (i % 32) & 1 ? 1
            : takes_slopes(kind)                                   ? parameters[0]
                                                                   : 0;
      } else if (source == kernels::SlopeSource::kOutput) {
        const double y = x[i];
        f = kind == ActivationKind::softplus     ? -std::expm1(-y)
            : kind == ActivationKind::identity   ? 1
            : kind == ActivationKind::hardshrink ? (y != 0 ? 1 : 0)
                                                 : (y > 0                ? 1
                                                    : takes_slopes(kind) ? parameters[0]
                                                                         : 0);
      } else {
        f = reference_of(kind, call.bias.data ? plus(x[i], bias[c.channel(i)], in_double) : x[i], parameters)
                .slope;
      }
      double want = gradients[static_cast<std::size_t>(i)] * f * call.scale;
      if (call.dropout.threshold != 0)
        want =
            reference::philox_word({.seed = 7, .sequence = 5}, static_cast<std::uint64_t>(i)) >= 0x40000000u
                ? want * call.dropout.inverse_keep
                : 0;
      expect_near(out[i], want, std::fabs(want) + (source == kernels::SlopeSource::kOutput ? 1e-2 : 0),
                  out.dtype(), in_double, 0.9, "dx " + std::to_string(i));
      sums[static_cast<std::size_t>(c.channel(i))] += want;
      sizes[static_cast<std::size_t>(c.channel(i))] += std::fabs(want);
    }
    for (std::int64_t channel = 0; call.dbias.data && channel < c.map.channels; ++channel) {
      const auto at = static_cast<std::size_t>(channel);
      // Slopes in the form for 16 bits where nothing needs more.
      const bool narrow = size_of(dbias_dtype) == 2;
      expect_near(dbias[channel], sums[at], sizes[at] * (narrow ? 1 + 0x1p-14 * 0x1p24 / 32 : 1), dbias_dtype,
                  in_double, 0.51, "dbias " + std::to_string(channel));
    }
    if (testing::Test::HasFailure()) return;
  }
}

// Sums of many terms are as good as their terms, and the same in every order of threads.
TEST(FusedBackward, BiasGradientIsDeterministicAndExact) {
  const emulator::Options before = emulator::options();
  const std::int64_t rows = quick() ? 700 : 3000, cols = 132;
  std::mt19937_64 random(kSeed);
  std::vector<double> values(static_cast<std::size_t>(rows * cols));
  for (double& v : values) v = std::ldexp(static_cast<double>(random() >> 40), -20) - 8;  // floats
  const Memory dy(DType::kF32, {1, rows * cols}, 0, 1, values);
  Memory dx(DType::kF32, {1, rows * cols}, 0, 0), dbias(DType::kF32, {1, cols}, 0, 0);
  kernels::FusedBackward call{.f = arguments_of(ActivationKind::identity), .extent = {1, rows * cols}};
  call.x = call.dy = dy.view();
  call.dx = dx.view();
  call.bias_map = {cols, 1};
  call.dbias = dbias.view();
  std::vector<double> first;
  for (const emulator::Schedule schedule :
       {emulator::Schedule::kForward, emulator::Schedule::kReverse, emulator::Schedule::kRandom}) {
    emulator::options().schedule = schedule;
    const Scratch scratch(kernels::fused_backward_scratch(call));
    call.scratch = scratch.data();
    ASSERT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
    EXPECT_TRUE(dbias.download());
    std::vector<double> got;
    for (std::int64_t c = 0; c < cols; ++c) {
      double sum = 0;  // exact: multiples of 2^-20 below 2^16
      for (std::int64_t r = 0; r < rows; ++r) sum += values[static_cast<std::size_t>(r * cols + c)];
      got.push_back(dbias[c]);
      EXPECT_EQ(got.back(), static_cast<double>(static_cast<float>(sum))) << c;
    }
    if (first.empty()) first = got;
    EXPECT_EQ(got, first);
  }
  emulator::options() = before;
}

// Every way in which tiles are given to channels, with sums that are exact in any order.
TEST(FusedBackward, BiasGradientOfManyShapes) {
  struct Shape {
    std::int64_t rows, cols, stride, channels, inner;
  };
  const Shape shapes[] = {
      {1, 9000, 0, 1, 9000},         // one sum
      {700, 6, 11, 1, 4200},         // of short rows
      {2, 70001, 70003, 1, 140002},  // of long ones
      {1, 6000, 0, 5, 1},            // by columns, which are more than the channels
      {300, 40, 48, 40, 1},          // by the matrix's own columns
      {2, 196608, 196611, 3, 2},     // by columns within long rows
      {400, 3, 5, 4, 30},            // slots of 10 rows, 10 of each channel
      {900, 2, 2, 300, 2},           // slots of one row
      {6, 2600, 2601, 3, 5200},      // a tile for two rows
      {1, 42000, 0, 7, 1500},        // four parts for each channel
      {1, 2100 * 1024, 0, 3, 1024},  // which are more than slots
  };
  for (const Shape& shape : shapes) {
    const std::int64_t count = shape.rows * shape.cols;
    const auto plan = kernels::plan_channel_sum(shape.rows, shape.cols, shape.channels, shape.inner);
    SCOPED_TRACE("[" + std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "], " +
                 std::to_string(shape.channels) + " channels of " + std::to_string(shape.inner) + ", " +
                 std::to_string(plan.walk.rounds) + " rounds");
    std::mt19937_64 random(kSeed);
    std::vector<double> values(static_cast<std::size_t>(count)),
        sums(static_cast<std::size_t>(shape.channels));
    for (std::int64_t i = 0; i < count; ++i) {
      values[static_cast<std::size_t>(i)] = static_cast<double>(random() % 129) - 64;
      sums[static_cast<std::size_t>(i / shape.inner % shape.channels)] += values[static_cast<std::size_t>(i)];
    }
    const Extent extent{shape.rows, shape.cols};
    const Memory dy(DType::kF16, extent, shape.stride, 1, values),
        minus(DType::kF16, extent, shape.stride + 1, 2, std::vector<double>(values.size(), -1.0));
    Memory dx(DType::kBF16, extent, shape.stride + 2, 3), dbias(DType::kF32, {1, shape.channels}, 0, 0),
        dp(DType::kF64, {1, shape.channels}, 0, 0);
    kernels::FusedBackward call{.f = arguments_of(ActivationKind::identity), .extent = extent};
    call.x = call.dy = dy.view();
    call.dx = dx.view();
    call.bias_map = {shape.channels, shape.inner};
    call.dbias = dbias.view();
    const Scratch scratch(kernels::fused_backward_scratch(call));
    call.scratch = scratch.data();
    ASSERT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
    EXPECT_TRUE(dbias.download() && dx.download() && scratch.guarded()) << "wrote elsewhere";
    kernels::ParameterGradient slope{.f = arguments_of(ActivationKind::prelu), .extent = extent};
    slope.x = minus.view();
    slope.dy = dy.view();
    slope.map = call.bias_map;
    slope.dp = dp.view();
    const Scratch slope_scratch(kernels::parameter_gradient_scratch(slope));
    slope.scratch = slope_scratch.data();
    ASSERT_EQ(kernels::launch_parameter_gradient(slope, nullptr), cudaSuccess);
    EXPECT_TRUE(dp.download() && slope_scratch.guarded()) << "wrote elsewhere";
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      ASSERT_EQ(dbias[c], sums[static_cast<std::size_t>(c)]) << c;
      ASSERT_EQ(dp[c], -sums[static_cast<std::size_t>(c)]) << c;
    }
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(dx[i], values[static_cast<std::size_t>(i)]) << i;
  }
}

// Finite terms have a finite or an infinite sum, however large they are on the way; terms that are not finite
// mean what they mean.
TEST(FusedBackward, SumsBeyondTheLargestNumber) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    SCOPED_TRACE(to_string(dtype));
    const bool in_double = dtype == DType::kF64;
    const double most = in_double ? std::numeric_limits<double>::max()
                                  : static_cast<double>(std::numeric_limits<float>::max());
    std::mt19937_64 random(kSeed);
    // Columns of terms: large ones, small ones, in an order that makes partial sums overflow.
    std::vector<std::vector<double>> columns = {{most, most, -most, -most, 1},
                                                {-most, -most, most, most, most / 2},
                                                {most, most},
                                                {-most, -most, 3},
                                                {most, -most, inf, 2},
                                                {inf, most, -inf},
                                                {most, most, std::nan("")},
                                                {-inf, most, most, most},
                                                {most / 2, most / 2, most / 4, -most / 4}};
    for (int k = 0; k < 8; ++k) {
      columns.emplace_back();
      for (int i = 0; i < 200; ++i) {
        const double x =
            std::ldexp(static_cast<double>(random() >> 40) - 0x1p23,
                       static_cast<int>(random() % 3) * (in_double ? 480 : 50) + (in_double ? 31 : 3));
        columns.back().push_back(x);
        if (i % 2 == 0) columns.back().push_back(k < 4 ? -x : x / 2);
      }
    }
    const std::int64_t rows = quick() ? 700 : 2500, cols = std::ssize(columns);
    std::vector<double> values(static_cast<std::size_t>(rows * cols));
    for (std::int64_t c = 0; c < cols; ++c) {
      const auto& terms = columns[static_cast<std::size_t>(c)];
      // Of one thread where the steps are large, of the whole tile and of all tiles where they are small.
      const std::int64_t apart = c % 2 == 0 ? rows / std::ssize(terms) : 1;
      for (std::int64_t i = 0; i < std::ssize(terms); ++i)
        values[static_cast<std::size_t>(i * apart * cols + c)] = terms[static_cast<std::size_t>(i)];
    }
    const Memory dy(dtype, {1, rows * cols}, 0, 0, values);
    Memory dx(dtype, {1, rows * cols}, 0, 0);
    for (const DType result : {DType::kF32, DType::kF64}) {
      Memory dbias(result, {1, cols}, 0, 0);
      kernels::FusedBackward call{.f = arguments_of(ActivationKind::identity), .extent = {1, rows * cols}};
      call.x = call.dy = dy.view();
      call.dx = dx.view();
      call.bias_map = {cols, 1};
      call.dbias = dbias.view();
      const Scratch scratch(kernels::fused_backward_scratch(call));
      call.scratch = scratch.data();
      ASSERT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
      EXPECT_TRUE(dbias.download());
      for (std::int64_t c = 0; c < cols; ++c) {
        long double sum = 0, size = 0;  // of x86-64: 15 bits of exponent
        for (std::int64_t r = 0; r < rows; ++r) {
          const long double term = dy[r * cols + c];
          sum += term;
          size += std::fabs(term);
        }
        const double want =
            result == DType::kF32 ? static_cast<double>(static_cast<float>(sum)) : static_cast<double>(sum);
        const double got = dbias[c];
        if (std::isnan(want) || std::isinf(want)) {
          EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : got == want)
              << "column " << c << ": got " << got << ", want " << want;
        } else {
          const double bound = (result == DType::kF32 ? 0x1p-23 : 0x1p-52) * std::fabs(want) +
                               static_cast<double>(size * (in_double ? 0x1p-63L : 0x1p-40L));
          EXPECT_LE(std::fabs(got - want), bound) << "column " << c << ": got " << got << ", want " << want;
        }
      }
    }
  }
}

// ---------------------------------------------------------------- alignment

/// Every result of a fused forward and backward call, bit by bit: of one matrix whose tensors are at these
/// offsets (x, residual or dy, y or dx, bias) and have rows so far apart.
struct Alignment {
  DType x = DType::kF32, other = DType::kF32, y = DType::kF32;
  Extent extent{};
  ChannelArguments map{};
  int offsets[4] = {};
  std::int64_t gap = 0;
  bool in_place = false;
};
std::vector<double> results_of(const Alignment& a) {
  std::mt19937_64 random(kSeed);
  std::normal_distribution<double> normal(0, 2);
  const auto numbers = [&](std::int64_t count) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = normal(random);
    return values;
  };
  const std::int64_t count = a.extent.rows * a.extent.cols, stride = a.extent.cols + a.gap;
  Memory x(a.x, a.extent, stride, a.offsets[0], numbers(count)),
      other(a.other, a.extent, stride + 1, a.offsets[1], numbers(count)),
      y(a.y, a.extent, stride + 2, a.offsets[2]),
      bias(a.x, {1, a.map.channels}, 0, a.offsets[3], numbers(a.map.channels)),
      dbias(a.x == DType::kF64 ? DType::kF64 : DType::kF32, {1, a.map.channels}, 0, 0),
      amax(DType::kF32, {1, 1}, 0, 0), mask(DType::kF32, {1, (count + 31) / 32}, 0, 0);
  const bool contiguous = a.extent.rows == 1, eight_bits = is_8_bit(a.y);
  std::vector<double> results;
  const auto keep = [&](Memory& memory, std::int64_t elements) {
    EXPECT_TRUE(memory.download()) << "wrote elsewhere";
    for (std::int64_t i = 0; i < elements; ++i) results.push_back(memory[i]);
  };
  const kernels::DropoutArguments dropout{
      .threshold = 0x40000000u, .inverse_keep = 4.0 / 3, .seed = 7, .sequence = 5};
  if (!a.in_place || a.x == a.y) {
    kernels::FusedForward call{.f = arguments_of(ActivationKind::relu), .extent = a.extent};
    call.x = x.view();
    call.y = a.in_place ? call.x : y.view();
    call.residual = other.view();
    call.bias = bias.view();
    call.bias_map = a.map;
    call.dropout = dropout;
    if (contiguous) call.mask = static_cast<std::uint32_t*>(mask.view().data);
    if (eight_bits) call.amax = static_cast<float*>(amax.view().data);
    const Scratch scratch(kernels::fused_forward_scratch(call));
    call.scratch = scratch.data();
    EXPECT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
    EXPECT_TRUE(scratch.guarded());
    keep(a.in_place ? x : y, count);
    if (eight_bits) keep(amax, 1);
    if (contiguous) {
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      std::vector<std::uint32_t> words(static_cast<std::size_t>((count + 31) / 32));
      EXPECT_EQ(cudaMemcpy(words.data(), call.mask, words.size() * 4, cudaMemcpyDefault), cudaSuccess);
      results.insert(results.end(), words.begin(), words.end());
    }
  }
  if (eight_bits) return results;
  for (const kernels::SlopeSource source : {kernels::SlopeSource::kInput, kernels::SlopeSource::kMask}) {
    if (source == kernels::SlopeSource::kMask && (!contiguous || a.in_place)) continue;
    kernels::FusedBackward call{.f = arguments_of(ActivationKind::leaky_relu), .extent = a.extent};
    call.source = source;
    call.x = x.view();
    call.mask = static_cast<const std::uint32_t*>(mask.view().data);
    call.dy = other.view();
    call.dx = a.in_place ? call.dy : y.view();
    if (source == kernels::SlopeSource::kInput) call.bias = bias.view();
    call.bias_map = a.map;
    call.dropout = dropout;
    call.dbias = dbias.view();
    const Scratch scratch(kernels::fused_backward_scratch(call));
    call.scratch = scratch.data();
    EXPECT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
    EXPECT_TRUE(scratch.guarded());
    keep(a.in_place ? other : y, count);
    keep(dbias, a.map.channels);
  }
  return results;
}

// Where tensors lie changes no bit: each tensor at every offset by itself, and all together.
TEST(Fused, AlignmentChangesNoBit) {
  struct Types {
    DType x, other, y;
  };
  const Types types[] = {
      {DType::kF32, DType::kF32, DType::kF32},   {DType::kBF16, DType::kBF16, DType::kBF16},
      {DType::kF16, DType::kF32, DType::kBF16},  {DType::kF32, DType::kF16, DType::kF32},
      {DType::kBF16, DType::kF16, DType::kE4M3}, {DType::kF64, DType::kF64, DType::kF64}};
  struct Shape {
    Extent extent;
    ChannelArguments map;
    std::int64_t gap;
  };
  const Shape shapes[] = {
      {{1, 2501}, {1, 2501}, 0}, {{1, 3 * 1033}, {3, 1033}, 0}, {{1, 20 * 130}, {130, 1}, 0},
      {{17, 131}, {131, 1}, 0},  {{17, 131}, {131, 1}, 6},      {{2, 1040}, {1040, 1}, 6},
      {{2, 1500}, {2, 1500}, 3}, {{60, 5}, {4, 15}, 1},         {{2, 1060}, {530, 2}, 4}};
  std::mt19937_64 random(kSeed);
  for (const Types& t : types)
    for (const Shape& shape : shapes) {
      const int places = static_cast<int>(16 / std::min({size_of(t.x), size_of(t.other), size_of(t.y)}));
      Alignment a{.x = t.x, .other = t.other, .y = t.y, .extent = shape.extent, .map = shape.map};
      a.gap = shape.gap;
      for (const bool in_place : {false, true}) {
        if (in_place && is_8_bit(t.y)) continue;
        if (in_place && t.y != t.other) continue;
        a.in_place = in_place;
        std::fill(std::begin(a.offsets), std::end(a.offsets), 0);
        const std::vector<double> want = results_of(a);
        std::vector<std::array<int, 4>> offsets;
        for (int place = 1; place < places; ++place) {
          offsets.push_back({place, place, place, place});
          for (std::size_t tensor = 0; tensor < 4; ++tensor) {
            offsets.emplace_back();
            offsets.back()[tensor] = place;
          }
        }
        for (const auto& list : offsets) {
          if (quick() && random() % 16 != 0) continue;
          std::copy(list.begin(), list.end(), std::begin(a.offsets));
          SCOPED_TRACE(std::string(to_string(t.x)) + ", " + std::string(to_string(t.other)) + ", " +
                       std::string(to_string(t.y)) + ", [" + std::to_string(a.extent.rows) + ", " +
                       std::to_string(a.extent.cols) + "] + " + std::to_string(a.gap) + ", at " +
                       std::to_string(list[0]) + ", " + std::to_string(list[1]) + ", " +
                       std::to_string(list[2]) + ", " + std::to_string(list[3]) +
                       (in_place ? ", in place" : ""));
          const std::vector<double> got = results_of(a);
          ASSERT_EQ(got.size(), want.size());
          for (std::size_t i = 0; i < got.size(); ++i)
            ASSERT_EQ(std::bit_cast<std::uint64_t>(got[i]), std::bit_cast<std::uint64_t>(want[i])) << i;
        }
      }
    }
}

// ---------------------------------------------------------------- parameter gradients

TEST(ParameterGradient, RandomCombinations) {
  constexpr ActivationKind kWithParameters[] = {ActivationKind::leaky_relu, ActivationKind::prelu,
                                                ActivationKind::elu,        ActivationKind::xielu,
                                                ActivationKind::swish,      ActivationKind::hardtanh};
  for (int number = 0; number < cases() / 2; ++number) {
    Case c(kSeed + 2000 + static_cast<std::uint64_t>(number));
    const ActivationKind kind = kWithParameters[c.random() % std::size(kWithParameters)];
    const int parameters = activations()[static_cast<std::size_t>(kind)].parameter_count;
    const DType dtype = c.dtype({DType::kF64, DType::kF32, DType::kF16, DType::kBF16}),
                dp_dtype = c.dtype({DType::kF32, DType::kF64});
    SCOPED_TRACE("case " + std::to_string(number) + ", " +
                 std::string(activations()[static_cast<std::size_t>(kind)].name) + ", " + c.to_string());
    const Memory x = c.matrix(dtype), dy = c.matrix(dtype);
    Memory dp(dp_dtype, {1, parameters * c.map.channels}, 0, c.offset());
    kernels::ParameterGradient call{.f = arguments_of(kind), .extent = c.extent};
    call.x = x.view();
    call.dy = dy.view();
    call.map = c.map;
    call.dp = dp.view();
    const Scratch scratch(kernels::parameter_gradient_scratch(call));
    call.scratch = scratch.data();
    ASSERT_EQ(kernels::launch_parameter_gradient(call, nullptr), cudaSuccess);
    EXPECT_TRUE(dp.download() && scratch.guarded()) << "wrote elsewhere";
    const auto slope = reference::parameter_function<double>(kind);
    std::vector<double> sums(static_cast<std::size_t>(parameters * c.map.channels)), sizes(sums.size());
    for (std::int64_t i = 0; i < c.count(); ++i)
      for (int j = 0; j < parameters; ++j) {
        const double term = dy[i] * slope(x[i], call.f.parameters, j);
        sums[static_cast<std::size_t>(j * c.map.channels + c.channel(i))] += term;
        sizes[static_cast<std::size_t>(j * c.map.channels + c.channel(i))] += std::fabs(term);
      }
    for (std::size_t k = 0; k < sums.size(); ++k)
      expect_near(dp[static_cast<std::int64_t>(k)], sums[k], sizes[k], dp_dtype, dtype == DType::kF64, 0.51,
                  "dp " + std::to_string(k));
    if (testing::Test::HasFailure()) return;
  }
  kernels::ParameterGradient none{.f = arguments_of(ActivationKind::silu), .extent = {1, 4}};
  EXPECT_NE(kernels::launch_parameter_gradient(none, nullptr), cudaSuccess);
}

// ---------------------------------------------------------------- the plain operations

// Strides and misalignments change where an element lies, not its bits.
TEST(Plain, StridedMatricesGiveTheBitsOfContiguousOnes) {
  for (int number = 0; number < cases() / 2; ++number) {
    Case c(kSeed + 3000 + static_cast<std::uint64_t>(number));
    visit_dtype(c.dtype({DType::kF64, DType::kF32, DType::kF16, DType::kBF16}), [&]<class T>(
                                                                                    std::type_identity<T>) {
      const DType dtype = dtype_of<T>::value;
      SCOPED_TRACE("case " + std::to_string(number) + ", " + std::string(to_string(dtype)) + ", " +
                   c.to_string());
      const auto f = arguments_of(ActivationKind::silu);
      const Extent flat{1, c.count()};
      const std::vector<double> xs = c.numbers(c.count()), dys = c.numbers(c.count()),
                                ddxs = c.numbers(c.count());
      const auto copy_of = [&](const std::vector<double>& v, bool strided) {
        return std::make_unique<Memory>(dtype, strided ? c.extent : flat, c.stride(),
                                        strided ? c.offset() : 0, v);
      };
      std::vector<double> results[2];
      for (const bool strided : {false, true}) {
        const auto x = copy_of(xs, strided), dy = copy_of(dys, strided), ddx = copy_of(ddxs, strided);
        const Extent extent = strided ? c.extent : flat;
        std::vector<std::unique_ptr<Memory>> out;
        for (int k = 0; k < 6; ++k) out.push_back(copy_of({}, strided));
        const auto in = [](const auto& m) { return m->template matrix<const T>(); };
        const auto to = [&](int k) { return out[static_cast<std::size_t>(k)]->template matrix<T>(); };
        ASSERT_EQ(kernels::launch_forward<T>(f, extent, in(x), to(0), nullptr), cudaSuccess);
        ASSERT_EQ(kernels::launch_backward<T>(f, extent, in(x), in(dy), to(1), nullptr), cudaSuccess);
        ASSERT_EQ(kernels::launch_jvp<T>(f, extent, in(x), in(dy), to(2), to(3), nullptr), cudaSuccess);
        ASSERT_EQ(
            kernels::launch_backward_of_backward<T>(f, extent, in(x), in(dy), in(ddx), to(4), to(5), nullptr),
            cudaSuccess);
        for (const auto& memory : out) {
          EXPECT_TRUE(memory->download()) << "wrote elsewhere";
          for (std::int64_t i = 0; i < c.count(); ++i) results[strided].push_back((*memory)[i]);
        }
        // In place, on the memory that the other results came from.
        ASSERT_EQ(kernels::launch_backward_of_backward<T>(f, extent, in(x), in(dy), in(ddx),
                                                          ddx->template matrix<T>(), dy->template matrix<T>(),
                                                          nullptr),
                  cudaSuccess);
        for (const auto* memory : {ddx.get(), dy.get()}) {
          EXPECT_TRUE(const_cast<Memory*>(memory)->download());
          for (std::int64_t i = 0; i < c.count(); ++i) results[strided].push_back((*memory)[i]);
        }
      }
      EXPECT_EQ(results[0], results[1]);
      for (std::int64_t i = 0; i < c.count(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const double x = rounded(xs[at], dtype), dy = rounded(dys[at], dtype), ddx = rounded(ddxs[at], dtype);
        const auto jet = reference_of(ActivationKind::silu, x, f.parameters);
        const double curvature =
            reference::curvature_function<double>(ActivationKind::silu)(x, f.parameters).curvature;
        const auto check = [&](int k, double want, double scale) {
          expect_near(results[0][at + static_cast<std::size_t>(k * c.count())], want, scale, dtype,
                      dtype == DType::kF64, 0.9, "result " + std::to_string(k));
        };
        check(0, jet.value, std::fabs(jet.value));
        check(1, dy * jet.slope, std::fabs(dy));
        check(2, jet.value, std::fabs(jet.value));
        check(3, dy * jet.slope, std::fabs(dy));
        check(4, ddx * jet.slope, std::fabs(ddx));
        check(5, ddx * dy * curvature, std::fabs(ddx * dy) * (size_of(dtype) == 2 ? 1024 : 1));
      }
    });
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Plain, ForwardMany) {
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      std::mt19937_64 random(kSeed);
      std::vector<std::unique_ptr<Memory>> xs, ys;
      std::vector<kernels::ManyTensor<T>> list;
      // Three launches: the last of few, or of as many as there may be.
      const int tensors =
          kernels::kManyTensors * (size_of(dtype) == 4 ? 3 : 2) + (size_of(dtype) == 4 ? 0 : 3);
      for (int i = 0; i < tensors; ++i) {
        const std::int64_t lengths[] = {1, 2, 5, 100, 511, 1024, 3000, 4095, 4096, 9000};
        const Extent extent{1, lengths[random() % std::size(lengths)]};
        std::vector<double> values(static_cast<std::size_t>(extent.cols));
        for (double& v : values) v = static_cast<double>(random() % 2000) / 256 - 4;
        xs.push_back(std::make_unique<Memory>(dtype, extent, 0, static_cast<int>(random() % 3), values));
        const bool in_place = random() % 4 == 0;
        ys.push_back(std::make_unique<Memory>(dtype, extent, 0, static_cast<int>(random() % 3)));
        list.push_back(
            {xs.back()->template matrix<const T>().data,
             in_place ? xs.back()->template matrix<T>().data : ys.back()->template matrix<T>().data,
             extent.cols});
        if (in_place) ys.back() = nullptr;
      }
      std::vector<std::vector<double>> want;
      const auto f = arguments_of(ActivationKind::gelu);
      for (const auto& tensor : list) {
        Memory y(dtype, {1, tensor.count}, 0, 0);
        ASSERT_EQ(kernels::launch_forward<T>(f, {1, tensor.count}, {tensor.x, 0}, y.matrix<T>(), nullptr),
                  cudaSuccess);
        ASSERT_TRUE(y.download());
        want.emplace_back();
        for (std::int64_t i = 0; i < tensor.count; ++i) want.back().push_back(y[i]);
      }
      const auto before = emulator::counters().launches;
      ASSERT_EQ(kernels::launch_forward_many<T>(f, list.data(), std::ssize(list), nullptr), cudaSuccess);
      EXPECT_EQ(emulator::counters().launches - before, 3u);
      for (std::size_t k = 0; k < list.size(); ++k) {
        Memory& out = ys[k] ? *ys[k] : *xs[k];
        ASSERT_TRUE(out.download());
        for (std::int64_t i = 0; i < list[k].count; ++i)
          ASSERT_EQ(out[i], want[k][static_cast<std::size_t>(i)]) << "tensor " << k << ", element " << i;
      }
    });
}

}  // namespace

// Shapes, views of other people's containers, tensors, and the conversions of the 16-bit types.
#include <actium/tensor.hpp>
#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <list>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr std::int64_t kLargestExtent = std::numeric_limits<std::int64_t>::max();

template <class Call>
std::string error_of(const Call& call, ErrorKind kind = ErrorKind::kInvalidArgument) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind);
    return e.what();
  }
  return "no error";
}

// ---------------------------------------------------------------- Shape

TEST(Shape, TellsItsExtents) {
  const Shape shape{4, 1000, 3};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 4);
  EXPECT_EQ(shape[2], 3);
  EXPECT_EQ(shape.back(), 3);
  EXPECT_EQ(shape.count(), 12000);
  EXPECT_EQ(shape.to_string(), "[4, 1000, 3]");
  EXPECT_EQ(shape.without_last(), (Shape{4, 1000}));
  EXPECT_EQ(shape.with(7), (Shape{4, 1000, 3, 7}));
  EXPECT_NE(shape, (Shape{4, 1000}));
  EXPECT_NE(Shape{4}, (Shape{4, 1}));
  // What an extent was before it was dropped does not matter to a comparison.
  EXPECT_EQ((Shape{4, 5}).without_last(), Shape{4});
  const std::vector<std::int64_t> extents = {2, 3};
  EXPECT_EQ(Shape(std::span(extents)), (Shape{2, 3}));
}

TEST(Shape, OfRankZeroIsOneElement) {
  const Shape scalar;
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.count(), 1);
  EXPECT_EQ(scalar.back(), 1);
  EXPECT_EQ(scalar.to_string(), "[]");
  EXPECT_EQ(scalar.without_last(), scalar);
  EXPECT_EQ(scalar.with(3), Shape{3});
  EXPECT_EQ(Shape{3}.without_last(), scalar);
}

TEST(Shape, MayHaveExtentsOfZero) {
  EXPECT_EQ(Shape{0}.count(), 0);
  EXPECT_EQ((Shape{5, 0, 3}).count(), 0);
  EXPECT_EQ((Shape{5, 0}).without_last().count(), 5);
  EXPECT_EQ((Shape{0, kLargestExtent / 8}).count(), 0);
}

TEST(Shape, RefusesWhatItCannotHold) {
  EXPECT_EQ(error_of([] { Shape{4, -1}; }), "Shape: extent 1: want >= 0, got -1");
  EXPECT_EQ(error_of([] { Shape{4}.with(-2); }), "Shape: extent 1: want >= 0, got -2");
  EXPECT_EQ(error_of([] { Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}); }), "Shape: rank: want at most 8, got 9");
  EXPECT_EQ(error_of([] { Shape({1, 1, 1, 1, 1, 1, 1, 1}).with(1); }), "Shape: rank: want at most 8, got 9");
  for (const auto& make :
       {+[] {
          Shape{std::int64_t{1} << 40, std::int64_t{1} << 40};
        },
        +[] {
          Shape{std::int64_t{1} << 62, 0, 4};
        },
        +[] {
          Shape{0, kLargestExtent, 4};
        },
        +[] { Shape{kLargestExtent}; }, +[] { Shape{std::int64_t{1} << 31}.with(1 << 30); }})
    EXPECT_NE(error_of(make).find("Shape: want "), std::string::npos);
}

// The largest count is the one whose bytes fit an int64 in every dtype, and the message names it rightly.
TEST(Shape, LargestCount) {
  constexpr std::int64_t kPower = std::int64_t{1} << 60;
  EXPECT_EQ(error_of([] { Shape{kPower - 1}; }), "no error");
  const TensorView largest(nullptr, DType::kF64, Shape{kPower - 1});
  EXPECT_EQ(largest.bytes(), kLargestExtent - 7);
  const std::string message = error_of([] { Shape{kPower}; });
  EXPECT_NE(message, "no error") << "2^60 doubles are 2^63 bytes";
  EXPECT_EQ(message.find("at most 2^60"), std::string::npos)
      << "2^60 elements were given and refused by the words: " << message;
}

// ---------------------------------------------------------------- views

/// What std::mdspan looks like from outside: row-major here, with an optional row pitch.
template <class T, std::size_t Rank>
struct MdspanLookAlike {
  using element_type = T;
  T* pointer;
  std::array<int, Rank> extents;
  int pitch = 0;
  static constexpr std::size_t rank() { return Rank; }
  T* data_handle() const { return pointer; }
  int extent(std::size_t axis) const { return extents[axis]; }
  std::size_t stride(std::size_t axis) const {
    std::size_t product = 1;
    for (std::size_t i = Rank - 1; i > axis; --i)
      product *= static_cast<std::size_t>(i == Rank - 1 && pitch > 0 ? pitch : extents[i]);
    return product;
  }
};

/// DLPack's DLTensor, field by field.
struct DLTensorLookAlike {
  void* data = nullptr;
  struct {
    int device_type = 1, device_id = 0;
  } device;
  std::int32_t ndim = 0;
  struct {
    std::uint8_t code = 2, bits = 32;
    std::uint16_t lanes = 1;
  } dtype;
  std::int64_t* shape = nullptr;
  std::int64_t* strides = nullptr;
  std::uint64_t byte_offset = 0;
};

template <class From>
constexpr bool kWritable = std::is_convertible_v<From, TensorView>;
template <class From>
constexpr bool kReadable = std::is_convertible_v<From, ConstTensorView>;

// Const data never becomes a view that writes; everything becomes one that reads.
static_assert(kWritable<std::vector<float>&> && kReadable<std::vector<float>&>);
static_assert(!kWritable<const std::vector<float>&> && kReadable<const std::vector<float>&>);
static_assert(kWritable<std::span<bf16>> && kReadable<std::span<bf16>>);
static_assert(!kWritable<std::span<const bf16>> && kReadable<std::span<const bf16>>);
static_assert(kWritable<std::array<double, 3>&> && kReadable<const std::array<double, 3>&>);
static_assert(!kWritable<const std::array<double, 3>&> && !kWritable<std::array<const double, 3>&>);
static_assert(kWritable<f16 (&)[4]> && !kWritable<const f16 (&)[4]> && kReadable<const f16 (&)[4]>);
static_assert(kReadable<std::initializer_list<float>> && !kWritable<std::initializer_list<float>>);
static_assert(kReadable<TensorView> && !kWritable<ConstTensorView>);
static_assert(kWritable<Tensor&> && kReadable<Tensor&>);
static_assert(!kWritable<const Tensor&> && kReadable<const Tensor&>);
static_assert(kWritable<MdspanLookAlike<float, 2>> && kReadable<MdspanLookAlike<float, 2>>);
static_assert(kReadable<MdspanLookAlike<const float, 2>>);
static_assert(kWritable<DLTensorLookAlike> && kReadable<const DLTensorLookAlike&>);
static_assert(std::is_constructible_v<TensorView, float*, Shape>);
static_assert(!std::is_constructible_v<TensorView, const float*, Shape>);
static_assert(std::is_constructible_v<ConstTensorView, const float*, Shape>);
static_assert(!std::is_constructible_v<TensorView, const void*, DType, Shape>);
static_assert(std::is_constructible_v<TensorView, __half*, Shape>);
static_assert(std::is_constructible_v<ConstTensorView, const __nv_bfloat16*, Shape>);
// What is not contiguous, or not of an element type, is no tensor.
static_assert(!kReadable<std::vector<int>&> && !kReadable<std::vector<bool>&>);
static_assert(!kReadable<std::deque<float>&> && !kReadable<std::list<float>&>);
static_assert(!std::is_constructible_v<ConstTensorView, const int*, Shape>);
static_assert(!kReadable<float> && !kReadable<float*>);
static_assert(std::is_trivially_copyable_v<TensorView>);

TEST(TensorView, OfAMutableMdspanOnly) {
  // A trait that says yes where the constructor's body does not compile makes overloads ambiguous.
  EXPECT_FALSE((kWritable<MdspanLookAlike<const float, 2>>));
}

template <class View>
void expect_view(const View& view, const void* data, DType dtype, const Shape& shape) {
  EXPECT_EQ(view.data(), data);
  EXPECT_EQ(view.dtype(), dtype);
  EXPECT_EQ(view.shape(), shape) << view.shape().to_string();
  EXPECT_EQ(view.count(), shape.count());
  EXPECT_EQ(view.bytes(), shape.count() * static_cast<std::int64_t>(size_of(dtype)));
}

TEST(TensorView, OfContainers) {
  std::vector<float> vector(5);
  const std::vector<float> constant(6);
  std::array<double, 3> array{};
  f16 plain[4];
  const std::span<bf16> empty;
  expect_view(TensorView(vector), vector.data(), DType::kF32, {5});
  expect_view(ConstTensorView(vector), vector.data(), DType::kF32, {5});
  expect_view(ConstTensorView(constant), constant.data(), DType::kF32, {6});
  expect_view(TensorView(array), array.data(), DType::kF64, {3});
  expect_view(TensorView(plain), plain, DType::kF16, {4});
  expect_view(TensorView(empty), nullptr, DType::kBF16, {0});
  expect_view(TensorView(), nullptr, DType::kF32, {0});
  EXPECT_TRUE(TensorView(vector).contiguous() && TensorView().contiguous());
  EXPECT_EQ(TensorView(vector).data_as<float>(), vector.data());
  static_assert(std::is_same_v<decltype(ConstTensorView(vector).data_as<float>()), const float*>);
}

TEST(TensorView, OfPointers) {
  float data[6];
  const float* constant = data;
  expect_view(TensorView(data, Shape{2, 3}), data, DType::kF32, {2, 3});
  expect_view(ConstTensorView(constant, Shape{3, 2}), data, DType::kF32, {3, 2});
  // CUDA's own types, of which nothing but the name is known here.
  auto* half = reinterpret_cast<__half*>(data);
  const auto* bfloat = reinterpret_cast<const __nv_bfloat16*>(data);
  expect_view(TensorView(half, Shape{12}), data, DType::kF16, {12});
  expect_view(ConstTensorView(half, Shape{12}), data, DType::kF16, {12});
  expect_view(ConstTensorView(bfloat, Shape{12}), data, DType::kBF16, {12});
}

TEST(TensorView, ThatWritesBecomesOneThatReads) {
  float data[8];
  const std::int64_t strides[] = {4, 1};
  const TensorView view(data, DType::kF32, {2, 3}, strides);
  const ConstTensorView read_only = view;
  expect_view(read_only, data, DType::kF32, {2, 3});
  EXPECT_TRUE(std::ranges::equal(read_only.strides(), strides));
}

TEST(TensorView, Strides) {
  float data[64];
  const TensorView cube(data, Shape{2, 3, 4});
  EXPECT_TRUE(std::ranges::equal(cube.strides(), std::vector<std::int64_t>{12, 4, 1}));
  const auto contiguous = [&](const Shape& shape, std::vector<std::int64_t> strides) {
    return TensorView(data, DType::kF32, shape, strides).contiguous();
  };
  EXPECT_TRUE(contiguous({2, 3}, {3, 1}));
  EXPECT_FALSE(contiguous({2, 3}, {4, 1}));
  EXPECT_FALSE(contiguous({2, 3}, {1, 2}));
  EXPECT_FALSE(contiguous({2, 3}, {3, 0}));
  EXPECT_FALSE(contiguous({2, 3}, {3, -1}));
  EXPECT_FALSE(contiguous({6}, {2}));
  EXPECT_TRUE(contiguous({1, 3}, {99, 1})) << "the stride of an extent of 1 is never used";
  EXPECT_TRUE(contiguous({2, 1}, {1, 99}));
  EXPECT_TRUE(contiguous({0, 3}, {7, 7})) << "no elements, no gaps";
  EXPECT_TRUE(contiguous({3, 0}, {7, 7}));
  EXPECT_TRUE(contiguous({}, {}));
  EXPECT_EQ(error_of([&] {
              contiguous({2, 3}, {1});
            }),
            "TensorView: strides: want one for each of the 2 axes, got 1");
  EXPECT_EQ(error_of([&] { contiguous({}, {1}); }),
            "TensorView: strides: want one for each of the 0 axes, got 1");
}

TEST(TensorView, Reshaped) {
  float data[64];
  const TensorView view(data, Shape{2, 3, 4});
  expect_view(view.reshaped({6, 4}), data, DType::kF32, {6, 4});
  EXPECT_TRUE(std::ranges::equal(view.reshaped({6, 4}).strides(), std::vector<std::int64_t>{4, 1}));
  expect_view(TensorView(data, Shape{}).reshaped({1, 1}), data, DType::kF32, {1, 1});
  expect_view(TensorView().reshaped({5, 0}), nullptr, DType::kF32, {5, 0});
  EXPECT_EQ(error_of([&] {
              view.reshaped({5, 5});
            }),
            "TensorView::reshaped: want 24 contiguous elements, got [5, 5]");
  const std::int64_t gaps[] = {8, 1};
  EXPECT_EQ(error_of([&] {
              TensorView(data, DType::kF32, {2, 3}, gaps).reshaped({6});
            }),
            "TensorView::reshaped: want 6 contiguous elements, got [6]");
}

TEST(TensorView, OfAnMdspan) {
  double data[32];
  expect_view(TensorView(MdspanLookAlike<double, 3>{data, {2, 3, 4}}), data, DType::kF64, {2, 3, 4});
  EXPECT_TRUE(TensorView(MdspanLookAlike<double, 3>{data, {2, 3, 4}}).contiguous());
  expect_view(ConstTensorView(MdspanLookAlike<const double, 2>{data, {2, 3}}), data, DType::kF64, {2, 3});
  const TensorView padded = MdspanLookAlike<double, 2>{data, {2, 3}, 16};
  EXPECT_TRUE(std::ranges::equal(padded.strides(), std::vector<std::int64_t>{16, 1}));
  EXPECT_FALSE(padded.contiguous());
  EXPECT_EQ(error_of([&] {
              TensorView(MdspanLookAlike<double, 2>{data, {2, -3}});
            }),
            "Shape: extent 1: want >= 0, got -3");
}

TEST(TensorView, OfADLTensor) {
  float data[32];
  std::int64_t shape[] = {2, 3}, strides[] = {16, 1};
  DLTensorLookAlike tensor;
  tensor.data = data;
  tensor.ndim = 2;
  tensor.shape = shape;
  expect_view(TensorView(tensor), data, DType::kF32, {2, 3});
  EXPECT_TRUE(TensorView(tensor).contiguous()) << "no strides mean row-major";
  tensor.strides = strides;
  EXPECT_TRUE(std::ranges::equal(ConstTensorView(tensor).strides(), strides));
  EXPECT_FALSE(TensorView(tensor).contiguous());
  tensor.byte_offset = 8;
  expect_view(ConstTensorView(tensor), data + 2, DType::kF32, {2, 3});
  tensor.ndim = 0;
  expect_view(TensorView(tensor), data + 2, DType::kF32, {});

  const struct {
    int code, bits, lanes;
    DType dtype;
  } right[] = {
      {2, 64, 1, DType::kF64}, {2, 32, 1, DType::kF32}, {2, 16, 1, DType::kF16}, {4, 16, 1, DType::kBF16}};
  for (const auto& [code, bits, lanes, dtype] : right) {
    tensor.dtype = {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(bits),
                    static_cast<std::uint16_t>(lanes)};
    EXPECT_EQ(TensorView(tensor).dtype(), dtype);
  }
  const int wrong[][3] = {{0, 32, 1}, {1, 32, 1}, {2, 32, 2},
                          {2, 8, 1},  {4, 32, 1}, {5, 64, 1}};  // code, bits, lanes
  for (const auto& [code, bits, lanes] : wrong) {
    tensor.dtype = {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(bits),
                    static_cast<std::uint16_t>(lanes)};
    EXPECT_EQ(error_of([&] { TensorView{tensor}; }),
              "DLTensor: dtype: want f64, f32, f16 or bf16, got code " + std::to_string(code) + ", " +
                  std::to_string(bits) + " bits, " + std::to_string(lanes) + " lanes");
  }
  tensor.dtype = {2, 32, 1};
  tensor.ndim = -1;
  EXPECT_EQ(error_of([&] { TensorView{tensor}; }), "DLTensor: ndim: want >= 0, got -1");
  tensor.ndim = 2;
  tensor.shape = nullptr;
  EXPECT_EQ(error_of([&] { TensorView{tensor}; }), "DLTensor: shape: want 2 extents, got a null pointer");
  tensor.shape = shape;
  tensor.data = nullptr;
  EXPECT_EQ(TensorView(tensor).data(), nullptr) << "whatever the byte_offset: null stays null";
}

// ---------------------------------------------------------------- Tensor

class TensorTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(TensorTest);

TEST_P(TensorTest, RoundTripInEveryDType) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      const std::vector<T> values = sample<T>(1001, kSeed);
      const Tensor tensor(ctx, values);
      EXPECT_EQ(tensor.dtype(), dtype);
      EXPECT_EQ(tensor.shape(), Shape{1001});
      EXPECT_EQ(tensor.count(), 1001);
      std::vector<T> back(values.size());
      copy(ctx, tensor, back);
      EXPECT_TRUE(same_bits(values, back)) << "NaN's payloads and all";
      const std::vector<double> doubles = tensor.to_doubles(ctx);
      ASSERT_EQ(doubles.size(), values.size());
      for (std::size_t i = 0; i < doubles.size(); ++i) {
        const double want = static_cast<double>(values[i]);
        EXPECT_TRUE(std::isnan(want)
                        ? std::isnan(doubles[i])
                        : std::bit_cast<std::uint64_t>(doubles[i]) == std::bit_cast<std::uint64_t>(want));
      }
    });
}

TEST_P(TensorTest, ShapesAlignmentAndSizesOfZero) {
  const Context ctx = context();
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{5, 0}, Shape{1}, Shape{3, 5, 7}}) {
    Tensor tensor(ctx, DType::kBF16, shape);
    EXPECT_EQ(tensor.shape(), shape);
    EXPECT_TRUE(tensor.view().contiguous());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.view().data()) % 256, 0u);
    EXPECT_EQ(tensor.to_doubles(ctx).size(), static_cast<std::size_t>(shape.count()));
  }
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const Tensor shaped(ctx, ConstTensorView(values).reshaped({2, 3}));
  EXPECT_EQ(shaped.shape(), (Shape{2, 3}));
  EXPECT_EQ(shaped.to_doubles(ctx), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Tensor().count(), 0);
  EXPECT_TRUE(Tensor().to_doubles(ctx).empty());
}

TEST_P(TensorTest, MovingKeepsTheMemory) {
  const Context ctx = context();
  Tensor first(ctx, std::vector<float>{1, 2, 3});
  const void* memory = first.view().data();
  Tensor second = std::move(first);
  EXPECT_EQ(second.view().data(), memory);
  EXPECT_EQ(second.to_doubles(ctx), (std::vector<double>{1, 2, 3}));
  Tensor third(ctx, DType::kF64, {7});
  third = std::move(second);
  EXPECT_EQ(third.view().data(), memory);
  EXPECT_EQ(third.dtype(), DType::kF32);
  EXPECT_EQ(third.to_doubles(ctx), (std::vector<double>{1, 2, 3}));
  static_assert(std::is_nothrow_move_constructible_v<Tensor> && std::is_nothrow_move_assignable_v<Tensor>);
}

// The documentation says move-only: a second owner would see writes through the first.
TEST(Tensor, IsNotCopied) {
  EXPECT_FALSE(std::is_copy_constructible_v<Tensor>);
  EXPECT_FALSE(std::is_copy_assignable_v<Tensor>);
}

// After a move the memory is somebody else's, and may be gone: the old name must not lead there.
TEST(Tensor, MovedFromIsEmpty) {
  Tensor first(Context::cpu(), std::vector<float>{1, 2, 3});
  const Tensor second = std::move(first);
  EXPECT_EQ(first.view().data(), nullptr);
  EXPECT_EQ(first.count(), 0);
}

TEST_P(TensorTest, CopiesFromAndToTheHost) {
  const Context ctx = context();
  Guarded<float> from(ctx, normal_sample<float>(100, kSeed), 3), to(ctx, 100, 1);
  copy(ctx, from.view({4, 25}), to.view({4, 25}));
  EXPECT_TRUE(same_bits(from.read(), to.read()));
  EXPECT_TRUE(from.untouched() && to.guards_intact());
  std::vector<float> host(100), back(100);
  copy(ctx, from.view(), host);
  EXPECT_TRUE(same_bits(from.read(), host));
  copy(ctx, host, back);
  EXPECT_TRUE(same_bits(host, back));
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process where an allocation fails
TEST_P(TensorTest, MemoryRunsOut) {
  const Context ctx = context();
  const std::string message =
      error_of([&] { Tensor(ctx, DType::kF64, {std::int64_t{1} << 56}); }, ErrorKind::kOutOfMemory);
  if (!on_cuda()) {
    EXPECT_EQ(message, "allocate: no host memory for 576460752303423488 bytes");
  }
  Tensor(ctx, DType::kF64, {100});
}
#endif

// ---------------------------------------------------------------- f16 and bf16

#ifdef __FLT16_MANT_DIG__  // g++ has _Float16 in C++ for this processor
/// The compiler's own conversion, which rounds once from double.
std::uint16_t f16_by_compiler(double x) { return std::bit_cast<std::uint16_t>(static_cast<_Float16>(x)); }
#endif

/// A 16-bit format's values in order, by the definition of the format rather than by the library's code.
struct Definition {
  int exponent_bits, mantissa_bits;
  double value(std::uint16_t bits) const {
    const int bias = (1 << (exponent_bits - 1)) - 1,
              exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1),
              mantissa = bits & ((1 << mantissa_bits) - 1);
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1)
      return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                           : sign * std::numeric_limits<double>::infinity();
    const int significand = exponent == 0 ? mantissa : mantissa | 1 << mantissa_bits;
    return sign * std::ldexp(significand, std::max(exponent, 1) - bias - mantissa_bits);
  }
  std::uint16_t infinity() const {
    return static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << mantissa_bits);
  }
};
constexpr Definition kF16Definition{5, 10}, kBF16Definition{8, 7};

/// The nearest value, ties to even, by comparing with both neighbours. Infinity stands where the next number
/// would be if the exponent went on. Differences of a double from neighbours within a factor of 2 are exact.
class Nearest {
 public:
  explicit Nearest(const Definition& definition) : definition_(definition) {
    for (std::uint32_t bits = 0; bits < definition.infinity(); ++bits)
      values_.push_back(definition.value(static_cast<std::uint16_t>(bits)));
    values_.push_back(2 * definition.value(static_cast<std::uint16_t>(definition.infinity() -
                                                                      (1 << definition.mantissa_bits))));
  }
  std::uint16_t operator()(double x) const {
    const double magnitude = std::fabs(x);
    const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    if (magnitude >= values_.back()) return sign | definition_.infinity();
    const auto above = std::upper_bound(values_.begin(), values_.end(), magnitude);
    const auto upper = static_cast<std::uint16_t>(above - values_.begin());
    const auto lower = static_cast<std::uint16_t>(upper - 1);
    const double below = magnitude - *(above - 1), up = *above - magnitude;
    const bool even = (lower & 1) == 0;
    return sign | (below < up || (below == up && even) ? lower : upper);
  }

 private:
  Definition definition_;
  std::vector<double> values_;  // of the non-negative numbers, by their bits
};

template <class T>
void expect_every_pattern_round_trips(const Definition& definition) {
  for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const double want = definition.value(bits), got = static_cast<double>(T::from_bits(bits));
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << pattern;
      ASSERT_TRUE(std::isnan(static_cast<double>(T(got)))) << pattern;
      ASSERT_EQ(T(got).bits & 0x7fff, definition.infinity() | 1 << (definition.mantissa_bits - 1)) << "quiet";
    } else {
      ASSERT_EQ(std::bit_cast<std::uint64_t>(got), std::bit_cast<std::uint64_t>(want)) << pattern;
      ASSERT_EQ(T(got).bits, bits);
    }
  }
}

TEST(Half, EveryPatternRoundTrips) { expect_every_pattern_round_trips<f16>(kF16Definition); }
TEST(BFloat, EveryPatternRoundTrips) { expect_every_pattern_round_trips<bf16>(kBF16Definition); }

/// Doubles that rounding can get wrong: every value, every midpoint between neighbours, and their own
/// neighbours in double and in float.
template <class Body>
void for_each_hard_case(const Definition& definition, const Body& body) {
  const auto with_neighbours = [&](double x) {
    const double inf = std::numeric_limits<double>::infinity();
    for (const double y : {x, std::nextafter(x, inf), std::nextafter(x, -inf), x * (1 + 0x1p-40),
                           x * (1 - 0x1p-40), x * (1 + 0x1p-25), x * (1 - 0x1p-25)})
      for (const double signed_y : {y, -y}) body(signed_y);
  };
  for (std::uint32_t bits = 0; bits < definition.infinity(); ++bits) {
    const double x = definition.value(static_cast<std::uint16_t>(bits));
    const bool last = bits + 1u == definition.infinity();
    const double next = last ? 2 * definition.value(static_cast<std::uint16_t>(
                                       definition.infinity() - (1 << definition.mantissa_bits)))
                             : definition.value(static_cast<std::uint16_t>(bits + 1));
    with_neighbours(x);
    with_neighbours(x + (next - x) / 2);
  }
  for (const double x :
       {0.0, 5e-324, 1e-310, 1e-300, 1e-46, 1e300, 1.7e308, HUGE_VAL, 65504.0, 65519.999, 65520.0})
    with_neighbours(x);
}

/// body(x) for `count` doubles of random bits, and as many whose exponents the format knows.
template <class Body>
void for_each_random_double(const Definition& definition, int count, const Body& body) {
  std::mt19937_64 random(kSeed);
  const int bias = (1 << (definition.exponent_bits - 1)) - 1;
  for (int i = 0; i < count; ++i) {
    const double x = std::bit_cast<double>(random());
    if (!std::isnan(x)) body(x);
    const std::uint64_t bits = random();
    const int exponent =
        static_cast<int>(random() % static_cast<unsigned>(2 * bias + definition.mantissa_bits + 6)) - bias -
        definition.mantissa_bits - 3;
    const double fraction = std::bit_cast<double>((bits & 0x800fffffffffffff) | 0x3ff0000000000000);
    body(std::ldexp(fraction, exponent));
  }
}

constexpr int kRandomDoubles = 1'000'000;

template <class T, class Reference>
void expect_rounding(const Definition& definition, const Reference& reference) {
  std::int64_t count = 0;
  const auto check = [&](double x) {
    ++count;
    ASSERT_EQ(T(x).bits, reference(x))
        << std::hexfloat << x << std::defaultfloat << " = " << x << ", " << seed_message(kSeed);
  };
  for_each_hard_case(definition, check);
  for_each_random_double(definition, kRandomDoubles, check);
  std::cout << count << " doubles rounded, " << seed_message(kSeed) << std::endl;
}

#ifdef __FLT16_MANT_DIG__
TEST(Half, EveryPatternWidensAsTheCompilerWidens) {
  for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const float want = static_cast<float>(std::bit_cast<_Float16>(bits)), got = f16::from_bits(bits);
    if (std::isnan(want)) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(want)) << pattern;
  }
}

TEST(Half, RoundsAsTheCompilerRounds) { expect_rounding<f16>(kF16Definition, f16_by_compiler); }
#endif
TEST(Half, RoundsToTheNearest) { expect_rounding<f16>(kF16Definition, Nearest(kF16Definition)); }
TEST(BFloat, RoundsToTheNearest) { expect_rounding<bf16>(kBF16Definition, Nearest(kBF16Definition)); }

TEST(Half, RoundsOnce) {
  EXPECT_EQ(f16(1 + 0x1p-11).bits, 0x3c00) << "a tie goes to even";
  EXPECT_EQ(f16(1 + 0x1p-11 + 0x1p-40).bits, 0x3c01) << "through float this would become the tie";
  EXPECT_EQ(f16(1 + 3 * 0x1p-11).bits, 0x3c02);
  EXPECT_EQ(f16(1 + 3 * 0x1p-11 - 0x1p-40).bits, 0x3c01);
  EXPECT_EQ(f16(65519.999999).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0).bits, 0x7c00) << "half way to the number after the largest";
  EXPECT_EQ(f16(-65520.0).bits, 0xfc00);
  EXPECT_EQ(f16(0x1p-24).bits, 1);
  EXPECT_EQ(f16(0x1p-25).bits, 0) << "half of the smallest subnormal";
  EXPECT_EQ(f16(0x1p-25 + 0x1p-70).bits, 1);
  EXPECT_EQ(f16(-0x1p-25).bits, 0x8000);
  EXPECT_EQ(f16(3 * 0x1p-25).bits, 2);
  EXPECT_EQ(f16(0x1p-14 - 0x1p-26).bits, 0x0400) << "up into the normal numbers";
  EXPECT_EQ(f16(5e-324).bits, 0);
  EXPECT_EQ(f16(-0.0).bits, 0x8000);
}

TEST(BFloat, RoundsOnce) {
  EXPECT_EQ(bf16(1 + 0x1p-8).bits, 0x3f80);
  EXPECT_EQ(bf16(1 + 0x1p-8 + 0x1p-40).bits, 0x3f81) << "through float this would become the tie";
  EXPECT_EQ(bf16(1 + 3 * 0x1p-8).bits, 0x3f82);
  EXPECT_EQ(bf16(0x1.ffp127).bits, 0x7f80) << "half way to the number after the largest";
  EXPECT_EQ(bf16(std::nextafter(0x1.ffp127, 0)).bits, 0x7f7f);
  EXPECT_EQ(bf16(0x1p-133).bits, 1);
  EXPECT_EQ(bf16(0x1p-134).bits, 0);
  EXPECT_EQ(bf16(0x1p-134 + 0x1p-180).bits, 1);
  EXPECT_EQ(bf16(-1e300).bits, 0xff80);
}

constexpr bool constants() { return f16(1.0).bits == 0x3c00 && static_cast<float>(bf16(-2.0)) == -2.0f; }
static_assert(constants(), "conversions are constant expressions");

// ---------------------------------------------------------------- DType

TEST(DType, NamesAndSizes) {
  for (const DType dtype : kDTypes) {
    EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      EXPECT_EQ(size_of(dtype), sizeof(T));
      EXPECT_EQ(dtype_of<T>::value, dtype);
    });
  }
}

}  // namespace

// Elementwise operations on tensors that are not contiguous: rows at a distance, permuted axes, slices. Each
// must give, element by element, the bits that the contiguous call gives, and touch nothing between the rows.
#include <actium/activation.hpp>

#include <numeric>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

/// A view of shape and strides into its own memory, `offset` elements in, everything else a pattern.
template <class T>
class Strided {
 public:
  Strided(const Context& ctx, const Shape& shape, std::vector<std::int64_t> strides, std::size_t offset,
          const std::vector<T>& values)
      : ctx_(ctx), shape_(shape), strides_(std::move(strides)), offset_(offset) {
    std::int64_t last = 0;
    for (int axis = 0; axis < shape.rank(); ++axis)
      last += (shape[axis] - 1) * strides_[static_cast<std::size_t>(axis)];
    before_.assign(offset + static_cast<std::size_t>(last) + 1 + 7, from_bits<T>(0x4d4d4d4d4d4d4d4d));
    for (std::size_t i = 0; i < values.size(); ++i) before_[place(i)] = values[i];
    memory_ = Tensor(ctx, before_);
  }
  TensorView view() {
    return {memory_.view().template data_as<T>() + offset_, dtype_of<T>::value, shape_, strides_};
  }
  /// The elements in order of their indices; checks that nothing else has changed.
  std::vector<T> read() {
    std::vector<T> all(before_.size()), elements;
    copy(ctx_, memory_.view(), all);
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape_.count()); ++i) {
      elements.push_back(all[place(i)]);
      all[place(i)] = before_[place(i)];
    }
    EXPECT_TRUE(same_bits(all, before_)) << "memory between the elements was written";
    return elements;
  }

 private:
  std::size_t place(std::size_t i) const {  // of the element with the linear index i
    std::size_t at = offset_;
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      const auto extent = static_cast<std::size_t>(shape_[axis]);
      at += i % extent * static_cast<std::size_t>(strides_[static_cast<std::size_t>(axis)]);
      i /= extent;
    }
    return at;
  }
  Context ctx_;
  Shape shape_;
  std::vector<std::int64_t> strides_;
  std::size_t offset_;
  std::vector<T> before_;
  Tensor memory_;
};

struct Case {
  const char* name;
  Shape shape;
  std::vector<std::int64_t> x, dy, out;  // strides of each tensor
};

const Case kCases[] = {
    {"padded rows", {5, 33}, {40, 1}, {40, 1}, {40, 1}},
    {"different distances", {5, 33}, {33, 1}, {64, 1}, {41, 1}},
    {"many short rows", {700, 3}, {4, 1}, {5, 1}, {3, 1}},
    {"one column", {600, 1}, {3, 1}, {3, 1}, {2, 1}},
    {"every second element", {500}, {2}, {2}, {3}},
    {"transposed", {33, 40}, {1, 33}, {1, 33}, {1, 33}},
    {"channels last", {2, 3, 5, 7}, {105, 1, 21, 3}, {105, 1, 21, 3}, {105, 1, 21, 3}},
    {"transposed and padded", {33, 40}, {1, 50}, {1, 33}, {1, 36}},
    {"slice of the last axis of three", {3, 4, 10}, {64, 16, 1}, {64, 16, 1}, {40, 10, 1}},
    {"extents of one", {1, 9, 1, 20}, {7, 32, 3, 1}, {1, 32, 1, 1}, {1, 20, 20, 1}},
    {"long rows", {3, 9001}, {9100, 1}, {9001, 1}, {9002, 1}},
};

class LayoutTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(LayoutTest);

TEST_P(LayoutTest, StridedGivesTheBitsOfContiguous) {
  const Context ctx = context();
  const Activation f = silu();
  for (const Case& c : kCases)
    for (const DType dtype : kDTypes)
      for (const std::size_t offset : {std::size_t{0}, std::size_t{3}}) {
        if (quick() && (c.shape.count() > 3000 || dtype == DType::kF16)) continue;
        SCOPED_TRACE(std::string(c.name) + " " + std::string(to_string(dtype)) + " offset " +
                     std::to_string(offset));
        visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
          const auto count = static_cast<std::size_t>(c.shape.count());
          const std::vector<T> x = normal_sample<T>(count, kSeed), dy = normal_sample<T>(count, kSeed + 1),
                               v = normal_sample<T>(count, kSeed + 2), zeros(count);
          Tensor xs(ctx, x), dys(ctx, dy), vs(ctx, v), y(ctx, dtype, xs.shape()), dx(ctx, dtype, xs.shape()),
              ddy(ctx, dtype, xs.shape()), dx2(ctx, dtype, xs.shape());
          const auto contiguous = [&](const Tensor& t) {
            std::vector<T> values(count);
            copy(ctx, t, values);
            return values;
          };
          forward(ctx, f, xs, y);
          backward(ctx, f, xs, dys, dx);
          backward_of_backward(ctx, f, xs, dys, vs, ddy, dx2);

          Strided<T> sx(ctx, c.shape, c.x, offset, x), sdy(ctx, c.shape, c.dy, 0, dy),
              sv(ctx, c.shape, c.dy, 1, v), sy(ctx, c.shape, c.out, offset, zeros),
              sdx(ctx, c.shape, c.out, 1, zeros), sddy(ctx, c.shape, c.x, 2, zeros),
              over_x(ctx, c.shape, c.x, offset, x);
          forward(ctx, f, sx.view(), sy.view());
          EXPECT_TRUE(same_bits(sy.read(), contiguous(y))) << "forward";
          backward(ctx, f, sx.view(), sdy.view(), sdx.view());
          EXPECT_TRUE(same_bits(sdx.read(), contiguous(dx))) << "backward";
          jvp(ctx, f, sx.view(), sdy.view(), sy.view(), sddy.view());
          EXPECT_TRUE(same_bits(sy.read(), contiguous(y)) && same_bits(sddy.read(), contiguous(dx))) << "jvp";
          backward_of_backward(ctx, f, sx.view(), sdy.view(), sv.view(), sddy.view(), sdx.view());
          EXPECT_TRUE(same_bits(sddy.read(), contiguous(ddy)) && same_bits(sdx.read(), contiguous(dx2)))
              << "backward_of_backward";
          forward(ctx, f, over_x.view(), over_x.view());
          EXPECT_TRUE(same_bits(over_x.read(), contiguous(y))) << "in place";
        });
      }
}

// With options: the bias follows the last axis and the slope its axis, wherever these lie in memory.
TEST_P(LayoutTest, OptionsFollowTheAxes) {
  const Context ctx = context();
  const Activation f = leaky_relu();
  for (const Case& c : kCases) {
    if (c.shape.rank() < 2 || (quick() && c.shape.count() > 3000)) continue;
    SCOPED_TRACE(c.name);
    const auto count = static_cast<std::size_t>(c.shape.count());
    const auto columns = static_cast<std::size_t>(c.shape.back()),
               channels = static_cast<std::size_t>(c.shape[1]);
    const std::vector<float> x = normal_sample<float>(count, kSeed),
                             dy = normal_sample<float>(count, kSeed + 1), zeros(count);
    const Tensor bias(ctx, normal_sample<float>(columns, kSeed + 2)),
        slope(ctx, normal_sample<float>(channels, kSeed + 3));
    Tensor dbias(ctx, DType::kF32, bias.shape()), want_dbias(ctx, DType::kF32, bias.shape());
    const auto shaped = [&](const std::vector<float>& v) {
      return Tensor(ctx, ConstTensorView(v.data(), c.shape));
    };
    const auto values = [&](const Tensor& t) {
      std::vector<float> v(count);
      copy(ctx, t.view().reshaped({c.shape.count()}), v);
      return v;
    };
    const Tensor xs = shaped(x), dys = shaped(dy), residual = shaped(normal_sample<float>(count, kSeed + 4));
    Tensor y(ctx, DType::kF32, c.shape), dx(ctx, DType::kF32, c.shape);
    forward(ctx, f, xs, y, {.bias = bias, .residual = residual, .slope = slope});
    backward(ctx, f, xs, dys, dx, {.bias = bias, .slope = slope, .dbias = want_dbias});

    Strided<float> sx(ctx, c.shape, c.x, 1, x), sdy(ctx, c.shape, c.dy, 0, dy),
        sy(ctx, c.shape, c.out, 0, zeros), sr(ctx, c.shape, c.dy, 0, values(residual));
    forward(ctx, f, sx.view(), sy.view(), {.bias = bias, .residual = sr.view(), .slope = slope});
    EXPECT_TRUE(same_bits(sy.read(), values(y)));
    backward(ctx, f, sx.view(), sdy.view(), sy.view(), {.bias = bias, .slope = slope, .dbias = dbias});
    EXPECT_TRUE(same_bits(sy.read(), values(dx)));
    const std::vector<double> got = dbias.to_doubles(ctx), want = want_dbias.to_doubles(ctx);
    for (std::size_t i = 0; i < columns; ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4) << "the order of the sum may differ";
  }
}

TEST_P(LayoutTest, HalvesOfOneBuffer) {
  const Context ctx = context();
  const std::int64_t rows = 40, columns = 30;
  const std::vector<float> values = normal_sample<float>(static_cast<std::size_t>(2 * rows * columns), kSeed);
  Tensor both(ctx, values);
  const std::int64_t strides[] = {2 * columns, 1};
  float* data = both.view().data_as<float>();
  const TensorView left(data, DType::kF32, {rows, columns}, strides),
      right(data + columns, DType::kF32, {rows, columns}, strides);
  forward(ctx, tanh(), left, right);
  std::vector<float> got(values.size());
  copy(ctx, both, got);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto at = static_cast<std::size_t>(r * 2 * columns + c);
      ASSERT_EQ(got[at], values[at]);
      ASSERT_NEAR(got[at + static_cast<std::size_t>(columns)], std::tanh(values[at]), 1e-6);
    }
  // One column further they overlap.
  const TensorView shifted(data + columns - 1, DType::kF32, {rows, columns}, strides);
  EXPECT_THROW(forward(ctx, tanh(), left, shifted), Error);
}

TEST(Layout, WhatDoesNotMergeIsAnError) {
  const Context ctx = Context::cpu();
  std::vector<float> memory(4096);
  const auto view = [&](const Shape& shape, std::vector<std::int64_t> strides, std::size_t offset = 0) {
    return TensorView(memory.data() + offset, DType::kF32, shape, strides);
  };
  const auto message = [&](const TensorView& x, const TensorView& y) -> std::string {
    try {
      forward(ctx, relu(), x, y);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(view({4, 5}, {5, 1}), view({4, 5}, {1, 4}, 100)),
            "forward: y.strides: want the order of axes of x's, [5, 1], got [1, 4] (copy it to a contiguous "
            "tensor first)");
  EXPECT_EQ(message(view({4, 5}, {0, 1}), view({4, 5}, {5, 1}, 100)),
            "forward: x.strides: want positive ones, of elements that do not overlap, got [0, 1] (copy it to "
            "a contiguous tensor first)");
  EXPECT_EQ(message(view({4, 5}, {3, 1}), view({4, 5}, {5, 1}, 100)).substr(0, 30),
            "forward: x.strides: want posit");
  EXPECT_EQ(message(view({4, 5}, {-5, 1}, 50), view({4, 5}, {5, 1}, 100)).substr(0, 30),
            "forward: x.strides: want posit");
  EXPECT_EQ(message(view({3, 4, 5}, {100, 10, 1}), view({3, 4, 5}, {20, 5, 1}, 1000)),
            "forward: x.strides: want axes that merge into one matrix of contiguous rows, in all tensors "
            "alike, got [100, 10, "
            "1] of [3, 4, 5] (copy it to a contiguous tensor first)");
  EXPECT_EQ(message(view({4, 4}, {8, 2}), view({4, 4}, {8, 2}, 100)), "no error");  // 16 rows of one
  EXPECT_EQ(message(view({4, 4}, {9, 2}), view({4, 4}, {9, 2}, 100)).substr(0, 30),
            "forward: x.strides: want axes ");
}

}  // namespace

// Sizes past 2^32 elements, for every kernel: the tensors are address space without memory, and only the
// blocks that reach the far end are run.
#include <gtest/gtest.h>
#include <actium/actium.hpp>
#include <actium/propagation.hpp>

#include <cmath>
#include <random>

#include <Random123/philox.h>
#include <cuda_runtime_api.h>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "kernels/launch_propagation.hpp"
#include "kernels/plan.hpp"
#include "kernels/propagation/plan_propagation.hpp"
#include "kernels/softmax/plan_rows.hpp"
#include "support/samples.hpp"

namespace {

using namespace actium;
using namespace actium_test;

/// Word i % 4 of block i / 4 of Philox 4x32-10, by Random123.
std::uint32_t philox_word(std::uint32_t seed, std::int64_t i) {
  const auto block = static_cast<std::uint64_t>(i) / 4;
  const r123::Philox4x32::ctr_type counter = {
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0}};
  return r123::Philox4x32()(counter, {{seed, 0}})[static_cast<std::size_t>(i % 4)];
}

constexpr std::int64_t kPast32 = (std::int64_t{1} << 32) + 12345;

/// Runs only these blocks of each grid in this scope.
class OnlyBlocks {
 public:
  explicit OnlyBlocks(std::initializer_list<std::int64_t> blocks) {
    auto& only = emulator::options().only;
    for (const std::int64_t block : blocks)  // each once, as a launch does
      if (std::ranges::find(only, static_cast<std::uint64_t>(block)) == only.end())
        only.push_back(static_cast<std::uint64_t>(block));
  }
  ~OnlyBlocks() { emulator::options().only.clear(); }
  OnlyBlocks(const OnlyBlocks&) = delete;
  OnlyBlocks& operator=(const OnlyBlocks&) = delete;
};

class LargeTest : public testing::Test {
 protected:
  void SetUp() override { emulator::set_memory(std::size_t{1} << 46); }
  void TearDown() override { emulator::set_memory(std::size_t{141} << 30); }
  const Context ctx = Context::cuda();

  template <class T>
  void put(const Tensor& tensor, std::int64_t at, const std::vector<T>& values) {
    copy(ctx, values, TensorView(const_cast<T*>(tensor.view().data_as<T>()) + at, Shape{std::ssize(values)}));
  }
  template <class T>
  std::vector<double> get(const Tensor& tensor, std::int64_t at, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    copy(ctx, ConstTensorView(tensor.view().data_as<T>() + at, Shape{count}), values);
    return {values.begin(), values.end()};
  }
};

// ---------------------------------------------------------------- elementwise: the last tiles and the edges

TEST_F(LargeTest, Activations) {
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const std::int64_t count = kPast32, tail = 8192 + 100, from = count - tail;
      const Tensor x(ctx, dtype, {count}), dy(ctx, dtype, {count});
      Tensor y(ctx, dtype, {count}), ty(ctx, dtype, {count});
      const std::vector<T> xs = normal_sample<T>(static_cast<std::size_t>(tail), kSeed),
                           dys = normal_sample<T>(static_cast<std::size_t>(tail), kSeed + 1);
      put(x, from, xs);
      put(dy, from, dys);
      const std::int64_t element = static_cast<std::int64_t>(sizeof(T));
      const std::int64_t packet = kernels::kElementwiseThreads * 16 / element,
                         tile_of_one = kernels::kPacketsPerThread<1> * packet,
                         tile_of_two = kernels::kPacketsPerThread<2> * packet;
      // The last whole tile, and the edges.
      const auto last_blocks = [&](std::int64_t tile) { return OnlyBlocks{count / tile - 1, count / tile}; };
      const auto expect = [&](const Tensor& got, std::int64_t shown, const auto& f) {
        const auto values = get<T>(got, count - shown, shown);
        for (std::int64_t i = 0; i < shown; ++i) {
          const auto at = static_cast<std::size_t>(tail - shown + i);
          ASSERT_EQ(values[static_cast<std::size_t>(i)],
                    static_cast<double>(
                        static_cast<T>(f(static_cast<double>(xs[at]), static_cast<double>(dys[at])))))
              << i;
        }
      };
      const auto relu_of = [](double v, double) { return v > 0 ? v : 0; };
      const auto gradient = [](double v, double d) { return v > 0 ? d : 0 * d; };
      {
        const OnlyBlocks only = last_blocks(tile_of_one);
        forward(ctx, relu(), x, y);
        ctx.synchronize();
        expect(y, tile_of_one, relu_of);
      }
      {
        const OnlyBlocks only = last_blocks(tile_of_two);
        backward(ctx, relu(), x, dy, y);
        ctx.synchronize();
        expect(y, tile_of_two, gradient);
        jvp(ctx, relu(), x, dy, y, ty);
        ctx.synchronize();
        expect(y, tile_of_two, relu_of);
        expect(ty, tile_of_two, gradient);
        gated_forward(ctx, bilinear(), {.gate = x, .content = dy}, y);
        ctx.synchronize();
        expect(y, tile_of_two, [](double a, double b) { return a * b; });
        gated_backward(ctx, bilinear(), {.gate = x, .content = x}, dy, {.gate = y, .content = ty});
        ctx.synchronize();
        for (const Tensor* output : {&y, &ty})
          expect(*output, tile_of_two, [](double a, double b) { return a * b; });
      }
    });
}

/// Numbers whose sums and products of three are exact in every dtype but the 8-bit ones, up to one rounding.
template <class T>
std::vector<T> halves(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<T> values;
  while (std::ssize(values) < count)
    values.push_back(static_cast<T>(static_cast<double>(random() % 17) / 2 - 4));
  return values;
}

TEST_F(LargeTest, DoubleBackward) {
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      // Past a packet boundary, so that inputs are shifted and the edges ragged.
      const std::int64_t tile = kernels::kElementwiseThreads * kernels::kPacketsPerThread<3> * 16 /
                                static_cast<std::int64_t>(sizeof(T)),
                         from = kPast32 - tile;
      const Tensor x(ctx, dtype, {kPast32}), dy(ctx, dtype, {kPast32}), ddx(ctx, dtype, {kPast32});
      Tensor ddy(ctx, dtype, {kPast32}), dx(ctx, dtype, {kPast32 + 1});
      const TensorView shifted(static_cast<T*>(dx.view().data()) + 1, Shape{kPast32});
      const auto xs = halves<T>(tile, kSeed), dys = halves<T>(tile, kSeed + 1),
                 ddxs = halves<T>(tile, kSeed + 2);
      put(x, from, xs);
      put(dy, from, dys);
      put(ddx, from, ddxs);
      {
        const OnlyBlocks only{(kPast32 + 1) / tile - 1, (kPast32 + 1) / tile};
        backward_of_backward(ctx, relu_squared(), x, dy, ddx, ddy, shifted);
        ctx.synchronize();
      }
      const auto got_ddy = get<T>(ddy, from, tile), got_dx = get<T>(dx, from + 1, tile);
      for (std::size_t i = 0; i < xs.size(); ++i) {
        const double v = static_cast<double>(xs[i]), d = static_cast<double>(dys[i]),
                     dd = static_cast<double>(ddxs[i]);
        ASSERT_EQ(got_ddy[i], v > 0 ? dd * 2 * v : 0) << i;
        ASSERT_EQ(got_dx[i], v > 0 ? dd * d * 2 : 0) << i;
      }
    });
}

TEST_F(LargeTest, Lists) {
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const std::int64_t tile = kernels::kElementwiseThreads * kernels::kPacketsPerThread<1> * 16 /
                                static_cast<std::int64_t>(sizeof(T)),
                         last = kPast32 / tile, shown = kPast32 - last * tile;
      const Tensor x(ctx, dtype, {kPast32}), other(ctx, dtype, {tile + 1});
      Tensor y(ctx, dtype, {kPast32}), other_y(ctx, dtype, {tile + 1});
      const auto xs = halves<T>(shown, kSeed);
      put(x, last * tile, xs);
      const ForwardPair pairs[] = {{other, other_y}, {x, y}};
      {
        const OnlyBlocks only{2 + last};  // the first tensor has two blocks
        forward_many(ctx, identity(), pairs);
        ctx.synchronize();
      }
      EXPECT_EQ(get<T>(y, last * tile, shown), std::vector<double>(xs.begin(), xs.end()));
    });
}

TEST_F(LargeTest, StridedRows) {
  const std::int64_t cols = 100, stride = 131, rows = kPast32 / cols + 2, tail = 300, from = rows - tail;
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const Tensor x(ctx, dtype, {rows * stride});
      Tensor y(ctx, dtype, {rows * (stride + 1)});
      const std::int64_t x_strides[] = {stride, 1}, y_strides[] = {stride + 1, 1};
      const ConstTensorView in(x.view().data(), dtype, {rows, cols}, x_strides);
      const TensorView out(y.view().data(), dtype, {rows, cols}, y_strides);
      const Tensor bias(ctx, halves<T>(cols, kSeed + 1));
      const auto xs = halves<T>(tail * stride, kSeed), biases = halves<T>(cols, kSeed + 1);
      put(x, from * stride, xs);
      const auto expect = [&](std::int64_t shown, bool biased) {
        ASSERT_LE(shown, tail);
        const auto got = get<T>(y, (rows - shown) * (stride + 1), shown * (stride + 1));
        for (std::int64_t r = 0; r < shown; ++r)
          for (std::int64_t c = 0; c < cols; ++c) {
            const double v =
                static_cast<double>(xs[static_cast<std::size_t>((tail - shown + r) * stride + c)]) +
                (biased ? static_cast<double>(biases[static_cast<std::size_t>(c)]) : 0);
            ASSERT_EQ(got[static_cast<std::size_t>(r * (stride + 1) + c)], v > 0 ? v : 0) << r << ", " << c;
          }
      };
      const std::uintptr_t addresses[] = {reinterpret_cast<std::uintptr_t>(in.data()),
                                          reinterpret_cast<std::uintptr_t>(out.data())};
      const auto plan = kernels::plan_elementwise(rows, cols, sizeof(T), addresses, 1, stride + 1,
                                                  kernels::kPacketsPerThread<1>);
      {
        const OnlyBlocks only{plan.blocks - 2, plan.blocks - 1};
        forward(ctx, relu(), in, out);
        ctx.synchronize();
      }
      expect(kernels::kElementwiseThreads * kernels::kPacketsPerThread<1> / plan.row_packets, false);
      const auto walk = kernels::plan_walk(rows, cols);
      {
        const OnlyBlocks only{walk.tiles() - 2, walk.tiles() - 1};
        forward(ctx, relu(), in, out, {.bias = bias});
        ctx.synchronize();
      }
      expect(walk.tile_rows, true);
    });
}

// ---------------------------------------------------------------- fused elementwise

/// Past 2^34 elements, where the blocks of random words for dropout need a counter of more than 32 bits.
TEST_F(LargeTest, FusedForwardAndBackward) {
  const std::int64_t cols = 128, rows = (std::int64_t{1} << 27) + 77, count = rows * cols, tail = 16384;
  const Shape shape{rows, cols};
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const std::int64_t from = count - tail;
      const Tensor x(ctx, dtype, shape), residual(ctx, dtype, shape), slopes(ctx, dtype, {rows});
      Tensor y(ctx, dtype, shape), mask(ctx, DType::kF32, {mask_words(count)});
      auto* const words = static_cast<std::uint32_t*>(mask.view().data());
      const auto xs = halves<T>(tail, kSeed), rs = halves<T>(tail, kSeed + 1),
                 bs = halves<T>(cols, kSeed + 2), ss = halves<T>(tail / cols, kSeed + 3);
      const Tensor bias(ctx, bs);
      put(x, from, xs);
      put(residual, from, rs);
      put(slopes, from / cols, ss);
      const kernels::WalkPlan walk = kernels::plan_walk(1, count);
      const std::int64_t shown = count - (walk.tiles() - 1) * walk.tile_columns;
      ASSERT_LE(shown, tail);
      const OnlyBlocks only{walk.tiles() - 1};
      const Dropout dropout{.p = 0.5, .key = {.seed = 5}};
      const auto expect = [&](const char* what, const auto& f) {  // f of x, residual, bias, slope
        ctx.synchronize();
        const auto got = get<T>(y, count - shown, shown);
        for (std::int64_t i = tail - shown; i < tail; ++i) {
          const auto at = static_cast<std::size_t>(i);
          const auto number = [&](const std::vector<T>& list, std::int64_t k) {
            return static_cast<double>(list[static_cast<std::size_t>(k)]);
          };
          const bool kept = philox_word(5, from + i) >= 0x80000000u;
          const double want =
              f(number(xs, i), number(rs, i), number(bs, i % cols), number(ss, i / cols), kept);
          ASSERT_EQ(got[at - static_cast<std::size_t>(tail - shown)],
                    static_cast<double>(static_cast<T>(want)))
              << what << " " << i;
        }
      };
      forward(ctx, leaky_relu(), x, y,
              {.bias = bias,
               .residual = residual,
               .dropout = dropout,
               .slope = slopes,
               .channel_axis = 0,
               .mask = words});
      expect("forward", [](double v, double r, double b, double s, bool kept) {
        return r + (kept ? 2 * (v + b > 0 ? v + b : s * (v + b)) : 0);
      });
      backward(ctx, leaky_relu(), x, residual, y,
               {.bias = bias, .dropout = dropout, .slope = slopes, .channel_axis = 0});
      const auto gradient = [](double v, double r, double b, double s, bool kept) {
        return kept ? 2 * r * (v + b > 0 ? 1 : s) : 0 * r;
      };
      expect("backward", gradient);
      backward_from_mask(ctx, leaky_relu(), words, residual, y,
                         {.dropout = dropout, .slope = slopes, .channel_axis = 0});
      expect("backward_from_mask", gradient);
      backward_from_output(ctx, leaky_relu(0.5), x, residual, y);
      expect("backward_from_output",
             [](double v, double r, double, double, bool) { return v > 0 ? r : r / 2; });
    });
}

/// The launchers themselves, whose scratch memory begins as zeros: most tiles do not run.
class LargeSums : public LargeTest {
 protected:
  struct Zeros {
    explicit Zeros(std::size_t bytes) {
      EXPECT_EQ(cudaMalloc(&data, bytes), cudaSuccess);
      EXPECT_EQ(cudaMemset(data, 0, bytes), cudaSuccess);
    }
    Zeros(const Zeros&) = delete;
    ~Zeros() { cudaFree(data); }
    void* data = nullptr;
  };
  static kernels::AnyMatrix any(const Tensor& t) {
    return {const_cast<void*>(t.view().data()), 0, t.dtype()};
  }
};

TEST_F(LargeSums, LargestMagnitude) {
  const Tensor x(ctx, DType::kBF16, {kPast32});
  Tensor y(ctx, DType::kE4M3, {kPast32}), amax(ctx, DType::kF32, {1});
  put(x, kPast32 - 1, std::vector<bf16>{bf16(-20.0)});
  kernels::FusedForward call{.f = {ActivationKind::identity, {}}, .extent = {1, kPast32}};
  call.x = any(x);
  call.y = any(y);
  call.quantization_scale = 4;
  call.amax = static_cast<float*>(amax.view().data());
  const Zeros scratch(kernels::fused_forward_scratch(call));
  call.scratch = scratch.data;
  const OnlyBlocks only{0, kernels::plan_walk_to_maximum(1, kPast32).tiles() - 1};
  ASSERT_EQ(kernels::launch_fused_forward(call, nullptr), cudaSuccess);
  ctx.synchronize();
  EXPECT_EQ(get<float>(amax, 0, 1), std::vector<double>{20});
  e4m3 last;
  ASSERT_EQ(cudaMemcpy(&last, static_cast<e4m3*>(y.view().data()) + kPast32 - 1, 1, cudaMemcpyDefault),
            cudaSuccess);
  EXPECT_EQ(float{last}, -80.0f);
}

TEST_F(LargeSums, BiasGradient) {
  const std::int64_t cols = 128, rows = kPast32 / cols, count = rows * cols;
  for (const DType dtype : {DType::kF64, DType::kBF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const Tensor dy(ctx, dtype, {count});
      Tensor dx(ctx, dtype, {count}), dbias(ctx, dtype, {cols});
      const auto dys = halves<T>(2 * cols, kSeed);
      put(dy, count - 2 * cols, dys);
      kernels::FusedBackward call{.f = {ActivationKind::identity, {}}, .extent = {1, count}};
      call.x = call.dy = any(dy);
      call.dx = any(dx);
      call.bias_map = {cols, 1};
      call.dbias = any(dbias);
      const Zeros scratch(kernels::fused_backward_scratch(call));
      call.scratch = scratch.data;
      const auto plan = kernels::plan_channel_sum(1, count, cols, 1);
      ASSERT_GT(plan.walk.tiles(), 6);
      {
        const std::int64_t tiles = plan.walk.tiles();
        const OnlyBlocks only{0, 1, 2, 3, tiles - 2, tiles - 1};  // the second stage has four blocks
        ASSERT_EQ(kernels::launch_fused_backward(call, nullptr), cudaSuccess);
        ctx.synchronize();
      }
      const auto got = get<T>(dbias, 0, cols), last = get<T>(dx, count - 2 * cols, 2 * cols);
      EXPECT_EQ(last, std::vector<double>(dys.begin(), dys.end()));
      for (std::size_t c = 0; c < static_cast<std::size_t>(cols); ++c)
        ASSERT_EQ(got[c],
                  static_cast<double>(dys[c]) + static_cast<double>(dys[c + static_cast<std::size_t>(cols)]))
            << c;
    });
}

TEST_F(LargeSums, ParameterGradient) {
  for (const DType dtype : {DType::kF64, DType::kF16})
    for (const std::int64_t channels : {1, 3}) {  // down columns of one channel, and along rows of three
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(to_string(dtype)) + ", channels " + std::to_string(channels));
        const std::int64_t inner = kPast32 / channels, count = inner * channels;
        const Tensor x(ctx, dtype, {count}), dy(ctx, dtype, {count});
        Tensor dp(ctx, DType::kF64, {1, channels});
        put(x, count - 3, std::vector<T>{T(-0.5), T(-1.5), T(2.0)});
        put(dy, count - 3, std::vector<T>{T(1.0), T(3.0), T(5.0)});
        kernels::ParameterGradient call{.f = {ActivationKind::prelu, {0.25}}, .extent = {1, count}};
        call.x = any(x);
        call.dy = any(dy);
        call.map = {channels, inner};
        call.dp = any(dp);
        const Zeros scratch(kernels::parameter_gradient_scratch(call));
        call.scratch = scratch.data;
        const auto plan = kernels::plan_channel_sum(1, count, channels, inner);
        {
          const OnlyBlocks only{0, channels - 1, plan.walk.tiles() - 1};
          ASSERT_EQ(kernels::launch_parameter_gradient(call, nullptr), cudaSuccess);
          ctx.synchronize();
        }
        EXPECT_EQ(get<double>(dp, channels - 1, 1), std::vector<double>{-5});
      });
    }
}

TEST_F(LargeSums, ParameterGradientOfStridedRows) {
  struct Shape {
    std::int64_t rows, cols, channels, inner;
  };
  const std::int64_t many = (1 << 17) + 1;
  // Segments of three rows, and a row after the other of channels whose sums would be too many.
  for (const Shape& shape :
       {Shape{300 * (1 << 17), 100, 1 << 16, 300}, Shape{2 * many * 9, 2049, many, 4098}}) {
    SCOPED_TRACE("[" + std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "]");
    const std::int64_t stride = shape.cols + 3, last = (shape.rows - 1) * stride + shape.cols;
    const Tensor x(ctx, DType::kF16, {last}), dy(ctx, DType::kBF16, {last});
    Tensor dp(ctx, DType::kF32, {1, shape.channels});
    for (std::int64_t r = 0; r < 2; ++r) {  // the last channel's last elements, in two rows
      const std::int64_t at = last - 2 - r * stride;
      put(x, at, std::vector<f16>{f16(-0.5), f16(-1.5)});
      put(dy, at, std::vector<bf16>{bf16(4.0), bf16(16.0)});
    }
    kernels::ParameterGradient call{.f = {ActivationKind::prelu, {0.25}}, .extent = {shape.rows, shape.cols}};
    call.x = any(x);
    call.dy = any(dy);
    call.x.row_stride = call.dy.row_stride = stride;
    call.map = {shape.channels, shape.inner};
    call.dp = any(dp);
    const Zeros scratch(kernels::parameter_gradient_scratch(call));
    call.scratch = scratch.data;
    const auto plan = kernels::plan_channel_sum(shape.rows, shape.cols, shape.channels, shape.inner);
    EXPECT_EQ(plan.walk.together, shape.inner / shape.cols == 2 ? 2 : 1);
    EXPECT_GT(plan.walk.rounds, 1);
    // The slot that has the last segment, and the second stage's block of the last channel.
    const std::int64_t last_slot = (plan.walk.segments / plan.walk.together - 1) % plan.walk.slots;
    const std::int64_t block =
        plan.walk.slot_a_row ? last_slot / (kernels::kWalkThreads >> plan.walk.across_log2) : last_slot;
    {
      const OnlyBlocks only{block, (shape.channels - 1) / 32};
      ASSERT_EQ(kernels::launch_parameter_gradient(call, nullptr), cudaSuccess);
      ctx.synchronize();
    }
    EXPECT_EQ(get<float>(dp, shape.channels - 1, 1), std::vector<double>{-52});
  }
}

// ---------------------------------------------------------------- softmax: the last rows

TEST_F(LargeTest, SoftmaxRows) {
  for (const DType dtype : kDTypes)
    for (const std::int64_t columns : {20, 100, 300, 1000, 5000, 50000}) {  // every size class
      SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(columns));
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        const std::int64_t rows = kPast32 / columns + 2, last = (rows - 1) * columns;
        const auto last_block = [&](int inputs) {  // or cluster
          const kernels::RowDevice device = kernels::row_device();
          const kernels::RowPlan plan = kernels::plan_row(columns, sizeof(T), inputs, device);
          return kernels::row_blocks(rows, plan, device) / plan.slices - 1;
        };
        const Tensor z(ctx, dtype, {rows, columns});
        Tensor p(ctx, dtype, {rows, columns}), statistic(ctx, dtype, {rows});
        const std::vector<T> row = normal_sample<T>(static_cast<std::size_t>(columns), kSeed);
        put(z, last, row);
        Tensor one_z(ctx, row), one(ctx, dtype, {columns}), one_statistic(ctx, dtype, {});
        softmax(ctx, one_z, one);
        logsumexp(ctx, one_z, one_statistic);
        const auto want = get<T>(one, 0, columns);
        {
          const OnlyBlocks only{last_block(1)};
          softmax(ctx, z, p);
          logsumexp(ctx, z, statistic);
          ctx.synchronize();
        }
        EXPECT_EQ(get<T>(p, last, columns), want);
        EXPECT_EQ(get<T>(statistic, rows - 1, 1), get<T>(one_statistic, 0, 1));
        softmax_jvp(ctx, one, one_z, one);
        ctx.synchronize();
        {
          const OnlyBlocks only{last_block(2)};
          softmax_jvp(ctx, p, z, p);
          ctx.synchronize();
        }
        EXPECT_EQ(get<T>(p, last, columns), get<T>(one, 0, columns));
      });
    }
}

TEST_F(LargeTest, SoftmaxJacobian) {
  const std::int64_t columns = 65537;  // squared: past 2^32
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      const Tensor p(ctx, dtype, {1, columns});
      Tensor jacobian(ctx, dtype, {1, columns, columns});
      put(p, columns - 2, std::vector<T>{static_cast<T>(0.25), static_cast<T>(0.5)});
      const OnlyBlocks only{columns - 1};
      softmax_jacobian(ctx, p, jacobian);
      ctx.synchronize();
      EXPECT_EQ(get<T>(jacobian, columns * columns - 2, 2), (std::vector<double>{-0.125, 0.25}));
    });
}

// ---------------------------------------------------------------- propagation

TEST_F(LargeTest, RandomFills) {
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      Tensor x(ctx, dtype, {kPast32});
      const std::int64_t blocks = kernels::fill_blocks(kPast32), shown = kPast32 % 1024;
      for (const bool normal : {false, true}) {
        {
          const OnlyBlocks only{blocks - 1};
          normal ? fill_normal(ctx, x, {.seed = 5}) : fill_uniform(ctx, x, {.seed = 5});
          ctx.synchronize();
        }
        const auto got = get<T>(x, kPast32 - shown, shown);
        for (std::int64_t i = 0; i < shown; ++i) {
          const auto word = [&](std::int64_t element) { return philox_word(5, kPast32 - shown + element); };
          const double got_i = got[static_cast<std::size_t>(i)];
          if (!normal) {
            using C = std::conditional_t<sizeof(T) == 8, double, float>;
            const C uniform = std::fma(static_cast<C>(word(i)), C(0x1p-32), C(0x1p-33));
            ASSERT_EQ(got_i, static_cast<double>(static_cast<T>(uniform))) << i;
            continue;
          }
          // Box and Muller, on the pair of words that the element belongs to (the first of all is a multiple
          // of 4).
          const auto unit = [](std::uint32_t w) { return (w + 0.5) * 0x1p-32; };
          const std::int64_t first = i - (kPast32 - shown + i) % 2;
          const double radius = std::sqrt(-2 * std::log(unit(word(first)))),
                       angle = 2 * std::acos(-1.0) * unit(word(first + 1));
          const double want = radius * (first == i ? std::sin(angle) : std::cos(angle));
          ASSERT_NEAR(got_i, want, 1e-5 + 0.01 * std::fabs(want) * (sizeof(T) == 2)) << i;
        }
      }
    });
}

TEST_F(LargeTest, SignalStatistics) {
  for (const DType dtype : kDTypes)
    for (const std::int64_t units : {4096, 4097})  // in packets and one by one
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(to_string(dtype)) + ", units " + std::to_string(units));
        const std::int64_t rows = kPast32 / units + 2;
        const Tensor x(ctx, dtype, {rows, units});
        const int packet = units % 4096 == 0 ? static_cast<int>(16 / sizeof(T)) : 1;
        const auto plan = kernels::plan_signal_statistics(rows, units, packet);
        const std::int64_t last_rows = rows - (plan.splits - 1) * plan.rows_per_tile;
        ASSERT_GT(last_rows, 0);
        // The last unit is active in the last 3 rows.
        const std::int64_t marked = std::min<std::int64_t>(3, last_rows);
        for (std::int64_t r = rows - marked; r < rows; ++r)
          put<T>(x, r * units + units - 1, {static_cast<T>(1.0)});
        const std::size_t bytes = kernels::signal_statistics_scratch<T>(rows, units);
        std::int64_t* active = nullptr;
        kernels::SignalMoments* moments = nullptr;
        void* scratch = nullptr;
        ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&active), static_cast<std::size_t>(units) * 8),
                  cudaSuccess);
        ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&moments), sizeof *moments), cudaSuccess);
        ASSERT_EQ(cudaMalloc(&scratch, bytes), cudaSuccess);
        ASSERT_EQ(cudaMemset(scratch, 0, bytes), cudaSuccess);
        // The last tile of stage 1; of stage 2 every block, of which the last sums the last units.
        const std::int64_t last_tile = plan.tiles - 1, stage_2_blocks = 1 + (units + 31) / 32;
        ASSERT_GT(last_tile, stage_2_blocks);
        const OnlyBlocks only{last_tile, stage_2_blocks - 1};
        ASSERT_EQ(kernels::launch_signal_statistics<T>(x.view().template data_as<T>(), moments, active,
                                                       scratch, rows, units, nullptr),
                  cudaSuccess);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        std::int64_t got = -1;
        ASSERT_EQ(cudaMemcpy(&got, active + units - 1, sizeof got, cudaMemcpyDefault), cudaSuccess);
        EXPECT_EQ(got, marked);
        for (void* p : {static_cast<void*>(active), static_cast<void*>(moments), scratch}) cudaFree(p);
      });
}

}  // namespace

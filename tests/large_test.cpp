// Sizes past 2^32 elements, for every kernel: the tensors are address space without memory, and only the
// blocks that reach the far end are run.
#include <gtest/gtest.h>
#include <actium/actium.hpp>
#include <actium/propagation.hpp>

#include <cmath>

#include <Random123/philox.h>
#include <cuda_runtime_api.h>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "kernels/launch_propagation.hpp"
#include "kernels/plan.hpp"
#include "kernels/propagation/plan_propagation.hpp"
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
    for (const std::int64_t block : blocks)
      emulator::options().only.push_back(static_cast<std::uint64_t>(block));
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
      const std::int64_t two_packets = kernels::kElementwiseThreads * 2 * 16 / element;
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
        const OnlyBlocks only = last_blocks(two_packets);
        forward(ctx, relu(), x, y);
        ctx.synchronize();
        expect(y, two_packets, relu_of);
      }
      {
        const OnlyBlocks only = last_blocks(two_packets / 2);
        backward(ctx, relu(), x, dy, y);
        ctx.synchronize();
        expect(y, two_packets / 2, gradient);
        jvp(ctx, relu(), x, dy, y, ty);
        ctx.synchronize();
        expect(y, two_packets / 2, relu_of);
        expect(ty, two_packets / 2, gradient);
        gated_forward(ctx, bilinear(), {.gate = x, .content = dy}, y);
        ctx.synchronize();
        expect(y, two_packets / 2, [](double a, double b) { return a * b; });
        gated_backward(ctx, bilinear(), {.gate = x, .content = x}, dy, {.gate = y, .content = ty});
        ctx.synchronize();
        for (const Tensor* output : {&y, &ty})
          expect(*output, two_packets / 2, [](double a, double b) { return a * b; });
      }
    });
}

// ---------------------------------------------------------------- softmax: the last rows

TEST_F(LargeTest, SoftmaxRows) {
  for (const DType dtype : kDTypes)
    for (const std::int64_t columns : {20, 100, 300, 1000, 50000}) {  // every size class
      SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(columns));
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        const std::int64_t rows = kPast32 / columns + 2, last = (rows - 1) * columns;
        const std::int64_t rows_per_block =
            columns <= kernels::kRowWarpMaxColumns ? kernels::kRowWarpThreads / 32 : 1;
        const std::int64_t blocks = kernels::row_blocks(rows, rows_per_block);
        const Tensor z(ctx, dtype, {rows, columns});
        Tensor p(ctx, dtype, {rows, columns}), statistic(ctx, dtype, {rows});
        const std::vector<T> row = normal_sample<T>(static_cast<std::size_t>(columns), kSeed);
        put(z, last, row);
        Tensor one_z(ctx, row), one(ctx, dtype, {columns}), one_statistic(ctx, dtype, {});
        softmax(ctx, one_z, one);
        logsumexp(ctx, one_z, one_statistic);
        const auto want = get<T>(one, 0, columns);
        {
          const OnlyBlocks only{blocks - 1};
          softmax(ctx, z, p);
          logsumexp(ctx, z, statistic);
          ctx.synchronize();
        }
        EXPECT_EQ(get<T>(p, last, columns), want);
        EXPECT_EQ(get<T>(statistic, rows - 1, 1), get<T>(one_statistic, 0, 1));
        softmax_jvp(ctx, one, one_z, one);
        ctx.synchronize();
        {
          const OnlyBlocks only{blocks - 1};
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

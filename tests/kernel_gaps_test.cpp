// What mutation testing found unchecked (docs/mutation.md): grids that are too small for the work, so that
// blocks stride; scratch memory of the promised size and not a byte more; what lies past the end of a
// tensor; and the ends of the ranges.
#include <gtest/gtest.h>
#include <actium/actium.hpp>
#include <actium/propagation.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>

#include <cuda_runtime_api.h>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "kernels/launch.hpp"
#include "kernels/launch_propagation.hpp"
#include "kernels/plan.hpp"
#include "kernels/propagation/plan_propagation.hpp"
#include "reference/philox.hpp"
#include "support/samples.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr std::int64_t kGrid = 0x7fffffff;  // the largest

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

/// Tensors without memory behind them, of which chosen blocks of each grid see a part.
class StridingTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kThreadSanitizer) GTEST_SKIP() << "skipped: ThreadSanitizer leaves too little address space";
    emulator::set_memory(std::size_t{1} << 46);
  }
  void TearDown() override {
    emulator::options() = before;
    emulator::set_memory(std::size_t{141} << 30);
  }
  static void only(std::vector<std::uint64_t> blocks) { emulator::options().only = std::move(blocks); }

  template <class T>
  void put(const Tensor& tensor, std::int64_t at, const std::vector<T>& values) {
    copy(ctx, values, TensorView(const_cast<T*>(tensor.view().data_as<T>()) + at, Shape{std::ssize(values)}));
  }
  template <class T>
  std::vector<T> get(const Tensor& tensor, std::int64_t at, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    copy(ctx, ConstTensorView(tensor.view().data_as<T>() + at, Shape{count}), values);
    return values;
  }
  const emulator::Options before = emulator::options();
  const Context ctx = Context::cuda();
};

// Block 0 does the first 128 rows and, after the largest grid, the last three: of one column, whose logsumexp
// it is.
TEST_F(StridingTest, SoftmaxOfALaneARow) {
  const std::int64_t first = 128 * kGrid, rows = first + 3;
  Tensor z(ctx, DType::kF32, {rows, 1}), out(ctx, DType::kF32, {rows}), tp(ctx, DType::kF32, {rows, 1});
  put<float>(z, 0, {1, 2, 3, 4, 5});
  put<float>(z, first, {6, 7, 8});
  only({0});
  logsumexp(ctx, z, out);
  ctx.synchronize();
  EXPECT_EQ(get<float>(out, 0, 5), (std::vector<float>{1, 2, 3, 4, 5}));
  EXPECT_EQ(get<float>(out, first, 3), (std::vector<float>{6, 7, 8}));
  softmax_jvp(ctx, z, z, tp);  // p (t - p t) for p = t = z
  ctx.synchronize();
  EXPECT_EQ(get<float>(tp, 0, 5),
            (std::vector<float>{0, 2 * (2 - 4.0f), 3 * (3 - 9.0f), 4 * (4 - 16.0f), 5 * (5 - 25.0f)}));
  EXPECT_EQ(get<float>(tp, first, 3),
            (std::vector<float>{6 * (6 - 36.0f), 7 * (7 - 49.0f), 8 * (8 - 64.0f)}));
}

TEST_F(StridingTest, SoftmaxOfABlockARow) {
  constexpr std::int64_t kColumns = 1026;
  const std::int64_t rows = kGrid + 2, far = kGrid * kColumns;
  Tensor z(ctx, DType::kF16, {rows, kColumns}), out(ctx, DType::kF16, {rows}),
      tp(ctx, DType::kF16, {rows, kColumns});
  put<f16>(z, far, {f16(1.0), f16(20.0)});
  put<f16>(z, far + kColumns, {f16(30.0)});  // another block's
  only({0});
  logsumexp(ctx, z, out);
  ctx.synchronize();
  EXPECT_NEAR(static_cast<double>(get<f16>(out, kGrid, 1)[0]), 20, 0.02);
  EXPECT_EQ(static_cast<double>(get<f16>(out, kGrid + 1, 1)[0]), 0);
  softmax_jvp(ctx, z, z, tp);
  ctx.synchronize();
  const auto got = get<f16>(tp, far, 3);  // mean = 401
  EXPECT_EQ(static_cast<double>(got[0]), -400);
  EXPECT_EQ(static_cast<double>(got[1]), static_cast<double>(static_cast<f16>(20.0 * (20 - 401))));
  EXPECT_EQ(static_cast<double>(get<f16>(tp, far + kColumns, 1)[0]), 0);
}

TEST_F(StridingTest, SoftmaxJacobian) {
  const std::int64_t rows = kGrid + 2;
  Tensor p(ctx, DType::kF32, {rows, 1}), jacobian(ctx, DType::kF32, {rows, 1, 1});
  put<float>(p, 0, {0.5f, 0.5f});
  put<float>(p, kGrid, {0.25f, 0.5f});
  only({0});
  softmax_jacobian(ctx, p, jacobian);
  ctx.synchronize();
  EXPECT_EQ(get<float>(jacobian, 0, 2), (std::vector<float>{0.25f, 0}));
  EXPECT_EQ(get<float>(jacobian, kGrid, 2), (std::vector<float>{0.1875f, 0}));
}

// A block does 1024 elements and, after the largest grid, the next 1024: those of the counter 2^39 - 256.
TEST_F(StridingTest, RandomFills) {
  const std::int64_t first = 1024 * kGrid, count = first + 1026;
  Tensor x(ctx, DType::kF16, {count});
  for (const bool normal : {false, true}) {
    only({0, 1});
    normal ? fill_normal(ctx, x, {.seed = 5}) : fill_uniform(ctx, x, {.seed = 5});
    ctx.synchronize();
    const auto far = get<f16>(x, first, 1026), near = get<f16>(x, 0, 2048);
    for (const f16 v : far) EXPECT_NE(static_cast<double>(v), 0);
    for (const f16 v : near) EXPECT_NE(static_cast<double>(v), 0);
    EXPECT_EQ(static_cast<double>(get<f16>(x, 2048, 1)[0]), 0) << "another block's";
    EXPECT_EQ(static_cast<double>(get<f16>(x, first - 1, 1)[0]), 0) << "another block's";
  }
}

// Tiles of 256 columns in one row; the blocks of the second stage stride over 32 units each.
TEST_F(StridingTest, SignalStatistics) {
  const std::int64_t units = 256 * (kGrid + 2) + 1;  // odd: columns one by one
  const auto plan = kernels::plan_signal_statistics(1, units, 1);
  ASSERT_EQ(plan.columns_per_tile, 256);
  ASSERT_EQ(plan.tiles, kGrid + 3);
  Tensor x(ctx, DType::kF16, {1, units}), active(ctx, DType::kF64, {units});
  const std::int64_t unit = 256 * (kGrid + 1) + 5, block_of_unit = unit / 32 % (kGrid - 1) + 1;
  put<f16>(x, unit - 1, {f16(1.0), f16(2.0), f16(-1.0), f16(3.0)});
  void *moments = nullptr, *scratch = nullptr;
  ASSERT_EQ(cudaMalloc(&moments, sizeof(kernels::SignalMoments)), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&scratch, kernels::signal_statistics_scratch<f16>(1, units)), cudaSuccess);
  only({1, static_cast<std::uint64_t>(block_of_unit)});
  ASSERT_EQ(kernels::launch_signal_statistics<f16>(
                x.view().data_as<f16>(), static_cast<kernels::SignalMoments*>(moments),
                reinterpret_cast<std::int64_t*>(const_cast<double*>(active.view().data_as<double>())),
                scratch, 1, units, nullptr),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::int64_t got[5] = {};
  ASSERT_EQ(cudaMemcpy(got, active.view().data_as<double>() + unit - 2, sizeof got, cudaMemcpyDefault),
            cudaSuccess);
  EXPECT_EQ(std::vector<std::int64_t>(got, got + 5), (std::vector<std::int64_t>{0, 1, 1, 0, 1}));
  for (void* p : {moments, scratch}) cudaFree(p);
}

// A list's tensors have as many blocks as the largest grid, in one launch, or one more, in two.
TEST_F(StridingTest, ForwardMany) {
  constexpr std::int64_t kTile = kernels::kElementwiseThreads * kernels::kPacketsPerThread<1> * 4;
  const Tensor x(ctx, DType::kF32, {(kGrid - 1) * kTile}), last(ctx, DType::kF32, {kTile + 1});
  put<float>(last, 0, {-1, 1});
  for (const std::int64_t count : {kTile, kTile + 1}) {
    const kernels::ManyTensor<float> list[] = {
        {x.view().data_as<float>(), const_cast<float*>(x.view().data_as<float>()), (kGrid - 1) * kTile},
        {last.view().data_as<float>(), const_cast<float*>(last.view().data_as<float>()), count}};
    only({count == kTile ? std::uint64_t{kGrid - 1} : 0});
    const auto launches = emulator::counters().launches;
    ASSERT_EQ(kernels::launch_forward_many<float>({ActivationKind::identity, {}}, list, 2, nullptr),
              cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(emulator::counters().launches - launches, count == kTile ? 1u : 2u);
    EXPECT_EQ(get<float>(last, 0, 2), (std::vector<float>{-1, 1}));
  }
}

// The kernels stay inside the scratch memory that signal_statistics_scratch() asks for.
TEST(Scratch, SignalStatisticsNeedsNoMore) {
  for (const DType dtype : kDTypes) {
    if (quick() && dtype != DType::kBF16) continue;
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      // In the last one packets need more than single columns do.
      for (const auto& [rows, units] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                                        {1, 5000},
                                        {700, 1},
                                        {3, 48},
                                        {513, 97},
                                        {1056, 1024}}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + (Shape{rows, units}).to_string());
        const Context ctx = Context::cuda();
        const Tensor x(ctx, normal_sample<T>(static_cast<std::size_t>(rows * units), kSeed));
        const std::size_t bytes = kernels::signal_statistics_scratch<T>(rows, units), guard = 4096;
        std::byte *scratch = nullptr, *results = nullptr;
        ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&scratch), bytes + guard), cudaSuccess);
        const std::size_t results_bytes =
            sizeof(kernels::SignalMoments) + static_cast<std::size_t>(units) * 8;
        ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&results), results_bytes), cudaSuccess);
        ASSERT_EQ(cudaMemset(scratch, 0x4d, bytes + guard), cudaSuccess);
        ASSERT_EQ(kernels::launch_signal_statistics<T>(
                      x.view().template data_as<T>(), reinterpret_cast<kernels::SignalMoments*>(results),
                      reinterpret_cast<std::int64_t*>(results + sizeof(kernels::SignalMoments)), scratch,
                      rows, units, nullptr),
                  cudaSuccess);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        std::vector<std::byte> after(guard);
        ASSERT_EQ(cudaMemcpy(after.data(), scratch + bytes, guard, cudaMemcpyDefault), cudaSuccess);
        const bool guards_intact = after == std::vector<std::byte>(guard, std::byte{0x4d});
        EXPECT_TRUE(guards_intact) << "wrote past its scratch memory";
        cudaFree(scratch);
        cudaFree(results);
      }
    });
  }
}

// ---------------------------------------------------------------- the fused elementwise kernels

kernels::AnyMatrix any(const Tensor& t) { return {const_cast<void*>(t.view().data()), 0, t.dtype()}; }

// A thread takes five groups and loads two, four or eight at a time: of the last batch some are another
// tile's. In place, so that a group taken twice shows.
TEST(Fused, StepsThatBatchesDoNotDivide) {
  const Context ctx = Context::cuda();
  const std::int64_t count = 5 * kernels::kWalkTiles * kernels::kWalkThreads * kernels::kGroup;
  const auto plan = kernels::plan_walk(1, count);
  ASSERT_EQ(plan.steps, 5);
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kF64})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      SCOPED_TRACE(to_string(dtype));
      const Tensor x(ctx, dtype, {count});
      const auto shown = static_cast<std::size_t>(2 * plan.tile_columns);
      const TensorView first(const_cast<T*>(x.view().data_as<T>()), Shape{2 * plan.tile_columns});
      std::vector<T> got(shown), want(shown, T(1.0));
      std::fill(want.begin(), want.begin() + plan.tile_columns, T(2.0));
      for (const bool backwards : {false, true}) {
        copy(ctx, std::vector<T>(shown, T(1.0)), first);
        const emulator::Options before = emulator::options();
        emulator::options().only = {0};
        kernels::FusedForward forward{.f = {ActivationKind::identity, {}}, .extent = {1, count}};
        forward.x = forward.y = any(x);
        kernels::FusedBackward backward{.f = forward.f, .extent = forward.extent};
        backward.x = backward.dy = backward.dx = any(x);
        forward.scale = backward.scale = 2;
        ASSERT_EQ(backwards ? kernels::launch_fused_backward(backward, nullptr)
                            : kernels::launch_fused_forward(forward, nullptr),
                  cudaSuccess);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        emulator::options() = before;
        copy(ctx, ConstTensorView(first.data(), dtype, first.shape()), got);
        for (std::size_t i = 0; i < shown; ++i)
          ASSERT_EQ(static_cast<double>(got[i]), static_cast<double>(want[i])) << i;
      }
    });
}

// An element is dropped if its random word is below the threshold, and kept if it is the threshold.
TEST(Fused, DropoutAtTheThreshold) {
  const Context ctx = Context::cuda();
  const Tensor x(ctx, std::vector<float>(4, 1.0f));
  Tensor y(ctx, DType::kF32, {4});
  for (std::size_t e = 0; e < 4; ++e)
    for (const unsigned above : {0u, 1u}) {
      kernels::FusedForward forward{.f = {ActivationKind::identity, {}}, .extent = {1, 4}};
      forward.dropout = {.threshold = reference::philox_word({.seed = 7, .sequence = 5}, e) + above,
                         .inverse_keep = 2,
                         .seed = 7,
                         .sequence = 5};
      forward.x = any(x);
      forward.y = any(y);
      ASSERT_EQ(kernels::launch_fused_forward(forward, nullptr), cudaSuccess);
      EXPECT_EQ(y.to_doubles(ctx)[e], above != 0 ? 0 : 2) << e;
      kernels::FusedBackward backward{.f = forward.f, .extent = forward.extent};
      backward.x = backward.dy = any(x);
      backward.dx = any(y);
      backward.dropout = forward.dropout;
      ASSERT_EQ(kernels::launch_fused_backward(backward, nullptr), cudaSuccess);
      EXPECT_EQ(y.to_doubles(ctx)[e], above != 0 ? 0 : 2) << e;
    }
}

// Rows apart that are neither whole periods of the channels nor parts of one have no sums.
TEST(Fused, SumsOfChannelsThatRowsCutThrough) {
  const Context ctx = Context::cuda();
  const Tensor x(ctx, DType::kF32, {11});
  Tensor y(ctx, DType::kF32, {11}), sums(ctx, DType::kF32, {3});
  kernels::FusedBackward backward{.f = {ActivationKind::prelu, {0.25}}, .extent = {2, 5}};
  backward.x = backward.dy = any(x);
  backward.dx = any(y);
  backward.bias_map = {3, 2};
  backward.dbias = any(sums);
  EXPECT_EQ(kernels::launch_fused_backward(backward, nullptr), cudaErrorInvalidValue);
  kernels::ParameterGradient gradient{.f = backward.f, .extent = backward.extent};
  gradient.x = gradient.dy = any(x);
  gradient.map = backward.bias_map;
  gradient.dp = any(sums);
  EXPECT_EQ(kernels::launch_parameter_gradient(gradient, nullptr), cudaErrorInvalidValue);
}

/// Numbers after which no memory is.
template <class T>
class LastInMemory {
 public:
  explicit LastInMemory(const std::vector<T>& values) : count_(std::ssize(values)) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), bytes = values.size() * sizeof(T);
    bytes_ = (bytes + page - 1) / page * page;
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, bytes_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(memory_, MAP_FAILED);
    EXPECT_EQ(mprotect(memory_ + bytes_, page, PROT_NONE), 0);
    std::copy(values.begin(), values.end(), data());
  }
  LastInMemory(const LastInMemory&) = delete;
  ~LastInMemory() { munmap(memory_, bytes_ + static_cast<std::size_t>(sysconf(_SC_PAGESIZE))); }
  T* data() const { return reinterpret_cast<T*>(memory_ + bytes_) - count_; }
  T operator[](std::int64_t i) const { return data()[i]; }
  kernels::AnyMatrix any() const { return {data(), count_, dtype_of<T>::value}; }

 private:
  std::int64_t count_;
  std::size_t bytes_ = 0;
  std::byte* memory_ = nullptr;
};

// A packet or a group across the end is read whole by some kernels; one beyond it is another's memory.
TEST(Elementwise, NothingIsReadFarPastTheEnd) {
  for (const DType dtype : kDTypes)
    for (const std::int64_t count : {1, 5, 33, 1000, 1024, 4099})
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(count));
        const auto n = static_cast<std::size_t>(count);
        const LastInMemory<T> x(normal_sample<T>(n, kSeed)), dy(normal_sample<T>(n, kSeed + 1)),
            bias(std::vector<T>(n, T(0.5))), y(std::vector<T>(n, T(0.0))), dx(std::vector<T>(n, T(0.0)));
        const LastInMemory<std::uint32_t> mask(std::vector<std::uint32_t>((n + 31) / 32, 0u));
        kernels::FusedForward forward{.f = {ActivationKind::relu, {}}, .extent = {1, count}};
        forward.x = x.any();
        forward.y = y.any();
        forward.bias = bias.any();
        forward.residual = dy.any();
        forward.bias_map = {count, 1};
        forward.mask = mask.data();
        ASSERT_EQ(kernels::launch_fused_forward(forward, nullptr), cudaSuccess);
        kernels::FusedBackward backward{
            .f = forward.f, .extent = {1, count}, .source = kernels::SlopeSource::kMask};
        backward.mask = mask.data();
        backward.dy = dy.any();
        backward.dx = dx.any();
        ASSERT_EQ(kernels::launch_fused_backward(backward, nullptr), cudaSuccess);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        const LastInMemory<T> plain(std::vector<T>(n, T(0.0))), slope(std::vector<T>(n, T(0.0)));
        ASSERT_EQ(
            kernels::launch_forward<T>(forward.f, {1, count}, {x.data(), 0}, {plain.data(), 0}, nullptr),
            cudaSuccess);
        ASSERT_EQ(kernels::launch_backward<T>(forward.f, {1, count}, {x.data(), 0}, {dy.data(), 0},
                                              {slope.data(), 0}, nullptr),
                  cudaSuccess);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        for (std::int64_t i = 0; i < count; ++i) {
          const double biased = static_cast<double>(x[i]) + 0.5, gradient = static_cast<double>(dy[i]);
          EXPECT_NEAR(static_cast<double>(y[i]), gradient + (biased > 0 ? biased : 0), 0.02) << i;
          EXPECT_EQ(static_cast<double>(dx[i]), biased > 0 ? gradient : 0) << i;
          const double number = static_cast<double>(x[i]);
          EXPECT_EQ(static_cast<double>(plain[i]), number > 0 ? number : 0) << i;
          EXPECT_EQ(static_cast<double>(slope[i]), number > 0 ? gradient : 0) << i;
        }
      });
}

// ---------------------------------------------------------------- the ends of the ranges

// Elements so small that 1 / magnitude overflows f32: subnormal numbers, and the smallest normal ones.
TEST(Ranges, StatisticsOfTinyElements) {
  const Context ctx = Context::cuda();
  for (const float unit : {0x1p-149f, 0x1p-126f, 0x1p-110f}) {
    SCOPED_TRACE(unit);
    std::vector<float> x(256 * 8);
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = unit * static_cast<float>(i * 37 % 64);  // exact
      sum += static_cast<double>(x[i]);
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    const double n = static_cast<double>(x.size()), mean = sum / n;
    const SignalStatistics s = signal_statistics(ctx, Tensor(ctx, x).view().reshaped({256, 8}));
    EXPECT_NEAR(s.mean / mean, 1, 1e-6);
    EXPECT_NEAR(s.second_moment / (squares / n), 1, 1e-6);
    EXPECT_NEAR(s.variance / (squares / n - mean * mean), 1, 1e-5);
  }
}

// 0 / T is 0 where 1 / T overflows, and -1 / T is not -1.
TEST(Ranges, SoftmaxDividesZeroByATinyTemperature) {
  const Context ctx = Context::cuda();
  for (const std::int64_t cols : {4, 1500}) {
    std::vector<float> z(static_cast<std::size_t>(cols), -1), t(z.size(), 5);
    Tensor lse(ctx, DType::kF32, {}), tp(ctx, DType::kF32, {cols});
    logsumexp(ctx, Tensor(ctx, z), lse, {.temperature = 0.5});
    EXPECT_FLOAT_EQ(static_cast<float>(lse.to_doubles(ctx)[0]),
                    static_cast<float>(-2 + std::log(static_cast<double>(cols))));
    z[1] = 0;
    logsumexp(ctx, Tensor(ctx, z), lse, {.temperature = 1e-300});
    EXPECT_EQ(lse.to_doubles(ctx)[0], 0);
    std::vector<float> p(z.size(), 0);
    p[0] = 1;
    softmax_jvp(ctx, Tensor(ctx, p), Tensor(ctx, t), tp, {.temperature = 1e-300});
    EXPECT_EQ(tp.to_doubles(ctx), std::vector<double>(z.size(), 0));
  }
  Tensor jacobian(ctx, DType::kF32, {2, 2});
  softmax_jacobian(ctx, Tensor(ctx, std::vector<float>{1, 0}), jacobian, {.temperature = 1e-300});
  EXPECT_EQ(jacobian.to_doubles(ctx), std::vector<double>(4, 0));
}

// Where dy content overflows but the gradient does not, even a subnormal slope loses no bit on the way. The
// slope is what dy = content = 1 gives; times 2^127 and 2.5 it is exact.
TEST(Ranges, GatedBackwardOfATinySlope) {
  const Context ctx = Context::cuda();
  std::vector<float> gate;
  for (float g = -88; g > -106; g -= 0.125f) gate.push_back(g);
  const auto n = static_cast<std::int64_t>(gate.size());
  const auto gradient = [&](float dy, float content) {
    Tensor dgate(ctx, DType::kF32, {n}), dcontent(ctx, DType::kF32, {n});
    const Tensor gates(ctx, gate), contents(ctx, std::vector<float>(gate.size(), content)),
        dys(ctx, std::vector<float>(gate.size(), dy));
    gated_backward(ctx, swiglu(), {.gate = gates, .content = contents}, dys,
                   {.gate = dgate, .content = dcontent});
    return dgate.to_doubles(ctx);
  };
  const auto slope = gradient(1, 1), dy_first = gradient(0x1p127f, 2.5f),
             content_first = gradient(2.5f, 0x1p127f);
  int odd = 0;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double want = static_cast<double>(static_cast<float>(slope[i] * 0x1p127 * 2.5));
    EXPECT_EQ(dy_first[i], want) << gate[i];
    EXPECT_EQ(content_first[i], want) << gate[i];
    odd += std::fabs(slope[i]) < 0x1p-126 && std::fmod(slope[i] * 0x1p149, 2) != 0;
  }
  EXPECT_GT(odd, 10);  // 2.5 times such a slope is not a float
}

}  // namespace

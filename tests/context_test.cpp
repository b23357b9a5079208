// Contexts: where work runs, what copies share, scratch memory, what the build says of itself; on CUDA a
// caller's stream, graph capture and the caller's own errors.
#include <actium/actium.hpp>
#include <regex>
#include <thread>

#include "context_state.hpp"
#include "support/devices.hpp"
#include "support/errors.hpp"
#include "support/guarded.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace {

using namespace actium;
using namespace actium_test;

/// A call of every kind of operation: what it wrote.
std::vector<float> work(const Context& ctx, std::size_t count = 10007) {
  const std::vector<float> values = normal_sample<float>(count, kSeed);
  Guarded<float> x(ctx, values), y(ctx, count);
  forward(ctx, gelu(), x.view(), y.view());
  softmax(ctx, y.view(), y.view());
  EXPECT_TRUE(x.untouched() && y.guards_intact());
  return y.read();
}

// ---------------------------------------------------------------- the CPU

TEST(CpuContext, SaysWhatItIs) {
  const Context ctx = Context::cpu();
  EXPECT_FALSE(ctx.is_cuda());
  EXPECT_EQ(ctx.device(), -1);
  EXPECT_EQ(ctx.stream(), nullptr);
  EXPECT_EQ(ctx.threads(), 0);
  EXPECT_EQ(ctx.name(), "cpu");
  EXPECT_NO_THROW(ctx.synchronize());
}

TEST(CpuContext, Threads) {
  EXPECT_EQ(Context::cpu(3).threads(), 3);
  for (const int wrong : {-1, -2147483647 - 1})
    expect_error(ErrorKind::kInvalidArgument,
                 "Context::cpu: threads: want 0 to 1024, got " + std::to_string(wrong),
                 [&] { Context::cpu(wrong); });
  const std::vector<float> one = work(Context::cpu(1));
  for (const int threads : {0, 2, 3, 5})
    EXPECT_TRUE(same_bits(work(Context::cpu(threads)), one)) << threads << " threads";
}

// OpenMP ends the process when it is asked for more threads than it can start, so the question must be
// refused.
TEST(CpuContext, MoreThreadsThanAnyMachineStarts) {
  for (const int wrong : {1 << 20, 2147483647})
    expect_error(ErrorKind::kInvalidArgument, "Context::cpu: threads: want ", [&] { Context::cpu(wrong); });
}

TEST(CpuContext, DifferentContextsInDifferentThreads) {
  const std::vector<float> want = work(Context::cpu(1));
  std::vector<std::vector<float>> got(4);
  std::vector<std::thread> threads;
  for (std::vector<float>& result : got) threads.emplace_back([&] { result = work(Context::cpu(1)); });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& result : got) EXPECT_TRUE(same_bits(result, want));
}

// ---------------------------------------------------------------- any device

class ContextTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(ContextTest);

TEST_P(ContextTest, CopiesShareOneState) {
  const Context first = context();
  Context second = context();
  EXPECT_NE(&first.state(), &second.state());
  second = first;
  const Context third(second);
  EXPECT_EQ(&first.state(), &second.state());
  EXPECT_EQ(&first.state(), &third.state());
  EXPECT_EQ(third.name(), first.name());
  third.reserve(100000);
  void* memory = first.state().scratch(100000);
  second.reserve(1);
  EXPECT_EQ(third.state().scratch(100000), memory);
}

TEST_P(ContextTest, ScratchGrowsAndKeepsWhatItGave) {
  const Context ctx = context();
  EXPECT_NO_THROW(ctx.reserve(0));
  ctx.reserve(std::size_t{1} << 20);
  void* first = ctx.state().scratch(std::size_t{1} << 20);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 256, 0u);
  EXPECT_EQ(ctx.state().scratch(1), first) << "reserved memory serves smaller wishes";
  const std::vector<double> values = normal_sample<double>(std::size_t{1} << 17, kSeed);
  const Shape shape{std::int64_t{1} << 17};
  copy(ctx, values, TensorView(first, DType::kF64, shape));

  ctx.reserve(std::size_t{1} << 22);
  void* second = ctx.state().scratch(std::size_t{1} << 22);
  EXPECT_NE(first, second);
  // The first block is still this context's, though it has grown since: nobody else gets it or writes to it.
  Tensor other(ctx, DType::kF64, shape);
  EXPECT_NE(other.view().data(), first);
  const std::vector<double> zeros(values.size());
  copy(ctx, zeros, other);
  copy(ctx, zeros, TensorView(second, DType::kF64, shape));
  std::vector<double> back(values.size());
  copy(ctx, TensorView(first, DType::kF64, shape), back);
  EXPECT_TRUE(same_bits(values, back));
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process where an allocation fails
TEST_P(ContextTest, MoreScratchThanThereIs) {
  const Context ctx = context();
  for (const std::size_t bytes : {std::size_t{1} << 60, ~std::size_t{0}, ~std::size_t{0} - 255})
    expect_error(ErrorKind::kOutOfMemory, on_cuda() ? "cudaMalloc" : "allocate: no host memory for ",
                 [&] { ctx.reserve(bytes); });
  EXPECT_FALSE(work(ctx).empty());
  EXPECT_NO_THROW(ctx.reserve(1000));
}
#endif

TEST_P(ContextTest, SameCallSameBits) { EXPECT_TRUE(same_bits(work(context()), work(context()))); }

// ---------------------------------------------------------------- which device

TEST(BestContext, NeverThrowsAndSaysWhatItIs) {
  EXPECT_NO_THROW(Context::best());
  const Context ctx = Context::best();
  const bool usable = build_info().cuda_status.starts_with("ok: ");
  EXPECT_EQ(ctx.is_cuda(), usable);
  if (usable) {
    EXPECT_TRUE(std::regex_match(ctx.name(), std::regex("cuda:[0-9]+ \\(.+\\)"))) << ctx.name();
  } else {
    EXPECT_EQ(ctx.name(), "cpu");
  }
  EXPECT_FALSE(work(ctx).empty());
}

TEST(CudaContext, SaysWhyThereIsNone) {
  if (has_cuda()) GTEST_SKIP() << "there is a CUDA device";
  for (const int device : {-1, 0, 99}) {
    try {
      Context::cuda(nullptr, device);
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kNotBuilt);
      EXPECT_EQ(e.hint(), "Context::best() falls back to the CPU");
      EXPECT_EQ(e.what(), "Context::cuda: " + build_info().cuda_status + " (" + e.hint() + ")");
    }
  }
}

TEST(BuildInfo, EveryFieldIsAFact) {
  const BuildInfo info = build_info();
  EXPECT_TRUE(std::regex_match(info.version, std::regex("[0-9]+\\.[0-9]+\\.[0-9]+"))) << info.version;
  EXPECT_EQ(info.cuda_built, ACTIUM_CUDA != 0);
  EXPECT_TRUE(info.driver == "none" || std::regex_match(info.driver, std::regex("[0-9]+\\.[0-9]+")))
      << info.driver;
  EXPECT_EQ(build_info().cuda_status, info.cuda_status);
  if (info.cuda_built) {
    EXPECT_TRUE(std::regex_match(info.cuda_toolkit, std::regex("[0-9]+\\.[0-9]+"))) << info.cuda_toolkit;
    EXPECT_TRUE(std::regex_match(info.architectures, std::regex("[0-9a-z-]+(, [0-9a-z-]+)*")))
        << info.architectures;
    EXPECT_FALSE(info.cuda_status.empty());
    if (info.cuda_status.starts_with("ok")) {
      EXPECT_TRUE(std::regex_match(info.cuda_status, std::regex("ok: (1 device|[0-9]+ devices)")));
      EXPECT_NE(info.driver, "none");
    }
  } else {
    EXPECT_EQ(info.cuda_toolkit, "");
    EXPECT_EQ(info.architectures, "");
    EXPECT_EQ(info.cuda_status, "this build of actium has no CUDA kernels");
    EXPECT_EQ(info.driver, "none");
  }
}

// ---------------------------------------------------------------- CUDA

#if ACTIUM_CUDA
class CudaContextTest : public ContextTest {};
INSTANTIATE_TEST_SUITE_P(Devices, CudaContextTest, testing::Values(kGpu),
                         [](const auto& device) { return std::string(device.param); });

TEST_P(CudaContextTest, DevicesThatAreNotThere) {
  int devices = 0;
  ASSERT_EQ(cudaGetDeviceCount(&devices), cudaSuccess);
  for (const int wrong : {-2, devices, 1000})
    expect_error(
        ErrorKind::kInvalidArgument,
        "Context::cuda: device: want 0 to " + std::to_string(devices - 1) + ", got " + std::to_string(wrong),
        [&] { Context::cuda(nullptr, wrong); });
  EXPECT_EQ(context().device(), Context::cuda(nullptr, context().device()).device());
}

TEST_P(CudaContextTest, TheCallersStream) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  {
    const Context ctx = Context::cuda(stream);
    EXPECT_EQ(ctx.stream(), stream);
    EXPECT_EQ(context().stream(), nullptr);
    EXPECT_TRUE(same_bits(work(ctx), work(context())));
    EXPECT_NO_THROW(ctx.synchronize());
    EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  }
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess) << "the stream is still the caller's";
}

TEST_P(CudaContextTest, GraphCaptureAndReplay) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  const Context ctx = Context::cuda(stream);
  constexpr std::size_t kCount = 3 * 1024 + 5;
  Guarded<float> x(ctx, kCount), dy(ctx, kCount, 1), y(ctx, kCount, 3), dx(ctx, kCount), p(ctx, kCount);
  const auto calls = [&] {
    forward(ctx, gelu(), x.view(), y.view());
    backward(ctx, mish(), x.view(), dy.view(), dx.view());
    gated_forward(ctx, swiglu(), {.gate = x.view(), .content = dx.view()}, dx.view());
    softmax(ctx, y.view(), p.view());
  };
  // The strictest mode: anything that allocates or synchronises makes the capture fail.
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_NO_THROW(calls());
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_TRUE(y.untouched() && dx.untouched() && p.untouched()) << "a capture runs nothing";
  for (std::uint64_t replay = 0; replay < 3; ++replay) {
    copy(ctx, normal_sample<float>(kCount, kSeed + replay), x.view());
    copy(ctx, normal_sample<float>(kCount, kSeed + 10 + replay), dy.view());
    ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    ctx.synchronize();
    const std::vector<float> ys = y.read(), dxs = dx.read(), ps = p.read();
    calls();
    EXPECT_TRUE(same_bits(ys, y.read()) && same_bits(dxs, dx.read()) && same_bits(ps, p.read())) << replay;
  }
  EXPECT_TRUE(y.guards_intact() && dx.guards_intact() && p.guards_intact());
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_P(CudaContextTest, TheCallersErrorsAndDeviceAreLeftAlone) {
  int before = -1, after = -1;
  ASSERT_EQ(cudaGetDevice(&before), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(1000), cudaErrorInvalidDevice);
  EXPECT_FALSE(work(context()).empty());
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice) << "an error of the caller's survives a call";
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_FALSE(work(context()).empty());
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "a call leaves none of its own";
  ASSERT_EQ(cudaGetDevice(&after), cudaSuccess);
  EXPECT_EQ(before, after);
}
#endif

}  // namespace

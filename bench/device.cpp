#include "device.hpp"

#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>

#include "streams.hpp"
#endif

namespace actium::bench {

#if ACTIUM_CUDA
namespace {
void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}
}  // namespace
#define ACTIUM_BENCH_CHECK(call) check(call, #call)
#endif

Device::Device(const std::string& which) : context_(Context::cpu()) {
  if (which == "cpu" || (which == "auto" && !Context::best().is_cuda())) return;
#if ACTIUM_CUDA
  const int index = Context::cuda().device();  // throws where there is no device
  ACTIUM_BENCH_CHECK(cudaSetDevice(index));
  ACTIUM_BENCH_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  ACTIUM_BENCH_CHECK(cudaEventCreate(&start_));
  ACTIUM_BENCH_CHECK(cudaEventCreate(&stop_));
#endif
  context_ = Context::cuda(stream_);
}

double Device::seconds(const Work& work) const {
#if ACTIUM_CUDA
  if (cuda()) {
    work();
    ACTIUM_BENCH_CHECK(cudaEventRecord(start_, stream_));
    work();
    ACTIUM_BENCH_CHECK(cudaEventRecord(stop_, stream_));
    ACTIUM_BENCH_CHECK(cudaEventSynchronize(stop_));
    float milliseconds = 0;
    ACTIUM_BENCH_CHECK(cudaEventElapsedTime(&milliseconds, start_, stop_));
    return static_cast<double>(milliseconds) * 1e-3;
  }
#endif
  return host_seconds(work);
}

double Device::host_seconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Work Device::captured(const Work& work) const {
#if ACTIUM_CUDA
  if (cuda()) {
    cudaGraph_t graph = nullptr;
    ACTIUM_BENCH_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    ACTIUM_BENCH_CHECK(cudaStreamEndCapture(stream_, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
    const std::shared_ptr<CUgraphExec_st> owner(executable,
                                                [](cudaGraphExec_t e) { cudaGraphExecDestroy(e); });
    return [owner, stream = stream_] { ACTIUM_BENCH_CHECK(cudaGraphLaunch(owner.get(), stream)); };
  }
#endif
  return work;
}

void Device::copy_bytes(const void* from, void* to, std::size_t bytes) const {
#if ACTIUM_CUDA
  if (cuda()) {
    ACTIUM_BENCH_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
    return;
  }
#endif
  std::memcpy(to, from, bytes);
}

void Device::launch_empty() const {
#if ACTIUM_CUDA
  if (cuda()) ACTIUM_BENCH_CHECK(static_cast<cudaError_t>(bench::launch_empty(stream_)));
#endif
}

int Device::stream_variants() const {
#if ACTIUM_CUDA
  if (cuda()) return kStreamVariants;
#endif
  return 1;
}

void Device::launch_stream(int variant, std::span<const ConstTensorView> in,
                           std::span<const TensorView> out) const {
  const std::int64_t bytes = out.front().bytes();
#if ACTIUM_CUDA
  if (cuda()) {
    const void* inputs[kMaxReads];
    void* outputs[kMaxWrites];
    for (std::size_t r = 0; r < in.size(); ++r) inputs[r] = in[r].data();
    for (std::size_t w = 0; w < out.size(); ++w) outputs[w] = out[w].data();
    ACTIUM_BENCH_CHECK(static_cast<cudaError_t>(bench::launch_stream(static_cast<int>(in.size()),
                                                                     static_cast<int>(out.size()), variant,
                                                                     inputs, outputs, bytes, stream_)));
    return;
  }
#endif
  static_cast<void>(variant);
  for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) / sizeof(float); ++i) {
    float sum = 0;
    for (const ConstTensorView& x : in) sum += static_cast<const float*>(x.data())[i];
    for (std::size_t w = 0; w < out.size(); ++w)
      static_cast<float*>(out[w].data())[i] = sum + static_cast<float>(w);
  }
}

std::size_t Device::cold_bytes() const {
#if ACTIUM_CUDA
  if (cuda()) return 2 * static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize));
#endif
  return std::size_t{8}
         << 20;  // a few buffers are enough: the reference path is far from the speed of memory
}

std::vector<std::pair<std::string, std::string>> Device::facts() const {
  const BuildInfo build = build_info();
  std::vector<std::pair<std::string, std::string>> facts = {
      {"device", context_.name()},
      {"actium_version", build.version},
      {"git_commit", ACTIUM_GIT_COMMIT},
      {"cuda_toolkit", build.cuda_toolkit.empty() ? "none" : build.cuda_toolkit},
      {"cuda_architectures", build.architectures.empty() ? "none" : build.architectures},
      {"cuda_driver", build.driver},
      {"clock", cuda() ? "CUDA events" : "wall"},
      {"baseline", "as many reads and writes of the same bytes in all, the fastest way of several"}};
#if ACTIUM_CUDA
  if (cuda()) {
    const auto add = [&](const char* name, cudaDeviceAttr which) {
      facts.emplace_back(name, std::to_string(attribute(which)));
    };
    add("multiprocessors", cudaDevAttrMultiProcessorCount);
    add("l2_bytes", cudaDevAttrL2CacheSize);
    add("max_sm_clock_kHz", cudaDevAttrClockRate);
    add("max_memory_clock_kHz", cudaDevAttrMemoryClockRate);
    add("memory_bus_bits", cudaDevAttrGlobalMemoryBusWidth);
    add("ecc", cudaDevAttrEccEnabled);
  }
#endif
  return facts;
}

#if ACTIUM_CUDA
int Device::attribute(int which) const {
  int value = 0;
  ACTIUM_BENCH_CHECK(cudaDeviceGetAttribute(&value, static_cast<cudaDeviceAttr>(which), context_.device()));
  return value;
}
#endif

}  // namespace actium::bench

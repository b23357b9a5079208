#include <algorithm>
#include <cstdlib>
#include <new>

#include "context_state.hpp"
#include "cuda_check.hpp"
#include "validate.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace actium {

namespace detail {

std::shared_ptr<void> allocate(std::size_t bytes, [[maybe_unused]] int device) {
  constexpr std::size_t kAlignment = 256;
  bytes = std::max<std::size_t>(bytes, 1);
#if ACTIUM_CUDA
  if (device >= 0) {
    const DeviceGuard guard(device);
    void* memory = nullptr;
    try_cuda("cudaMalloc of " + std::to_string(bytes) + " bytes", [&] { return cudaMalloc(&memory, bytes); });
    return {memory, [](void* p) { cudaFree(p); }};
  }
#endif
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr)
    throw Error(ErrorKind::kOutOfMemory, "allocate: no host memory for " + std::to_string(bytes) + " bytes");
  return {memory, [](void* p) { std::free(p); }};
}

void* ContextState::scratch(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (scratch_.empty() || scratch_.back().bytes < bytes) {
    const std::size_t grown =
        std::max(bytes, scratch_.empty() ? std::size_t{1} << 16 : 2 * scratch_.back().bytes);
    scratch_.push_back({allocate(grown, device), grown});
  }
  return scratch_.back().memory.get();
}

}  // namespace detail

Context Context::cpu(int threads) {
  constexpr int kMost = 1024;  // OpenMP runtimes crash rather than refuse
  if (threads < 0 || threads > kMost)
    throw Error(ErrorKind::kInvalidArgument, "Context::cpu: threads: want 0 to " + std::to_string(kMost) +
                                                 ", got " + std::to_string(threads));
  auto state = std::make_shared<detail::ContextState>();
  state->threads = threads;
  return Context(std::move(state));
}

Context Context::cuda([[maybe_unused]] Stream stream, [[maybe_unused]] int device) {
  if (!cuda_unavailable_reason().empty())
    throw Error(ErrorKind::kNotBuilt, "Context::cuda: " + cuda_unavailable_reason(),
                "Context::best() falls back to the CPU");
#if ACTIUM_CUDA
  int devices = 0;
  ACTIUM_CUDA_TRY(cudaGetDeviceCount(&devices));
  if (device == -1) ACTIUM_CUDA_TRY(cudaGetDevice(&device));
  if (device < 0 || device >= devices)
    throw Error(ErrorKind::kInvalidArgument, "Context::cuda: device: want 0 to " +
                                                 std::to_string(devices - 1) + ", got " +
                                                 std::to_string(device));
  if (const std::string reason = kernels_missing_reason(device); !reason.empty())
    throw Error(ErrorKind::kNotBuilt, "Context::cuda: " + reason);
  auto state = std::make_shared<detail::ContextState>();
  state->device = device;
  state->stream = stream;
  note_cuda_in_use();
  return Context(std::move(state));
#else
  return cpu();  // not reached: a build without CUDA always has a reason
#endif
}

Context Context::best() { return cuda_unavailable_reason().empty() ? cuda() : cpu(); }

bool Context::is_cuda() const { return state_->device >= 0; }
int Context::device() const { return state_->device; }
Context::Stream Context::stream() const { return state_->stream; }
int Context::threads() const { return state_->threads; }

std::string Context::name() const {
#if ACTIUM_CUDA
  if (is_cuda()) {
    cudaDeviceProp properties{};
    ACTIUM_CUDA_TRY(cudaGetDeviceProperties(&properties, device()));
    return "cuda:" + std::to_string(device()) + " (" + properties.name + ")";
  }
#endif
  return "cpu";
}

void Context::synchronize() const {
#if ACTIUM_CUDA
  if (is_cuda()) {
    const DeviceGuard guard(device());
    ACTIUM_CUDA_TRY(cudaStreamSynchronize(stream()));
  }
#endif
}

void Context::reserve(std::size_t bytes) const { state_->scratch(bytes); }

BuildInfo build_info() {
  BuildInfo info{.version = ACTIUM_VERSION,
                 .cuda_built = kCudaBuilt,
                 .cuda_toolkit = {},
                 .architectures = {},
                 .cuda_status = cuda_unavailable_reason(),
                 .driver = "none"};
#if ACTIUM_CUDA
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  info.cuda_toolkit = version(CUDART_VERSION);
  info.architectures = ACTIUM_ARCHITECTURES;
  int driver = 0, devices = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) info.driver = version(driver);
  if (info.cuda_status.empty() && cudaGetDeviceCount(&devices) == cudaSuccess)
    info.cuda_status = "ok: " + std::to_string(devices) + (devices == 1 ? " device" : " devices");
#endif
  return info;
}

}  // namespace actium

#pragma once
// The emulated CUDA runtime: what cuda_dialect.hpp and cublas.cpp put work on streams with, and what its two
// halves (runtime.cpp: device, memory, errors; streams.cpp: streams, events, capture, launches) know of each
// other.
#include <cuda_runtime_api.h>
#include <cstddef>
#include <functional>

#include "sanitizers.hpp"

namespace emulator {

/// cudaLaunchKernelEx. `thread` is the kernel with its arguments.
cudaError_t enqueue_launch(const cudaLaunchConfig_t& config, const void* kernel,
                           std::function<void()> thread);

/// Whether the bytes lie in one live device allocation now; else a violation, and the device is broken.
bool can_access(const char* who, const void* memory, std::size_t bytes);

namespace runtime {

/// Held by every call, and while work runs. Invisible to ThreadSanitizer: calls of two host threads are
/// unordered, and the runtime's own memory is nobody's business.
class Lock {
 public:
  Lock();
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Quiet quiet_;
};

const void* this_thread();
cudaError_t sticky_error();
/// The result of a call: the sticky error, if there is one. Errors are remembered for cudaGetLastError.
cudaError_t remember(cudaError_t error);

/// The body of a call, which a broken device does not run.
template <class Body>
cudaError_t api(Body body) {
  const Lock lock;
  return remember(sticky_error() != cudaSuccess ? sticky_error() : body());
}
/// The body of a call that gives something back, on a broken device too.
template <class Body>
cudaError_t api_release(Body body) {
  const Lock lock;
  return remember(body());
}

// ---------------------------------------------------------------- runtime.cpp, for streams.cpp

std::size_t dynamic_shared_limit(const void* kernel);
/// Blocks of this shape that fit on a multiprocessor.
unsigned occupancy(std::size_t threads, std::size_t dynamic_shared_bytes);
unsigned multiprocessors();
/// Whether fail_launch() wants this one to fail.
cudaError_t injected_launch_error();
void count_launch();
void count_execution(const void* kernel);  // for the log
void count_synchronisation();
/// Memory freed in stream order is gone for good: no work is left.
void finish_frees();

// ---------------------------------------------------------------- streams.cpp, for runtime.cpp

/// Puts `work` on the stream, or into the graph that it captures.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
bool is_capturing(cudaStream_t stream);
/// Runs queued work until the stream, or every stream, is idle.
cudaError_t wait_for(cudaStream_t stream);
void wait_for_all();
/// cudaErrorStreamCaptureUnsupported if a capture forbids this thread's unsafe calls; that ends the capture.
cudaError_t unsafe_call();
void drop_work();
void drop_captures();

}  // namespace runtime
}  // namespace emulator

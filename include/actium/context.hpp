#pragma once
/// A context: where the work runs (CPU, or one CUDA device and stream), with its scratch memory.
#include <cstddef>
#include <memory>
#include <string>

struct CUstream_st;  // cudaStream_t is a pointer to it; no CUDA header is needed here

#pragma GCC visibility push(default)
namespace actium {

namespace detail {
struct ContextState;
}

/// A cheap handle: copies share one stream and one scratch buffer. Calls on one context from several host
/// threads at a time need the caller's own lock; different contexts are independent.
class Context {
 public:
  using Stream = CUstream_st*;

  /// The CPU reference path. `threads` is the number of OpenMP threads of each call; 0 = OpenMP's own choice;
  /// at most 1024.
  static Context cpu(int threads = 0);
  /// The given stream of the given device (default: the current device's default stream). The stream stays
  /// the caller's and must outlive the context. Throws Error(kNotBuilt) with the reason where there is no
  /// device.
  static Context cuda(Stream stream = nullptr, int device = -1);
  /// cuda() where a device can be used, else cpu(). Never throws for want of a device.
  static Context best();

  Context(const Context&) = default;  // also what a move does: a moved-from context works on
  Context& operator=(const Context&) = default;

  bool is_cuda() const;
  int device() const;        ///< CUDA device index; -1 on the CPU
  Stream stream() const;     ///< nullptr on the CPU and for the default stream
  int threads() const;       ///< as given to cpu(); 0 otherwise
  std::string name() const;  ///< "cpu", or "cuda:0 (NVIDIA H200)"

  /// Waits until everything queued on the stream has run. Returns at once on the CPU.
  void synchronize() const;
  /// Makes `bytes` of scratch ready now, so that later calls (inside a graph capture, say) allocate nothing.
  /// Each operation's documentation says how much it takes; most take none. Scratch only grows, and what was
  /// handed out before stays valid until the last copy of the context goes. Graphs captured from one context
  /// share it: they must not run at the same time.
  void reserve(std::size_t bytes) const;

  detail::ContextState& state() const { return *state_; }  ///< for the library itself

 private:
  explicit Context(std::shared_ptr<detail::ContextState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::ContextState> state_;
};

/// What this build and this machine can do, one fact a field; `actium doctor` prints it.
struct BuildInfo {
  std::string version;        ///< "0.1.0"
  bool cuda_built;            ///< kernels are in this library
  std::string cuda_toolkit;   ///< "13.0", or empty
  std::string architectures;  ///< "90", or empty
  std::string cuda_status;    ///< "ok: 1 device", or why no device can be used
  std::string driver;         ///< the highest CUDA version of the driver, "13.0", or "none"
};
BuildInfo build_info();

}  // namespace actium
#pragma GCC visibility pop

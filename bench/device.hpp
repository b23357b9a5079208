#pragma once
/// What a measurement runs on: a CPU, or a GPU with a stream and a clock of its own.
#include <actium/actium.hpp>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

struct CUevent_st;

namespace actium::bench {

using Work = std::function<void()>;

inline constexpr std::ptrdiff_t kMaxReads = 3, kMaxWrites = 2;  // of launch_stream

class Device {
 public:
  /// `which` is auto, cpu or cuda.
  explicit Device(const std::string& which);
  const Context& context() const { return context_; }
  bool cuda() const { return context_.is_cuda(); }

  /// Seconds that `work` takes. On a GPU it is queued twice and the second pass is timed, by events: the
  /// first one covers the latency of the launch and leaves the caches as a stream of such work does.
  double seconds(const Work& work) const;

  /// The same by the host's clock, for work that waits for its result.
  static double host_seconds(const Work& work);

  /// `work` as one graph launch; the same work on the CPU.
  Work captured(const Work& work) const;

  void copy_bytes(const void* from, void* to, std::size_t bytes) const;

  /// Does nothing, with a kernel on a GPU.
  void launch_empty() const;

  /// How many ways launch_stream() has.
  int stream_variants() const;

  /// Each out[w] = the sum of all in[r] (a little more in a second output), on tensors of equal sizes taken
  /// as f32.
  void launch_stream(int variant, std::span<const ConstTensorView> in, std::span<const TensorView> out) const;

  /// Bytes to touch between two uses of a buffer so that the second finds none of it in cache.
  std::size_t cold_bytes() const;

  /// What a result should say of where it comes from.
  std::vector<std::pair<std::string, std::string>> facts() const;

 private:
  int attribute(int which) const;  // a cudaDeviceAttr
  [[maybe_unused]] CUevent_st *start_ = nullptr, *stop_ = nullptr;
  Context::Stream stream_ = nullptr;  // lives as long as the process
  Context context_;
};

}  // namespace actium::bench

#pragma once
// The edge to the CUDA runtime on the host side: one way to turn its status codes into actium::Error.
#include <actium/error.hpp>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // actium::propagation links to it, nobody else
namespace actium {

#if ACTIUM_CUDA
inline constexpr bool kCudaBuilt = true;
#else
inline constexpr bool kCudaBuilt = false;
#endif

/// What cudaGetLastError() knows belongs to the user. Made before a call of ours; after its failure,
/// take_back() forgets the error that it left there, unless one of the user's was pending already.
class LastErrorGuard {
 public:
  LastErrorGuard();
  void take_back() const;

 private:
  [[maybe_unused]] bool pending_ = false;
};

/// Throws Error for a cudaError_t (passed as int) other than success: the call, CUDA's name and text for the
/// code, and a hint where the text misleads.
void throw_if_cuda_failed(int status, std::string_view call);

/// Makes a CUDA call (or runs a launcher) that returns a cudaError_t, and throws Error in the name of `what`
/// when it fails. An error is reported once: it does not stay behind in CUDA's last-error state.
template <class Call>
void try_cuda(std::string_view what, const Call& call) {
  const LastErrorGuard last_error;
  const int status = static_cast<int>(call());
  if (status == 0) return;
  last_error.take_back();
  throw_if_cuda_failed(status, what);
}

/// Why the current CUDA device cannot be used, or an empty string if it can. Asks the driver once in a
/// process.
const std::string& cuda_unavailable_reason();

/// Why this build's kernels cannot run on a device, or an empty string if they can.
std::string kernels_missing_reason(int device);

/// Sets the CUDA device for a scope and restores the caller's. Does nothing in a build without CUDA.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  [[maybe_unused]] int previous_ = -1;
};

}  // namespace actium
#pragma GCC visibility pop

/// try_cuda() in the name of the call itself.
#define ACTIUM_CUDA_TRY(call) ::actium::try_cuda(#call, [&] { return call; })

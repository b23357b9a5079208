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

/// Throws Error for a cudaError_t (passed as int) other than success: the call, CUDA's name and text for the
/// code, and a hint where the text misleads. Does not touch CUDA's last-error state, which belongs to the
/// user.
void throw_if_cuda_failed(int status, std::string_view call);

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

/// Runs a CUDA runtime call (or a launcher) and throws Error when it fails.
#define ACTIUM_CUDA_TRY(call) ::actium::throw_if_cuda_failed(static_cast<int>(call), #call)

#include "cuda_check.hpp"

#include "kernels/launch.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace actium {

#if ACTIUM_CUDA
namespace {
std::string hint_for(cudaError_t status) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
      return "this build has kernels for sm " ACTIUM_ARCHITECTURES
             "; rebuild with -DCMAKE_CUDA_ARCHITECTURES=native";
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInsufficientDriver: {
      int driver = 0;
      if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return "no NVIDIA driver on this machine";
      return "the driver is older than the CUDA toolkit of this build: update the driver";
    }
    case cudaErrorNoDevice:
      return "no NVIDIA GPU is visible; check CUDA_VISIBLE_DEVICES";
    case cudaErrorMemoryAllocation:
      return "free some of the device's memory";
    case cudaErrorStreamCaptureUnsupported:
      return "this call allocates memory or waits for the stream: make it before the capture";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
      return "an earlier kernel on this device failed; the process must restart";
    default:
      return {};
  }
}
}  // namespace

LastErrorGuard::LastErrorGuard() : pending_(cudaPeekAtLastError() != cudaSuccess) {}
void LastErrorGuard::take_back() const {
  if (!pending_) cudaGetLastError();
}

void throw_if_cuda_failed(int status, std::string_view call) {
  const auto code = static_cast<cudaError_t>(status);
  if (code == cudaSuccess) return;
  throw Error(code == cudaErrorMemoryAllocation ? ErrorKind::kOutOfMemory : ErrorKind::kCuda,
              std::string(call) + ": " + cudaGetErrorName(code) + ": " + cudaGetErrorString(code),
              hint_for(code));
}

const std::string& cuda_unavailable_reason() {
  static const std::string reason = [] {
    const LastErrorGuard last_error;
    int driver = 0, devices = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
      return std::string("no NVIDIA driver on this machine");
    const cudaError_t status = cudaGetDeviceCount(&devices);
    int current = 0;
    if (status == cudaSuccess && devices > 0 && cudaGetDevice(&current) == cudaSuccess)
      return kernels_missing_reason(current);
    last_error.take_back();
    if (status == cudaSuccess || status == cudaErrorNoDevice) return std::string("no NVIDIA GPU is visible");
    return std::string(cudaGetErrorString(status));
  }();
  return reason;
}

std::string kernels_missing_reason(int device) {
  const DeviceGuard guard(device);
  const LastErrorGuard last_error;
  const auto status = static_cast<cudaError_t>(kernels::kernel_image_status());
  if (status == cudaSuccess) return {};
  last_error.take_back();
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return "this build has kernels for sm " ACTIUM_ARCHITECTURES ", the GPU is sm " +
         std::to_string(10 * major + minor) + " (" + cudaGetErrorString(status) +
         "): rebuild with -DCMAKE_CUDA_ARCHITECTURES=native";
}

DeviceGuard::DeviceGuard(int device) {
  int current = 0;
  ACTIUM_CUDA_TRY(cudaGetDevice(&current));
  if (current == device) return;
  ACTIUM_CUDA_TRY(cudaSetDevice(device));
  previous_ = current;
}
DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}
#else
LastErrorGuard::LastErrorGuard() = default;
void LastErrorGuard::take_back() const {}

void throw_if_cuda_failed(int, std::string_view) {}

const std::string& cuda_unavailable_reason() {
  static const std::string reason = "this build of actium has no CUDA kernels";
  return reason;
}

std::string kernels_missing_reason(int) { return cuda_unavailable_reason(); }

DeviceGuard::DeviceGuard(int) {}
DeviceGuard::~DeviceGuard() = default;
#endif

}  // namespace actium

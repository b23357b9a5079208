// Whether this build has machine code (or PTX) that the current device can run.
#include "launch.hpp"
#include "simt.cuh"

namespace actium::kernels {

namespace {
__global__ void probe_kernel() {}
}  // namespace

Status kernel_image_status() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(probe_kernel));
}

}  // namespace actium::kernels

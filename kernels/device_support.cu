// Whether this build has machine code (or PTX) that the current device can run.
#include "launch.hpp"
#include "simt.cuh"
#include "softmax/plan_rows.hpp"

namespace actium::kernels {

namespace {
__global__ void probe_kernel() {}
}  // namespace

Status kernel_image_status() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(probe_kernel));
}

RowDevice row_device() {
  RowDevice device;
  int id = 0, shared = 48 << 10, clusters = 0;
  if (cudaGetDevice(&id) == cudaSuccess) {
    cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id);
    cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, id);
    cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, id);
  }
  device.shared_bytes = shared - kStaticSharedBytes;
  device.clusters = clusters != 0;
  return device;
}

}  // namespace actium::kernels

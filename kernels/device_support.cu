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
  int id, multiprocessors, shared, clusters;
  if (cudaGetDevice(&id) != cudaSuccess ||
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, id) != cudaSuccess ||
      cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, id) != cudaSuccess ||
      cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, id) != cudaSuccess)
    return {};
  return {multiprocessors, shared - kStaticSharedBytes, clusters != 0};
}

}  // namespace actium::kernels

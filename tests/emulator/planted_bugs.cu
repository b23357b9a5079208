// The kernels of the emulator's own tests are CUDA: nvcc takes them as they are.
#include "emulator/planted_bugs.cuh"

namespace planted {
constexpr Bug N = Bug::kNone;
template __global__ void scale_kernel<N>(const float*, float*, int);
template __global__ void warp_kernel<N>(const float*, float*);
template __global__ void block_kernel<N>(const float*, float*);
template __global__ void neighbour_kernel<N>(float*, int*);
template __global__ void cluster_kernel<N>(const float*, float*);
template __global__ void grid_kernel<N>(const float*, float*, float*);
template __global__ void wide_kernel<N>(const unsigned char*, unsigned char*, std::int64_t);
template __global__ void dependent_kernel<N>(const float*, float*);
}  // namespace planted

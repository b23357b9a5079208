#include "streams.hpp"

#include "simt.cuh"

namespace actium::bench {
namespace {

constexpr unsigned kThreads = 256;

template <int Reads, int Writes>
struct Tensors {
  const float4* in[Reads];
  float4* out[Writes];
};

template <int Reads, int Writes, int Packets>
__global__ void __launch_bounds__(kThreads)
    stream_kernel(Tensors<Reads, Writes> tensors, std::int64_t packets) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kThreads * Packets) + threadIdx.x;
  float4 in[Packets][Reads];
#pragma unroll
  for (int k = 0; k < Packets; ++k)
#pragma unroll
    for (int r = 0; r < Reads; ++r)
      if (first + k * kThreads < packets) in[k][r] = tensors.in[r][first + k * kThreads];
#pragma unroll
  for (int k = 0; k < Packets; ++k) {
    float4 sum = in[k][0];
#pragma unroll
    for (int r = 1; r < Reads; ++r) {
      sum.x += in[k][r].x;
      sum.y += in[k][r].y;
      sum.z += in[k][r].z;
      sum.w += in[k][r].w;
    }
#pragma unroll
    for (int w = 0; w < Writes; ++w) {
      if (first + k * kThreads < packets) tensors.out[w][first + k * kThreads] = sum;
      sum.x += 1;
    }
  }
}

__global__ void empty_kernel() {}

template <int Reads, int Writes, int Packets>
int launch_packets(const void* const* in, void* const* out, std::int64_t bytes, CUstream_st* stream) {
  Tensors<Reads, Writes> tensors;
  for (int r = 0; r < Reads; ++r) tensors.in[r] = static_cast<const float4*>(in[r]);
  for (int w = 0; w < Writes; ++w) tensors.out[w] = static_cast<float4*>(out[w]);
  constexpr std::int64_t kTile = kThreads * Packets;
  const std::int64_t packets = bytes / static_cast<std::int64_t>(sizeof(float4));
  return kernels::launch(stream_kernel<Reads, Writes, Packets>,
                         static_cast<unsigned>((packets + kTile - 1) / kTile), kThreads, stream, tensors,
                         packets);
}

template <int Reads, int Writes>
int launch_variant(int variant, const void* const* in, void* const* out, std::int64_t bytes,
                   CUstream_st* stream) {
  if (variant == 0) return launch_packets<Reads, Writes, 1>(in, out, bytes, stream);
  if (variant == 1) return launch_packets<Reads, Writes, 2>(in, out, bytes, stream);
  return launch_packets<Reads, Writes, 4>(in, out, bytes, stream);
}

}  // namespace

int launch_stream(int reads, int writes, int variant, const void* const* in, void* const* out,
                  std::int64_t bytes, CUstream_st* stream) {
  switch (reads * 10 + writes) {
    case 11:
      return launch_variant<1, 1>(variant, in, out, bytes, stream);
    case 12:
      return launch_variant<1, 2>(variant, in, out, bytes, stream);
    case 21:
      return launch_variant<2, 1>(variant, in, out, bytes, stream);
    case 22:
      return launch_variant<2, 2>(variant, in, out, bytes, stream);
    case 31:
      return launch_variant<3, 1>(variant, in, out, bytes, stream);
    case 32:
      return launch_variant<3, 2>(variant, in, out, bytes, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

int launch_empty(CUstream_st* stream) { return kernels::launch(empty_kernel, 1, kThreads, stream); }

}  // namespace actium::bench

#pragma once
/// Kernels that operations are compared with on a GPU.
#include <cstdint>

struct CUstream_st;

namespace actium::bench {

/// How many 16-byte packets a thread moves of each tensor: 1, 2 or 4.
inline constexpr int kStreamVariants = 3;

/// Each out[w] = the sum of all in[r] (a little more in a second output), on f32 tensors of `bytes` (a
/// multiple of 16) at 16-byte boundaries, for up to 3 reads and 2 writes: what memory allows an operation of
/// that many tensors. Returns a CUDA status.
int launch_stream(int reads, int writes, int variant, const void* const* in, void* const* out,
                  std::int64_t bytes, CUstream_st* stream);

/// One block that does nothing.
int launch_empty(CUstream_st* stream);

}  // namespace actium::bench

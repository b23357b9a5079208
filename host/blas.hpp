#pragma once
// The edge to cuBLAS. The CPU's product is reference::matmul.
#include <actium/context.hpp>
#include <actium/dtype.hpp>
#include <cstdint>

namespace actium {

/// c[i] = a[i] b[i] for `batch` row-major matrices on a CUDA context, queued on its stream; batch, m, n, k >
/// 0. f32 accumulates in f32 without TF32, f16 and bf16 in f32 without a reduction in 16 bits, f64 in f64.
/// The first call makes the context's handle and workspace. Throws Error(kBlas).
void cuda_matmul(const Context& ctx, DType dtype, std::int64_t batch, std::int64_t m, std::int64_t n,
                 std::int64_t k,
                 const void* a,  // [batch, m, k]
                 const void* b,  // [batch, k, n]
                 void* c);       // [batch, m, n]

}  // namespace actium

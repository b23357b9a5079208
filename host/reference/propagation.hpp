#pragma once
// The CPU path of actium::propagation. Arguments have been validated.
#include <actium/propagation.hpp>
#include <cstdint>

namespace actium::reference {

/// x[i] = offset + scale u[i], bit for bit the GPU's.
void fill_uniform(const TensorView& x, RandomKey key, double offset, double scale, int threads);
/// x[i] = offset + scale n[i], the GPU's uniform numbers transformed in double (long double for f64).
void fill_normal(const TensorView& x, RandomKey key, double offset, double scale, int threads);

/// c[i] = a[i] b[i] for `batch` row-major matrices by OpenBLAS; f16 and bf16 through f32.
void matmul(DType dtype, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
            const void* a,  // [batch, m, k]
            const void* b,  // [batch, k, n]
            void* c,        // [batch, m, n]
            int threads);

/// x has elements.
SignalStatistics signal_statistics(const ConstTensorView& x, int threads);

}  // namespace actium::reference

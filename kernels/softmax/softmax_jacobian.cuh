#pragma once
// The dense Jacobian: J_ij = p_i (delta_ij - p_j) / T. Bytes moved: one write; p comes from the caches. One
// block a row of it.
#include "launch_rows.hpp"
#include "softmax/division.cuh"
#include "softmax/plan_rows.hpp"

namespace actium::kernels {

inline constexpr int kJacobianThreads = 512;  // at most

template <class T>
__global__ void __launch_bounds__(kJacobianThreads, 1)
    softmax_jacobian_kernel(const T* p,   // [rows, cols]
                            T* jacobian,  // [rows, cols, cols]
                            std::int64_t rows, std::int64_t cols, Division<Compute<T>> temperature) {
  using C = Compute<T>;
  for (std::int64_t row = blockIdx.x; row < rows * cols; row += gridDim.x) {
    const T* distribution = p + row / cols * cols;
    const std::int64_t i = row % cols;
    const C pi = widen(distribution[i]);
    for (std::int64_t j = threadIdx.x; j < cols; j += blockDim.x) {
      const C pj = widen(distribution[j]);
      jacobian[row * cols + j] = narrow<T>(divided(pi * (i == j ? 1 - pj : -pj), temperature));
    }
  }
}

template <class T>
Status launch_softmax_jacobian(double temperature, const T* p, T* jacobian, std::int64_t rows,
                               std::int64_t cols, Stream stream) {
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(kLargestGrid, rows * cols));
  const unsigned threads = std::clamp(1u << ceil_log2(divide_up(cols, 8)), 128u, unsigned{kJacobianThreads});
  return launch(softmax_jacobian_kernel<T>, blocks, threads, stream, p, jacobian, rows, cols,
                division_by<Compute<T>>(temperature));
}

}  // namespace actium::kernels

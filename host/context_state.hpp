#pragma once
// What a Context points to. Internal: shared by the two libraries, never installed.
#include <actium/context.hpp>
#include <actium/tensor.hpp>
#include <cstddef>
#include <memory>
#include <vector>

#pragma GCC visibility push(default)  // actium::propagation links to it, nobody else
namespace actium::detail {

struct ContextState {
  int device = -1;  // CUDA device, or -1 for the CPU
  Context::Stream stream = nullptr;
  int threads = 0;
  std::shared_ptr<void> blas;  // the propagation library's handle, made on its first product

  /// At least `bytes` of device memory that stay valid as long as the context. Allocates only to grow, by at
  /// least doubling, and keeps the smaller blocks, because a captured graph may still name them.
  void* scratch(std::size_t bytes);

 private:
  struct Block {
    std::shared_ptr<void> memory;
    std::size_t bytes = 0;
  };
  std::vector<Block> scratch_;
};

/// Uninitialised memory, 256-byte aligned, on the CPU (device < 0) or a CUDA device; freed with the last
/// copy.
std::shared_ptr<void> allocate(std::size_t bytes, int device);

/// x = 0, contiguous; asynchronous on CUDA. What sums over nothing are.
void fill_zero(const Context& ctx, const TensorView& x);

}  // namespace actium::detail
#pragma GCC visibility pop

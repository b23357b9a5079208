#pragma once
// y = f(x) for each tensor of a list in one launch: the blocks of the tensors' own plans of the elementwise
// engine (elementwise.cuh), one after the other. The list stands in the kernel's parameters; a block finds
// its tensor by bisection.
#include "elementwise/activation.cuh"

namespace actium::kernels {

template <class T>
struct ManyTensors {
  const T* x[kManyTensors];
  T* y[kManyTensors];
  std::int64_t count[kManyTensors];
  unsigned first_block[kManyTensors];  // ascending
  int tensors;
};

template <ActivationKind K, class T>
__global__ void __launch_bounds__(kElementwiseThreads)
    forward_many_kernel(const __grid_constant__ device::Parameters<Compute<T>> parameters,
                        const __grid_constant__ ManyTensors<T> many) {
  int low = 0, high = many.tensors - 1;  // of the last tensor whose first block is not beyond this one
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (many.first_block[middle] <= blockIdx.x)
      low = middle;
    else
      high = middle - 1;
  }
  const unsigned block = blockIdx.x - many.first_block[low];
  const T* const x = many.x[low];
  T* const y = many.y[low];
  // What plan_elementwise gives, without its divisions.
  constexpr int kCount = Packet<T>::kCount, kTile = kElementwiseThreads * kPacketsPerThread<1> * kCount;
  const auto past = [](const void* p) {
    return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(p) % kPacketBytes);
  };
  ElementwisePlan plan;
  plan.rows = 1;
  plan.cols = many.count[low];
  plan.misalignment = past(y) / static_cast<unsigned>(sizeof(T));
  plan.apart_mask = x != y ? 1 : 0;
  const std::int64_t first = static_cast<std::int64_t>(block) * kTile - plan.misalignment;
  if (past(x) == past(y) && first >= 0 && first + kTile <= plan.cols) plan.inside_count = block + 1;
  elementwise_block(Forward<K, T>{parameters}, ElementwiseTensors<T, 1, 1>{{{x, 0}}, {{y, 0}}}, plan, block);
}

template <class T>
Status launch_forward_many(const ActivationArguments& f, const ManyTensor<T>* tensors,
                           std::int64_t tensor_count, Stream stream) {
  void (*kernel)(device::Parameters<Compute<T>>, ManyTensors<T>) = nullptr;
  switch (f.kind) {
#define ACTIUM_ACTIVATION(name, ...)                                    \
  case ActivationKind::name:                                            \
    kernel = forward_many_kernel<kernel_kind(ActivationKind::name), T>; \
    break;
#include <actium/activations.def>
  }
  if (kernel == nullptr) return cudaErrorInvalidValue;
  const device::Parameters<Compute<T>> parameters = parameters_of<Compute<T>>(f);
  ManyTensors<T> many{};
  std::int64_t blocks = 0;
  const auto launch_list = [&] {
    return launch(kernel, static_cast<unsigned>(blocks), kElementwiseThreads, stream, parameters, many);
  };
  for (std::int64_t i = 0; i < tensor_count; ++i) {
    const ManyTensor<T>& tensor = tensors[i];
    const std::uintptr_t addresses[] = {reinterpret_cast<std::uintptr_t>(tensor.x),
                                        reinterpret_cast<std::uintptr_t>(tensor.y)};
    const std::int64_t own =
        plan_elementwise(1, tensor.count, sizeof(T), addresses, 1, 0, kPacketsPerThread<1>).blocks;
    if (many.tensors == kManyTensors || blocks + own > kLargestGrid) {
      if (const Status status = launch_list(); status != cudaSuccess) return status;
      many.tensors = 0;
      blocks = 0;
    }
    many.x[many.tensors] = tensor.x;
    many.y[many.tensors] = tensor.y;
    many.count[many.tensors] = tensor.count;
    many.first_block[many.tensors] = static_cast<unsigned>(blocks);
    ++many.tensors;
    blocks += own;
  }
  return many.tensors == 0 ? Status{cudaSuccess} : launch_list();
}

}  // namespace actium::kernels

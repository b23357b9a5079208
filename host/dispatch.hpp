#pragma once
// The only switches on dtype, and the only branch to the kernels.
#include <actium/context.hpp>
#include <actium/dtype.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cuda_check.hpp"

namespace actium {

/// Calls f with std::type_identity<T>, T the element type of `dtype`: f([]<class T>(std::type_identity<T>)
/// {...}).
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return std::forward<F>(f)(std::type_identity<double>{});
    case DType::kF32:
      return std::forward<F>(f)(std::type_identity<float>{});
    case DType::kF16:
      return std::forward<F>(f)(std::type_identity<f16>{});
    default:  // validation has let no other through
      return std::forward<F>(f)(std::type_identity<bf16>{});
  }
}

/// The same for memory that may hold the 8-bit types too.
template <class F>
decltype(auto) visit_storage(DType dtype, F&& f) {
  if (dtype == DType::kE4M3) return std::forward<F>(f)(std::type_identity<e4m3>{});
  if (dtype == DType::kE5M2) return std::forward<F>(f)(std::type_identity<e5m2>{});
  return visit_dtype(dtype, std::forward<F>(f));
}

/// On a CUDA context runs `launch`, a generic lambda over the element type that returns a launcher's status,
/// and says true; throws Error in the name of `function` when it fails. On the CPU says false. In a build
/// without CUDA the lambda is never instantiated, so that no kernel is referred to.
template <class Launch>
bool run_on_cuda([[maybe_unused]] std::string_view function, [[maybe_unused]] const Context& ctx,
                 [[maybe_unused]] DType dtype, [[maybe_unused]] const Launch& launch) {
#if ACTIUM_CUDA
  if (ctx.is_cuda()) {
    const DeviceGuard guard(ctx.device());
    try_cuda(function, [&] { return visit_dtype(dtype, launch); });
    return true;
  }
#endif
  return false;
}

}  // namespace actium

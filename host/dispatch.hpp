#pragma once
// The only switch on dtype.
#include <actium/dtype.hpp>
#include <type_traits>
#include <utility>

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
    case DType::kBF16:
      break;
  }
  return std::forward<F>(f)(std::type_identity<bf16>{});
}

}  // namespace actium

#include <actium/error.hpp>
#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <cblas.h>

#include "dispatch.hpp"
#include "propagation.hpp"
#include "scalar.hpp"

namespace actium {

std::string blas_name() {
  const std::string_view config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  return std::string(config.substr(0, config.find(' ', config.find(' ') + 1)));
}

namespace reference {

namespace {

/// OpenBLAS's number of threads is a setting of the process: changed for a scope, only where asked for, and
/// by one product at a time.
class BlasThreads {
 public:
  explicit BlasThreads(int threads) : changed_(threads > 0) {
    if (!changed_) return;
    lock_ = std::unique_lock(mutex());
    previous_ = openblas_get_num_threads();
    openblas_set_num_threads(threads);
  }
  ~BlasThreads() {
    if (changed_) openblas_set_num_threads(previous_);
  }
  BlasThreads(const BlasThreads&) = delete;
  BlasThreads& operator=(const BlasThreads&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  std::unique_lock<std::mutex> lock_;
  int previous_ = 0;
  bool changed_;
};

blasint blas_size(const char* name, std::int64_t size) {
  constexpr std::int64_t kLargest = std::numeric_limits<blasint>::max();
  if (size > kLargest)
    throw Error(ErrorKind::kInvalidArgument,
                std::string("matmul: ") + name + ": want at most " + std::to_string(kLargest) + ", got " +
                    std::to_string(size),
                "OpenBLAS takes sizes of 32 bits");
  return static_cast<blasint>(size);
}

/// The factors and the product of one 16-bit product, in f32; nothing for the other dtypes.
struct Widened {
  std::vector<float> a, b, c;
};

void gemm(blasint m, blasint n, blasint k, const float* a, const float* b, float* c, Widened&) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, std::max(k, 1), b, n, 0, c, n);
}
void gemm(blasint m, blasint n, blasint k, const double* a, const double* b, double* c, Widened&) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, std::max(k, 1), b, n, 0, c, n);
}

/// One product of 16-bit matrices: widened, multiplied in f32, rounded once.
template <class T>
void gemm(blasint m, blasint n, blasint k, const T* a, const T* b, T* c, Widened& wide) {
  std::copy_n(a, wide.a.size(), wide.a.begin());
  std::copy_n(b, wide.b.size(), wide.b.begin());
  gemm(m, n, k, wide.a.data(), wide.b.data(), wide.c.data(), wide);
  for (std::size_t i = 0; i < wide.c.size(); ++i) c[i] = static_cast<T>(wide.c[i]);
}

/// Memory for every product of a batch, before the first is written.
Widened widened(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k) {
  if (dtype == DType::kF32 || dtype == DType::kF64) return {};
  const auto matrix = [](std::int64_t x, std::int64_t y) {
    return std::vector<float>(static_cast<std::size_t>(x * y));
  };
  try {
    return {matrix(m, k), matrix(k, n), matrix(m, n)};
  } catch (const std::exception&) {  // bad_alloc, length_error
    throw Error(ErrorKind::kOutOfMemory, "matmul: no host memory for the f32 copies of 16-bit matrices");
  }
}

}  // namespace

void matmul(DType dtype, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, const void* a,
            const void* b, void* c, int threads) {
  const blasint rows = blas_size("rows of a", m), columns = blas_size("columns of b", n),
                inner = blas_size("columns of a", k);
  Widened wide = widened(dtype, m, n, k);
  const BlasThreads scope(threads);
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const T *as = static_cast<const T*>(a), *bs = static_cast<const T*>(b);
    T* cs = static_cast<T*>(c);
    for (std::int64_t i = 0; i < batch; ++i)
      gemm(rows, columns, inner, as + i * m * k, bs + i * k * n, cs + i * m * n, wide);
  });
}

}  // namespace reference
}  // namespace actium

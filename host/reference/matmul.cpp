#include <actium/error.hpp>
#include <algorithm>
#include <limits>
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

/// OpenBLAS's number of threads is a setting of the process: changed for a scope, and only where asked for.
class BlasThreads {
 public:
  explicit BlasThreads(int threads) : previous_(openblas_get_num_threads()), changed_(threads > 0) {
    if (changed_) openblas_set_num_threads(threads);
  }
  ~BlasThreads() {
    if (changed_) openblas_set_num_threads(previous_);
  }
  BlasThreads(const BlasThreads&) = delete;
  BlasThreads& operator=(const BlasThreads&) = delete;

 private:
  int previous_;
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

void gemm(blasint m, blasint n, blasint k, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, std::max(k, 1), b, n, 0, c, n);
}
void gemm(blasint m, blasint n, blasint k, const double* a, const double* b, double* c) {
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, std::max(k, 1), b, n, 0, c, n);
}

/// One product of 16-bit matrices: widened, multiplied in f32, rounded once.
template <class T>
void gemm(blasint m, blasint n, blasint k, const T* a, const T* b, T* c) {
  const auto count = [](blasint x, blasint y) {
    return static_cast<std::size_t>(x) * static_cast<std::size_t>(y);
  };
  const std::vector<float> wide_a(a, a + count(m, k)), wide_b(b, b + count(k, n));
  std::vector<float> wide_c(count(m, n));
  gemm(m, n, k, wide_a.data(), wide_b.data(), wide_c.data());
  for (std::size_t i = 0; i < wide_c.size(); ++i) c[i] = static_cast<T>(wide_c[i]);
}

}  // namespace

void matmul(DType dtype, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, const void* a,
            const void* b, void* c, int threads) {
  const blasint rows = blas_size("rows of a", m), columns = blas_size("columns of b", n),
                inner = blas_size("columns of a", k);
  const BlasThreads scope(threads);
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const T *as = static_cast<const T*>(a), *bs = static_cast<const T*>(b);
    T* cs = static_cast<T*>(c);
    for (std::int64_t i = 0; i < batch; ++i)
      gemm(rows, columns, inner, as + i * m * k, bs + i * k * n, cs + i * m * n);
  });
}

}  // namespace reference
}  // namespace actium

// The emulated cuBLAS: one product, by the textbook, queued on the handle's stream as cuBLAS would.
#include "cublas_v2.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>

#include "runtime.hpp"

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;  // null: cuBLAS's own
  std::size_t workspace_bytes = 0;
};

namespace {

struct Matrices {  // those of a batch, by columns
  bool transposed;
  std::int64_t leading, stride;
  std::int64_t at(std::int64_t batch, std::int64_t row, std::int64_t column) const {
    return batch * stride + (transposed ? column + row * leading : row + column * leading);
  }
};

template <class Sum>
struct Product {
  std::int64_t m, n, k, batch;
  Sum alpha, beta;
  const void *a, *b;
  void* c;
  Matrices a_shape, b_shape, c_shape;
};

double widen(double x) { return x; }
float widen(float x) { return x; }
float widen(__half x) { return __half2float(x); }
float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
void narrow(double x, double& y) { y = x; }
void narrow(float x, float& y) { y = x; }
void narrow(float x, __half& y) { y = __float2half_rn(x); }
void narrow(float x, __nv_bfloat16& y) { y = __float2bfloat16_rn(x); }

template <class T, class Sum>
void multiply(const Product<Sum>& p) {
  const T* const a = static_cast<const T*>(p.a);
  const T* const b = static_cast<const T*>(p.b);
  T* const c = static_cast<T*>(p.c);
  for (std::int64_t batch = 0; batch < p.batch; ++batch)
    for (std::int64_t j = 0; j < p.n; ++j)
      for (std::int64_t i = 0; i < p.m; ++i) {
        Sum sum = 0;
        for (std::int64_t l = 0; l < p.k; ++l)
          sum += widen(a[p.a_shape.at(batch, i, l)]) * widen(b[p.b_shape.at(batch, l, j)]);
        T& out = c[p.c_shape.at(batch, i, j)];
        narrow(p.beta == 0 ? p.alpha * sum : p.alpha * sum + p.beta * widen(out), out);
      }
}

template <class T, class Sum>
cublasStatus_t queue(const cublasContext& handle, Product<Sum> p, const void* alpha, const void* beta) {
  const auto misaligned = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % sizeof(T) != 0;
  };
  if (misaligned(p.a) || misaligned(p.b) || misaligned(p.c)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&p.alpha, alpha, sizeof p.alpha);
  std::memcpy(&p.beta, beta, sizeof p.beta);
  // The workspace is written, so that one that is gone or shared by two streams is found out.
  const auto work = [p, workspace = handle.workspace,
                     touched = std::min<std::size_t>(handle.workspace_bytes, 256)] {
    const auto accessible = [&](const void* matrix, const Matrices& shape, std::int64_t rows,
                                std::int64_t columns) {
      if (rows == 0 || columns == 0) return true;
      const std::int64_t elements = shape.at(p.batch - 1, rows - 1, columns - 1) + 1;
      return emulator::can_access("cublasGemmStridedBatchedEx_64", matrix,
                                  static_cast<std::size_t>(elements) * sizeof(T));
    };
    if (!accessible(p.a, p.a_shape, p.m, p.k) || !accessible(p.b, p.b_shape, p.k, p.n) ||
        !accessible(p.c, p.c_shape, p.m, p.n))
      return;
    if (touched > 0) {
      if (!emulator::can_access("cuBLAS's workspace", workspace, touched)) return;
      std::memset(workspace, 0xff, touched);
    }
    multiply<T>(p);
  };
  cudaLaunchConfig_t one_thread{};
  one_thread.gridDim = one_thread.blockDim = dim3(1);
  one_thread.stream = handle.stream;
  const auto* name = reinterpret_cast<const void*>(&cublasGemmStridedBatchedEx_64);
  const cudaError_t error = emulator::enqueue_launch(one_thread, name, work);
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

struct StatusText {
  cublasStatus_t status;
  const char *name, *text;
};
#define ACTIUM_STATUS(status, text) \
  { status, #status, text }
constexpr StatusText kStatusTexts[] = {
    ACTIUM_STATUS(CUBLAS_STATUS_SUCCESS, "success"),
    ACTIUM_STATUS(CUBLAS_STATUS_NOT_INITIALIZED, "the library was not initialized"),
    ACTIUM_STATUS(CUBLAS_STATUS_ALLOC_FAILED, "the resource allocation failed"),
    ACTIUM_STATUS(CUBLAS_STATUS_INVALID_VALUE,
                  "an unsupported value or parameter was passed to the function"),
    ACTIUM_STATUS(CUBLAS_STATUS_ARCH_MISMATCH,
                  "the function requires an architectural feature absent from the device"),
    ACTIUM_STATUS(CUBLAS_STATUS_EXECUTION_FAILED, "the function failed to launch on the GPU"),
    ACTIUM_STATUS(CUBLAS_STATUS_INTERNAL_ERROR, "an internal operation failed"),
    ACTIUM_STATUS(CUBLAS_STATUS_NOT_SUPPORTED, "the requested functionality is not supported"),
};
#undef ACTIUM_STATUS
StatusText text_of(cublasStatus_t status) {
  for (const StatusText& candidate : kStatusTexts)
    if (candidate.status == status) return candidate;
  return {status, "unrecognized status", "unrecognized status"};
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *handle = nullptr;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  cudaDeviceSynchronize();
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = {.stream = stream};  // and the default workspace again
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  constexpr std::uintptr_t kAlignment = 256;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % kAlignment != 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->workspace = workspace;
  handle->workspace_bytes = workspace == nullptr ? 0 : bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int plain = mode & ~CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  return plain == CUBLAS_DEFAULT_MATH || plain == CUBLAS_PEDANTIC_MATH || plain == CUBLAS_TF32_TENSOR_OP_MATH
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_INVALID_VALUE;
}

const char* cublasGetStatusName(cublasStatus_t status) { return text_of(status).name; }
const char* cublasGetStatusString(cublasStatus_t status) { return text_of(status).text; }

cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, std::int64_t m, std::int64_t n,
    std::int64_t k, const void* alpha, const void* a, cudaDataType_t a_type, std::int64_t lda,
    long long stride_a, const void* b, cudaDataType_t b_type, std::int64_t ldb, long long stride_b,
    const void* beta, void* c, cudaDataType_t c_type, std::int64_t ldc, long long stride_c,
    std::int64_t batch, cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const auto known = [](cublasOperation_t op) { return op >= CUBLAS_OP_N && op <= CUBLAS_OP_C; };
  if (!known(transa) || !known(transb) || algorithm != CUBLAS_GEMM_DEFAULT)
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool a_transposed = transa != CUBLAS_OP_N, b_transposed = transb != CUBLAS_OP_N;
  const auto leads = [](std::int64_t leading, std::int64_t rows) {
    return leading >= std::max<std::int64_t>(1, rows);
  };
  if (m < 0 || n < 0 || k < 0 || batch < 0 || !leads(lda, a_transposed ? k : m) ||
      !leads(ldb, b_transposed ? n : k) || !leads(ldc, m) || alpha == nullptr || beta == nullptr)
    return CUBLAS_STATUS_INVALID_VALUE;
  // Matrices of a and b may be one; those of c may not overlap.
  if (batch > 1 && (stride_a < 0 || stride_b < 0 || (m > 0 && n > 0 && stride_c < ldc * (n - 1) + m)))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (a_type != b_type || a_type != c_type) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
  if (c == nullptr || (k > 0 && (a == nullptr || b == nullptr))) return CUBLAS_STATUS_INVALID_VALUE;
  const auto product = [&]<class Sum>(Sum) {
    return Product<Sum>{m,
                        n,
                        k,
                        batch,
                        0,
                        0,
                        a,
                        b,
                        c,
                        {a_transposed, lda, stride_a},
                        {b_transposed, ldb, stride_b},
                        {false, ldc, stride_c}};
  };
  if (compute == CUBLAS_COMPUTE_64F && a_type == CUDA_R_64F)
    return queue<double>(*handle, product(0.0), alpha, beta);
  if (compute == CUBLAS_COMPUTE_32F && a_type == CUDA_R_32F)
    return queue<float>(*handle, product(0.0f), alpha, beta);
  if (compute == CUBLAS_COMPUTE_32F && a_type == CUDA_R_16F)
    return queue<__half>(*handle, product(0.0f), alpha, beta);
  if (compute == CUBLAS_COMPUTE_32F && a_type == CUDA_R_16BF)
    return queue<__nv_bfloat16>(*handle, product(0.0f), alpha, beta);
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

}  // extern "C"

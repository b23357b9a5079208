#include <actium/error.hpp>
#include <memory>
#include <string>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "blas.hpp"
#include "context_state.hpp"
#include "cuda_check.hpp"

namespace actium {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLAS advises from Hopper on

const char* hint_for(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "cuBLAS could not start: is the driver older than the toolkit, or the device's memory full?";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "free some memory of the device";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "this cuBLAS has no kernel of this type for this device";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "an earlier kernel on this device may have failed";
    default:
      return "";
  }
}

template <class Call>
void try_blas(const char* what, const Call& call) {
  const LastErrorGuard last_error;
  const cublasStatus_t status = call();
  if (status == CUBLAS_STATUS_SUCCESS) return;
  last_error.take_back();
  throw Error(ErrorKind::kBlas,
              std::string(what) + ": " + cublasGetStatusName(status) + ": " + cublasGetStatusString(status),
              hint_for(status));
}
#define ACTIUM_BLAS_TRY(call) try_blas(#call, [&] { return call; })

/// A context's cuBLAS: bound to its device and stream, with a workspace of its own, so that a product
/// allocates nothing and can be captured.
class Blas {
 public:
  explicit Blas(const detail::ContextState& context)
      : device_(context.device), workspace_(detail::allocate(kWorkspaceBytes, context.device)) {
    ACTIUM_BLAS_TRY(cublasCreate(&handle_));
    try {
      // Plain f32 stays f32, and 16-bit products are summed in f32 to the end.
      ACTIUM_BLAS_TRY(cublasSetMathMode(
          handle_,
          static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
    } catch (...) {
      cublasDestroy(handle_);
      throw;
    }
  }
  ~Blas() {
    int previous = -1;
    cudaGetDevice(&previous);
    cudaSetDevice(device_);
    cublasDestroy(handle_);  // waits for the device
    if (previous >= 0) cudaSetDevice(previous);
  }
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  cublasHandle_t on(Context::Stream stream) {
    ACTIUM_BLAS_TRY(cublasSetStream(handle_, stream));  // puts back the default workspace: ours comes after
    ACTIUM_BLAS_TRY(cublasSetWorkspace(handle_, workspace_.get(), kWorkspaceBytes));
    return handle_;
  }

 private:
  int device_;
  std::shared_ptr<void> workspace_;
  cublasHandle_t handle_ = nullptr;
};

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return CUDA_R_64F;
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kF16:
      return CUDA_R_16F;
    default:
      return CUDA_R_16BF;
  }
}

}  // namespace

void cuda_matmul(const Context& ctx, DType dtype, std::int64_t batch, std::int64_t m, std::int64_t n,
                 std::int64_t k, const void* a, const void* b, void* c) {
  const DeviceGuard guard(ctx.device());
  detail::ContextState& state = ctx.state();
  if (state.blas == nullptr) state.blas = std::make_shared<Blas>(state);
  const cublasHandle_t handle = static_cast<Blas*>(state.blas.get())->on(state.stream);

  const bool f64 = dtype == DType::kF64;
  const double one64 = 1, zero64 = 0;
  const float one32 = 1, zero32 = 0;
  const void* one = f64 ? static_cast<const void*>(&one64) : &one32;
  const void* zero = f64 ? static_cast<const void*>(&zero64) : &zero32;
  const cudaDataType_t type = data_type(dtype);
  const cublasComputeType_t compute = f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  // Row-major c = a b is column-major c^T = b^T a^T, and a row-major matrix is its transpose read by columns.
  ACTIUM_BLAS_TRY(cublasGemmStridedBatchedEx_64(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, m, k, one, b, type, n,
                                                k * n, a, type, k, m * k, zero, c, type, n, m * n, batch,
                                                compute, CUBLAS_GEMM_DEFAULT));
}

}  // namespace actium

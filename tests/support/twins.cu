#include "support/twins.hpp"

#include "kernels/simt.cuh"

namespace actium_test {

namespace {

template <class T>
__global__ void twin_values_kernel(const T* a, const T* b, const T* c, TwinValues<T>* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = twin_values(a[i], b[i], c[i]);
}

__global__ void narrow_kernel(const float* x, const double* wide, Narrowed* out, int count) {
  using namespace actium::kernels;
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count)
    out[i] = {narrow<actium::f16>(x[i]).bits,
              narrow<actium::bf16>(x[i]).bits,
              narrow_from_double<actium::f16>(wide[i]).bits,
              narrow_from_double<actium::bf16>(wide[i]).bits,
              static_cast<std::uint8_t>(narrow_to_8<actium::e4m3>(x[i])),
              static_cast<std::uint8_t>(narrow_to_8<actium::e5m2>(x[i]))};
}

template <class T>
__device__ float widened(std::uint16_t bits) {
  T x;
  x.bits = bits;
  return actium::kernels::widen(x);
}
__global__ void widen_kernel(const std::uint16_t* bits, Widened* out, int count) {
  using namespace actium::kernels;
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count)
    out[i] = {widened<actium::f16>(bits[i]), widened<actium::bf16>(bits[i]),
              widen_from_8<actium::e4m3>(bits[i] & 0xffu), widen_from_8<actium::e5m2>(bits[i] & 0xffu)};
}

__global__ void copy_packets_kernel(const unsigned char* in, unsigned char* out, int packets) {
  using namespace actium::kernels;
  const int k = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (k < packets) store_packet(out + 16 * k, load_packet(in + 16 * k, true), true);
}

/// Device memory for a scope, and the first error.
class Memory {
 public:
  ~Memory() {
    for (void* p : pointers_) cudaFree(p);
  }
  template <class T>
  T* copy_of(const T* host, int count) {
    T* p = nullptr;
    check(cudaMalloc(reinterpret_cast<void**>(&p), sizeof(T) * static_cast<std::size_t>(count)));
    if (p != nullptr) pointers_[used_++] = p;
    if (host != nullptr)
      check(cudaMemcpy(p, host, sizeof(T) * static_cast<std::size_t>(count), cudaMemcpyHostToDevice));
    return p;
  }
  void check(int status) {
    if (status_ == cudaSuccess) status_ = status;
  }
  int status() const { return status_; }

 private:
  void* pointers_[4] = {};
  int used_ = 0, status_ = cudaSuccess;
};

unsigned blocks(int count) { return static_cast<unsigned>((count + 255) / 256); }

}  // namespace

template <class T>
int twin_values_on_device(const T* a, const T* b, const T* c, TwinValues<T>* out, int count) {
  Memory memory;
  const T *x = memory.copy_of(a, count), *y = memory.copy_of(b, count), *z = memory.copy_of(c, count);
  TwinValues<T>* results = memory.copy_of(static_cast<const TwinValues<T>*>(nullptr), count);
  memory.check(
      actium::kernels::launch(twin_values_kernel<T>, blocks(count), 256, nullptr, x, y, z, results, count));
  memory.check(
      cudaMemcpy(out, results, sizeof *out * static_cast<std::size_t>(count), cudaMemcpyDeviceToHost));
  return memory.status();
}
template int twin_values_on_device<float>(const float*, const float*, const float*, TwinValues<float>*, int);
template int twin_values_on_device<double>(const double*, const double*, const double*, TwinValues<double>*,
                                           int);

int narrow_on_device(const float* x, const double* wide, Narrowed* out, int count) {
  Memory memory;
  const float* numbers = memory.copy_of(x, count);
  const double* doubles = memory.copy_of(wide, count);
  Narrowed* results = memory.copy_of(static_cast<const Narrowed*>(nullptr), count);
  memory.check(
      actium::kernels::launch(narrow_kernel, blocks(count), 256, nullptr, numbers, doubles, results, count));
  memory.check(
      cudaMemcpy(out, results, sizeof *out * static_cast<std::size_t>(count), cudaMemcpyDeviceToHost));
  return memory.status();
}

int widen_on_device(const std::uint16_t* bits, Widened* out, int count) {
  Memory memory;
  const std::uint16_t* words = memory.copy_of(bits, count);
  Widened* results = memory.copy_of(static_cast<const Widened*>(nullptr), count);
  memory.check(actium::kernels::launch(widen_kernel, blocks(count), 256, nullptr, words, results, count));
  memory.check(
      cudaMemcpy(out, results, sizeof *out * static_cast<std::size_t>(count), cudaMemcpyDeviceToHost));
  return memory.status();
}

int copy_packets_on_device(const unsigned char* in, unsigned char* out, int packets) {
  Memory memory;
  const unsigned char* x = memory.copy_of(in, 16 * packets);
  unsigned char* y = memory.copy_of(static_cast<const unsigned char*>(nullptr), 16 * packets);
  memory.check(actium::kernels::launch(copy_packets_kernel, blocks(packets), 256, nullptr, x, y, packets));
  memory.check(cudaMemcpy(out, y, 16 * static_cast<std::size_t>(packets), cudaMemcpyDeviceToHost));
  return memory.status();
}

}  // namespace actium_test

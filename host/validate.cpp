#include "validate.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cuda_check.hpp"
#include "layout.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif

namespace actium {

namespace {
std::atomic<bool> cuda_in_use = false;

std::string pair(std::string_view a, std::string_view b) { return std::string(a) + " and " + std::string(b); }

/// Number of single-letter insertions, deletions and replacements, and of exchanges of neighbours, between
/// two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), d[i - 1][j] + 1, d[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d.back().back();
}
}  // namespace

std::string dtype_name(DType dtype) {
  return dtype > DType::kE5M2 ? "another value" : std::string(to_string(dtype));
}

void note_cuda_in_use() { cuda_in_use = true; }

std::string stride_list(const ConstTensorView& t) {
  std::string text = "[";
  for (const std::int64_t stride : t.strides())
    text += (text.size() > 1 ? ", " : "") + std::to_string(stride);
  return text + "]";
}

std::string number(double value) {
  char text[40];  // to_chars, because printf depends on the process's locale
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, 6).ptr;
  return {text, end};
}

void Validator::fail(const std::string& what, const std::string& want, const std::string& got,
                     const std::string& hint) const {
  throw Error(ErrorKind::kInvalidArgument,
              std::string(function_) + ": " + what + ": want " + want + ", got " + got, hint);
}

void Validator::memory(std::string_view name, const ConstTensorView& t) const {
  const std::string n(name);
  if (t.dtype() > DType::kBF16) fail(n + ".dtype", "f64, f32, f16 or bf16", "another value");
  contiguous(name, t);
  pointer(name, t);
}

void Validator::storage(std::string_view name, const ConstTensorView& t) const {
  if (!is_8_bit(t.dtype())) return memory(name, t);
  contiguous(name, t);
  pointer(name, t);
}

void Validator::contiguous(std::string_view name, const ConstTensorView& t) const {
  if (t.contiguous()) return;
  fail(std::string(name) + ".strides", "those of contiguous " + t.shape().to_string(), stride_list(t));
}

void Validator::pointer(std::string_view name, const ConstTensorView& t) const {
  const std::string n(name);
  if (t.count() == 0) return;
  if (t.data() == nullptr) fail(n, "memory for " + std::to_string(t.count()) + " elements", "a null pointer");
  if (reinterpret_cast<std::uintptr_t>(t.data()) % size_of(t.dtype()) != 0)
    fail(n, "a pointer aligned to " + std::to_string(size_of(t.dtype())) + " bytes", "a misaligned one");
  // So that no later arithmetic on strides overflows.
  constexpr std::int64_t kFarthest = std::int64_t{1} << 60;
  std::int64_t distance = 0;
  for (int axis = 0; axis < t.shape().rank(); ++axis) {
    const std::int64_t stride = t.strides()[static_cast<std::size_t>(axis)], steps = t.shape()[axis] - 1;
    if (steps == 0) continue;
    if (stride > kFarthest / steps || stride < -kFarthest / steps ||
        (distance += std::abs(stride) * steps) >= kFarthest / 8)
      fail(n + ".strides", "elements less than 2^57 apart",
           "stride " + std::to_string(stride) + " of axis " + std::to_string(axis));
  }
}

void Validator::elements(std::string_view name, const ConstTensorView& t) const {
  pointer(name, t);
  if (t.count() > 0) device(name, t);
}

void Validator::dtype(std::string_view name, const ConstTensorView& t, std::span<const DType> wanted) const {
  std::string list;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (t.dtype() == wanted[i]) return;
    list += (i == 0 ? "" : i + 1 < wanted.size() ? ", " : " or ") + std::string(to_string(wanted[i]));
  }
  fail(std::string(name) + ".dtype", list, dtype_name(t.dtype()));
}

void Validator::shape(std::string_view name, const ConstTensorView& t, const Shape& wanted) const {
  if (t.shape() != wanted) fail(std::string(name) + ".shape", wanted.to_string(), t.shape().to_string());
}

void Validator::tensor(std::string_view name, const ConstTensorView& t) const {
  memory(name, t);
  if (t.count() > 0) device(name, t);
}

void Validator::tensor(std::string_view name, const ConstTensorView& t, DType dtype,
                       const Shape& shape) const {
  if (t.dtype() != dtype) fail(std::string(name) + ".dtype", dtype_name(dtype), dtype_name(t.dtype()));
  if (t.shape() != shape) fail(std::string(name) + ".shape", shape.to_string(), t.shape().to_string());
  tensor(name, t);
}

void Validator::rank(std::string_view name, const ConstTensorView& t, int minimum) const {
  if (t.shape().rank() < minimum)
    fail(std::string(name) + ".rank", "at least " + std::to_string(minimum),
         std::to_string(t.shape().rank()));
}

void Validator::same_or_disjoint(std::string_view out_name, const ConstTensorView& out,
                                 std::string_view in_name, const ConstTensorView& in) const {
  bool same = out.data() == in.data() && out.dtype() == in.dtype() && out.shape() == in.shape();
  for (int axis = 0; same && axis < out.shape().rank(); ++axis) {
    const auto a = static_cast<std::size_t>(axis);  // an axis of one element may have any stride
    same = out.shape()[axis] == 1 || out.strides()[a] == in.strides()[a];
  }
  if (same || disjoint_elements(out, in)) return;
  const auto in_place = [&](const char* property, const std::string& of_out, const std::string& of_in) {
    fail(pair(out_name, in_name),
         std::string(property) + " where they are the same memory, or disjoint memory", pair(of_out, of_in));
  };
  const bool same_start = out.data() == in.data() && out.shape() == in.shape();
  if (same_start && out.dtype() != in.dtype())
    in_place("one dtype", dtype_name(out.dtype()), dtype_name(in.dtype()));
  if (same_start) in_place("the same strides", stride_list(out), stride_list(in));
  fail(pair(out_name, in_name), "the same memory or disjoint memory", "a partial overlap");
}

void Validator::disjoint(std::string_view out_name, const ConstTensorView& out, std::string_view other_name,
                         const ConstTensorView& other) const {
  if (!disjoint_elements(out, other)) fail(pair(out_name, other_name), "disjoint memory", "an overlap");
}

void Validator::positive(std::string_view name, double value) const {
  if (!(std::isfinite(value) && value > 0)) fail(std::string(name), "finite and > 0", number(value));
}

void Validator::finite(std::string_view name, double value) const {
  if (!std::isfinite(value)) fail(std::string(name), "a finite number", number(value));
}

void Validator::device([[maybe_unused]] std::string_view name,
                       [[maybe_unused]] const ConstTensorView& t) const {
#if ACTIUM_CUDA
  if (!cuda_in_use) return;
  cudaPointerAttributes attributes{};
  ACTIUM_CUDA_TRY(cudaPointerGetAttributes(&attributes, t.data()));
  const std::string n(name);
  if (!ctx_.is_cuda()) {
    if (attributes.type == cudaMemoryTypeDevice)
      fail(n, "host memory (the context is the CPU)",
           "memory of CUDA device " + std::to_string(attributes.device));
  } else if (attributes.type == cudaMemoryTypeUnregistered) {
    int pageable = 0;  // some systems let kernels read any host memory
    ACTIUM_CUDA_TRY(cudaDeviceGetAttribute(&pageable, cudaDevAttrPageableMemoryAccess, ctx_.device()));
    if (!pageable)
      fail(n, "device memory (the context is CUDA)", "host memory",
           "actium::Tensor(ctx, host_values) copies it there");
  } else if (attributes.type == cudaMemoryTypeDevice && attributes.device != ctx_.device()) {
    fail(n, "memory of CUDA device " + std::to_string(ctx_.device()),
         "of device " + std::to_string(attributes.device));
  }
#endif
}

void throw_unknown_name(std::string_view what, std::string_view given,
                        std::span<const std::string_view> known, std::span<const std::string_view> aliases) {
  std::string list;
  for (const std::string_view name : known) list += (list.empty() ? "" : ", ") + std::string(name);
  std::string_view nearest;
  std::size_t best = std::max<std::size_t>(2, given.size() / 2) + 1;  // further away than this is no help
  for (const auto names : {known, aliases})
    for (const std::string_view name : names)
      if (const std::size_t distance = edit_distance(given, name); distance < best) {
        best = distance;
        nearest = name;
      }
  const std::string guess = nearest.empty() ? "" : " did you mean '" + std::string(nearest) + "'?";
  throw Error(ErrorKind::kUnknownName,
              "no " + std::string(what) + " '" + std::string(given) + "';" + guess + " there are: " + list);
}

}  // namespace actium

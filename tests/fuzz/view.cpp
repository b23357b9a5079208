// What a view is by itself, and a call in words.
#include "model.hpp"

namespace actium_fuzz {

namespace {
constexpr std::int64_t kSizes[] = {8, 4, 2, 2, 1, 1};
}

int dtype_of(const View& v) {
  if (!v.dlpack) return v.dtype >= 0 && v.dtype < 6 ? v.dtype : -1;
  if (v.lanes != 1) return -1;
  if (v.code == 4) return v.bits == 16 ? 3 : -1;  // kDLBfloat
  if (v.code != 2) return -1;                     // kDLFloat
  return v.bits == 64 ? 0 : v.bits == 32 ? 1 : v.bits == 16 ? 2 : -1;
}

bool constructible(const View& v) {
  if (v.ndim) return false;
  if (v.dlpack && dtype_of(v) < 0) return false;
  if (v.extents.size() > 8) return false;
  // "fewer than 2^60 elements": extents of zero do not excuse the others.
  unsigned __int128 product = 1;
  for (const std::int64_t e : v.extents) {
    if (e < 0) return false;
    if (e > 0) product *= static_cast<std::uint64_t>(e);
    if (product >= std::uint64_t{1} << 60) return false;
  }
  return !v.strides || v.strides->size() == v.extents.size();
}

std::int64_t count_of(const View& v) {
  std::int64_t count = 1;
  for (const std::int64_t e : v.extents) count *= e;
  return count;
}

std::int64_t bytes_of(const View& v) { return count_of(v) * (dtype_of(v) < 0 ? 2 : kSizes[dtype_of(v)]); }

bool is_contiguous(const View& v) {
  if (!v.strides || count_of(v) == 0) return true;
  std::int64_t stride = 1;
  for (std::size_t i = v.extents.size(); i-- > 0;) {
    if (v.extents[i] > 1 && (*v.strides)[i] != stride) return false;
    stride *= v.extents[i];
  }
  return true;
}

std::string describe(const Call& call, const Arenas& arenas) {
  constexpr const char* kNames[] = {"forward",
                                    "backward",
                                    "jvp",
                                    "gated_forward",
                                    "gated_backward",
                                    "softmax",
                                    "log_softmax",
                                    "logsumexp",
                                    "entropy",
                                    "softmax_vjp",
                                    "softmax_jvp",
                                    "jacobian",
                                    "copy",
                                    "matmul",
                                    "signal_statistics",
                                    "fill_uniform",
                                    "fill_normal",
                                    "initialize",
                                    "propagate_layer",
                                    "Tensor",
                                    "backward_of_backward",
                                    "backward_from_output",
                                    "parameter_gradient"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(Op::kCount));
  std::string s = kNames[static_cast<std::size_t>(call.op)];
  s += std::string(call.cuda ? " on CUDA" : " on the CPU") + (call.launch_fails ? ", its launch fails" : "");
  const auto list = [](const Extents& e) {
    std::string t;
    for (const std::int64_t n : e) t += (t.empty() ? "" : ", ") + std::to_string(n);
    return "[" + t + "]";
  };
  for (const View& v : call.views) {
    s += "\n  ";
    if (v.side == Side::kNowhere) s += "nowhere " + std::to_string(v.address);
    if (v.side == Side::kHost)
      s += "host " + std::to_string(static_cast<std::int64_t>(v.address - arenas.host));
    if (v.side == Side::kDevice)
      s += "device " + std::to_string(static_cast<std::int64_t>(v.address - arenas.device));
    s += " dtype " + std::to_string(v.dtype) + " " + list(v.extents) +
         (v.strides ? " strides " + list(*v.strides) : "");
    if (v.dlpack)
      s += " DLTensor " + std::to_string(v.code) + "/" + std::to_string(v.bits) + "/" +
           std::to_string(v.lanes) + (v.ndim ? " ndim " + std::to_string(*v.ndim) : "");
  }
  s += "\n  temperature " + std::to_string(call.temperature) + ", kind " + std::to_string(call.kind) +
       ", parameters " + std::to_string(call.parameters[0]) + " " + std::to_string(call.parameters[1]) + " " +
       std::to_string(call.parameters[2]) + ", numbers " + std::to_string(call.numbers[0]) + " " +
       std::to_string(call.numbers[1]) + ", he " + std::to_string(call.he) + ", uniform " +
       std::to_string(call.uniform) + ", layer " + std::to_string(call.fan_in) + " to " +
       std::to_string(call.fan_out) + " dtype " + std::to_string(call.layer_dtype);
  return s;
}

}  // namespace actium_fuzz

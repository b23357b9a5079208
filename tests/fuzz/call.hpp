#pragma once
// A call of a function that takes tensors, as plain data: what the fuzzer makes, the model judges and the
// target performs. Nothing here uses a type of the library that could refuse a value.
#include <actium/activation_kind.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"

namespace actium_fuzz {

enum class Op : std::uint8_t {
  kForward,
  kBackward,
  kJvp,
  kGatedForward,
  kGatedBackward,
  kSoftmax,
  kLogSoftmax,
  kLogSumExp,
  kEntropy,
  kSoftmaxVjp,
  kSoftmaxJvp,
  kJacobian,
  kCopy,
  kMatmul,
  kStatistics,
  kFillUniform,
  kFillNormal,
  kInitialize,
  kPropagateLayer,
  kTensor,  // the constructor that copies
  kBackwardOfBackward,
  kBackwardFromOutput,
  kParameterGradient,
  kCount
};

struct Signature {
  std::size_t inputs, outputs;
};
constexpr Signature kSignatures[] = {{1, 1}, {2, 1}, {2, 2}, {2, 1}, {3, 2}, {1, 1}, {1, 1}, {1, 1},
                                     {1, 1}, {2, 1}, {2, 1}, {1, 1}, {1, 1}, {2, 1}, {1, 0}, {0, 1},
                                     {0, 1}, {0, 1}, {1, 1}, {1, 0}, {3, 2}, {2, 1}, {2, 1}};
static_assert(std::size(kSignatures) == static_cast<std::size_t>(Op::kCount));

enum class Side : std::uint8_t { kHost, kDevice, kNowhere };  // kNowhere: null, or nobody's memory
using Extents = std::vector<std::int64_t>;

struct View {
  Side side = Side::kHost;
  std::uintptr_t address = 0;
  int dtype = 0;  // DType's number, or none of them
  Extents extents;
  std::optional<Extents> strides;  // none: contiguous
  // How it is handed over: as a DLTensor, which has more ways to be wrong.
  bool dlpack = false;
  int code = 2, bits = 64, lanes = 1;  // then this is the dtype
  std::optional<int> ndim;             // and this, with no extents behind it, the rank
};

struct Call {
  Op op = Op::kForward;
  bool cuda = false;
  bool second_stream = false;
  bool launch_fails = false;
  std::vector<View> views;  // inputs, then outputs
  double temperature = 1;
  std::uint8_t kind = 0;             // of the activation, or of the unit
  double parameters[3] = {1, 1, 1};  // of the activation
  double numbers[2] = {0, 1};        // low and high; mean and deviation; the gain
  bool he = false, uniform = false;
  std::int64_t fan_in = 0, fan_out = 0;  // of a layer
  int layer_dtype = 0;

  std::size_t inputs() const { return kSignatures[static_cast<std::size_t>(op)].inputs; }
  const View& input(std::size_t i) const { return views[i]; }
  const View& output(std::size_t i) const { return views[inputs() + i]; }
};

/// Memory that views point into: slots, far apart, on the host and on the device.
inline constexpr std::size_t kSlotBytes = 4096, kArenaBytes = 6 * kSlotBytes;
struct Arenas {
  std::uintptr_t host, device;
};

/// A good call with up to three mistakes.
Call decode(Input& input, const Arenas& arenas);
std::string describe(const Call& call, const Arenas& arenas);  // for a failure's message

}  // namespace actium_fuzz

#pragma once
/// Throughput measurements of the public interface, on Google Benchmark. A bench program lists operations;
/// the harness supplies random tensors, a cold cache, the clock, a baseline that moves the same bytes and the
/// report. docs/benchmarks.md says how and why.
#include <actium/actium.hpp>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace actium::bench {

using Call = std::function<void(const Context& ctx, std::span<const ConstTensorView> in,
                                std::span<const TensorView> out)>;

/// What an operation is compared with.
enum class Baseline : std::uint8_t {
  streams,  ///< a kernel that reads and writes as many large tensors, the same bytes in all, and adds: copy
            ///< for one and one, triad for two and one
  empty,    ///< an empty kernel. Both are called one at a time and waited for, by the host's clock
  other     ///< another call on the same tensors
};

/// One call to measure, and the tensors it works on.
struct Operation {
  std::string name;           ///< "forward/gelu/bf16/268435456": operation, variant, dtype, bytes a tensor
  DType dtype = DType::kF32;  ///< of all tensors (a call may look at their memory as another)
  std::vector<Shape> inputs = {};   ///< filled with normal random numbers
  std::vector<Shape> outputs = {};  ///< uninitialised
  std::int64_t elements = 0;        ///< what ns_per_element divides by
  std::int64_t bytes = 0;           ///< that must move; 0 = each input read once, each output written once
  double flops = 0;                 ///< floating-point operations of a call; 0 = not reported
  bool capturable = true;           ///< in a CUDA graph; false for a call that waits for its result
  Baseline baseline = Baseline::streams;
  Call other = {};     ///< the call to compare with, where `baseline` says so
  double floor = 0;    ///< the least speed that is right on a GPU, as a part of the baseline's; 0 = none
  double most_us = 0;  ///< the most microseconds that are right on an H200; 0 = any
  Call call = {};
};

/// What a program may measure, from its arguments and its device.
struct Settings {
  bool cuda = false;                       ///< the device is a GPU
  bool quick = false;                      ///< --quick: a smoke run on tiny sizes
  std::vector<std::int64_t> tensor_bytes;  ///< sizes to measure, ascending
  std::int64_t elements(std::int64_t bytes, DType dtype) const {
    return bytes / static_cast<std::int64_t>(size_of(dtype));
  }
};

/// "forward/gelu/bf16/268435456"
std::string operation_name(std::string_view operation, std::string_view variant, DType dtype,
                           std::int64_t bytes);

/// The main() of a bench program: reads the arguments, runs what `list` returns and reports it. Returns the
/// exit status: 0, 1 when a measurement failed, 2 for a bad argument.
int run(int argc, char** argv, std::vector<Operation> (*list)(const Settings& settings));

}  // namespace actium::bench

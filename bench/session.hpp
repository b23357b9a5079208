#pragma once
/// Measures operations: random tensors, a cold cache, samples, and the baseline of the same run.
#include <map>
#include <optional>
#include <tuple>

#include "device.hpp"
#include "harness.hpp"

namespace actium::bench {

struct Measurement {
  double median = 0, p20 = 0, p80 = 0;  // seconds a call
  std::int64_t bytes = 0, samples = 0, calls_per_sample = 0;
  bool graph = false, cold = false;
  double gigabytes_per_second() const { return static_cast<double>(bytes) / median * 1e-9; }
};

/// Memory that tensors are slices of.
class Arena {
 public:
  /// Makes room, uninitialised. True when the memory is new.
  bool reserve(const Context& ctx, std::size_t bytes);
  std::byte* data() { return static_cast<std::byte*>(memory_.view().data()); }

  /// Fills everything with normal random numbers of `dtype`, unless that is what it holds already.
  void fill(const Context& ctx, DType dtype, bool fresh);

 private:
  template <class T>
  void tile(const Context& ctx);

  Tensor memory_;
  std::size_t bytes_ = 0;
  std::optional<DType> filled_;
};

class Session {
 public:
  Session(const std::string& device, double min_time, bool quick)
      : device_(device), min_time_(min_time), quick_(quick) {}
  const Device& device() const { return device_; }

  Measurement measure(const Operation& op);

  /// Seconds of what `op` is compared with, and what that is: "2r1w". `m` is op's measurement.
  std::pair<double, std::string> baseline(const Operation& op, const Measurement& m);

 private:
  double stream_seconds(DType dtype, std::ptrdiff_t reads, std::ptrdiff_t writes, std::int64_t bytes);
  Measurement measure(const std::vector<Work>& calls, bool capturable, bool waits);

  Device device_;
  double min_time_;
  bool quick_;
  Arena inputs_, outputs_;
  std::map<std::tuple<std::ptrdiff_t, std::ptrdiff_t, std::int64_t>, double> stream_seconds_;
  double empty_ = 0;  // seconds of an empty kernel, waited for
};

}  // namespace actium::bench

#pragma once
// A tensor inside a larger allocation: any misalignment, and guard elements on both sides that no call may
// touch.
#include <actium/tensor.hpp>
#include <cstring>
#include <vector>

#include "support/samples.hpp"

namespace actium_test {

template <class T>
class Guarded {
 public:
  /// `values` at `offset` elements past an allocation's 256-byte boundary (plus the guard).
  Guarded(const actium::Context& ctx, const std::vector<T>& values, std::size_t offset = 0)
      : ctx_(ctx), before_(kGuard + offset), count_(values.size()) {
    original_.assign(before_ + count_ + kGuard, from_bits<T>(0x4d4d4d4d4d4d4d4d));
    std::copy(values.begin(), values.end(), original_.begin() + static_cast<std::ptrdiff_t>(before_));
    tensor_ = actium::Tensor(ctx, original_);
  }
  /// Uninitialised as far as the call is concerned: filled with a pattern.
  Guarded(const actium::Context& ctx, std::size_t count, std::size_t offset = 0)
      : Guarded(ctx, std::vector<T>(count, from_bits<T>(0x4d4d4d4d4d4d4d4d)), offset) {}

  actium::TensorView view() { return view(actium::Shape{static_cast<std::int64_t>(count_)}); }
  actium::TensorView view(const actium::Shape& shape) {
    return {tensor_.view().template data_as<T>() + before_, shape};
  }
  std::vector<T> read() const {
    const std::vector<T> all = read_all();
    return {all.begin() + static_cast<std::ptrdiff_t>(before_),
            all.begin() + static_cast<std::ptrdiff_t>(before_ + count_)};
  }
  bool guards_intact() const {
    const std::vector<T> all = read_all();
    return std::memcmp(all.data(), original_.data(), before_ * sizeof(T)) == 0 &&
           std::memcmp(all.data() + before_ + count_, original_.data() + before_ + count_,
                       kGuard * sizeof(T)) == 0;
  }
  /// Every bit as it was made.
  bool untouched() const {
    const std::vector<T> all = read_all();
    return std::memcmp(all.data(), original_.data(), all.size() * sizeof(T)) == 0;
  }

 private:
  static constexpr std::size_t kGuard = 64 / sizeof(T);
  std::vector<T> read_all() const {
    std::vector<T> all(original_.size());
    actium::copy(ctx_, tensor_.view(), all);
    return all;
  }
  actium::Context ctx_;
  std::size_t before_, count_;
  std::vector<T> original_;
  actium::Tensor tensor_;
};

/// x and y have the same bits (NaN equals NaN of the same bits only).
template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0);
}

}  // namespace actium_test

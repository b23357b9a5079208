#pragma once
// Room for one tensor on the device: what lies next to it may be neither written nor, under AddressSanitizer,
// read.
#include <cuda_runtime_api.h>

#include "kernels_case.hpp"

extern "C" {  // null without AddressSanitizer
__attribute__((weak)) void __asan_poison_memory_region(const volatile void*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, std::size_t);
}

namespace actium_fuzz {

inline constexpr std::size_t kGuard = 128;
inline constexpr unsigned char kGuardByte = 0x4d;

/// Room for one tensor on the device.
class Slot {
 public:
  Slot() { cudaMalloc(reinterpret_cast<void**>(&memory_), kBytes); }

  void* place(std::size_t offset, std::size_t bytes) {
    require(2 * kGuard + offset + bytes + kGuard <= kBytes, "a case too large for its slot");
    begin_ = memory_ + 2 * kGuard + offset;
    end_ = begin_ + bytes;
    std::memset(begin_ - kGuard, kGuardByte, kGuard);
    std::memset(end_, kGuardByte, kGuard);
    if (__asan_poison_memory_region != nullptr) {
      __asan_poison_memory_region(memory_, static_cast<std::size_t>(begin_ - memory_));
      __asan_poison_memory_region(end_, static_cast<std::size_t>(memory_ + kBytes - end_));
    }
    return begin_;
  }
  unsigned char* data() const { return begin_; }
  void expect_guards() const {
    if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(memory_, kBytes);
    unsigned char want[kGuard];
    std::memset(want, kGuardByte, kGuard);
    require(std::memcmp(begin_ - kGuard, want, kGuard) == 0, "written before a tensor");
    require(std::memcmp(end_, want, kGuard) == 0, "written behind a tensor");
  }

 private:
  static constexpr std::size_t kBytes = 4 * kGuard + 256 + kMostBytes;
  unsigned char *memory_ = nullptr, *begin_ = nullptr, *end_ = nullptr;
};

}  // namespace actium_fuzz

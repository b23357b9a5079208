#pragma once
// A stack of its own to run on, for each CUDA thread. One OS thread runs one fiber at a time.
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "sanitizers.hpp"

namespace emulator {

class Fiber {
 public:
  /// The OS thread itself, as something to switch back to.
  Fiber();
  /// Runs `entry`, which never returns, when it is first switched to.
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves `from`, which must be running, until something switches back to it.
  static void switch_between(Fiber& from, Fiber& to);
  /// Declares that what this fiber did, which is not the running one, comes before acquire(tag).
  void release_to(void* tag) const {
    const Identity running = Identity::current();
    identity_.take_over();
    release(tag);
    running.take_over();
  }
  /// Forgets where it stopped: the next switch starts `entry` again.
  void restart();
  /// The first thing `entry` does.
  static void entered();

 private:
  void (*entry_)() = nullptr;
  char* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
  Identity identity_;
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

}  // namespace emulator

#pragma once
// What the engine tells the sanitizers and valgrind, each where it is there: which fiber runs, which
// orderings CUDA promises, and which memory is fresh. The engine itself is compiled without
// -fsanitize=thread, so that ThreadSanitizer sees exactly the orderings declared here.
#include <cstddef>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_STACK_REGISTER(begin, end) 0
#define VALGRIND_MAKE_MEM_UNDEFINED(p, n) 0
#define VALGRIND_CHECK_MEM_IS_DEFINED(p, n) 0
#define RUNNING_ON_VALGRIND 0
#endif

extern "C" {  // null where the sanitizer's runtime is not linked in
#define ACTIUM_WEAK __attribute__((weak))
ACTIUM_WEAK void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
ACTIUM_WEAK void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
ACTIUM_WEAK void __asan_poison_memory_region(const volatile void*, std::size_t);
ACTIUM_WEAK void __asan_unpoison_memory_region(const volatile void*, std::size_t);
ACTIUM_WEAK void __msan_poison(const volatile void*, std::size_t);
ACTIUM_WEAK void* __tsan_get_current_fiber(void);
ACTIUM_WEAK void* __tsan_create_fiber(unsigned);
ACTIUM_WEAK void __tsan_destroy_fiber(void*);
ACTIUM_WEAK void __tsan_switch_to_fiber(void*, unsigned);
ACTIUM_WEAK void __tsan_acquire(void*);
ACTIUM_WEAK void __tsan_release(void*);
ACTIUM_WEAK void AnnotateIgnoreReadsBegin(const char*, int);
ACTIUM_WEAK void AnnotateIgnoreReadsEnd(const char*, int);
ACTIUM_WEAK void AnnotateIgnoreWritesBegin(const char*, int);
ACTIUM_WEAK void AnnotateIgnoreWritesEnd(const char*, int);
#undef ACTIUM_WEAK
}

namespace emulator {

/// What came before release(tag) happened before what follows acquire(tag).
inline void release(void* tag) {
  if (__tsan_release != nullptr) __tsan_release(tag);
}
inline void acquire(void* tag) {
  if (__tsan_acquire != nullptr) __tsan_acquire(tag);
}

/// An identity for ThreadSanitizer: work of two identities is unordered unless release and acquire order it.
class Identity {
 public:
  static bool distinguishes() { return __tsan_create_fiber != nullptr; }
  static Identity current() {
    return Identity(__tsan_get_current_fiber != nullptr ? __tsan_get_current_fiber() : nullptr);
  }
  static Identity fresh() {
    return Identity(__tsan_create_fiber != nullptr ? __tsan_create_fiber(0) : nullptr);
  }
  void destroy() {
    if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
    fiber_ = nullptr;
  }
  /// Not while it is the running one.
  void renew() {
    destroy();
    *this = fresh();
  }
  void take_over() const {
    constexpr unsigned kNoOrdering = 1;
    if (fiber_ != nullptr) __tsan_switch_to_fiber(fiber_, kNoOrdering);
  }

 private:
  explicit Identity(void* fiber) : fiber_(fiber) {}
  void* fiber_;
};

/// In this scope malloc and free make memory fresh for ThreadSanitizer instead of writing to it.
struct Quiet {
  Quiet() {
    if (AnnotateIgnoreReadsBegin == nullptr) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Quiet() {
    if (AnnotateIgnoreReadsBegin == nullptr) return;
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

/// Fresh memory: filled with `byte`, uninitialised for MemorySanitizer and valgrind. (No memset: its
/// interceptor would count as a write.)
inline void make_fresh(void* memory, std::size_t bytes, unsigned char byte) {
  auto* p = static_cast<volatile unsigned char*>(memory);
  for (std::size_t i = 0; i < bytes; ++i) p[i] = byte;
  if (__msan_poison != nullptr) __msan_poison(memory, bytes);
  static_cast<void>(VALGRIND_MAKE_MEM_UNDEFINED(memory, bytes));
}

inline bool under_valgrind() { return RUNNING_ON_VALGRIND != 0; }
/// As far as valgrind knows.
inline bool is_initialised(const void* memory, std::size_t bytes) {
  static_cast<void>(memory);
  static_cast<void>(bytes);
  return VALGRIND_CHECK_MEM_IS_DEFINED(memory, bytes) == 0;
}

/// AddressSanitizer reports any access.
inline void forbid(void* memory, std::size_t bytes) {
  if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(memory, bytes);
}
inline void allow(void* memory, std::size_t bytes) {
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(memory, bytes);
}

}  // namespace emulator

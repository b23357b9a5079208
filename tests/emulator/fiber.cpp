#include "fiber.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <new>

namespace emulator {

namespace {

constexpr std::size_t kStackBytes = 256 << 10, kPage = 4096;

#if defined(__x86_64__)
/// Saves the registers that a call preserves and the stack pointer, and takes up another stack.
extern "C" void actium_emulator_switch(void** save, void* load);
asm(R"(
.text
.globl actium_emulator_switch
.hidden actium_emulator_switch
.type actium_emulator_switch, @function
actium_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size actium_emulator_switch, . - actium_emulator_switch
)");
constexpr int kSavedRegisters = 6;
#endif

}  // namespace

Fiber::Fiber() : identity_(Identity::current()) {
  struct Stack {
    void* begin = nullptr;
    std::size_t bytes = 0;
  };
  thread_local const Stack stack = [] {
    Stack mine;
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      pthread_attr_getstack(&attributes, &mine.begin, &mine.bytes);
      pthread_attr_destroy(&attributes);
    }
    return mine;
  }();
  stack_ = static_cast<char*>(stack.begin);
  stack_bytes_ = stack.bytes;
}

Fiber::Fiber(void (*entry)()) : entry_(entry), stack_bytes_(kStackBytes), identity_(Identity::fresh()) {
  void* memory = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kPage, PROT_NONE);  // an overflow of the stack faults
  stack_ = static_cast<char*>(memory) + kPage;
  static_cast<void>(VALGRIND_STACK_REGISTER(stack_, stack_ + kStackBytes));
  restart();
}

Fiber::~Fiber() {
  if (entry_ == nullptr) return;
  identity_.destroy();
  munmap(stack_ - kPage, kPage + kStackBytes);
}

void Fiber::restart() {
  // Fresh pages, so that nothing the last thread did here is remembered.
  mmap(stack_, stack_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
       -1, 0);
  allow(stack_, stack_bytes_);
  identity_.renew();
#if defined(__x86_64__)
  auto** top = reinterpret_cast<void**>(stack_ + stack_bytes_);
  *--top = nullptr;  // keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(entry_);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  stack_pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry_, 0);
#endif
}

void Fiber::switch_between(Fiber& from, Fiber& to) {
  if (__sanitizer_start_switch_fiber != nullptr)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_, to.stack_bytes_);
  to.identity_.take_over();
#if defined(__x86_64__)
  actium_emulator_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
  if (__sanitizer_finish_switch_fiber != nullptr)
    __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
}

void Fiber::entered() {
  if (__sanitizer_finish_switch_fiber != nullptr) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

}  // namespace emulator

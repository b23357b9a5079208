// The emulated device: its memory, errors, properties and knobs. Compiled without -fsanitize=thread, as is
// streams.cpp: what orders what is declared there.
#include "runtime.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"

namespace emulator {

namespace {

using runtime::api;
using runtime::api_release;
using runtime::Lock;

constexpr std::size_t kSparseBytes = std::size_t{1} << 30;  // from here on address space only

struct Allocation {
  std::uintptr_t hidden;  // ~address, so that LeakSanitizer does not take this for a user's pointer
  std::size_t bytes;
  bool host = false;         // cudaMallocHost
  bool reachable = true;     // of cudaMallocAsync: its place in the stream was reached
  bool free_queued = false;  // by cudaFreeAsync

  unsigned char* address() const { return reinterpret_cast<unsigned char*>(~hidden); }
  bool contains(const void* p, std::size_t n) const {
    const auto offset = reinterpret_cast<std::uintptr_t>(p) - ~hidden;
    return offset < bytes && n <= bytes - offset;
  }
};

struct Function {
  const void* kernel;
  std::size_t max_dynamic_shared = kDefaultSharedBytes;
  std::uint64_t launches = 0;
};

struct State {
  std::vector<Allocation> allocations;  // by falling address
  std::vector<Allocation> quarantine;   // freed in stream order, not yet given back
  std::size_t capacity = std::size_t{141} << 30;
  std::vector<Function> functions;
  std::vector<std::string> violations;
  Counters counters;
  std::int64_t allocation_to_fail = -1, launch_to_fail = -1;
  cudaError_t launch_error = cudaSuccess;
  cudaError_t sticky = cudaSuccess;
  std::uint64_t resets = 0;
  std::map<cudaDeviceAttr, int> attributes;  // set by tests
};

void write_log();

/// Never destroyed: users' destructors may run after ours would.
State& state() {
  static State& only = *[] {
    if (std::getenv("ACTIUM_EMULATOR_LOG") != nullptr) std::atexit(write_log);
    return new State;
  }();
  return only;
}

void write_log() {
  const Lock lock;
  std::FILE* file = std::fopen(std::getenv("ACTIUM_EMULATOR_LOG"), "w");
  if (file == nullptr) return;
  for (const Function& function : state().functions)
    if (function.launches > 0)
      std::fprintf(file, "%llu\t%s\n", static_cast<unsigned long long>(function.launches),
                   name_of(function.kernel).c_str());
  std::fclose(file);
}

/// What cudaGetLastError knows, for each host thread.
struct LastError {
  cudaError_t error = cudaSuccess;
  std::uint64_t resets = 0;
};
cudaError_t& last_error() {
  thread_local LastError last;
  if (last.resets != state().resets) last = {cudaSuccess, state().resets};
  return last.error;
}

[[noreturn]] void bad_environment(const char* variable, const char* want, const char* got) {
  std::fprintf(stderr, "%s: want %s, got \"%s\"\n", variable, want, got);
  std::exit(2);
}

Options from_environment() {
  Options options;
  char* end = nullptr;
  if (const char* text = std::getenv("ACTIUM_EMULATOR_SCHEDULE")) {
    const std::string value = text, random = "random:";
    if (value == "reverse") {
      options.schedule = Schedule::kReverse;
    } else if (value.starts_with(random) && value.size() > random.size() && value[random.size()] != '-') {
      options.schedule = Schedule::kRandom;
      options.seed = std::strtoull(text + random.size(), &end, 0);
    }
    if (value != "forward" && value != "reverse" && (end == nullptr || *end != 0))
      bad_environment("ACTIUM_EMULATOR_SCHEDULE", "forward, reverse or random:SEED", text);
  }
  if (const char* text = std::getenv("ACTIUM_EMULATOR_POISON")) {
    const unsigned long byte = std::strtoul(text, &end, 0);
    if (end == text || *end != 0 || byte > 0xff)
      bad_environment("ACTIUM_EMULATOR_POISON", "a byte: 0 to 0xff", text);
    options.poison = static_cast<unsigned char>(byte);
  }
  return options;
}

Function& function_of(const void* kernel) {
  auto& all = state().functions;
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Function& f) { return f.kernel == kernel; });
  return found != all.end() ? *found : all.emplace_back(Function{kernel});
}

}  // namespace

// ---------------------------------------------------------------- the lock and errors

namespace runtime {

namespace {
std::atomic_flag busy = ATOMIC_FLAG_INIT;
std::atomic<const void*> owner = nullptr;
int depth = 0;
}  // namespace

const void* this_thread() {
  thread_local char mine;
  return &mine;
}

Lock::Lock() {
  if (owner.load(std::memory_order_relaxed) != this_thread()) {
    while (busy.test_and_set(std::memory_order_acquire)) sched_yield();
    owner.store(this_thread(), std::memory_order_relaxed);
  }
  ++depth;
}
Lock::~Lock() {
  if (--depth > 0) return;
  owner.store(nullptr, std::memory_order_relaxed);
  busy.clear(std::memory_order_release);
}

cudaError_t sticky_error() { return state().sticky; }

cudaError_t remember(cudaError_t error) {
  if (state().sticky != cudaSuccess) error = state().sticky;
  if (error != cudaSuccess) last_error() = error;
  return error;
}

std::size_t dynamic_shared_limit(const void* kernel) { return function_of(kernel).max_dynamic_shared; }

unsigned multiprocessors() {
  const auto other = state().attributes.find(cudaDevAttrMultiProcessorCount);
  return other == state().attributes.end() ? kMultiprocessors : static_cast<unsigned>(other->second);
}

unsigned occupancy(std::size_t threads, std::size_t dynamic_shared_bytes) {
  constexpr std::size_t kBlocks = 32, kThreads = 2048, kWarp = 32, kReserved = 1 << 10,
                        kSharedBytes = kMaxSharedBytes + kReserved;
  if (threads == 0 || threads > kMaxThreads || dynamic_shared_bytes > kMaxSharedBytes) return 0;
  return static_cast<unsigned>(std::min({kBlocks, kThreads / ((threads + kWarp - 1) / kWarp * kWarp),
                                         kSharedBytes / (dynamic_shared_bytes + kReserved)}));
}

cudaError_t injected_launch_error() {
  return state().launch_to_fail >= 0 && state().launch_to_fail-- == 0 ? state().launch_error : cudaSuccess;
}
void count_launch() { ++state().counters.launches; }
void count_execution(const void* kernel) { ++function_of(kernel).launches; }
void count_synchronisation() { ++state().counters.synchronisations; }

}  // namespace runtime

// ---------------------------------------------------------------- knobs

Options& options() {
  static Options options = from_environment();
  return options;
}

std::string replay() {
  const Options& o = options();
  char poison[8];
  std::snprintf(poison, sizeof poison, "0x%02x", static_cast<unsigned>(o.poison));
  return std::string("ACTIUM_EMULATOR_SCHEDULE=") +
         (o.schedule == Schedule::kForward   ? "forward"
          : o.schedule == Schedule::kReverse ? "reverse"
                                             : "random:" + std::to_string(o.seed)) +
         " ACTIUM_EMULATOR_POISON=" + poison;
}

void record_violation(const std::string& text) {
  const Lock lock;
  state().violations.push_back(text);
}
std::vector<std::string> take_violations() {
  const Lock lock;
  return std::exchange(state().violations, {});
}

Counters counters() {
  const Lock lock;
  return state().counters;
}
void fail_allocation(std::int64_t k) {
  const Lock lock;
  state().allocation_to_fail = k;
}
void fail_launch(std::int64_t k, cudaError_t error) {
  const Lock lock;
  state().launch_to_fail = k;
  state().launch_error = error;
}
void set_memory(std::size_t bytes) {
  const Lock lock;
  state().capacity = bytes;
}
void set_attribute(cudaDeviceAttr attribute, int value) {
  const Lock lock;
  if (value < 0)
    state().attributes.erase(attribute);
  else
    state().attributes[attribute] = value;
}
void break_device(cudaError_t error) {
  const Lock lock;
  if (state().sticky == cudaSuccess) state().sticky = error;
  runtime::drop_work();
}
void reset_device() {
  const Lock lock;
  runtime::drop_captures();
  runtime::drop_work();
  runtime::finish_frees();
  state().sticky = cudaSuccess;
  ++state().resets;
}

// ---------------------------------------------------------------- memory

namespace {

/// The place of the allocation that holds `p`, if one does.
std::vector<Allocation>::iterator place_of(const void* p) {
  auto& all = state().allocations;
  return std::lower_bound(all.begin(), all.end(), ~reinterpret_cast<std::uintptr_t>(p),
                          [](const Allocation& a, std::uintptr_t hidden) { return a.hidden < hidden; });
}
Allocation* find(const void* p) {
  const auto place = place_of(p);
  return place != state().allocations.end() && place->contains(p, 1) ? &*place : nullptr;
}

/// Null if there is no memory.
void* allocate(Allocation allocation) {
  void* memory = nullptr;
  if (allocation.bytes >= kSparseBytes) {
    memory = mmap(nullptr, allocation.bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
  } else {
    constexpr std::size_t kAlignment = 256;
    if (posix_memalign(&memory, kAlignment, allocation.bytes) != 0) return nullptr;
    make_fresh(memory, allocation.bytes, options().poison);
    if (!allocation.reachable) forbid(memory, allocation.bytes);
  }
  allocation.hidden = ~reinterpret_cast<std::uintptr_t>(memory);
  state().allocations.insert(place_of(memory), allocation);
  return memory;
}
void give_back(const Allocation& allocation) {
  if (allocation.bytes >= kSparseBytes) {
    munmap(allocation.address(), allocation.bytes);
  } else {
    allow(allocation.address(), allocation.bytes);
    std::free(allocation.address());
  }
}
/// The allocation leaves the table.
Allocation remove(const void* p) {
  const auto place = place_of(p);
  const Allocation allocation = *place;
  state().allocations.erase(place);
  if (!allocation.host) {
    --state().counters.live_allocations;
    state().counters.live_bytes -= allocation.bytes;
  }
  return allocation;
}

cudaError_t allocate_device(void** memory, std::size_t bytes, bool reachable) {
  Counters& counters = state().counters;
  ++counters.allocation_calls;
  if (memory == nullptr) return cudaErrorInvalidValue;
  *memory = nullptr;
  const bool fails = state().allocation_to_fail >= 0 && state().allocation_to_fail-- == 0;
  if (fails || counters.live_bytes > state().capacity || bytes > state().capacity - counters.live_bytes)
    return cudaErrorMemoryAllocation;
  if (bytes == 0) return cudaSuccess;
  *memory = allocate({.hidden = 0, .bytes = bytes, .reachable = reachable});
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  ++counters.allocations;
  ++counters.live_allocations;
  counters.live_bytes += bytes;
  return cudaSuccess;
}

/// The bytes change hands in stream order: a write of the stream that runs now.
void refill(const Allocation& allocation) {
  if (allocation.bytes >= kSparseBytes) return;
  std::memset(allocation.address(), options().poison, allocation.bytes);
  make_fresh(allocation.address(), allocation.bytes, options().poison);
}

/// What is wrong with the range as device memory; empty: nothing.
std::string trouble_with(const void* p, std::size_t bytes, bool now) {
  const Allocation* a = find(p);
  char pointer[32];
  std::snprintf(pointer, sizeof pointer, "%p", p);
  std::string text = std::to_string(bytes) + " bytes at " + pointer;
  if (a == nullptr || a->host) return text + ", which is not device memory";
  if (!a->contains(p, bytes))
    return text + ", but its allocation ends after " +
           std::to_string(a->bytes -
                          static_cast<std::size_t>(static_cast<const unsigned char*>(p) - a->address()));
  if (now ? !a->reachable : a->free_queued)
    return text + (now ? ", whose cudaMallocAsync has not run" : ", which cudaFreeAsync was called for");
  return {};
}

/// Both ranges of a copy, as its call says what they are. Null `source`: a memset.
cudaError_t check_copy(const char* call, const void* destination, const void* source, std::size_t bytes,
                       cudaMemcpyKind kind) {
  const auto check = [&](const char* name, const void* p, bool device) {
    const Allocation* a = find(p);
    std::string trouble;
    if (p == nullptr)
      trouble = "null";
    else if (device)
      trouble = trouble_with(p, bytes, false);
    else if (a != nullptr && !a->host)
      trouble = "device memory, but its kind says host";
    if (!trouble.empty()) record_violation(std::string(call) + ": the " + name + " is " + trouble);
    return trouble.empty();
  };
  const auto on_device = [&](const void* p, cudaMemcpyKind a) {
    const Allocation* allocation = find(p);
    return kind == a || kind == cudaMemcpyDeviceToDevice ||
           (kind == cudaMemcpyDefault && allocation != nullptr && !allocation->host);
  };
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (!check("destination", destination, on_device(destination, cudaMemcpyHostToDevice)) ||
      (source != nullptr && !check("source", source, on_device(source, cudaMemcpyDeviceToHost))))
    return cudaErrorInvalidValue;
  return cudaSuccess;
}

/// A copy, or with a null `source` a memset, for the stream to do later.
cudaError_t copy(const char* call, void* destination, const void* source, int value, std::size_t bytes,
                 cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t error = check_copy(call, destination, source, bytes, kind); error != cudaSuccess)
    return error;
  const bool checks_destination = find(destination) != nullptr && !find(destination)->host,
             checks_source = source != nullptr && find(source) != nullptr && !find(source)->host;
  const cudaError_t error = runtime::enqueue(stream, [=] {
    if ((checks_destination && !can_access(call, destination, bytes)) ||
        (checks_source && !can_access(call, source, bytes)))
      return;
    if (source != nullptr)
      std::memcpy(destination, source, bytes);
    else
      std::memset(destination, value, bytes);
  });
  if (error == cudaSuccess) ++state().counters.copies;
  return error;
}

/// cudaMemcpy and cudaMemset: on the legacy stream.
cudaError_t blocking_copy(const char* call, void* destination, const void* source, int value,
                          std::size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = runtime::unsafe_call(); error != cudaSuccess) return error;
  if (const cudaError_t error = copy(call, destination, source, value, bytes, kind, nullptr);
      error != cudaSuccess)
    return error;
  const auto is_device = [](const void* p) {
    const Allocation* a = find(p);
    return a != nullptr && !a->host;
  };
  // As on a device, nobody waits for what stays on it.
  if (is_device(destination) && (source == nullptr || is_device(source))) return cudaSuccess;
  return runtime::wait_for(nullptr);
}

cudaError_t allocate_host(void** memory, std::size_t bytes) {
  if (memory == nullptr) return cudaErrorInvalidValue;
  if (const cudaError_t error = runtime::unsafe_call(); error != cudaSuccess) return error;
  *memory = bytes == 0 ? nullptr : allocate({.hidden = 0, .bytes = bytes, .host = true});
  return bytes == 0 || *memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t free_now(void* memory, bool host) {
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t error = runtime::unsafe_call(); error != cudaSuccess) return error;
  runtime::wait_for_all();
  const Allocation* allocation = find(memory);
  if (allocation == nullptr || allocation->address() != memory || allocation->host != host)
    return cudaErrorInvalidValue;
  give_back(remove(memory));
  return cudaSuccess;
}

}  // namespace

namespace runtime {
void finish_frees() {
  auto& all = state().allocations;
  for (std::size_t i = all.size(); i-- > 0;)  // those whose work was dropped
    if (all[i].free_queued) state().quarantine.push_back(remove(all[i].address()));
  for (const Allocation& allocation : state().quarantine) give_back(allocation);
  state().quarantine.clear();
}
}  // namespace runtime

bool can_access(const char* who, const void* memory, std::size_t bytes) {
  const Lock lock;
  const std::string trouble = trouble_with(memory, bytes, true);
  if (trouble.empty()) return true;
  record_violation(std::string(who) + ": accesses " + trouble);
  break_device(cudaErrorIllegalAddress);
  return false;
}

namespace {
struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
#define ACTIUM_ERROR(error, text) \
  { error, #error, text }
constexpr ErrorText kErrorTexts[] = {
    ACTIUM_ERROR(cudaSuccess, "no error"),
    ACTIUM_ERROR(cudaErrorInvalidValue, "invalid argument"),
    ACTIUM_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    ACTIUM_ERROR(cudaErrorInitializationError, "initialization error"),
    ACTIUM_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ACTIUM_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    ACTIUM_ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    ACTIUM_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    ACTIUM_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    ACTIUM_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    ACTIUM_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    ACTIUM_ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    ACTIUM_ERROR(cudaErrorUnsupportedPtxVersion,
                 "the provided PTX was compiled with an unsupported toolchain."),
    ACTIUM_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ACTIUM_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    ACTIUM_ERROR(cudaErrorNotReady, "device not ready"),
    ACTIUM_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    ACTIUM_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    ACTIUM_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    ACTIUM_ERROR(cudaErrorAssert, "device-side assert triggered"),
    ACTIUM_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    ACTIUM_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    ACTIUM_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    ACTIUM_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    ACTIUM_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    ACTIUM_ERROR(cudaErrorNotSupported, "operation not supported"),
    ACTIUM_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    ACTIUM_ERROR(cudaErrorStreamCaptureInvalidated,
                 "operation failed due to a previous error during capture"),
    ACTIUM_ERROR(cudaErrorStreamCaptureMerge,
                 "operation would result in a merge of separate capture sequences"),
    ACTIUM_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    ACTIUM_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    ACTIUM_ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    ACTIUM_ERROR(cudaErrorStreamCaptureImplicit,
                 "operation would make the legacy stream depend on a capturing blocking stream"),
    ACTIUM_ERROR(cudaErrorCapturedEvent,
                 "operation not permitted on an event last recorded in a capturing stream"),
    ACTIUM_ERROR(cudaErrorStreamCaptureWrongThread,
                 "attempt to terminate a thread-local capture sequence from another thread"),
    ACTIUM_ERROR(cudaErrorInvalidClusterSize,
                 "a kernel launch error has occurred due to cluster misconfiguration"),
    ACTIUM_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef ACTIUM_ERROR
const ErrorText& text_of(cudaError_t error) {
  static constexpr ErrorText kUnknown{cudaErrorUnknown, "unrecognized error code", "unrecognized error code"};
  for (const ErrorText& candidate : kErrorTexts)
    if (candidate.error == error) return candidate;
  return kUnknown;
}
}  // namespace

}  // namespace emulator

// ---------------------------------------------------------------- the API

using namespace emulator;

extern "C" {

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return api([&] {
    const cudaError_t error = runtime::unsafe_call();
    return error != cudaSuccess ? error : allocate_device(memory, bytes, true);
  });
}

cudaError_t cudaFree(void* memory) {
  return api_release([&] { return free_now(memory, false); });
}

// A capture has no nodes for these two: they are refused there.
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  return api([&] {
    if (runtime::is_capturing(stream)) return cudaErrorNotSupported;
    if (const cudaError_t error = allocate_device(memory, bytes, false); error != cudaSuccess || bytes == 0)
      return error;
    void* const p = *memory;
    const cudaError_t error = runtime::enqueue(stream, [p] {
      Allocation* const allocation = find(p);
      allocation->reachable = true;
      allow(p, allocation->bytes);
      refill(*allocation);
    });
    if (error != cudaSuccess) give_back(remove(p));
    return error;
  });
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return api_release([&] {
    if (memory == nullptr) return cudaSuccess;
    if (runtime::is_capturing(stream)) return cudaErrorNotSupported;
    Allocation* const allocation = find(memory);
    if (allocation == nullptr || allocation->address() != memory || allocation->host ||
        allocation->free_queued)
      return cudaErrorInvalidValue;
    if (runtime::sticky_error() != cudaSuccess) {
      give_back(remove(memory));
      return cudaSuccess;
    }
    allocation->free_queued = true;
    return runtime::enqueue(stream, [memory] {
      Allocation gone{};
      {
        const Quiet quiet;
        gone = remove(memory);
        state().quarantine.push_back(gone);
      }
      refill(gone);
      if (gone.bytes >= kSparseBytes)
        mprotect(memory, gone.bytes, PROT_NONE);
      else
        forbid(memory, gone.bytes);
    });
  });
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return api([&] { return allocate_host(memory, bytes); });
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  return api([&] { return allocate_host(memory, bytes); });
}
cudaError_t cudaFreeHost(void* memory) {
  return api_release([&] { return free_now(memory, true); });
}

cudaError_t cudaMemcpy(void* destination, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
  return api([&] {
    if (source == nullptr && bytes > 0) return cudaErrorInvalidValue;
    return blocking_copy("cudaMemcpy", destination, source, 0, bytes, kind);
  });
}
cudaError_t cudaMemcpyAsync(void* destination, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return api([&] {
    if (source == nullptr && bytes > 0) return cudaErrorInvalidValue;
    return copy("cudaMemcpyAsync", destination, source, 0, bytes, kind, stream);
  });
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return api(
      [&] { return blocking_copy("cudaMemset", memory, nullptr, value, bytes, cudaMemcpyDeviceToDevice); });
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return api([&] {
    return copy("cudaMemsetAsync", memory, nullptr, value, bytes, cudaMemcpyDeviceToDevice, stream);
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return api([&] {
    const std::size_t used = std::min(state().counters.live_bytes, state().capacity);
    *free = state().capacity - used;
    *total = state().capacity;
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  return api([&] {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = cudaInvalidDeviceId;
    if (const Allocation* allocation = find(p)) {
      attributes->type = allocation->host ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
      attributes->device = 0;
      attributes->devicePointer = const_cast<void*>(p);
      attributes->hostPointer = allocation->host ? const_cast<void*>(p) : nullptr;
    }
    return cudaSuccess;
  });
}

// ---------------------------------------------------------------- errors

cudaError_t cudaGetLastError() {
  const Lock lock;
  const cudaError_t error = runtime::remember(last_error());
  last_error() = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  const Lock lock;
  return runtime::remember(last_error());
}

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }

// ---------------------------------------------------------------- the device

cudaError_t cudaGetDeviceCount(int* count) {
  return api([&] {
    *count = 1;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return api([&] {
    *device = 0;
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return api([&] { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  constexpr struct {
    cudaDeviceAttr attribute;
    int value;
  } kAttributes[] = {
      {cudaDevAttrMaxThreadsPerBlock, kMaxThreads},
      {cudaDevAttrMaxBlockDimX, 1024},
      {cudaDevAttrMaxBlockDimY, 1024},
      {cudaDevAttrMaxBlockDimZ, 64},
      {cudaDevAttrMaxGridDimX, 0x7fffffff},
      {cudaDevAttrMaxGridDimY, 65535},
      {cudaDevAttrMaxGridDimZ, 65535},
      {cudaDevAttrMaxSharedMemoryPerBlock, kDefaultSharedBytes},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, kMaxSharedBytes},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, kMaxSharedBytes + 1024},
      {cudaDevAttrReservedSharedMemoryPerBlock, 1024},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
      {cudaDevAttrMaxRegistersPerBlock, 65536},
      {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
      {cudaDevAttrMultiProcessorCount, kMultiprocessors},
      {cudaDevAttrComputeCapabilityMajor, 9},
      {cudaDevAttrComputeCapabilityMinor, 0},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrL2CacheSize, 1 << 20},
      {cudaDevAttrClockRate, 1000000},
      {cudaDevAttrMemoryClockRate, 1000000},
      {cudaDevAttrGlobalMemoryBusWidth, 1024},
      {cudaDevAttrConcurrentKernels, 1},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrCooperativeLaunch, 1},
      {cudaDevAttrClusterLaunch, 1},
      {cudaDevAttrMemoryPoolsSupported, 1},
  };
  return api([&] {
    if (device != 0) return cudaErrorInvalidDevice;
    if (value == nullptr || attribute < cudaDevAttrMaxThreadsPerBlock || attribute >= cudaDevAttrMax)
      return cudaErrorInvalidValue;
    *value = 0;
    for (const auto& known : kAttributes)
      if (known.attribute == attribute) *value = known.value;
    if (const auto other = state().attributes.find(attribute); other != state().attributes.end())
      *value = other->second;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return api([&] {
    if (device != 0) return cudaErrorInvalidDevice;
    if (properties == nullptr) return cudaErrorInvalidValue;
    const auto attribute = [](cudaDeviceAttr which) {
      int value = 0;
      cudaDeviceGetAttribute(&value, which, 0);
      return value;
    };
    cudaDeviceProp p{};
    std::strcpy(p.name, "emulated");
    p.totalGlobalMem = state().capacity;
    p.sharedMemPerBlock = kDefaultSharedBytes;
    p.sharedMemPerBlockOptin = kMaxSharedBytes;
    p.sharedMemPerMultiprocessor = kMaxSharedBytes + 1024;
    p.reservedSharedMemPerBlock = 1024;
    p.regsPerBlock = attribute(cudaDevAttrMaxRegistersPerBlock);
    p.regsPerMultiprocessor = attribute(cudaDevAttrMaxRegistersPerMultiprocessor);
    p.warpSize = 32;
    p.maxThreadsPerBlock = kMaxThreads;
    p.maxThreadsPerMultiProcessor = attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
    p.maxBlocksPerMultiProcessor = attribute(cudaDevAttrMaxBlocksPerMultiprocessor);
    p.multiProcessorCount = kMultiprocessors;
    for (int i = 0; i < 3; ++i) {
      p.maxThreadsDim[i] = attribute(static_cast<cudaDeviceAttr>(cudaDevAttrMaxBlockDimX + i));
      p.maxGridSize[i] = attribute(static_cast<cudaDeviceAttr>(cudaDevAttrMaxGridDimX + i));
    }
    p.major = 9;
    p.minor = 0;
    p.l2CacheSize = attribute(cudaDevAttrL2CacheSize);
    p.memoryBusWidth = attribute(cudaDevAttrGlobalMemoryBusWidth);
    p.concurrentKernels = p.unifiedAddressing = p.cooperativeLaunch = p.clusterLaunch =
        p.memoryPoolsSupported = 1;
    *properties = p;
    return cudaSuccess;
  });
}

// ---------------------------------------------------------------- kernels

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return api([&] {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    *attributes = {};
    attributes->maxThreadsPerBlock = kMaxThreads;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(function_of(kernel).max_dynamic_shared);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return api([&] {
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;  // a hint
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<std::size_t>(value) > kMaxSharedBytes)
      return cudaErrorInvalidValue;
    function_of(kernel).max_dynamic_shared = static_cast<std::size_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t dynamic_shared_bytes) {
  return api([&] {
    if (blocks == nullptr || threads <= 0) return cudaErrorInvalidValue;
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    *blocks = static_cast<int>(runtime::occupancy(static_cast<std::size_t>(threads), dynamic_shared_bytes));
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* kernel,
                                                                   int threads,
                                                                   std::size_t dynamic_shared_bytes,
                                                                   unsigned) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads, dynamic_shared_bytes);
}

}  // extern "C"

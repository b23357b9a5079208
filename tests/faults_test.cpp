// What goes wrong outside the library: memory of the device or of the host that runs out at any point,
// launches that fail, a device that breaks, and errors of CUDA that were pending before a call. Each is
// thrown once as an Error that says what happened; nothing leaks, and what can go on works on.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <tuple>

#include "emulator/emulator.hpp"
#include "support/errors.hpp"
#include "support/every_operation.hpp"
#include "support/samples.hpp"

// ---------------------------------------------------------------- operator new

#ifndef __SANITIZE_THREAD__  // which brings one of its own
namespace {

// Not counted: the emulator's own allocations, as CUDA's do not come from here either. It tells
// ThreadSanitizer when it is at work; here, where that is not linked in, the four functions below hear of it.
thread_local int inside_emulator = 0;
std::atomic<std::int64_t> allocation_to_fail = -1;  // of the process, as the CPU path has threads

bool fails_now() {
  return inside_emulator == 0 && allocation_to_fail.load() >= 0 && allocation_to_fail.fetch_sub(1) == 0;
}
void* memory_or_null(std::size_t bytes, std::size_t alignment) {
  if (fails_now()) return nullptr;
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  return alignment <= alignof(std::max_align_t) ? std::malloc(rounded)
                                                : std::aligned_alloc(alignment, rounded);
}
void* memory(std::size_t bytes, std::size_t alignment) {
  if (void* p = memory_or_null(bytes, alignment)) return p;
  throw std::bad_alloc();
}
constexpr std::size_t kPlain = alignof(std::max_align_t);

}  // namespace

extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int) { ++inside_emulator; }
void AnnotateIgnoreReadsEnd(const char*, int) { --inside_emulator; }
void AnnotateIgnoreWritesBegin(const char*, int) {}
void AnnotateIgnoreWritesEnd(const char*, int) {}
}
#define ACTIUM_APART [[gnu::noinline]]  // inlined halves of a pair look mismatched to g++
#define ACTIUM_NEW(brackets)                                                                              \
  ACTIUM_APART void* operator new brackets(std::size_t n) { return memory(n, kPlain); }                   \
  ACTIUM_APART void* operator new brackets(std::size_t n, const std::nothrow_t&) noexcept {               \
    return memory_or_null(n, kPlain);                                                                     \
  }                                                                                                       \
  ACTIUM_APART void* operator new brackets(std::size_t n, std::align_val_t a) {                           \
    return memory(n, static_cast<std::size_t>(a));                                                        \
  }                                                                                                       \
  ACTIUM_APART void* operator new brackets(std::size_t n, std::align_val_t a,                             \
                                           const std::nothrow_t&) noexcept {                              \
    return memory_or_null(n, static_cast<std::size_t>(a));                                                \
  }                                                                                                       \
  ACTIUM_APART void operator delete brackets(void* p) noexcept { std::free(p); }                          \
  ACTIUM_APART void operator delete brackets(void* p, std::size_t) noexcept { std::free(p); }             \
  ACTIUM_APART void operator delete brackets(void* p, const std::nothrow_t&) noexcept { std::free(p); }   \
  ACTIUM_APART void operator delete brackets(void* p, std::align_val_t) noexcept { std::free(p); }        \
  ACTIUM_APART void operator delete brackets(void* p, std::size_t, std::align_val_t) noexcept {           \
    std::free(p);                                                                                         \
  }                                                                                                       \
  ACTIUM_APART void operator delete brackets(void* p, std::align_val_t, const std::nothrow_t&) noexcept { \
    std::free(p);                                                                                         \
  }
#define ACTIUM_NOTHING
ACTIUM_NEW(ACTIUM_NOTHING)
ACTIUM_NEW([])
#endif

namespace {

using namespace actium;
using namespace actium_test;

// ---------------------------------------------------------------- operations

bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }

/// Every operation in every dtype, made once, with what it writes. (Alignment does not matter to the host.)
struct Known {
  Operation operation;
  std::vector<std::byte> want;
};
const std::vector<Known>& operations() {
  static const std::vector<Known> all = [] {
    const Context ctx = Context::cuda();
    std::vector<Known> list;
    for (Operation& operation : every_operation(ctx, kSeed)) {
      if (!ends_with(operation.name, quick() ? "f32 offset 0" : "offset 0")) continue;
      operation.run(ctx);
      list.push_back({operation, operation.read(ctx)});
    }
    return list;
  }();
  return all;
}
/// Those of one dtype: most of the host side is the same for all.
std::vector<Known> operations_of(DType dtype) {
  std::vector<Known> list;
  for (const Known& known : operations())
    if (ends_with(known.operation.name, " " + std::string(to_string(dtype)) + " offset 0"))
      list.push_back(known);
  return list;
}

constexpr std::int64_t kRows = 9, kUnits = 20;
Layer a_layer() {
  return {.activation = gelu(), .initializer = he_uniform(), .fan_in = kUnits, .fan_out = kUnits};
}

/// What every_operation() does not have: calls that make things and those that return them.
struct Making {
  const char* name;
  std::function<std::vector<double>(const Context&)> call;
};
std::vector<Making> makings() {
  const auto values = normal_sample<float>(kRows * kUnits, kSeed);
  const auto input = [values](const Context& ctx) { return Tensor(ctx, values); };
  return {
      {"reserve",
       [](const Context& ctx) {
         ctx.reserve(1 << 20);
         return std::vector<double>{};
       }},
      {"Tensor of a shape",
       [](const Context& ctx) {
         return std::vector<double>{static_cast<double>(Tensor(ctx, DType::kF32, {3, 5}).count())};
       }},
      {"Tensor of values", [input](const Context& ctx) { return input(ctx).to_doubles(ctx); }},
      {"propagate_layer", [input](const Context& ctx) {
         const Tensor x = input(ctx);
         Tensor y(ctx, DType::kF32, {kRows, kUnits});
         const LayerResult result = propagate_layer(ctx, a_layer(), x.view().reshaped({kRows, kUnits}), y);
         std::vector<double> all = y.to_doubles(ctx);
         all.push_back(result.pre_activation.variance);
         all.push_back(result.post_activation.mean);
         return all;
       }}};
}

struct Live {
  std::size_t allocations = emulator::counters().live_allocations, bytes = emulator::counters().live_bytes;
  bool operator==(const Live&) const = default;
};

/// Nothing is wrong with the device, and no error waits for the user.
void expect_clean(const std::string& what) {
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << what << " left an error behind";
  for (const std::string& violation : emulator::take_violations()) ADD_FAILURE() << what << ": " << violation;
}

/// The error that `call` throws, checked; false: it threw none.
template <class Call>
bool throws(ErrorKind kind, const std::string& text, const std::string& what, const Call& call) {
  try {
    call();
    return false;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << what << ": " << e.what();
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos)
        << what << "\nwant: " << text << "\ngot:  " << e.what();
  }
  return true;
}

// ---------------------------------------------------------------- memory of the device

const std::string kOutOfMemory = " bytes: cudaErrorMemoryAllocation: out of memory (free some";

TEST(DeviceMemory, RunsOutAtEveryAllocation) {
  for (const Known& known : operations()) {
    const std::string& name = known.operation.name;
    const std::uint64_t before = emulator::counters().allocation_calls;
    known.operation.run(Context::cuda());
    const auto calls = static_cast<std::int64_t>(emulator::counters().allocation_calls - before);
    EXPECT_EQ(calls > 0, !known.operation.capturable) << name;
    const Live live;
    for (std::int64_t k = 0; k < calls; ++k) {
      const Context ctx = Context::cuda();
      const std::string what = name + ", allocation " + std::to_string(k);
      const std::vector<std::byte> held = known.operation.read(ctx);
      const std::uint64_t launches = emulator::counters().launches;
      emulator::fail_allocation(k);
      EXPECT_TRUE(throws(ErrorKind::kOutOfMemory, kOutOfMemory, what, [&] { known.operation.run(ctx); }));
      EXPECT_EQ(emulator::counters().launches, launches) << what;
      expect_clean(what);
      EXPECT_TRUE(known.operation.read(ctx) == held) << what;
      known.operation.run(ctx);
      EXPECT_TRUE(known.operation.read(ctx) == known.want) << what;
    }
    EXPECT_EQ(Live(), live) << name << " leaks";
  }
}

TEST(DeviceMemory, RunsOutWhereThingsAreMade) {
  for (const Making& making : makings()) {
    const std::uint64_t before = emulator::counters().allocation_calls;
    const std::vector<double> want = making.call(Context::cuda());
    const auto calls = static_cast<std::int64_t>(emulator::counters().allocation_calls - before);
    EXPECT_GT(calls, 0) << making.name;
    const Live live;
    for (std::int64_t k = 0; k < calls; ++k) {
      const std::string what = std::string(making.name) + ", allocation " + std::to_string(k);
      const Context ctx = Context::cuda();
      emulator::fail_allocation(k);
      EXPECT_TRUE(throws(ErrorKind::kOutOfMemory, kOutOfMemory, what, [&] { making.call(ctx); }));
      expect_clean(what);
      EXPECT_EQ(making.call(ctx), want) << what;
    }
    EXPECT_EQ(Live(), live) << making.name << " leaks";
  }
}

// y is only written when all that a layer allocates is there.
TEST(DeviceMemory, ALayerThatRunsOutLeavesItsOutputAlone) {
  const Context inputs = Context::cuda();
  const Tensor x(inputs, normal_sample<float>(kRows * kUnits, kSeed));
  for (std::int64_t k = 0;; ++k) {
    const Context ctx = Context::cuda();
    Tensor y(ctx, std::vector<float>(kRows * kUnits, 42));
    emulator::fail_allocation(k);
    const bool threw = throws(ErrorKind::kOutOfMemory, kOutOfMemory, std::to_string(k), [&] {
      propagate_layer(ctx, a_layer(), x.view().reshaped({kRows, kUnits}), y.view().reshaped({kRows, kUnits}));
    });
    emulator::fail_allocation(-1);
    if (!threw) {
      EXPECT_EQ(k, 4) << "the weights, z, the workspace of products and the scratch of statistics";
      break;
    }
    EXPECT_EQ(y.to_doubles(ctx), std::vector<double>(kRows * kUnits, 42)) << k;
    expect_clean(std::to_string(k));
  }
}

TEST(DeviceMemory, TheMessageSaysHowMuchWasWanted) {
  const Context ctx = Context::cuda();
  emulator::set_memory(emulator::counters().live_bytes + 1000);
  expect_error(ErrorKind::kOutOfMemory,
               "cudaMalloc of 4000 bytes: cudaErrorMemoryAllocation: out of memory (free some of the "
               "device's memory)",
               [&] { Tensor(ctx, DType::kF32, {1000}); });
  EXPECT_NO_THROW(Tensor(ctx, DType::kF32, {250}));
  emulator::set_memory(std::size_t{141} << 30);
  expect_clean("set_memory");
}

// ---------------------------------------------------------------- memory of the host

#ifndef __SANITIZE_THREAD__
/// Runs `call` with the k-th C++ allocation failing, for every k that it comes to, and `after` each time.
/// Returns how many. `report`: what the call throws where memory suffices.
std::int64_t fail_every_allocation(
    const std::string& name, const std::function<void()>& call, const std::function<void()>& after = [] {},
    ErrorKind report = ErrorKind::kOutOfMemory) {
  for (std::int64_t k = 0;; ++k) {
    const std::string what = name + ", host allocation " + std::to_string(k);
    const Live live;
    allocation_to_fail = k;
    try {
      call();
    } catch (const Error& e) {
      EXPECT_TRUE(e.kind() == ErrorKind::kOutOfMemory || e.kind() == report) << what << ": " << e.what();
    } catch (const std::bad_alloc&) {
    }
    const bool failed = allocation_to_fail.exchange(-1) < 0;
    expect_clean(what);
    after();
    EXPECT_EQ(Live(), live) << what << " leaks";
    if (!failed) return k;
  }
}

TEST(HostMemory, RunsOutAtEveryAllocationOfAnOperation) {
  std::int64_t failures = 0;
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const Known& known : operations_of(dtype)) {
      const Context ctx = Context::cuda();
      known.operation.run(ctx);  // has its scratch
      const auto call = [&] {
        const Context fresh = Context::cuda();
        known.operation.run(fresh);
        fresh.synchronize();
      };
      failures += fail_every_allocation(known.operation.name, call, [&] {
        known.operation.run(ctx);
        EXPECT_TRUE(known.operation.read(ctx) == known.want) << known.operation.name;
      });
    }
  EXPECT_GT(failures, 100);
}

// A context that failed half way is the one that is used again.
TEST(HostMemory, RunsOutWhereThingsAreMade) {
  for (const bool on_cuda : {true, false}) {
    const auto context = [&] { return on_cuda ? Context::cuda() : Context::cpu(2); };
    for (const Making& making : makings()) {
      const std::vector<double> want = making.call(context());
      Context ctx = Context::cpu();
      const auto call = [&] {
        ctx = context();
        making.call(ctx);
      };
      const auto after = [&] {
        if (ctx.is_cuda() != on_cuda) ctx = context();  // which failed
        EXPECT_EQ(making.call(ctx), want) << making.name;
        ctx = Context::cpu();
      };
      EXPECT_GT(fail_every_allocation(making.name, call, after), 0);
    }
  }
}

TEST(HostMemory, RunsOutWhileSomethingElseIsReported) {
  const Context ctx = Context::cuda();
  Tensor x(ctx, DType::kF32, {8});
  const TensorView null(nullptr, DType::kF32, {8}), other(x.view().data(), DType::kF64, {8});
  const std::tuple<const char*, ErrorKind, std::function<void()>> reports[] = {
      {"a null pointer", ErrorKind::kInvalidArgument, [&] { forward(ctx, gelu(), x, null); }},
      {"a dtype", ErrorKind::kInvalidArgument, [&] { softmax(ctx, x, other); }},
      {"a shape", ErrorKind::kInvalidArgument, [&] { x.view().reshaped({3}); }},
      {"an activation's name", ErrorKind::kUnknownName, [] { Activation::parse("gleu"); }},
      {"a gated unit's name", ErrorKind::kUnknownName, [] { GatedUnit::parse("swiglue"); }},
      {"an initializer's name", ErrorKind::kUnknownName, [] { Initializer::parse("xavier"); }},
      {"a failed launch", ErrorKind::kCuda,
       [&] {
         emulator::fail_launch(0, cudaErrorLaunchOutOfResources);
         forward(ctx, gelu(), x, x);
       }},
      {"device memory", ErrorKind::kOutOfMemory,
       [&] {
         emulator::fail_allocation(0);
         ctx.reserve(std::size_t{1} << 20);
       }},
      {"facts", ErrorKind::kOutOfMemory, [&] {
         build_info();
         ctx.name();
         leaky_relu(0.1).to_string();
       }}};
  for (const auto& [name, kind, report] : reports)
    EXPECT_GT(fail_every_allocation(
                  name, report,
                  [] {
                    emulator::fail_launch(-1, cudaSuccess);
                    emulator::fail_allocation(-1);
                  },
                  kind),
              0)
        << name << " allocates nothing";
}
#endif

// ---------------------------------------------------------------- launches

/// How a product reports a failure: cuBLAS has a status of its own.
bool is_product(const Operation& operation) { return operation.name.starts_with("matmul"); }

TEST(Launches, EveryOneThatFailsIsReported) {
  constexpr cudaError_t kCodes[] = {cudaErrorLaunchOutOfResources, cudaErrorInvalidConfiguration,
                                    cudaErrorNoKernelImageForDevice, cudaErrorMemoryAllocation};
  std::size_t turn = 0;
  for (const Known& known : operations()) {
    const Operation& operation = known.operation;
    const Context ctx = Context::cuda();
    const std::vector<std::byte> held = operation.read(ctx);
    std::uint64_t launches = 1;
    for (std::uint64_t k = 0; k < launches; ++k) {
      const cudaError_t code = kCodes[turn++ % std::size(kCodes)];
      const std::string what = operation.name + ", launch " + std::to_string(k),
                        text = is_product(operation)
                                   ? "CUBLAS_STATUS_EXECUTION_FAILED"
                                   : std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code);
      const ErrorKind kind = is_product(operation)               ? ErrorKind::kBlas
                             : code == cudaErrorMemoryAllocation ? ErrorKind::kOutOfMemory
                                                                 : ErrorKind::kCuda;
      emulator::fail_launch(static_cast<std::int64_t>(k), code);
      EXPECT_TRUE(throws(kind, text, what, [&] { operation.run(ctx); })) << what << ": nothing was thrown";
      emulator::fail_launch(-1, cudaSuccess);
      expect_clean(what);
      // Where there are several launches, those before this one have written, as they did the last time.
      EXPECT_TRUE(operation.read(ctx) == (k == 0 ? held : known.want)) << what << " wrote something";
      const std::uint64_t before = emulator::counters().launches;
      operation.run(ctx);
      launches = emulator::counters().launches - before;
      EXPECT_TRUE(operation.read(ctx) == known.want) << what;
    }
    const auto is = [&](const char* name) { return operation.name.starts_with(name); };
    EXPECT_EQ(launches > 1,
              is("signal_statistics") || is("backward with options") || is("parameter_gradient"))
        << operation.name;
  }
}

TEST(Launches, EveryOneOfALayerThatFailsIsReported) {
  const auto layer = makings().back();
  const std::vector<double> want = layer.call(Context::cuda());
  const Live live;
  for (std::int64_t k = 0;; ++k) {
    const std::string what = "propagate_layer, launch " + std::to_string(k);
    const Context ctx = Context::cuda();
    emulator::fail_launch(k, cudaErrorLaunchOutOfResources);
    bool threw = false;
    try {
      layer.call(ctx);
    } catch (const Error& e) {
      threw = true;
      EXPECT_TRUE(e.kind() == ErrorKind::kCuda || e.kind() == ErrorKind::kBlas) << what;
    }
    emulator::fail_launch(-1, cudaSuccess);
    expect_clean(what);
    EXPECT_EQ(layer.call(ctx), want) << what;
    if (!threw) {
      EXPECT_GE(k, 5);  // weights, product, activation, two statistics
      break;
    }
  }
  EXPECT_EQ(Live(), live);
}

// ---------------------------------------------------------------- errors that were there before

/// An error of the user's own, that no call has asked for yet.
void make_an_error() { ASSERT_EQ(cudaSetDevice(1000), cudaErrorInvalidDevice); }

TEST(UsersErrors, SurviveEveryCall) {
  for (const Known& known : operations_of(DType::kF32)) {
    make_an_error();
    const Context ctx = Context::cuda();
    known.operation.run(ctx);
    EXPECT_TRUE(known.operation.read(ctx) == known.want) << known.operation.name;
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice) << known.operation.name;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << known.operation.name;
  }
  for (const Making& making : makings()) {
    make_an_error();
    making.call(Context::best());
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice) << making.name;
  }
  make_an_error();
  static_cast<void>(build_info());
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
}

// CUDA remembers one error: where a call of ours fails too, that one or the user's is there, never none.
TEST(UsersErrors, AreNotSwallowedByOurs) {
  for (const Known& known : operations_of(DType::kF32)) {
    const Context ctx = Context::cuda();
    make_an_error();
    emulator::fail_launch(0, cudaErrorLaunchOutOfResources);
    EXPECT_THROW(known.operation.run(ctx), Error);
    emulator::fail_launch(-1, cudaSuccess);
    EXPECT_NE(cudaGetLastError(), cudaSuccess) << known.operation.name;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << known.operation.name;
  }
  make_an_error();
  expect_error(ErrorKind::kInvalidArgument, "a null pointer", [] {
    forward(Context::cuda(), gelu(), TensorView(nullptr, DType::kF32, {8}),
            TensorView(nullptr, DType::kF32, {8}));
  });
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice) << "bad input asks CUDA for nothing";
  make_an_error();
  emulator::fail_allocation(0);
  EXPECT_THROW(Context::cuda().reserve(1), Error);
  EXPECT_NE(cudaGetLastError(), cudaSuccess);
}

// ---------------------------------------------------------------- a device that breaks

class BrokenDevice : public testing::TestWithParam<cudaError_t> {
 protected:
  void TearDown() override {
    emulator::reset_device();
    expect_clean("reset_device");
  }
  /// The same for all: the error that broke the device, and what to do.
  template <class Call>
  void expect_broken(const std::string& what, const Call& call) {
    EXPECT_TRUE(throws(ErrorKind::kCuda, std::string(cudaGetErrorName(GetParam())) + ": ", what,
                       [&] {
                         try {
                           call();
                         } catch (const Error& e) {
                           EXPECT_NE(e.hint().find("the process must restart"), std::string::npos)
                               << what << e.what();
                           throw;
                         }
                       }))
        << what << ": nothing was thrown";
    EXPECT_EQ(cudaPeekAtLastError(), GetParam()) << what;
  }
};
INSTANTIATE_TEST_SUITE_P(Errors, BrokenDevice,
                         testing::Values(cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorAssert,
                                         cudaErrorMisalignedAddress, cudaErrorIllegalInstruction,
                                         cudaErrorLaunchTimeout),
                         [](const auto& error) { return std::string(cudaGetErrorName(error.param)); });

TEST_P(BrokenDevice, IsReportedByEveryCall) {
  const std::vector<Known>& known = operations();
  const Context ctx = Context::cuda();
  Tensor x(ctx, normal_sample<float>(60, kSeed));
  emulator::break_device(GetParam());
  for (const Known& k : known) expect_broken(k.operation.name, [&] { k.operation.run(ctx); });
  for (const Making& making : makings()) expect_broken(making.name, [&] { making.call(ctx); });
  expect_broken("Context::cuda", [] { Context::cuda(); });
  expect_broken("synchronize", [&] { ctx.synchronize(); });
  expect_broken("name", [&] { ctx.name(); });
  expect_broken("to_doubles", [&] { x.to_doubles(ctx); });
  expect_broken("propagate_layer", [&] {
    propagate_layer(ctx, a_layer(), x.view().reshaped({3, 20}), TensorView());
  });
  EXPECT_NO_THROW(build_info());
}

TEST(ABrokenDevice, EndsSafelyAndWorksAfterAReset) {
  const std::vector<Making> all = makings();
  std::map<std::string, std::vector<double>> want;
  for (const Making& making : all) want[making.name] = making.call(Context::cuda());
  const Live live;
  const Context survivor = Context::cuda();
  for (const Making& making : all) making.call(survivor);
  {
    const Context ctx = Context::cuda();
    Tensor x(ctx, normal_sample<float>(640, kSeed)), y(ctx, DType::kF32, {640});
    for (const Making& making : all) making.call(ctx);  // scratch and a handle to destroy
    forward(ctx, gelu(), x, y);                         // still queued
    emulator::break_device(cudaErrorIllegalAddress);
    EXPECT_THROW(ctx.synchronize(), Error);
  }
  emulator::reset_device();
  for (const Context& ctx : {survivor, Context::cuda()})
    for (const Making& making : all) EXPECT_EQ(making.call(ctx), want[making.name]) << making.name;
  EXPECT_GT(Live().allocations, live.allocations) << "the survivor's scratch";
}

}  // namespace

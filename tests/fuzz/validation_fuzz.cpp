// Any call of any function, valid or not, on the CPU or on the emulated device. A valid call returns and
// writes its outputs only; any other throws the documented kind of error, and then nothing was written,
// launched, copied or allocated, and the context works on. model.cpp decides which is which, from the
// documentation.
#include <cuda_runtime_api.h>
#include <actium/actium.hpp>
#include <actium/propagation.hpp>

#include "emulator.hpp"
#include "model.hpp"
#include "option_mistakes.hpp"
#include "perform.hpp"
#include "plain_calls.hpp"

namespace actium_fuzz {

namespace {

using namespace actium;

// ---------------------------------------------------------------- what it did

struct World {
  Context cpu = Context::cpu(1), cuda = Context::cuda(), streamed = cuda;
  alignas(256) unsigned char host[kArenaBytes];
  unsigned char pristine[kArenaBytes];
  unsigned char* device = nullptr;
  float good_host[10] = {-1, 2, -3, 4, 5};
  float* good_device = nullptr;

  World() {
    for (std::size_t i = 0; i < kArenaBytes; ++i) pristine[i] = static_cast<unsigned char>(37 * i + i / 256);
    cudaMalloc(reinterpret_cast<void**>(&device), kArenaBytes);
    cudaMalloc(reinterpret_cast<void**>(&good_device), sizeof good_host);
    std::memcpy(good_device, good_host, sizeof good_host);
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    streamed = Context::cuda(stream);
    std::memcpy(host, pristine, kArenaBytes);
    std::memcpy(device, pristine, kArenaBytes);
    for (const Context* ctx : {&cpu, &cuda, &streamed}) {  // cuBLAS's handle, and scratch
      TensorView x(ctx->is_cuda() ? good_device : good_host, Shape{1, 1});
      TensorView y(x.data_as<float>() + 9, Shape{1, 1});
      matmul(*ctx, x, x, y);
      ctx->reserve(1 << 21);
      ctx->synchronize();  // the next stream writes to the same place
    }
  }
  Arenas arenas() const {
    return {reinterpret_cast<std::uintptr_t>(host), reinterpret_cast<std::uintptr_t>(device)};
  }

  /// Nothing but the outputs has changed; then they are as before, too.
  void expect_written_only(const Call* outputs, const char* what) {
    for (std::size_t i = 0;
         outputs != nullptr && i < kSignatures[static_cast<std::size_t>(outputs->op)].outputs; ++i) {
      const View& v = outputs->output(i);
      if (bytes_of(v) == 0) continue;
      const std::uintptr_t begin = v.side == Side::kHost ? arenas().host : arenas().device;
      if (is_contiguous(v)) {
        std::memcpy(reinterpret_cast<void*>(v.address), pristine + (v.address - begin),
                    static_cast<std::size_t>(bytes_of(v)));
        continue;
      }
      const auto size = static_cast<std::size_t>(bytes_of(v) / count_of(v));
      for (const std::uintptr_t element : addresses_of(v))
        std::memcpy(reinterpret_cast<void*>(element), pristine + (element - begin), size);
    }
    require(std::memcmp(host, pristine, kArenaBytes) == 0 && std::memcmp(device, pristine, kArenaBytes) == 0,
            what);
  }

  void expect_working(const Context& ctx) {
    float* x = ctx.is_cuda() ? good_device : good_host;
    std::memset(x + 5, 0xff, 5 * sizeof *x);
    forward(ctx, relu(), TensorView(x, Shape{5}), TensorView(x + 5, Shape{5}));
    ctx.synchronize();
    constexpr float kWant[] = {0, 2, 0, 4, 5};
    for (int i = 0; i < 5; ++i) require(x[5 + i] == kWant[i], "a good call after a bad one");
  }
};

void expect_same(const emulator::Counters& a, const emulator::Counters& b) {
  require(a.launches == b.launches, "a call that failed has launched");
  require(a.allocation_calls == b.allocation_calls && a.live_bytes == b.live_bytes,
          "a call that failed has allocated");
  require(a.copies == b.copies, "a call that failed has copied");
  require(a.synchronisations == b.synchronisations, "a call that failed has waited");
}

template <class Perform>
Ending ending_of(const Perform& perform, std::string& message) {
  try {
    perform();
    return kReturns;
  } catch (const Error& error) {
    message = error.what();
    switch (error.kind()) {
      case ErrorKind::kInvalidArgument:
        return kInvalidArgument;
      case ErrorKind::kUnknownName:
        return kUnknownName;
      case ErrorKind::kOutOfMemory:
        return kOutOfMemory;
      case ErrorKind::kCuda:
        return kCuda;
      default:
        fail("an error of a kind that no call may have: " + message);
    }
  }
}

/// Views by themselves: which are made, and what they say.
void views_only(const World& world, Input& in) {
  const Call call = decode(in, world.arenas());
  for (const View& v : call.views) {
    TensorView view;
    bool made = true;
    try {
      view = make(v);
    } catch (const Error& error) {
      made = false;
      require(error.kind() == ErrorKind::kInvalidArgument, "a view: an error of another kind");
    }
    if (made != constructible(v))
      fail(describe(call, world.arenas()) + "\n  a view is" + (made ? "" : " not") + " made");
    if (!made) continue;
    const ConstTensorView read_only = view;
    require(view.shape() == Shape(std::span<const std::int64_t>(v.extents)), "a view's shape");
    for (std::size_t i = 0; i < v.extents.size(); ++i)
      require(view.shape()[static_cast<int>(i)] == v.extents[i], "a view's extents");
    require(view.count() == count_of(v) && view.contiguous() == is_contiguous(v) &&
                read_only.contiguous() == is_contiguous(v),
            "a view's strides");
    require(read_only.data() == reinterpret_cast<void*>(v.address) &&
                (dtype_of(v) < 0 || view.bytes() == bytes_of(v)),
            "a view's memory");
  }
}

void tensor_call(World& world, Input& in) {
  const Call call = decode(in, world.arenas());
  const Verdict verdict = judge(call, world.arenas());
  if (verdict.skip) return;
  const Context& ctx = !call.cuda ? world.cpu : call.second_stream ? world.streamed : world.cuda;
  const bool asynchronous = call.op != Op::kCopy && call.op != Op::kMatmul && call.op != Op::kStatistics &&
                            call.op != Op::kPropagateLayer && call.op != Op::kTensor;
  const auto before = emulator::counters();
  if (verdict.allowed == kCuda) emulator::fail_launch(0, cudaErrorLaunchOutOfResources);
  std::string message;
  const Ending ending = ending_of([&] { perform(ctx, call); }, message);
  const auto after = emulator::counters();
  emulator::fail_launch(-1, cudaSuccess);
  if ((verdict.allowed & ending) == 0)
    fail(describe(call, world.arenas()) + "\n  ends " + std::to_string(ending) + ", want " +
         std::to_string(verdict.allowed) + ": " + message);
  ctx.synchronize();
  for (const std::string& violation : emulator::take_violations()) fail(violation);
  if (ending == kReturns) {
    world.expect_written_only(&call, "written outside of the outputs");
    if (asynchronous)
      require(before.allocation_calls == after.allocation_calls &&
                  before.synchronisations == after.synchronisations,
              "an asynchronous call has allocated or waited");
  } else {
    world.expect_written_only(nullptr, "a call that failed has written");
    expect_same(before, after);
    world.expect_working(ctx);
  }
}

/// A call with options or of a list: a good one returns and writes its outputs only, one with a mistake is an
/// invalid argument, and nothing else has happened.
void call_with_options(World& world, Input& in) {
  static_assert(kMistakeSlots * kMistakeBytes <= kArenaBytes);
  const bool cuda = in.flag(), second_stream = in.flag();
  const Context& ctx = !cuda ? world.cpu : second_stream ? world.streamed : world.cuda;
  const Arenas arenas = world.arenas();
  const std::uintptr_t own = cuda ? arenas.device : arenas.host;
  const OptionMistake mistake = decode_option_mistake(in, own, cuda ? arenas.host : arenas.device);
  const auto before = emulator::counters();
  std::string message;
  const Ending ending = ending_of([&] { mistake.call(ctx); }, message);
  const auto after = emulator::counters();
  if (ending != (mistake.valid ? kReturns : kInvalidArgument))
    fail(mistake.what + ": ends " + std::to_string(ending) + ": " + message);
  ctx.synchronize();
  for (const std::string& violation : emulator::take_violations()) fail(violation);
  if (ending != kReturns) {
    world.expect_written_only(nullptr, "a call that failed has written");
    expect_same(before, after);
    return world.expect_working(ctx);
  }
  for (const auto& [address, bytes] : mistake.outputs)
    std::memcpy(reinterpret_cast<void*>(address), world.pristine + (address - own), bytes);
  world.expect_written_only(nullptr, "written outside of the outputs");
  require(
      before.allocation_calls == after.allocation_calls && before.synchronisations == after.synchronisations,
      "an asynchronous call has allocated or waited");
}

}  // namespace
}  // namespace actium_fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace actium_fuzz;
  static World& world = *new World;
  Input in(data, size);
  // A sixth of all cases call nothing that takes tensors.
  const std::uint8_t which = in.byte();
  if (which % 8 == 7)
    plain_call(which / 8 % kPlainCalls, in);
  else if (which % 32 == 1)
    views_only(world, in);
  else if (which % 8 == 0 && which > 16)
    call_with_options(world, in);
  else
    tensor_call(world, in);
  return 0;
}

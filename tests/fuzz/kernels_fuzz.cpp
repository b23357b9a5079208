// Valid calls of every kernel: the emulated device against the CPU path, within the documented bounds; under
// two schedules and two poisons, bit for bit. What lies next to a tensor may be neither written nor, under
// AddressSanitizer, read.
#include <cuda_runtime_api.h>
#include <actium/actium.hpp>
#include <actium/propagation.hpp>

#include "emulator.hpp"
#include "option_calls.hpp"
#include "slot.hpp"
#include "tolerance.hpp"

namespace actium_fuzz {

namespace {

using namespace actium;

struct World {
  Context cpu = Context::cpu(1), cuda = Context::cuda();
  Slot slots[kTensors];
  alignas(64) unsigned char inputs[3][kMostBytes], want[2][kMostBytes], got[2][2][kMostBytes];
};

void perform(const Context& ctx, const KernelCase& c, const TensorView (&v)[kTensors],
             SignalStatistics& statistics) {
  const SoftmaxOptions options{.temperature = c.temperature};
  switch (c.op) {
    case Op::kForward:
      return forward(ctx, c.activation, v[0], v[1]);
    case Op::kBackward:
      return backward(ctx, c.activation, v[0], v[1], v[2]);
    case Op::kJvp:
      return jvp(ctx, c.activation, v[0], v[1], v[2], v[3]);
    case Op::kBackwardOfBackward:
      return backward_of_backward(ctx, c.activation, v[0], v[1], v[2], v[3], v[4]);
    case Op::kGatedForward:
      return gated_forward(ctx, c.unit, {.gate = v[0], .content = v[1]}, v[2]);
    case Op::kGatedBackward:
      return gated_backward(ctx, c.unit, {.gate = v[0], .content = v[1]}, v[2],
                            {.gate = v[3], .content = v[4]});
    case Op::kSoftmax:
      return softmax(ctx, v[0], v[1], options);
    case Op::kLogSoftmax:
      return log_softmax(ctx, v[0], v[1], options);
    case Op::kLogSumExp:
      return logsumexp(ctx, v[0], v[1], options);
    case Op::kEntropy:
      return entropy(ctx, v[0], v[1], options);
    case Op::kSoftmaxVjp:
      return softmax_vjp(ctx, v[0], v[1], v[2], options);
    case Op::kSoftmaxJvp:
      return softmax_jvp(ctx, v[0], v[1], v[2], options);
    case Op::kJacobian:
      return softmax_jacobian(ctx, v[0], v[1], options);
    case Op::kFillUniform:
      return fill_uniform(ctx, v[0], c.key, c.low, c.high);
    case Op::kFillNormal:
      return fill_normal(ctx, v[0], c.key, c.low, c.high - c.low);
    case Op::kInitialize:
      return initialize(ctx, c.initializer, c.key, v[0]);
    case Op::kMatmul:
      return matmul(ctx, v[0], v[1], v[2]);
    case Op::kStatistics:
      statistics = signal_statistics(ctx, v[0]);
      return;
    default:
      statistics =
          propagate_layer(ctx, {c.activation, c.initializer, c.inner, c.columns, c.dtype, c.key}, v[0], v[1])
              .post_activation;
  }
}

std::size_t bytes_of(const KernelCase& c, std::size_t tensor) {
  return static_cast<std::size_t>(c.shape(tensor).count()) * size_of(c.dtype);
}

SignalStatistics run_on_cpu(World& world, const KernelCase& c) {
  TensorView v[kTensors];
  for (std::size_t i = 0; i < c.inputs() + c.outputs(); ++i)
    v[i] = TensorView(i < c.inputs() ? world.inputs[i] : world.want[i - c.inputs()], c.dtype, c.shape(i));
  SignalStatistics statistics;
  perform(world.cpu, c, v, statistics);
  return statistics;
}

/// Run `which` of the two. What it wrote is copied to world.got[which].
SignalStatistics run_emulated(World& world, const KernelCase& c, std::size_t which) {
  emulator::options() = c.options[which];
  TensorView v[kTensors];
  const std::size_t tensors = c.inputs() + c.outputs();
  bool overwritten[3] = {};
  for (std::size_t i = 0; i < tensors; ++i) {
    const int alias = i < c.inputs() ? -1 : c.alias[i - c.inputs()];
    if (alias >= 0) {
      v[i] = v[alias];
      overwritten[alias] = true;
      continue;
    }
    const std::size_t bytes = bytes_of(c, i);
    void* data = world.slots[i].place(c.offsets[i] * size_of(c.dtype), bytes);
    if (i < c.inputs())
      std::memcpy(data, world.inputs[i], bytes);
    else
      std::memset(data, c.options[which].poison,
                  bytes);  // an element that nobody writes differs between the runs
    v[i] = TensorView(data, c.dtype, c.shape(i));
  }
  SignalStatistics statistics;
  {
    // Scratch is filled with the poison where it is allocated.
    const Context ctx = c.op == Op::kStatistics ? Context::cuda() : world.cuda;
    perform(ctx, c, v, statistics);
    ctx.synchronize();
  }
  for (const std::string& violation : emulator::take_violations())
    fail(violation + "\n" + emulator::replay());
  for (std::size_t i = 0; i < tensors; ++i) {
    const bool aliased = i >= c.inputs() && c.alias[i - c.inputs()] >= 0;
    if (!aliased) world.slots[i].expect_guards();
    if (i < c.inputs() && !overwritten[i])
      require(std::memcmp(v[i].data(), world.inputs[i], bytes_of(c, i)) == 0, "an input has changed");
    if (i >= c.inputs()) std::memcpy(world.got[which][i - c.inputs()], v[i].data(), bytes_of(c, i));
  }
  return statistics;
}

bool same(const SignalStatistics& a, const SignalStatistics& b) {
  const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };
  return bits(a.mean) == bits(b.mean) && bits(a.variance) == bits(b.variance) &&
         bits(a.second_moment) == bits(b.second_moment) && bits(a.zero_fraction) == bits(b.zero_fraction) &&
         std::equal(a.active_fraction.begin(), a.active_fraction.end(), b.active_fraction.begin(),
                    b.active_fraction.end(), [&](double x, double y) { return bits(x) == bits(y); });
}

}  // namespace
}  // namespace actium_fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace actium_fuzz;
  static World& world = *new World;
  Input in(data, size);
  if (size > 0 && data[0] >= kFirstOptionCall) return option_call(in), 0;
  const KernelCase c = decode_kernel(in);
  for (std::size_t i = 0; i < c.inputs(); ++i) make_values(c, i, world.inputs[i]);
  const auto want = run_on_cpu(world, c), got = run_emulated(world, c, 0);
  if (c.twice) {
    require(same(got, run_emulated(world, c, 1)), "statistics depend on the schedule or on fresh memory");
    for (std::size_t i = 0; i < c.outputs(); ++i)
      require(std::memcmp(world.got[0][i], world.got[1][i], bytes_of(c, c.inputs() + i)) == 0,
              "the result depends on the schedule or on fresh memory");
  }
  if (c.op == Op::kStatistics)
    compare(c, want, got);
  else
    compare(c, {world.inputs[0], world.inputs[1], world.inputs[2]}, {world.want[0], world.want[1]},
            {world.got[0][0], world.got[0][1]});
  return 0;
}

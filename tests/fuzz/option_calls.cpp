#include "option_calls.hpp"

#include <actium/actium.hpp>
#include <reference/evaluate.hpp>
#include <vector>

#include "formats.hpp"
#include "option_case.hpp"
#include "option_tolerance.hpp"
#include "row_calls.hpp"
#include "slot.hpp"

namespace actium_fuzz {

using namespace actium;

namespace {

struct World {
  Context cpu = Context::cpu(1), cuda = Context::cuda();
  Slot slots[kParts];
  alignas(64) Memory start, want, got[2];
  World() { cuda.reserve(1 << 21); }
};
World& world() {
  static World& the = *new World;
  return the;
}

void perform(const Context& ctx, const OptionCase& c, void* const (&data)[kParts]) {
  const auto view = [&](std::size_t part) {
    return c.parts[part].there ? c.parts[part].view(data[part]) : TensorView{};
  };
  if (c.op == OptionOp::kForward) {
    ForwardOptions o{.bias = view(kBias),
                     .residual = view(kResidual),
                     .scale = c.scale,
                     .dropout = c.dropout,
                     .slope = view(kSlope),
                     .channel_axis = c.channel_axis,
                     .quantization_scale = c.quantization_scale};
    if (c.parts[kMask].there) o.mask = static_cast<std::uint32_t*>(data[kMask]);
    if (c.parts[kSum].there) o.amax = static_cast<float*>(data[kSum]);
    return forward(ctx, c.f, view(kX), view(kResult), o);
  }
  if (c.op == OptionOp::kParameterGradient)
    return parameter_gradient(ctx, c.f, view(kX), view(kDy), view(kSum), c.channel_axis);
  const BackwardOptions o{.bias = view(kBias),
                          .scale = c.scale,
                          .dropout = c.dropout,
                          .slope = view(kSlope),
                          .channel_axis = c.channel_axis,
                          .dbias = view(kSum)};
  if (c.op == OptionOp::kBackward) return backward(ctx, c.f, view(kX), view(kDy), view(kResult), o);
  if (c.op == OptionOp::kFromOutput)
    return backward_from_output(ctx, c.f, view(kX), view(kDy), view(kResult), o);
  backward_from_mask(ctx, c.f, static_cast<const std::uint32_t*>(data[kMask]), view(kDy), view(kResult), o);
}

/// Run `which` of the two.
void run_emulated(const OptionCase& c, std::size_t which) {
  World& w = world();
  emulator::options() = c.options[which];
  void* data[kParts] = {};
  for (std::size_t i = 0; i < kParts; ++i) {
    const Part& p = c.parts[i];
    if (!p.there || p.alias >= 0) continue;
    data[i] = w.slots[i].place(p.offset * size_of(p.dtype), p.bytes());
    std::memcpy(data[i], w.start[i], p.bytes());
    if (p.output) std::memset(data[i], c.options[which].poison, p.bytes());
  }
  const Part& result = c.parts[kResult];
  if (result.alias >= 0) data[kResult] = data[result.alias];
  perform(w.cuda, c, data);
  w.cuda.synchronize();
  for (const std::string& violation : emulator::take_violations())
    fail(violation + "\n" + emulator::replay());
  for (std::size_t i = 0; i < kParts; ++i) {
    const Part& p = c.parts[i];
    if (!p.there) continue;
    if (p.alias < 0) w.slots[i].expect_guards();
    if (!p.output && static_cast<int>(i) != result.alias)
      require(p.bytes() == 0 || std::memcmp(data[i], w.start[i], p.bytes()) == 0, "an input has changed");
    if (!p.output) continue;
    std::memcpy(w.got[which][i], data[i], p.bytes());
    // Between the rows nothing is written.
    const auto* const bytes = static_cast<const unsigned char*>(data[i]);
    const auto size = size_of(p.dtype);
    for (std::int64_t row = 0; p.gap > 0 && row + 1 < p.rows(); ++row) {
      const std::size_t begin = (p.at(row * p.columns() + p.columns() - 1) + 1) * size;
      for (std::size_t k = begin; k < p.at((row + 1) * p.columns()) * size; ++k)
        require(bytes[k] == (p.alias >= 0 ? w.start[p.alias][k] : c.options[which].poison),
                "written between the rows");
    }
  }
}

/// Every element as it is stored, whatever lies between the rows.
bool same_elements(const OptionCase& c, std::size_t part) {
  const World& w = world();
  const Part& p = c.parts[part];
  const auto size = size_of(p.dtype);
  for (std::int64_t i = 0; i < p.shape.count(); ++i)
    if (std::memcmp(w.got[0][part] + p.at(i) * size, w.got[1][part] + p.at(i) * size, size) != 0)
      return false;
  return true;
}

void call_with_options(Input& in) {
  World& w = world();
  const OptionCase c = decode_option_case(in);
  void* on_cpu[kParts] = {};
  for (std::size_t i = 0; i < kParts; ++i) {
    if (!c.parts[i].there) continue;
    make_values(c, i, w.start[i]);
    std::memcpy(w.want[i], w.start[i], c.parts[i].bytes());
    on_cpu[i] = w.want[i];
  }
  perform(w.cpu, c, on_cpu);
  run_emulated(c, 0);
  if (c.twice) {
    run_emulated(c, 1);
    for (std::size_t i = 0; i < kParts; ++i)
      require(!c.parts[i].there || !c.parts[i].output || same_elements(c, i),
              "the result depends on the schedule or on fresh memory");
  }
  compare(c, w.start, w.want, w.got[0]);
}

// ---------------------------------------------------------------- lists

/// Pairs of tensors in two pools, some in place; on the CPU the pools are copies of each other's start.
void call_with_a_list(Input& in) {
  World& w = world();
  const DType dtype = in.pick(kDTypes);
  const ActivationInfo& info = activations()[in.below(activations().size())];
  Activation f(info.kind, info.parameter_defaults);
  const std::uint8_t parameters = in.byte();
  if (info.parameter_count > 0) f = some_activation(info, parameters);
  const std::size_t pairs = in.one_in(16) ? in.below(256) : in.below(12);
  struct Item {
    std::size_t x, y;  // elements from the start of the pools
    std::int64_t count;
    bool in_place;
  };
  std::vector<Item> items;
  std::size_t at_x = 0, at_y = 0;
  for (std::size_t i = 0; i < pairs; ++i) {
    constexpr std::int64_t kCounts[] = {0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 100, 257, 1025, 7, 9};
    const std::int64_t count_there = in.pick(kCounts);
    const Item item{at_x + in.below(4), at_y + in.below(4), pairs > 12 ? count_there % 34 : count_there,
                    in.one_in(4)};
    const auto count = static_cast<std::size_t>(item.count);
    if (item.x + count > kMostElements || item.y + count > kMostElements) break;
    at_x = item.x + count;
    at_y = item.y + count;
    items.push_back(item);
  }
  std::uint64_t state = in.integer<std::uint32_t>();
  const bool bits = in.flag();
  const std::size_t size = size_of(dtype);
  for (std::size_t i = 0; i < kMostElements; ++i) {
    const std::uint64_t random = next(state);
    if (bits)
      std::memcpy(w.start[0] + i * size, &random, size);
    else
      store(dtype, w.start[0], i, static_cast<double>(random % 1025) / 64 - 8);
  }
  std::memset(w.start[1], 0x5a, kMostBytes);
  std::memcpy(w.want[0], w.start[0], kMostBytes);
  std::memcpy(w.want[1], w.start[1], kMostBytes);
  const auto perform_on = [&](const Context& ctx, unsigned char* x, unsigned char* y) {
    std::vector<ForwardPair> list;
    for (const Item& item : items) {
      const TensorView input(x + item.x * size, dtype, {item.count});
      list.push_back({input, item.in_place ? input : TensorView(y + item.y * size, dtype, {item.count})});
    }
    forward_many(ctx, f, list);
  };
  perform_on(w.cpu, w.want[0], w.want[1]);
  emulator::options() = some_options(in);
  unsigned char* pools[2];
  for (std::size_t i = 0; i < 2; ++i) {
    const std::size_t used = (i == 0 ? at_x : at_y) * size;
    pools[i] = static_cast<unsigned char*>(w.slots[i].place(in.below(9) * size, used));
    std::memcpy(pools[i], w.start[i], used);
  }
  perform_on(w.cuda, pools[0], pools[1]);
  w.cuda.synchronize();
  for (const std::string& violation : emulator::take_violations())
    fail(violation + "\n" + emulator::replay());
  for (std::size_t i = 0; i < 2; ++i) w.slots[i].expect_guards();
  for (const Item& item : items) {
    const std::size_t pool = item.in_place ? 0 : 1, first = item.in_place ? item.x : item.y;
    for (std::size_t k = first; k < first + static_cast<std::size_t>(item.count); ++k) {
      const double x = load(dtype, w.start[0], item.x + (k - first));
      expect_value(f, dtype, x, load(dtype, w.want[pool], k), load(dtype, pools[pool], k));
      std::memcpy(pools[pool] + k * size, w.want[pool] + k * size, size);
    }
  }
  require(std::memcmp(pools[0], w.want[0], at_x * size) == 0 &&
              std::memcmp(pools[1], w.want[1], at_y * size) == 0,
          "forward_many: written outside of the outputs");
}

}  // namespace

void option_call(Input& in) {
  switch (in.byte() % 8) {
    case 7:
      return call_with_a_list(in);
    case 5:
      return row_call(in);
    default:
      return call_with_options(in);
  }
}

}  // namespace actium_fuzz

#include "row_calls.hpp"

#include <actium/actium.hpp>
#include <algorithm>
#include <cmath>
#include <string_view>

#include "formats.hpp"
#include "slot.hpp"

namespace actium_fuzz {

using namespace actium;

namespace {

/// An operation: its inputs (z logits, p probabilities, l their logarithms, x any numbers, r one number for
/// each row) and outputs (x, r).
struct Form {
  const char* name;
  std::string_view inputs, outputs;
};
enum RowOp : std::size_t {
  kRowSoftmax,
  kRowLogSoftmax,
  kRowLogSumExp,
  kRowEntropy,
  kValueAndJvp,
  kEntropyVjp,
  kLogSumExpVjp,
  kLogSoftmaxVjp,
  kLogSoftmaxJvp,
  kHvp,
  kTemperatureGradient,
  kSparsemax,
  kSparsemaxVjp,
  kCrossEntropy,
  kCrossEntropyWithGradient,
  kEntropyJvp,
  kLogSumExpJvp
};
constexpr Form kForms[] = {
    {"softmax", "z", "x"},
    {"log_softmax", "z", "x"},
    {"logsumexp", "z", "r"},
    {"entropy", "z", "r"},
    {"softmax_value_and_jvp", "zx", "xx"},
    {"entropy_vjp", "zr", "x"},
    {"logsumexp_vjp", "zr", "x"},
    {"log_softmax_vjp", "lx", "x"},
    {"log_softmax_jvp", "lx", "x"},
    {"softmax_hvp", "pxx", "x"},
    {"softmax_temperature_gradient", "zpx", "r"},
    {"sparsemax", "z", "x"},
    {"sparsemax_vjp", "px", "x"},
    {"cross_entropy", "z", "r"},
    {"cross_entropy_with_gradient", "z", "rx"},
    {"entropy_jvp", "zx", "r"},
    {"logsumexp_jvp", "zx", "r"},
};

/// What a call reads and writes. The tensors are the inputs, then the outputs.
enum : std::size_t { kBiases = 5, kFlags, kIndices, kOfRows, kOfColumns, kRowParts };

struct RowCase {
  std::size_t op = 0;
  DType dtype = DType::kF32;
  std::int64_t rows = 1, columns = 1;
  bool first_axis = false, mask = false, bias = false, lengths = false, causal = false, per_row = false,
       weights = false, in_place = false;
  std::int64_t causal_offset = 0;
  double temperature = 1, smoothing = 0, z_loss = 0;
  EmptyRow empty_row = EmptyRow::kZeros;
  std::size_t offset = 0;  // in elements
  std::uint64_t seed = 0;
  emulator::Options options[2];

  const Form& form() const { return kForms[op]; }
  bool is_cross_entropy() const { return op == kCrossEntropy || op == kCrossEntropyWithGradient; }
  Shape elements() const { return first_axis ? Shape{columns, rows} : Shape{rows, columns}; }
  std::size_t tensors() const { return form().inputs.size() + form().outputs.size(); }
  char kind(std::size_t tensor) const {
    const std::size_t inputs = form().inputs.size();
    return tensor < inputs ? form().inputs[tensor] : form().outputs[tensor - inputs];
  }
  Shape shape(std::size_t tensor) const { return kind(tensor) == 'r' ? Shape{rows} : elements(); }
  DType wide() const { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }
  std::size_t bytes(std::size_t part) const {
    const auto r = static_cast<std::size_t>(rows), n = static_cast<std::size_t>(columns);
    switch (part) {
      case kBiases:
        return (first_axis ? r : n) * size_of(dtype);
      case kFlags:
        return r * n;
      case kIndices:
        return r * 8;
      case kOfRows:
        return r * size_of(wide());
      case kOfColumns:
        return n * size_of(wide());
      default:
        return part < tensors() ? static_cast<std::size_t>(shape(part).count()) * size_of(dtype) : 0;
    }
  }
};

RowCase decode_row_case(Input& in) {
  constexpr std::int64_t kColumns[] = {1,  2,   3,   4,   5,   7,   8,   31,  32,   33,   64,
                                       65, 100, 128, 129, 257, 511, 513, 700, 1025, 1300, 0};
  constexpr double kTemperatures[] = {1, 0.7, 3, 0.05};
  RowCase c;
  c.op = in.below(std::size(kForms));
  c.dtype = in.pick(kDTypes);
  c.columns = in.pick(kColumns);
  c.rows = static_cast<std::int64_t>(in.below(c.columns > 200 ? 4 : 7));
  const std::uint8_t choice = in.byte(), masks = in.byte();
  const auto chosen = [](std::uint8_t bits, unsigned bit) { return (bits >> bit & 1) != 0; };
  c.first_axis = chosen(choice, 0) && chosen(choice, 1);
  c.in_place = chosen(choice, 2);
  c.per_row = chosen(choice, 3);
  c.weights = chosen(choice, 4);
  c.smoothing = chosen(choice, 5) ? 0.1 : 0;
  c.z_loss = chosen(choice, 6) ? 0.01 : 0;
  if (c.form().inputs[0] == 'z' && !c.is_cross_entropy()) {
    c.mask = chosen(masks, 0);
    c.bias = chosen(masks, 1);
    c.lengths = chosen(masks, 2);
    c.causal = chosen(masks, 3) && !c.first_axis;
    c.causal_offset = static_cast<std::int64_t>(in.below(256)) * c.columns / 128 - c.columns / 2;
    c.empty_row = static_cast<EmptyRow>(in.below(3));
  }
  c.temperature = in.pick(kTemperatures);
  if (c.per_row) c.temperature = 1;
  c.offset = in.below(9);
  c.seed = in.integer<std::uint32_t>();
  for (emulator::Options& options : c.options) options = some_options(in);
  return c;
}

void fill(const RowCase& c, std::size_t part, unsigned char* bytes) {
  std::uint64_t state = c.seed + 1000 * part;
  const auto unit = [&] { return static_cast<double>(next(state) >> 11) * 0x1p-53; };
  if (part == kFlags) {
    for (std::size_t i = 0; i < c.bytes(part); ++i) bytes[i] = next(state) % 4 != 0;
  } else if (part == kIndices) {  // lengths or labels, some of them beyond
    for (std::size_t i = 0; i < c.bytes(part) / 8; ++i) {
      const std::int64_t index =
          next(state) % 8 == 0
              ? -100
              : static_cast<std::int64_t>(next(state) % (static_cast<std::uint64_t>(c.columns) + 2)) - 1;
      std::memcpy(bytes + 8 * i, &index, 8);
    }
  } else if (c.bytes(part) != 0) {
    const bool parameters = part == kOfRows || part == kOfColumns;
    const DType dtype = parameters ? c.wide() : c.dtype;
    const char kind = parameters ? 't' : part == kBiases ? 'x' : c.kind(part);
    for (std::size_t i = 0; i < c.bytes(part) / size_of(dtype); ++i) {
      const double u = unit();
      store(dtype, bytes, i,
            kind == 't'   ? 0.5 + 2 * u
            : kind == 'p' ? std::max(0.0, 3 * u - 1) / static_cast<double>(c.columns)
            : kind == 'l' ? -10 * u
                          : 16 * u - 8);
    }
  }
}

struct World {
  Context cpu = Context::cpu(1), cuda = Context::cuda();
  Slot slots[kRowParts];
  alignas(64) unsigned char start[kRowParts][kMostBytes], want[kRowParts][kMostBytes],
      got[2][kRowParts][kMostBytes];
  World() { cuda.reserve(1 << 16); }
};

void perform(const Context& ctx, const RowCase& c, void* const (&data)[kRowParts]) {
  TensorView v[5];
  for (std::size_t i = 0; i < c.tensors(); ++i) v[i] = TensorView(data[i], c.dtype, c.shape(i));
  const TensorView of_rows(data[kOfRows], c.wide(), {c.rows});
  const int axis = c.first_axis ? 0 : -1;
  const IndexView indices(static_cast<const std::int64_t*>(data[kIndices]), {c.rows});
  if (c.is_cross_entropy()) {
    CrossEntropyOptions o{.axis = axis, .label_smoothing = c.smoothing, .z_loss = c.z_loss};
    if (c.weights) o.class_weights = TensorView(data[kOfColumns], c.wide(), {c.columns});
    if (c.op == kCrossEntropy) return cross_entropy(ctx, v[0], indices, v[1], o);
    if (c.per_row) o.dloss = of_rows;
    return cross_entropy_with_gradient(ctx, v[0], indices, v[1], v[2], o);
  }
  SoftmaxOptions o;
  o.axis = axis;
  o.temperature = c.temperature;
  if (c.per_row) o.temperatures = of_rows;
  if (c.mask) o.mask = BoolView(static_cast<const bool*>(data[kFlags]), c.elements());
  if (c.bias) o.bias = TensorView(data[kBiases], c.dtype, {c.elements().back()});
  if (c.lengths) o.lengths = indices;
  o.causal = c.causal;
  o.causal_offset = c.causal ? c.causal_offset : 0;
  o.empty_row = c.empty_row;
  switch (c.op) {
    case kRowSoftmax:
      return softmax(ctx, v[0], v[1], o);
    case kRowLogSoftmax:
      return log_softmax(ctx, v[0], v[1], o);
    case kRowLogSumExp:
      return logsumexp(ctx, v[0], v[1], o);
    case kRowEntropy:
      return entropy(ctx, v[0], v[1], o);
    case kValueAndJvp:
      return softmax_value_and_jvp(ctx, v[0], v[1], v[2], v[3], o);
    case kEntropyVjp:
      return entropy_vjp(ctx, v[0], v[1], v[2], o);
    case kLogSumExpVjp:
      return logsumexp_vjp(ctx, v[0], v[1], v[2], o);
    case kEntropyJvp:
      return entropy_jvp(ctx, v[0], v[1], v[2], o);
    case kLogSumExpJvp:
      return logsumexp_jvp(ctx, v[0], v[1], v[2], o);
    case kLogSoftmaxVjp:
      return log_softmax_vjp(ctx, v[0], v[1], v[2], o);
    case kLogSoftmaxJvp:
      return log_softmax_jvp(ctx, v[0], v[1], v[2], o);
    case kHvp:
      return softmax_hvp(ctx, v[0], v[1], v[2], v[3], o);
    case kTemperatureGradient:
      return softmax_temperature_gradient(ctx, v[0], v[1], v[2], v[3], o);
    case kSparsemax:
      return sparsemax(ctx, v[0], v[1], o);
    default:
      return sparsemax_vjp(ctx, v[0], v[1], v[2], o);
  }
}

/// Run `which` of the two. What it wrote is copied to got[which].
void run_emulated(World& w, const RowCase& c, std::size_t which) {
  emulator::options() = c.options[which];
  const std::size_t inputs = c.form().inputs.size(), last = c.tensors() - 1;
  const bool in_place = c.in_place && c.kind(last) == 'x';  // the last output is the first input
  void* data[kRowParts] = {};
  for (std::size_t i = 0; i < kRowParts; ++i) {
    const bool tensor = i < c.tensors(), output = tensor && i >= inputs;
    if (in_place && i == last) {
      data[i] = data[0];
      continue;
    }
    data[i] = w.slots[i].place(tensor ? c.offset * size_of(c.dtype) : 0, c.bytes(i));
    if (output)
      std::memset(data[i], c.options[which].poison, c.bytes(i));
    else
      std::memcpy(data[i], w.start[i], c.bytes(i));
  }
  perform(w.cuda, c, data);
  w.cuda.synchronize();
  for (const std::string& violation : emulator::take_violations())
    fail(violation + "\n" + emulator::replay());
  for (std::size_t i = 0; i < kRowParts; ++i) {
    const bool output = i < c.tensors() && i >= inputs;
    if (!(in_place && i == last)) w.slots[i].expect_guards();
    if (output)
      std::memcpy(w.got[which][i], data[i], c.bytes(i));
    else if (!(in_place && i == 0))
      require(std::memcmp(data[i], w.start[i], c.bytes(i)) == 0, "an input has changed");
  }
}

/// Loosely: how exact the kernels are their own tests know.
void compare(const World& w, const RowCase& c) {
  const double least = c.per_row ? 0.5 : c.temperature;
  const Real size = 64 * (1 + static_cast<Real>(c.columns)) * (1 + 1 / least) * (1 + 1 / least);
  const Real absolute = 4 * epsilon(c.wide()) * size;
  for (std::size_t t = c.form().inputs.size(); t < c.tensors(); ++t)
    for (std::int64_t i = 0; i < c.shape(t).count(); ++i) {
      const auto k = static_cast<std::size_t>(i);
      const double want = load(c.dtype, w.want[t], k), got = load(c.dtype, w.got[0][t], k);
      if (want == got || (std::isnan(want) && std::isnan(got))) continue;
      const Real target = bounded(c.dtype, want);
      if (std::fabs(bounded(c.dtype, got) - target) <= 2 * ulp(c.dtype, target) + absolute) continue;
      char text[300];
      std::snprintf(
          text, sizeof text,
          "%s, dtype %d, %lld rows of %lld (first axis: %d): output %zu element %zu: got %.17g, want "
          "%.17g +- %Lg",
          c.form().name, static_cast<int>(c.dtype), static_cast<long long>(c.rows),
          static_cast<long long>(c.columns), c.first_axis ? 1 : 0, t - c.form().inputs.size(), k, got, want,
          absolute);
      fail(text);
    }
}

}  // namespace

void row_call(Input& in) {
  static World& w = *new World;
  const RowCase c = decode_row_case(in);
  void* on_cpu[kRowParts] = {};
  for (std::size_t i = 0; i < kRowParts; ++i) {
    fill(c, i, w.start[i]);
    std::memcpy(w.want[i], w.start[i], c.bytes(i));
    on_cpu[i] = w.want[i];
  }
  perform(w.cpu, c, on_cpu);
  for (const std::size_t which : {0, 1}) run_emulated(w, c, which);
  for (std::size_t t = c.form().inputs.size(); t < c.tensors(); ++t)
    require(std::memcmp(w.got[0][t], w.got[1][t], c.bytes(t)) == 0,
            "the result depends on the schedule or on fresh memory");
  compare(w, c);
}

}  // namespace actium_fuzz

// Every activation of the registry: forward, backward, jvp and backward_of_backward, in f32 and bf16 at the
// largest size; a few of them in every dtype and size, and in whatever else the interface can do.
#include <algorithm>

#include "harness.hpp"

using namespace actium;

namespace {

// What the speed of memory should leave of an operation (docs/benchmarks.md).
constexpr double kFloor = 0.95, kMisalignedFloor = 0.90, kLatencyFloor = 1 / 1.2;

constexpr std::string_view kSome[] = {"relu", "tanh", "silu", "gelu", "softplus"};
constexpr DType kMainDTypes[] = {DType::kF32, DType::kBF16};

class List {
 public:
  explicit List(const bench::Settings& settings) : settings_(settings) {}

  std::vector<bench::Operation> operations() {
    for (const DType dtype : kDTypes)
      for (const std::int64_t bytes : settings_.tensor_bytes)
        for (const ActivationInfo& info : activations()) {
          const bool some = std::ranges::count(kSome, info.name) > 0;
          const bool main =
              std::ranges::count(kMainDTypes, dtype) > 0 && bytes == settings_.tensor_bytes.back();
          if (some || (main && !settings_.quick)) add_orders(Activation::parse(info.name), dtype, bytes);
        }
    for (const DType dtype : kMainDTypes) {
      bytes_ = settings_.tensor_bytes.back();
      dtype_ = dtype;
      count_ = settings_.elements(bytes_, dtype);
      for (const Activation& f : {silu(), gelu()}) {
        add_misaligned(f);
        add_rows(f);
        add_fused(f);
        add_8_bit(f);
        if (settings_.quick) break;
      }
      add_memory_modes();
      add_parameter_gradients();
      for (const Activation& f : {relu(), silu(), gelu()}) add_latency(f);
      add_many(silu());
    }
    return std::move(operations_);
  }

 private:
  void add_orders(const Activation& f, DType dtype, std::int64_t bytes) {
    bytes_ = bytes;
    dtype_ = dtype;
    count_ = settings_.elements(bytes, dtype);
    const Shape shape{count_};
    // At smaller sizes time is latency.
    const double floor = dtype != DType::kF64 && bytes >= std::int64_t{1} << 28 ? kFloor : 0;
    add("forward", f.name(), {shape}, {shape}, [f](const Context& ctx, auto in, auto out) {
      forward(ctx, f, in[0], out[0]);
    }).floor = floor;
    add("backward", f.name(), {shape, shape}, {shape}, [f](const Context& ctx, auto in, auto out) {
      backward(ctx, f, in[0], in[1], out[0]);
    }).floor = floor;
    add("jvp", f.name(), {shape, shape}, {shape, shape},
        [f](const Context& ctx, auto in, auto out) { jvp(ctx, f, in[0], in[1], out[0], out[1]); });
    add("backward_of_backward", f.name(), {shape, shape, shape}, {shape, shape},
        [f](const Context& ctx, auto in, auto out) {
          backward_of_backward(ctx, f, in[0], in[1], in[2], out[0], out[1]);
        });
  }

  // Tensors that begin one element after a boundary; or one, two, three elements after it.
  void add_misaligned(const Activation& f) {
    const std::int64_t count = count_ - 4;
    const Shape whole{count_};
    for (const std::int64_t apart : {0, 1}) {
      const std::string variant = std::string(f.name()) + (apart == 0 ? "+alike" : "+apart");
      const auto from = [count, apart](auto view, int tensor) {
        return part(view, 1 + apart * tensor, Shape{count}, {1});
      };
      auto& one = add("forward_misaligned", variant, {whole}, {whole},
                      [f, from](const Context& ctx, auto in, auto out) {
                        forward(ctx, f, from(in[0], 0), from(out[0], 1));
                      });
      one.bytes = 2 * count * size();
      one.floor = floor(kMisalignedFloor);
      auto& two = add("backward_misaligned", variant, {whole, whole}, {whole},
                      [f, from](const Context& ctx, auto in, auto out) {
                        backward(ctx, f, from(in[0], 0), from(in[1], 1), from(out[0], 2));
                      });
      two.bytes = 3 * count * size();
      two.floor = floor(kMisalignedFloor);
    }
  }

  // Rows that lie farther apart than they are long: at boundaries, and each at another distance from one.
  void add_rows(const Activation& f) {
    const std::int64_t columns = std::min<std::int64_t>(4096, count_ / 8);
    for (const std::int64_t gap : {64, 1}) {
      const std::int64_t pitch = columns + gap, rows = count_ / pitch;
      if (rows == 0) continue;
      const std::string variant = std::string(f.name()) + "+gap" + std::to_string(gap);
      const auto from = [=](auto view) { return part(view, 0, Shape{rows, columns}, {pitch, 1}); };
      const Shape whole{count_};
      add("forward_rows", variant, {whole}, {whole}, [f, from](const Context& ctx, auto in, auto out) {
        forward(ctx, f, from(in[0]), from(out[0]));
      }).bytes = 2 * rows * columns * size();
      add("backward_rows", variant, {whole, whole}, {whole},
          [f, from](const Context& ctx, auto in, auto out) {
            backward(ctx, f, from(in[0]), from(in[1]), from(out[0]));
          })
          .bytes = 3 * rows * columns * size();
    }
  }

  void add_fused(const Activation& f) {
    const Shape matrix = with_columns(4096), row{matrix.back()};
    const Dropout dropout{.p = 0.1, .key = {.seed = 1, .sequence = 2}};
    const auto name = [&](const char* options) { return std::string(f.name()) + options; };
    add("forward_fused", name("+bias"), {matrix, row}, {matrix},
        [f](const Context& ctx, auto in, auto out) { forward(ctx, f, in[0], out[0], {.bias = in[1]}); });
    add("forward_fused", name("+bias+residual"), {matrix, row, matrix}, {matrix},
        [f](const Context& ctx, auto in, auto out) {
          forward(ctx, f, in[0], out[0], {.bias = in[1], .residual = in[2]});
        });
    add("forward_fused", name("+dropout"), {matrix}, {matrix},
        [f, dropout](const Context& ctx, auto in, auto out) {
          forward(ctx, f, in[0], out[0], {.dropout = dropout});
        });
    add("forward_fused", name("+bias+residual+dropout"), {matrix, row, matrix}, {matrix},
        [f, dropout](const Context& ctx, auto in, auto out) {
          forward(ctx, f, in[0], out[0], {.bias = in[1], .residual = in[2], .dropout = dropout});
        });
    add("backward_fused", name("+bias+dropout"), {matrix, row, matrix}, {matrix},
        [f, dropout](const Context& ctx, auto in, auto out) {
          backward(ctx, f, in[0], in[2], out[0], {.bias = in[1], .dropout = dropout});
        });
    add("backward_fused", name("+bias+dbias"), {matrix, row, matrix}, {matrix, row},
        [f](const Context& ctx, auto in, auto out) {
          backward(ctx, f, in[0], in[2], out[0], {.bias = in[1], .dbias = out[1]});
        });
  }

  void add_8_bit(const Activation& f) {
    const Shape shape{count_}, amax{4};  // 4 elements have room for a float
    for (const DType narrow : {DType::kE4M3, DType::kE5M2}) {
      const std::string variant = std::string(f.name()) + "+" + std::string(to_string(narrow));
      const auto as_8_bit = [=](const TensorView& y) { return TensorView(y.data(), narrow, shape); };
      add("forward_8_bit", variant, {shape}, {shape}, [f, as_8_bit](const Context& ctx, auto in, auto out) {
        forward(ctx, f, in[0], as_8_bit(out[0]), {.quantization_scale = 16});
      }).bytes = count_ * (size() + 1);
      add("forward_8_bit", variant + "+amax", {shape}, {shape, amax},
          [f, as_8_bit](const Context& ctx, auto in, auto out) {
            forward(ctx, f, in[0], as_8_bit(out[0]),
                    {.quantization_scale = 16, .amax = static_cast<float*>(out[1].data())});
          })
          .bytes = count_ * (size() + 1);
      if (settings_.quick) break;
    }
  }

  // Backward without the input: from one bit an element, from the output.
  void add_memory_modes() {
    const Shape shape{count_}, mask{mask_words(count_) * 4 / size()};
    add("forward_mask", "relu", {shape}, {shape, mask}, [](const Context& ctx, auto in, auto out) {
      forward(ctx, relu(), in[0], out[0], {.mask = static_cast<std::uint32_t*>(out[1].data())});
    });
    add("backward_from_mask", "relu", {shape, mask}, {shape}, [](const Context& ctx, auto in, auto out) {
      backward_from_mask(ctx, relu(), static_cast<const std::uint32_t*>(in[1].data()), in[0], out[0]);
    });
    for (const Activation& f : {relu(), softplus()})
      add("backward_from_output", f.name(), {shape, shape}, {shape},
          [f](const Context& ctx, auto in, auto out) { backward_from_output(ctx, f, in[0], in[1], out[0]); });
  }

  void add_parameter_gradients() {
    const Shape matrix = with_columns(1024), sums{8, matrix.back()};  // room for f32 sums in any dtype
    const std::int64_t channels = matrix.back();
    for (const ActivationInfo& info : activations()) {
      if (info.parameter_count == 0 || info.name == "threshold") continue;
      if (settings_.quick && info.name != "leaky_relu") continue;
      const Activation f = Activation::parse(info.name);
      add("parameter_gradient", info.name, {matrix, matrix}, {sums},
          [f, n = info.parameter_count](const Context& ctx, auto in, auto out) {
            parameter_gradient(ctx, f, in[0], in[1], TensorView(out[0].data(), DType::kF32, Shape{n}));
          });
      if (info.name != "leaky_relu") continue;
      add("parameter_gradient", "leaky_relu+channels", {matrix, matrix}, {sums},
          [f, channels](const Context& ctx, auto in, auto out) {
            parameter_gradient(ctx, f, in[0], in[1],
                               TensorView(out[0].data(), DType::kF32, Shape{1, channels}), 1);
          });
    }
  }

  // A call alone on 4 KiB, beside an empty kernel.
  void add_latency(const Activation& f) {
    bytes_ = 4096;
    const Shape shape{settings_.elements(bytes_, dtype_)};
    auto& one = add("forward_latency", f.name(), {shape}, {shape},
                    [f](const Context& ctx, auto in, auto out) { forward(ctx, f, in[0], out[0]); });
    one.baseline = bench::Baseline::empty;
    one.floor = kLatencyFloor;
    auto& two = add("backward_latency", f.name(), {shape, shape}, {shape},
                    [f](const Context& ctx, auto in, auto out) { backward(ctx, f, in[0], in[1], out[0]); });
    two.baseline = bench::Baseline::empty;
    two.floor = kLatencyFloor;
  }

  // 64 small tensors in one call, beside 64 calls: queued as they are, and in a graph.
  void add_many(const Activation& f) {
    constexpr int kTensors = 64;
    bytes_ = settings_.quick ? 256 : 16384;
    const std::vector<Shape> shapes(kTensors, Shape{settings_.elements(bytes_, dtype_)});
    for (const bool graph : {true, false}) {
      auto& op = add("forward_many", std::string(f.name()) + (graph ? "+graph" : "+queued"), shapes, shapes,
                     [f](const Context& ctx, auto in, auto out) {
                       ForwardPair pairs[kTensors];
                       for (std::size_t i = 0; i < kTensors; ++i) pairs[i] = {in[i], out[i]};
                       forward_many(ctx, f, pairs);
                     });
      op.elements *= kTensors;
      op.capturable = graph;
      op.baseline = bench::Baseline::other;
      op.other = [f](const Context& ctx, auto in, auto out) {
        for (std::size_t i = 0; i < kTensors; ++i) forward(ctx, f, in[i], out[i]);
      };
    }
  }

  // ---------------------------------------------------------------- helpers

  template <class View>
  static View part(const View& view, std::int64_t first, const Shape& shape,
                   std::initializer_list<std::int64_t> strides) {
    auto* at =
        static_cast<std::conditional_t<std::is_same_v<View, TensorView>, char*, const char*>>(view.data());
    return View(at + first * static_cast<std::int64_t>(size_of(view.dtype())), view.dtype(), shape,
                std::span<const std::int64_t>(strides.begin(), strides.size()));
  }
  Shape with_columns(std::int64_t most) const {
    const std::int64_t columns = std::min(most, count_ / 8);
    return Shape{count_ / columns, columns};
  }
  std::int64_t size() const { return static_cast<std::int64_t>(size_of(dtype_)); }
  double floor(double value) const { return bytes_ >= std::int64_t{1} << 28 ? value : 0; }

  bench::Operation& add(std::string_view name, std::string_view variant, std::vector<Shape> inputs,
                        std::vector<Shape> outputs, bench::Call call) {
    const std::int64_t elements = inputs.front().count();
    return operations_.emplace_back(
        bench::Operation{.name = bench::operation_name(name, variant, dtype_, bytes_),
                         .dtype = dtype_,
                         .inputs = std::move(inputs),
                         .outputs = std::move(outputs),
                         .elements = elements,
                         .call = std::move(call)});
  }

  const bench::Settings& settings_;
  std::vector<bench::Operation> operations_;
  DType dtype_ = DType::kF32;  // of the operations being added
  std::int64_t bytes_ = 0;     // a tensor, nominally
  std::int64_t count_ = 0;     // elements of that
};

std::vector<bench::Operation> list(const bench::Settings& settings) { return List(settings).operations(); }

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

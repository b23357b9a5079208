// Every activation of the registry in f32, f16 and bf16: forward, backward, jvp and backward_of_backward at
// the largest size, forward and backward on misaligned tensors of that size and on 4 KiB; a few of them in
// every dtype and size, and in whatever else the interface can do.
#include <algorithm>

#include "harness.hpp"

using namespace actium;

namespace {

// What the speed of memory should leave of an operation (docs/benchmarks.md).
constexpr double kFloor = 0.95, kMisalignedFloor = 0.90, kLatencyFloor = 1 / 1.2, kManyFloor = 1;

constexpr std::string_view kSome[] = {"relu", "tanh", "silu", "gelu", "softplus"};
constexpr DType kMainDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

class List {
 public:
  explicit List(const bench::Settings& settings) : settings_(settings) {}

  std::vector<bench::Operation> operations() {
    // By dtype, so that the tensors are filled but a few times.
    for (const DType dtype : kDTypes) {
      const bool main = std::ranges::count(kMainDTypes, dtype) > 0;
      for (const std::int64_t bytes : settings_.tensor_bytes)
        for (const ActivationInfo& info : activations()) {
          const bool every = main && bytes == settings_.tensor_bytes.back() && !settings_.quick;
          if (every || is_some(info.name)) add_orders(Activation::parse(info.name), dtype, bytes);
        }
      if (!main) continue;
      dtype_ = dtype;
      for (const ActivationInfo& info : activations()) {
        if (settings_.quick && !is_some(info.name)) continue;
        set_bytes(settings_.tensor_bytes.back());
        add_misaligned(Activation::parse(info.name));
        set_bytes(4096);
        add_latency(Activation::parse(info.name));
      }
      if (dtype == DType::kF16 && !settings_.quick) continue;  // bf16 stands for both below
      set_bytes(settings_.tensor_bytes.back());
      for (const Activation& f : {silu(), gelu()}) {
        add_rows(f);
        add_fused(f);
        add_8_bit(f);
        if (settings_.quick) break;
      }
      add_memory_modes();
      add_parameter_gradients();
      set_bytes(settings_.quick ? 256 : 16384);
      add_many(silu());
    }
    return std::move(operations_);
  }

 private:
  static bool is_some(std::string_view name) { return std::ranges::count(kSome, name) > 0; }
  void set_bytes(std::int64_t bytes) {
    bytes_ = bytes;
    count_ = settings_.elements(bytes, dtype_);
  }

  void add_orders(const Activation& f, DType dtype, std::int64_t bytes) {
    dtype_ = dtype;
    set_bytes(bytes);
    const Shape shape{count_};
    add("forward", f.name(), {shape}, {shape},
        [f](const Context& ctx, auto in, auto out) { forward(ctx, f, in[0], out[0]); });
    add("backward", f.name(), {shape, shape}, {shape},
        [f](const Context& ctx, auto in, auto out) { backward(ctx, f, in[0], in[1], out[0]); });
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
      auto& one = add(
          "forward_rows", variant, {whole}, {whole},
          [f, from](const Context& ctx, auto in, auto out) { forward(ctx, f, from(in[0]), from(out[0])); });
      one.bytes = 2 * rows * columns * size();
      if (gap == 1) one.floor = floor(kMisalignedFloor);
      auto& two = add("backward_rows", variant, {whole, whole}, {whole},
                      [f, from](const Context& ctx, auto in, auto out) {
                        backward(ctx, f, from(in[0]), from(in[1]), from(out[0]));
                      });
      two.bytes = 3 * rows * columns * size();
      if (gap == 1) two.floor = floor(kMisalignedFloor);
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
    const Shape shape{count_};
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
    const std::vector<Shape> shapes(kTensors, Shape{count_});
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
      op.floor = kManyFloor;
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
  /// At smaller sizes time is latency, in f64 arithmetic.
  double floor(double value) const {
    return dtype_ != DType::kF64 && bytes_ >= std::int64_t{1} << 28 ? value : 0;
  }

  bench::Operation& add(std::string_view name, std::string_view variant, std::vector<Shape> inputs,
                        std::vector<Shape> outputs, bench::Call call) {
    const std::int64_t elements = inputs.front().count();
    return operations_.emplace_back(
        bench::Operation{.name = bench::operation_name(name, variant, dtype_, bytes_),
                         .dtype = dtype_,
                         .inputs = std::move(inputs),
                         .outputs = std::move(outputs),
                         .elements = elements,
                         .floor = floor(kFloor),
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

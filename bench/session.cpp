#include "session.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

namespace actium::bench {
namespace {

constexpr double kGraphBelow = 50e-6;   // seconds; shorter calls are replayed from a CUDA graph
constexpr std::int64_t kMaxSets = 512;  // of tensors to rotate over
constexpr std::size_t kAlignment = 512;

template <class T>
std::vector<T> random_block(std::size_t bytes) {
  std::mt19937_64 engine(42);
  std::normal_distribution<double> normal(0, 2);
  std::vector<T> block(bytes / sizeof(T));
  for (T& value : block) value = static_cast<T>(normal(engine));
  return block;
}

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::size_t bytes_of(std::span<const Shape> shapes, DType dtype, bool padded) {
  std::size_t total = 0;
  for (const Shape& shape : shapes) {
    const std::size_t bytes = static_cast<std::size_t>(shape.count()) * size_of(dtype);
    total += padded ? aligned(bytes) : bytes;
  }
  return total;
}

}  // namespace

// ---------------------------------------------------------------- memory

bool Arena::reserve(const Context& ctx, std::size_t bytes) {
  if (bytes <= bytes_) return false;
  memory_ = Tensor();  // freed first: two of these may not fit
  bytes_ = 0;
  memory_ = Tensor(ctx, DType::kF64, Shape{static_cast<std::int64_t>((bytes + 7) / 8)});
  bytes_ = (bytes + 7) / 8 * 8;
  return true;
}
// One block from the host, then doubled on the device.
template <class T>
void Arena::tile(const Context& ctx) {
  const std::size_t first = std::min(bytes_, std::size_t{4} << 20);
  const std::vector<T> block = random_block<T>(first);
  const auto part = [&](std::size_t offset, std::size_t bytes) {
    return TensorView(data() + offset, dtype_of<T>::value,
                      Shape{static_cast<std::int64_t>(bytes / sizeof(T))});
  };
  copy(ctx, block, part(0, first));
  for (std::size_t done = first; done < bytes_; done *= 2)
    copy(ctx, part(0, std::min(done, bytes_ - done)), part(done, std::min(done, bytes_ - done)));
}

void Arena::fill(const Context& ctx, DType dtype, bool fresh) {
  if (!fresh && filled_ == dtype) return;
  switch (dtype) {
    case DType::kF64:
      tile<double>(ctx);
      break;
    case DType::kF32:
      tile<float>(ctx);
      break;
    case DType::kF16:
      tile<f16>(ctx);
      break;
    case DType::kBF16:
      tile<bf16>(ctx);
      break;
    default:
      throw std::invalid_argument("no random numbers of " + std::string(to_string(dtype)));
  }
  filled_ = dtype;
}

// ---------------------------------------------------------------- measuring

Measurement Session::measure(const Operation& op) {
  const Context& ctx = device_.context();
  const std::size_t in_bytes = bytes_of(op.inputs, op.dtype, true);
  const std::size_t out_bytes = bytes_of(op.outputs, op.dtype, true);
  const std::size_t set_bytes = std::max(in_bytes + out_bytes, kAlignment);
  const std::size_t want = quick_ ? 2 : device_.cold_bytes() / set_bytes + 2;
  const std::size_t sets = std::min<std::size_t>(want, kMaxSets);
  inputs_.fill(ctx, op.dtype, inputs_.reserve(ctx, sets * in_bytes));
  outputs_.reserve(ctx, sets * out_bytes);

  std::vector<Work> calls;
  std::byte* in = inputs_.data();
  std::byte* out = outputs_.data();
  const auto slices = [&](auto view, std::span<const Shape> shapes, std::byte*& at) {
    std::vector<decltype(view)> views;
    for (const Shape& shape : shapes) {
      views.emplace_back(at, op.dtype, shape);
      at += aligned(static_cast<std::size_t>(shape.count()) * size_of(op.dtype));
    }
    return views;
  };
  const bool waits = op.baseline == Baseline::empty;
  for (std::size_t i = 0; i < sets; ++i)
    calls.push_back([&ctx, &op, waits, ins = slices(ConstTensorView(), op.inputs, in),
                     outs = slices(TensorView(), op.outputs, out)] {
      op.call(ctx, ins, outs);
      if (waits) ctx.synchronize();
    });

  Measurement m = measure(calls, op.capturable, waits);
  m.bytes = op.bytes > 0 ? op.bytes
                         : static_cast<std::int64_t>(bytes_of(op.inputs, op.dtype, false) +
                                                     bytes_of(op.outputs, op.dtype, false));
  m.cold = device_.cuda() && (sets - 1) * set_bytes >= device_.cold_bytes();
  return m;
}

std::pair<double, std::string> Session::baseline(const Operation& op, const Measurement& m) {
  if (op.baseline == Baseline::other) {
    Operation other = op;
    other.call = op.other;
    return {measure(other).median, "other call"};
  }
  if (op.baseline == Baseline::empty) {
    if (empty_ == 0)
      empty_ = measure({.name = "empty",
                        .inputs = {Shape{1}},
                        .outputs = {Shape{1}},
                        .baseline = Baseline::empty,
                        .call = [this](const Context&, auto, auto) { device_.launch_empty(); }})
                   .median;
    return {empty_, "empty kernel"};
  }
  std::int64_t largest = 1;
  for (const auto* shapes : {&op.inputs, &op.outputs})
    for (const Shape& shape : *shapes) largest = std::max(largest, shape.count());
  const auto large = [&](const std::vector<Shape>& shapes, std::ptrdiff_t most) {
    const auto count =
        std::ranges::count_if(shapes, [&](const Shape& s) { return 2 * s.count() >= largest; });
    return std::clamp<std::ptrdiff_t>(count, 1, most);
  };
  const auto reads = large(op.inputs, kMaxReads), writes = large(op.outputs, kMaxWrites);
  return {stream_seconds(op.dtype, reads, writes, m.bytes),
          std::to_string(reads) + "r" + std::to_string(writes) + "w"};
}

/// Seconds of the fastest way to read `reads` tensors and write `writes`, `bytes` in all; each measured
/// once a run. `dtype` is what the tensors hold already.
double Session::stream_seconds(DType dtype, std::ptrdiff_t reads, std::ptrdiff_t writes, std::int64_t bytes) {
  double& known = stream_seconds_[{reads, writes, bytes}];
  if (known > 0) return known;
  constexpr std::int64_t kPacket = 16;
  const std::int64_t each = std::max(bytes / (reads + writes) / kPacket, std::int64_t{1}) * kPacket;
  const Shape shape{each / static_cast<std::int64_t>(size_of(dtype))};
  Operation op{.name = "streams",
               .dtype = dtype,
               .inputs = std::vector<Shape>(static_cast<std::size_t>(reads), shape),
               .outputs = std::vector<Shape>(static_cast<std::size_t>(writes), shape)};
  std::vector<Call> ways;
  for (int variant = 0; variant < device_.stream_variants(); ++variant)
    ways.push_back(
        [this, variant](const Context&, auto in, auto out) { device_.launch_stream(variant, in, out); });
  if (reads == 1 && writes == 1) {
    ways.push_back([this](const Context&, auto in, auto out) {
      device_.copy_bytes(in[0].data(), out[0].data(), static_cast<std::size_t>(in[0].bytes()));
    });
    ways.push_back([](const Context& ctx, auto in, auto out) { forward(ctx, identity(), in[0], out[0]); });
  }
  for (const Call& way : ways) {
    op.call = way;
    // To exactly the bytes of the operation.
    const Measurement m = measure(op);
    const double seconds = m.median * static_cast<double>(bytes) / static_cast<double>(m.bytes);
    if (known == 0 || seconds < known) known = seconds;
  }
  return known;
}

// Times rotations over `calls`, whose tensors together exceed the cache, so that each call finds its own
// cold.
Measurement Session::measure(const std::vector<Work>& calls, bool capturable, bool waits) {
  const auto rotations = [&calls](std::int64_t times) {
    return [&calls, times] {
      for (std::int64_t i = 0; i < times; ++i)
        for (const Work& call : calls) call();
    };
  };
  const auto count = static_cast<std::int64_t>(calls.size());
  calls.front()();  // loads modules, makes handles
  device_.context().synchronize();
  const auto seconds = [&](const Work& work) {
    return waits ? Device::host_seconds(work) : device_.seconds(work);
  };
  const double estimate = std::max(seconds(rotations(1)), 1e-7);
  const std::int64_t times = quick_ ? 1 : static_cast<std::int64_t>(std::ceil(0.5e-3 / estimate));
  Work work = rotations(times);
  Measurement m;
  m.calls_per_sample = times * count;
  m.graph = device_.cuda() && capturable && !waits && estimate / static_cast<double>(count) < kGraphBelow;
  if (m.graph) work = device_.captured(work);

  seconds(work);  // warm-up
  std::vector<double> samples;
  const std::size_t least = quick_ ? 1 : 3;
  for (double total = 0; samples.size() < least || (total < min_time_ && samples.size() < 10'000);) {
    samples.push_back(seconds(work) / static_cast<double>(m.calls_per_sample));
    total += samples.back() * static_cast<double>(m.calls_per_sample);
  }
  std::sort(samples.begin(), samples.end());
  const auto quantile = [&](double q) {
    return samples[static_cast<std::size_t>(q * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  m.median = quantile(0.5);
  m.p20 = quantile(0.2);
  m.p80 = quantile(0.8);
  m.samples = static_cast<std::int64_t>(samples.size());
  return m;
}

}  // namespace actium::bench

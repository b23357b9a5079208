#include "harness.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <ranges>
#include <stdexcept>
#include <tuple>
#include <utility>

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>

#include "streams.hpp"
#endif

namespace actium::bench {
namespace {

constexpr double kGraphBelow = 50e-6;   // seconds; shorter calls are replayed from a CUDA graph
constexpr std::int64_t kMaxSets = 512;  // of tensors to rotate over
constexpr std::size_t kAlignment = 512;
constexpr std::ptrdiff_t kMaxReads = 3, kMaxWrites = 2;  // of the stream kernels

using Work = std::function<void()>;

// ---------------------------------------------------------------- the device: stream, clock, copy, facts

#if ACTIUM_CUDA
void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}
#define ACTIUM_BENCH_CHECK(call) check(call, #call)
#endif

class Device {
 public:
  /// `which` is auto, cpu or cuda.
  explicit Device(const std::string& which) : context_(Context::cpu()) {
    if (which == "cpu" || (which == "auto" && !Context::best().is_cuda())) return;
#if ACTIUM_CUDA
    const int index = Context::cuda().device();  // throws where there is no device
    ACTIUM_BENCH_CHECK(cudaSetDevice(index));
    ACTIUM_BENCH_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    ACTIUM_BENCH_CHECK(cudaEventCreate(&start_));
    ACTIUM_BENCH_CHECK(cudaEventCreate(&stop_));
#endif
    context_ = Context::cuda(stream_);
  }
  const Context& context() const { return context_; }
  bool cuda() const { return context_.is_cuda(); }

  /// Seconds that `work` takes. On a GPU it is queued twice and the second pass is timed, by events: the
  /// first one covers the latency of the launch and leaves the caches as a stream of such work does.
  double seconds(const Work& work) const {
#if ACTIUM_CUDA
    if (cuda()) {
      work();
      ACTIUM_BENCH_CHECK(cudaEventRecord(start_, stream_));
      work();
      ACTIUM_BENCH_CHECK(cudaEventRecord(stop_, stream_));
      ACTIUM_BENCH_CHECK(cudaEventSynchronize(stop_));
      float milliseconds = 0;
      ACTIUM_BENCH_CHECK(cudaEventElapsedTime(&milliseconds, start_, stop_));
      return static_cast<double>(milliseconds) * 1e-3;
    }
#endif
    return host_seconds(work);
  }

  /// The same by the host's clock, for work that waits for its result.
  static double host_seconds(const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  /// `work` as one graph launch; the same work on the CPU.
  Work captured(const Work& work) const {
#if ACTIUM_CUDA
    if (cuda()) {
      cudaGraph_t graph = nullptr;
      ACTIUM_BENCH_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
      try {
        work();
      } catch (...) {
        cudaStreamEndCapture(stream_, &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
        throw;
      }
      ACTIUM_BENCH_CHECK(cudaStreamEndCapture(stream_, &graph));
      cudaGraphExec_t executable = nullptr;
      const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
      cudaGraphDestroy(graph);
      check(status, "cudaGraphInstantiate");
      const std::shared_ptr<CUgraphExec_st> owner(executable,
                                                  [](cudaGraphExec_t e) { cudaGraphExecDestroy(e); });
      return [owner, stream = stream_] { ACTIUM_BENCH_CHECK(cudaGraphLaunch(owner.get(), stream)); };
    }
#endif
    return work;
  }

  void copy_bytes(const void* from, void* to, std::size_t bytes) const {
#if ACTIUM_CUDA
    if (cuda()) {
      ACTIUM_BENCH_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
      return;
    }
#endif
    std::memcpy(to, from, bytes);
  }

  /// Does nothing, with a kernel on a GPU.
  void launch_empty() const {
#if ACTIUM_CUDA
    if (cuda()) ACTIUM_BENCH_CHECK(static_cast<cudaError_t>(bench::launch_empty(stream_)));
#endif
  }

  /// How many ways launch_stream() has.
  int stream_variants() const {
#if ACTIUM_CUDA
    if (cuda()) return kStreamVariants;
#endif
    return 1;
  }

  /// Each out[w] = the sum of all in[r] (a little more in a second output), on tensors of equal sizes taken
  /// as f32.
  void launch_stream(int variant, std::span<const ConstTensorView> in,
                     std::span<const TensorView> out) const {
    const std::int64_t bytes = out.front().bytes();
#if ACTIUM_CUDA
    if (cuda()) {
      const void* inputs[kMaxReads];
      void* outputs[kMaxWrites];
      for (std::size_t r = 0; r < in.size(); ++r) inputs[r] = in[r].data();
      for (std::size_t w = 0; w < out.size(); ++w) outputs[w] = out[w].data();
      ACTIUM_BENCH_CHECK(static_cast<cudaError_t>(bench::launch_stream(static_cast<int>(in.size()),
                                                                       static_cast<int>(out.size()), variant,
                                                                       inputs, outputs, bytes, stream_)));
      return;
    }
#endif
    static_cast<void>(variant);
    for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) / sizeof(float); ++i) {
      float sum = 0;
      for (const ConstTensorView& x : in) sum += static_cast<const float*>(x.data())[i];
      for (std::size_t w = 0; w < out.size(); ++w)
        static_cast<float*>(out[w].data())[i] = sum + static_cast<float>(w);
    }
  }

  /// Bytes to touch between two uses of a buffer so that the second finds none of it in cache.
  std::size_t cold_bytes() const {
#if ACTIUM_CUDA
    if (cuda()) return 2 * static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize));
#endif
    return std::size_t{8}
           << 20;  // a few buffers are enough: the reference path is far from the speed of memory
  }

  std::vector<std::pair<std::string, std::string>> facts() const {
    const BuildInfo build = build_info();
    std::vector<std::pair<std::string, std::string>> facts = {
        {"device", context_.name()},
        {"actium_version", build.version},
        {"git_commit", ACTIUM_GIT_COMMIT},
        {"cuda_toolkit", build.cuda_toolkit.empty() ? "none" : build.cuda_toolkit},
        {"cuda_architectures", build.architectures.empty() ? "none" : build.architectures},
        {"cuda_driver", build.driver},
        {"clock", cuda() ? "CUDA events" : "wall"},
        {"baseline", "as many reads and writes of the same bytes in all, the fastest way of several"}};
#if ACTIUM_CUDA
    if (cuda()) {
      const auto add = [&](const char* name, cudaDeviceAttr which) {
        facts.emplace_back(name, std::to_string(attribute(which)));
      };
      add("multiprocessors", cudaDevAttrMultiProcessorCount);
      add("l2_bytes", cudaDevAttrL2CacheSize);
      add("max_sm_clock_kHz", cudaDevAttrClockRate);
      add("max_memory_clock_kHz", cudaDevAttrMemoryClockRate);
      add("memory_bus_bits", cudaDevAttrGlobalMemoryBusWidth);
      add("ecc", cudaDevAttrEccEnabled);
    }
#endif
    return facts;
  }

 private:
#if ACTIUM_CUDA
  int attribute(cudaDeviceAttr which) const {
    int value = 0;
    ACTIUM_BENCH_CHECK(cudaDeviceGetAttribute(&value, which, context_.device()));
    return value;
  }
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
#endif
  Context::Stream stream_ = nullptr;  // lives as long as the process
  Context context_;
};

// ---------------------------------------------------------------- memory: tensors are slices of two arenas

template <class T>
std::vector<T> random_block(std::size_t bytes) {
  std::mt19937_64 engine(42);
  std::normal_distribution<double> normal(0, 2);
  std::vector<T> block(bytes / sizeof(T));
  for (T& value : block) value = static_cast<T>(normal(engine));
  return block;
}

class Arena {
 public:
  /// Makes room, uninitialised. True when the memory is new.
  bool reserve(const Context& ctx, std::size_t bytes) {
    if (bytes <= bytes_) return false;
    memory_ = Tensor();  // freed first: two of these may not fit
    bytes_ = 0;
    memory_ = Tensor(ctx, DType::kF64, Shape{static_cast<std::int64_t>((bytes + 7) / 8)});
    bytes_ = (bytes + 7) / 8 * 8;
    return true;
  }
  std::byte* data() { return static_cast<std::byte*>(memory_.view().data()); }

  /// Fills everything with normal random numbers of `dtype`, unless that is what it holds already.
  void fill(const Context& ctx, DType dtype, bool fresh) {
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

 private:
  // One block from the host, then doubled on the device.
  template <class T>
  void tile(const Context& ctx) {
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
  Tensor memory_;
  std::size_t bytes_ = 0;
  std::optional<DType> filled_;
};

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::size_t bytes_of(std::span<const Shape> shapes, DType dtype, bool padded) {
  std::size_t total = 0;
  for (const Shape& shape : shapes) {
    const std::size_t bytes = static_cast<std::size_t>(shape.count()) * size_of(dtype);
    total += padded ? aligned(bytes) : bytes;
  }
  return total;
}

// ---------------------------------------------------------------- measuring

struct Measurement {
  double median = 0, p20 = 0, p80 = 0;  // seconds a call
  std::int64_t bytes = 0, samples = 0, calls_per_sample = 0;
  bool graph = false, cold = false;
  double gigabytes_per_second() const { return static_cast<double>(bytes) / median * 1e-9; }
};

class Session {
 public:
  Session(const std::string& device, double min_time, bool quick)
      : device_(device), min_time_(min_time), quick_(quick) {}
  const Device& device() const { return device_; }

  Measurement measure(const Operation& op) {
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

  /// Seconds of what `op` is compared with, and what that is: "2 reads 1 write". `m` is op's measurement.
  std::pair<double, std::string> baseline(const Operation& op, const Measurement& m) {
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

 private:
  /// Seconds of the fastest way to read `reads` tensors and write `writes`, `bytes` in all; each measured
  /// once a run. `dtype` is what the tensors hold already.
  double stream_seconds(DType dtype, std::ptrdiff_t reads, std::ptrdiff_t writes, std::int64_t bytes) {
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
  Measurement measure(const std::vector<Work>& calls, bool capturable, bool waits) {
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

  Device device_;
  double min_time_;
  bool quick_;
  Arena inputs_, outputs_;
  std::map<std::tuple<std::ptrdiff_t, std::ptrdiff_t, std::int64_t>, double> stream_seconds_;
  double empty_ = 0;  // seconds of an empty kernel, waited for
};

// ---------------------------------------------------------------- Google Benchmark: one iteration is one
// measurement

void measure_and_count(benchmark::State& state, Session& session, const Operation& op, int& failures) {
  try {
    for (auto _ : state) {
      const Measurement m = session.measure(op);
      state.SetIterationTime(m.median);
      const auto [baseline, what] = session.baseline(op, m);
      state.SetLabel(what);
      state.counters["GB/s"] = m.gigabytes_per_second();
      state.counters["baseline_us"] = baseline * 1e6;
      state.counters["percent_of_baseline"] = 100 * baseline / m.median;
      state.counters["floor_percent"] = session.device().cuda() ? 100 * op.floor : 0;
      state.counters["bytes"] = static_cast<double>(m.bytes);
      state.counters["ns_per_element"] = m.median * 1e9 / static_cast<double>(op.elements);
      state.counters["us_p20"] = m.p20 * 1e6;
      state.counters["us_p80"] = m.p80 * 1e6;
      state.counters["samples"] = static_cast<double>(m.samples);
      state.counters["calls_per_sample"] = static_cast<double>(m.calls_per_sample);
      state.counters["graph"] = m.graph;
      state.counters["cold"] = m.cold;
      if (op.flops > 0) state.counters["TFLOP/s"] = op.flops / m.median * 1e-12;
    }
  } catch (const std::exception& error) {
    ++failures;
    std::fprintf(stderr, "%s: %s\n", op.name.c_str(), error.what());
    state.SkipWithError(error.what());
  }
}

/// The columns that matter, a line a measurement. Everything else is in the JSON file.
class Table : public benchmark::BenchmarkReporter {
 public:
  explicit Table(const Device& device) : device_(device) {}
  bool ReportContext(const Context&) override {
    for (const auto& [name, value] : device_.facts()) std::printf("%s: %s\n", name.c_str(), value.c_str());
    std::printf("%-52s %12s %10s %8s %6s %10s  %s\n", "operation/variant/dtype/bytes", "us", "GB/s", "% base",
                "floor", "ns/elem", "baseline");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const auto counter = [&run](const char* name) {
        const auto found = run.counters.find(name);
        return found == run.counters.end() ? NAN : found->second.value;
      };
      if (run.run_type == Run::RT_Aggregate) continue;
      std::printf("%-52s ", run.run_name.function_name.c_str());
      if (std::isnan(counter("GB/s"))) {
        std::printf("FAILED\n");
        continue;
      }
      const double floor = counter("floor_percent"), percent = counter("percent_of_baseline");
      std::printf("%12.2f %10.1f %8.1f ", run.GetAdjustedRealTime(), counter("GB/s"), percent);
      if (floor > 0)
        std::printf("%6.0f", floor);
      else
        std::printf("%6s", "-");
      std::printf(" %10.4f  %s", counter("ns_per_element"), run.report_label.c_str());
      if (!std::isnan(counter("TFLOP/s"))) std::printf(", %.2f TFLOP/s", counter("TFLOP/s"));
      std::printf("%s\n", percent < floor ? "  BELOW" : "");
    }
    std::fflush(stdout);
  }

 private:
  const Device& device_;
};

constexpr const char* kUsage =
    "  --quick             a smoke run: tiny sizes, one short sample each\n"
    "  --device=WHICH      auto (default), cpu or cuda\n"
    "  --sizes=BYTES,...   bytes a tensor (default: 1, 16 and 256 MiB on a GPU, 1 MiB on the CPU)\n"
    "  --min-time=SECONDS  timed seconds a measurement (default 0.02)\n"
    "and Google Benchmark's own, among them --benchmark_filter=REGEX and --benchmark_out=FILE (JSON)\n";

struct Arguments {
  std::string device = "auto";
  bool quick = false, help = false;
  double min_time = 0.02;
  std::vector<std::int64_t> sizes;
};

template <class T>
T number(const std::string& argument, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0))
    throw std::invalid_argument("want a number > 0, got '" + std::string(text) + "' in " + argument);
  return value;
}

// Takes our own arguments out of argv. Throws std::invalid_argument.
Arguments parse(int& argc, char** argv) {
  Arguments parsed;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i],
                      value = argument.substr(std::min(argument.find('=') + 1, argument.size()));
    const auto is = [&](const char* name) { return argument.starts_with(std::string(name) + "="); };
    if (argument == "--help") {
      parsed.help = true;
    } else if (argument == "--quick") {
      parsed.quick = true;
      parsed.min_time = 1e-3;
    } else if (is("--device")) {
      if (value != "auto" && value != "cpu" && value != "cuda")
        throw std::invalid_argument("--device: want auto, cpu or cuda, got '" + value + "'");
      parsed.device = value;
    } else if (is("--min-time")) {
      parsed.min_time = number<double>(argument, value);
    } else if (is("--sizes")) {
      for (const auto part : std::views::split(value, ',')) {
        parsed.sizes.push_back(number<std::int64_t>(argument, {part.begin(), part.end()}));
        if (parsed.sizes.back() < 8) throw std::invalid_argument("want at least 8 bytes in " + argument);
      }
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return parsed;
}

}  // namespace

std::string operation_name(std::string_view operation, std::string_view variant, DType dtype,
                           std::int64_t bytes) {
  return std::string(operation) + "/" + std::string(variant) + "/" + std::string(to_string(dtype)) + "/" +
         std::to_string(bytes);
}

int run(int argc, char** argv, std::vector<Operation> (*list)(const Settings& settings)) {
  try {
    const Arguments arguments = parse(argc, argv);
    if (arguments.help) {
      std::printf("%s [options]\n%s", argv[0], kUsage);
      return 0;
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;

    Session session(arguments.device, arguments.min_time, arguments.quick);
    for (const auto& [name, value] : session.device().facts()) benchmark::AddCustomContext(name, value);
    Settings settings{
        .cuda = session.device().cuda(), .quick = arguments.quick, .tensor_bytes = arguments.sizes};
    if (settings.tensor_bytes.empty()) {
      if (settings.quick)
        settings.tensor_bytes = {std::int64_t{1} << 13};
      else if (settings.cuda)
        settings.tensor_bytes = {std::int64_t{1} << 20, std::int64_t{1} << 24, std::int64_t{1} << 28};
      else
        settings.tensor_bytes = {std::int64_t{1} << 20};
    }
    std::sort(settings.tensor_bytes.begin(), settings.tensor_bytes.end());

    const std::vector<Operation> operations = list(settings);
    int failures = 0;
    for (const Operation& op : operations)
      benchmark::RegisterBenchmark(
          op.name.c_str(), [&](benchmark::State& state) { measure_and_count(state, session, op, failures); })
          ->Iterations(1)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    Table table(session.device());
    const std::size_t ran = benchmark::RunSpecifiedBenchmarks(&table);
    benchmark::Shutdown();
    if (ran == 0) std::fprintf(stderr, "%s: nothing to measure\n", argv[0]);
    return failures == 0 && ran > 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 2;
  }
}

}  // namespace actium::bench

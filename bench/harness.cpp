// Google Benchmark: arguments, the list of operations as benchmarks, the table.
#include "harness.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ranges>
#include <stdexcept>

#include "session.hpp"

namespace actium::bench {
namespace {

// ---------------------------------------------------------------- one iteration is one measurement

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
      const double floor = op.most_us > 0 ? baseline * 1e6 / op.most_us : op.floor;
      state.counters["floor_percent"] = session.device().cuda() ? 100 * floor : 0;
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

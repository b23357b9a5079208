/// accuracy_sweep [--stride N] [--from A] [--to B] [--write PAGE] NAME...: every float (or one block of 1024
/// in N) with A <= |x| < B through the functors of these activations. --write puts what every float gave into
/// the page's table (docs/accuracy.md).
#include <accuracy/sweep.hpp>

#include <actium/activation.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace actium::accuracy {

#define ACTIUM_ACTIVATION(name, ...)                                                    \
  extern template SweepResult sweep<ActivationKind::name>(float, float, std::uint32_t); \
  extern template double judged_by_mpfr<ActivationKind::name>(const SweepWorst&, int);
#include <actium/activations.def>

void SweepResult::add(const SweepResult& other) {
  for (std::size_t order = 0; order < 3; ++order)
    if (!(other.worst[order].ulp <= worst[order].ulp)) worst[order] = other.worst[order];
  inputs += other.inputs;
  if (other.step_back > step_back) {
    step_back = other.step_back;
    step_back_x = other.step_back_x;
  }
}

namespace {

/// What is to be swept, and the page that has the results.
struct Range {
  float first = 0, last = std::numeric_limits<float>::infinity();
  std::uint32_t stride = 1;
  const char* page = nullptr;
  bool is_everything() const {
    return first == 0 && last == std::numeric_limits<float>::infinity() && stride == 1;
  }
};

std::string row_start(const ActivationInfo& info) { return "| " + std::string(info.name) + " |"; }

/// Puts a row into the page's table, whose rows stand in the registry's order; false where there is no table.
bool write_row(const char* path, const ActivationInfo& info, const std::string& row) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  in.close();
  const auto begin = std::ranges::find(lines, kBeginSweep), end = std::ranges::find(lines, kEndSweep);
  if (begin == lines.end() || end == lines.end() || end < begin) return false;
  const auto position_of = [](const std::string& line) {
    for (const ActivationInfo& other : activations())
      if (line.starts_with(row_start(other))) return static_cast<int>(other.kind);
    return -1;  // the header
  };
  const auto place = std::find_if(
      begin, end, [&](const std::string& line) { return position_of(line) >= static_cast<int>(info.kind); });
  // The blank line before the end is behind all rows.
  if (place == end)
    lines.insert(end[-1].empty() ? end - 1 : end, row);
  else if (place->starts_with(row_start(info)))
    *place = row;
  else
    lines.insert(place, row);
  std::ofstream out(path);
  for (const std::string& line : lines) out << line << '\n';
  return static_cast<bool>(out.flush());
}

template <ActivationKind K>
bool run(const Range& range) {
  const ActivationInfo& info = activations()[static_cast<std::size_t>(K)];
  const auto start = std::chrono::steady_clock::now();
  const SweepResult result = sweep<K>(range.first, range.last, range.stride);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%-12.*s %.0f million floats in %.0f s", static_cast<int>(info.name.size()), info.name.data(),
              static_cast<double>(result.inputs) * 1e-6, seconds);
  std::string row = row_start(info);
  bool within = true;
  for (int order = 0; order < 3; ++order) {
    const SweepWorst& worst = result.worst[static_cast<std::size_t>(order)];
    const double ulp = judged_by_mpfr<K>(worst, order), bound = info.ulp_bound(DType::kF32, order);
    // A curvature has a floor round its zeros (measure.hpp), which is not applied here.
    if (order < 2) within &= ulp <= bound;
    std::printf(", %s %.4f at %.9g (bound %g%s)",
                order == 0   ? "value"
                : order == 1 ? "slope"
                             : "curvature",
                ulp, static_cast<double>(worst.x), bound, order == 2 ? ", no floor here" : "");
    char cells[80];
    std::snprintf(cells, sizeof cells, " %.4f | %.9g |", ulp, static_cast<double>(worst.x));
    if (order < 2) row += cells;
  }
  std::printf(", back by %lld ULP near %.9g\n", static_cast<long long>(result.step_back),
              static_cast<double>(result.step_back_x));
  std::fflush(stdout);
  row += " " + std::to_string(result.step_back) + " |";
  if (range.page && range.is_everything() && !write_row(range.page, info, row)) {
    std::fprintf(stderr, "accuracy_sweep: no table in '%s'\n", range.page);
    return false;
  }
  return within;
}

}  // namespace
}  // namespace actium::accuracy

int main(int argc, char** argv) {
  using namespace actium;
  accuracy::Range range;
  bool within = true, known = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    const bool option = text.starts_with("--") && i + 1 < argc;
    if (option && text == "--stride")
      range.stride = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    else if (option && text == "--from")
      range.first = std::strtof(argv[++i], nullptr);
    else if (option && text == "--to")
      range.last = std::strtof(argv[++i], nullptr);
    else if (option && text == "--write")
      range.page = argv[++i];
#define ACTIUM_ACTIVATION(name, ...) \
  else if (text == #name && range.stride > 0) within &= accuracy::run<ActivationKind::name>(range);
#include <actium/activations.def>
    else
      known = false;
  }
  if (!known || argc == 1) {
    std::fprintf(stderr, "usage: accuracy_sweep [--stride N] [--from A] [--to B] [--write PAGE] NAME...\n");
    return 2;
  }
  return within ? 0 : 1;
}

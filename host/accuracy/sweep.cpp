/// accuracy_sweep [--stride N] [--from A] [--to B] NAME...: every float (or one block of 1024 in N) with
/// A <= |x| < B through the functors of these activations.
#include <accuracy/sweep.hpp>

#include <actium/activation.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>

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

template <ActivationKind K>
bool run(float first, float last, std::uint32_t stride) {
  const ActivationInfo& info = activations()[static_cast<std::size_t>(K)];
  const auto start = std::chrono::steady_clock::now();
  const SweepResult result = sweep<K>(first, last, stride);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%-12.*s %.0f million floats in %.0f s", static_cast<int>(info.name.size()), info.name.data(),
              static_cast<double>(result.inputs) * 1e-6, seconds);
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
  }
  std::printf(", back by %g ULP near %.9g\n", static_cast<double>(result.step_back),
              static_cast<double>(result.step_back_x));
  std::fflush(stdout);
  return within;
}

}  // namespace
}  // namespace actium::accuracy

int main(int argc, char** argv) {
  using namespace actium;
  float first = 0, last = std::numeric_limits<float>::infinity();
  std::uint32_t stride = 1;
  bool within = true, known = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    const bool option = text.starts_with("--") && i + 1 < argc;
    if (option && text == "--stride")
      stride = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    else if (option && text == "--from")
      first = std::strtof(argv[++i], nullptr);
    else if (option && text == "--to")
      last = std::strtof(argv[++i], nullptr);
#define ACTIUM_ACTIVATION(name, ...) \
  else if (text == #name) within &= accuracy::run<ActivationKind::name>(first, last, stride);
#include <actium/activations.def>
    else
      known = false;
  }
  if (!known || stride == 0 || argc == 1) {
    std::fprintf(stderr, "usage: accuracy_sweep [--stride N] [--from A] [--to B] NAME...\n");
    return 2;
  }
  return within ? 0 : 1;
}

/// actium doctor: what was built, what was found, what will be used and why not the other.
#include <fmt/format.h>
#include <actium/error.hpp>
#include <actium/propagation.hpp>
#include <thread>

#include "commands.hpp"
#include "output.hpp"

namespace actium::cli {
namespace {

std::string compiler() {
#ifdef __clang__
  return __VERSION__;
#else
  return "g++ " __VERSION__;
#endif
}

/// The names of the CUDA devices that a context can be made on.
std::vector<std::string> cuda_devices() {
  std::vector<std::string> names;
  try {
    for (int device = 0;; ++device) names.push_back(Context::cuda(nullptr, device).name());
  } catch (const Error&) {  // one past the last device, or no CUDA at all: build_info() says why
  }
  return names;
}

std::string reason(const CommonOptions& options, const Context& chosen, const BuildInfo& info) {
  if (options.device != "auto") return "asked for by --device " + options.device;
  if (chosen.is_cuda()) return "a CUDA device can be used; the CPU path runs with --device cpu";
  return "CUDA is not used: " + info.cuda_status;
}

}  // namespace

int run_doctor(const CommonOptions& options) {
  const BuildInfo info = build_info();
  const std::vector<std::string> devices = cuda_devices();
  const unsigned threads = std::thread::hardware_concurrency();
  const Context chosen = open_context(options);
  const std::string why = reason(options, chosen, info);

  Output out(options.json);
  out.write_json({{"version", info.version},
                  {"built",
                   {{"cuda", info.cuda_built},
                    {"cuda_toolkit", info.cuda_toolkit},
                    {"architectures", info.architectures},
                    {"blas", blas_name()},
                    {"compiler", compiler()}}},
                  {"found",
                   {{"driver", info.driver},
                    {"devices", devices},
                    {"cuda_status", info.cuda_status},
                    {"cpu_threads", threads}}},
                  {"used", {{"device", chosen.name()}, {"reason", why}}}});
  const std::string cuda =
      info.cuda_built ? fmt::format("toolkit {}, architectures {}", info.cuda_toolkit, info.architectures)
                      : "no";
  out.print("actium {}\n", info.version);
  out.print("built\n  compiler  {}\n  CUDA      {}\n  BLAS      {}\n", compiler(), cuda, blas_name());
  out.print("found\n  CPU       {} threads\n  driver    {}\n", threads, info.driver);
  if (devices.empty()) out.print("  devices   none: {}\n", info.cuda_status);
  for (const std::string& device : devices) out.print("  device    {}\n", device);
  out.print("used by --device {}\n  {}\n  {}\n", options.device, chosen.name(), why);
  return 0;
}

}  // namespace actium::cli

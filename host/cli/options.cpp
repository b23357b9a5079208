#include "options.hpp"

#include <fmt/format.h>
#include <actium/error.hpp>

namespace actium::cli {
Context open_context(const CommonOptions& options) {
  if (options.device == "auto") return Context::best();
  if (options.device == "cpu") return Context::cpu();
  if (options.device == "cuda") {
    if (!Context::best().is_cuda())
      throw Error(ErrorKind::kNotBuilt, "--device cuda: " + build_info().cuda_status,
                  "--device auto takes the CPU where there is no GPU");
    return Context::cuda();
  }
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("--device: want auto, cpu or cuda, got '{}'", options.device));
}

}  // namespace actium::cli

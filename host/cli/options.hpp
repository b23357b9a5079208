#pragma once
/// What every subcommand takes.
#include <actium/context.hpp>
#include <optional>
#include <string>

namespace actium::cli {

struct CommonOptions {
  std::string device = "auto";      ///< auto, cpu or cuda
  std::optional<std::string> json;  ///< a file, or "-" for stdout; none: no JSON
};

/// The context that --device names. Throws Error for another word, and for cuda where there is none.
Context open_context(const CommonOptions& options);

}  // namespace actium::cli

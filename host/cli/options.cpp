#include "options.hpp"

#include <actium/error.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace actium::cli {
namespace {

void spell_out_non_finite(Json& node) {
  if (node.is_structured()) {
    for (auto& child : node) spell_out_non_finite(child);
  } else if (node.is_number_float()) {
    const double x = node.get<double>();
    if (std::isnan(x)) node = "nan";
    if (std::isinf(x)) node = x > 0 ? "inf" : "-inf";
  }
}

}  // namespace

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

void Output::write_json(const Json& document) const {
  if (json_) write_json_file(*json_, document);
}

void write_json_file(const std::string& path, Json document) {
  spell_out_non_finite(document);
  const std::string text = document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  const auto fail = [&path] {
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("cannot write '{}': {}", path, std::strerror(errno)));
  };
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) fail();
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (!written || std::fflush(file) != 0) fail();
  if (file != stdout && std::fclose(file) != 0) fail();
}

}  // namespace actium::cli

#pragma once
/// What every subcommand takes, and where its results go.
#include <fmt/format.h>
#include <actium/context.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace actium::cli {

using Json = nlohmann::ordered_json;

struct CommonOptions {
  std::string device = "auto";      ///< auto, cpu or cuda
  std::optional<std::string> json;  ///< a file, or "-" for stdout; none: no JSON
};

/// The context that --device names. Throws Error for another word, and for cuda where there is none.
Context open_context(const CommonOptions& options);

/// Where a subcommand writes: text to stdout, or to stderr where `--json -` keeps stdout for the JSON alone.
class Output {
 public:
  explicit Output(const CommonOptions& options) : json_(options.json) {}
  bool wants_json() const { return json_.has_value(); }
  template <class... T>
  void print(fmt::format_string<T...> format, T&&... arguments) const {
    fmt::print(text(), format, std::forward<T>(arguments)...);
  }
  /// Writes the document where --json says, and nothing without --json. Throws Error if it cannot.
  void write_json(const Json& document) const;

 private:
  std::FILE* text() const { return json_ == "-" ? stderr : stdout; }
  std::optional<std::string> json_;
};

/// Writes the document to a file, or to stdout for "-"; numbers that JSON does not have become the strings
/// "nan", "inf" and "-inf". Throws Error if it cannot.
void write_json_file(const std::string& path, Json document);

}  // namespace actium::cli

#pragma once
/// Where the program's words go: text, JSON, and complaints.
#include <fmt/format.h>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace actium::cli {

using Json = nlohmann::ordered_json;

/// Throw Error with the reason where stdout cannot be written. Text may wait in a buffer until
/// flush_stdout().
void write_stdout(std::string_view text);
void flush_stdout();

/// Writes what it can: a stderr that cannot be written is no error.
void write_stderr(std::string_view text) noexcept;

/// `text` fit for one line of a terminal: white space is a blank, another control character is '?', and the
/// middle of a very long text is "…".
std::string one_line(std::string_view text);

/// A file for one JSON document; "-" is stdout. It is opened at once, so that a path that cannot be written
/// is known before any work; what was in it stays until write(). Both throw Error where they cannot.
class JsonFile {
 public:
  explicit JsonFile(std::string path);
  /// Call once. Numbers that JSON does not have become the strings "nan", "inf" and "-inf".
  void write(Json document);
  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[noreturn]] void fail() const;
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;  ///< null: stdout
};

/// Where a subcommand writes: text to stdout, or to stderr where `--json -` keeps stdout for the JSON alone.
class Output {
 public:
  /// `json`: what --json says. Throws Error where that cannot be written.
  explicit Output(const std::optional<std::string>& json);
  template <class... T>
  void print(fmt::format_string<T...> format, T&&... arguments) const {
    write(fmt::format(format, std::forward<T>(arguments)...));
  }
  /// Shows what was printed so far.
  void flush() const;
  /// Writes the document where --json says, and nothing without --json.
  void write_json(const Json& document);

 private:
  void write(std::string_view text) const;
  std::optional<JsonFile> json_;
  bool to_stderr_;
};

}  // namespace actium::cli

#include "page_file.hpp"

#include <fmt/format.h>
#include <accuracy/page.hpp>
#include <actium/error.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "fail.hpp"

namespace actium::cli {

std::string read_page(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) fail(fmt::format("--write: cannot read '{}': {}", path, std::strerror(errno)));
  if (accuracy::with_tables(text, "").empty())
    fail(fmt::format("--write: '{}' has no tables to replace: no line '{}'", path,
                     accuracy::kBeginTables.substr(0, accuracy::kBeginTables.size() - 1)));
  return text;
}

void write_page(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) fail(fmt::format("--write: cannot write '{}': {}", path, std::strerror(errno)));
}

}  // namespace actium::cli

#pragma once
/// A page of docs/ whose tables a command writes.
#include <string>

namespace actium::cli {

/// Its text; Error for a file that cannot be read or has no markers (accuracy/page.hpp).
std::string read_page(const std::string& path);
void write_page(const std::string& path, const std::string& text);

}  // namespace actium::cli

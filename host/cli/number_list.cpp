#include "number_list.hpp"

#include <fmt/format.h>
#include <actium/error.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace actium::cli {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kInvalidArgument, message); }

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// `text` in quotes, cut where it would fill the screen.
std::string quoted(const std::string& text) {
  return text.size() <= 40 ? fmt::format("'{}'", text) : fmt::format("'{}...'", text.substr(0, 40));
}

std::string contents(const std::string& option, const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path);
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  std::getline(in, text, '\0');  // to the end: text holds no '\0'
  if (!in.eof()) fail(fmt::format("{}: cannot read {} as text", option, quoted(path)));
  return text;
}

}  // namespace

double parse_number(const std::string& option, const std::string& text) {
  const std::string number = trimmed(text);
  if (number.empty()) fail(option + ": want a number, got nothing");
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (end != number.c_str() + number.size())
    fail(fmt::format("{}: want a number, got {}", option, quoted(number)));
  const bool spelled_inf = number.find_first_of("iI") != std::string::npos;
  if (std::isinf(value) && !spelled_inf)
    fail(fmt::format("{}: {} is beyond the largest double, 1.8e308", option, quoted(number)));
  return value;
}

std::vector<double> parse_number_list(const std::string& option, const std::string& text) {
  const std::string list = text.starts_with('@') ? contents(option, text.substr(1)) : text;
  if (trimmed(list).empty()) fail(option + ": want numbers separated by commas, got an empty list");
  std::vector<double> numbers;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string item = fmt::format("{}: item {}", option, numbers.size() + 1);
    numbers.push_back(parse_number(item, list.substr(begin, end - begin)));
    begin = end + 1;
  }
  return numbers;
}

}  // namespace actium::cli

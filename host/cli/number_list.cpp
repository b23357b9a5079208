#include "number_list.hpp"

#include <fmt/format.h>
#include <actium/error.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "fail.hpp"

namespace actium::cli {
namespace {

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
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const auto cannot_read = [&](const char* reason) {
    fail(fmt::format("{}: cannot read {}: {}", option, quoted(path), reason));
  };
  const std::unique_ptr<std::FILE, Close> file(path == "-" ? nullptr : std::fopen(path.c_str(), "r"));
  if (path != "-" && file == nullptr) cannot_read(std::strerror(errno));
  std::FILE* const in = path == "-" ? stdin : file.get();
  std::string text;
  std::vector<char> block(1 << 16);
  while (const std::size_t count = std::fread(block.data(), 1, block.size(), in)) {
    text.append(block.data(), count);
    if (std::memchr(block.data(), '\0', count) != nullptr) cannot_read("it is not text");
  }
  if (std::ferror(in) != 0) cannot_read(std::strerror(errno));
  return text;
}

/// Whether a finite number becomes infinite in `dtype`.
bool overflows(double value, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return std::isfinite(value) && std::isinf(static_cast<float>(value));
    case DType::kF16:
      return std::isfinite(value) && std::isinf(static_cast<float>(f16(value)));
    case DType::kBF16:
      return std::isfinite(value) && std::isinf(static_cast<float>(bf16(value)));
    default:
      return false;
  }
}

/// Calls f with the position, from 1, and the text of each item between the commas.
template <class F>
void for_each_item(const std::string& list, const F& f) {
  std::size_t position = 0;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    f(++position, list.substr(begin, end - begin));
    begin = end + 1;
  }
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
  for_each_item(list, [&](std::size_t position, const std::string& item) {
    numbers.push_back(parse_number(fmt::format("{}: item {}", option, position), item));
  });
  return numbers;
}

std::vector<double> parse_number_list(const std::string& option, const std::string& text, DType dtype) {
  const std::vector<double> numbers = parse_number_list(option, text);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (overflows(numbers[i], dtype))
      fail(fmt::format("{}: item {}: {} is beyond the largest {}, {}; write {} for infinity", option, i + 1,
                       numbers[i], to_string(dtype), dtype == DType::kF16 ? "65504" : "3.4e38",
                       numbers[i] < 0 ? "-inf" : "inf"));
  return numbers;
}

std::vector<std::vector<double>> parse_number_rows(const std::string& option, const std::string& path,
                                                   DType dtype) {
  const std::string text = contents(option, path);
  std::vector<std::vector<double>> rows;
  int line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string list = trimmed(text.substr(begin, end - begin));
    ++line;
    begin = end + 1;
    if (list.empty()) continue;
    const std::string name = fmt::format("{}: line {}", option, line);
    if (list.starts_with('@')) fail(fmt::format("{}: want numbers, got {}", name, quoted(list)));
    rows.push_back(parse_number_list(name, list, dtype));
  }
  if (rows.empty()) fail(option + ": want rows of numbers separated by commas, got none");
  return rows;
}

int parse_integer(const std::string& option, const std::string& text, int first, int last,
                  const std::string& want) {
  const std::string number = trimmed(text);
  const char* const end = number.data() + number.size();
  int value = 0;
  const auto [stop, error] = std::from_chars(number.data(), end, value);
  if (error != std::errc() || stop != end || value < first || value > last)
    fail(fmt::format("{}: want {}, got {}", option, want, number.empty() ? "nothing" : quoted(number)));
  return value;
}

std::vector<int> parse_integer_list(const std::string& option, const std::string& text, int first, int last,
                                    const std::string& want) {
  const bool several = text.find(',') != std::string::npos;
  std::vector<int> numbers;
  for_each_item(text, [&](std::size_t position, const std::string& item) {
    const std::string name = several ? fmt::format("{}: item {}", option, position) : option;
    numbers.push_back(parse_integer(name, item, first, last, want));
  });
  return numbers;
}

}  // namespace actium::cli

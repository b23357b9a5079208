#include "output.hpp"

#include <unistd.h>
#include <actium/error.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace actium::cli {
namespace {

[[noreturn]] void cannot_write(const std::string& target) {
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("cannot write {}: {}", target, std::strerror(errno != 0 ? errno : EIO)));
}

void spell_out_non_finite(Json& node) {
  if (node.is_structured()) {
    for (auto& child : node) spell_out_non_finite(child);
  } else if (node.is_number_float()) {
    const double x = node.get<double>();
    if (std::isnan(x)) node = "nan";
    if (std::isinf(x)) node = x > 0 ? "inf" : "-inf";
  }
}

/// The first byte of a character at or after `at` in UTF-8.
std::size_t next_character(std::string_view text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

void write_stdout(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) cannot_write("to stdout");
}

void flush_stdout() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) cannot_write("to stdout");
}

void write_stderr(std::string_view text) noexcept {
  [[maybe_unused]] const std::size_t written = std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string one_line(std::string_view text) {
  constexpr std::size_t kHead = 340, kTail = 150;
  std::string line;
  if (text.size() > kHead + kTail) {
    line = one_line(text.substr(0, next_character(text, kHead)));
    return line + "…" + one_line(text.substr(next_character(text, text.size() - kTail)));
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : '\0');
    if (byte == '\n' || byte == '\t' || byte == '\r') {
      line += ' ';
    } else if (byte < 0x20 || byte == 0x7F) {
      line += '?';
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F in UTF-8
      line += '?';
      ++i;
    } else {
      line += text[i];
    }
  }
  return line;
}

JsonFile::JsonFile(std::string path) : path_(std::move(path)) {
  if (path_ == "-") return;
  file_.reset(std::fopen(path_.c_str(), "a"));  // keeps the contents
  if (file_ == nullptr) fail();
}

void JsonFile::fail() const { cannot_write("'" + path_ + "'"); }

void JsonFile::write(Json document) {
  spell_out_non_finite(document);
  const std::string text = document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (path_ == "-") {
    write_stdout(text);
    flush_stdout();
    return;
  }
  std::FILE* const file = file_.get();
  if (ftruncate(fileno(file), 0) != 0 && errno != EINVAL) fail();  // EINVAL: a pipe or a device
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size()) fail();
  if (std::fflush(file) != 0) fail();
  if (std::fclose(file_.release()) != 0) fail();
}

Output::Output(const std::optional<std::string>& json) : to_stderr_(json == "-") {
  if (json) json_.emplace(*json);
  if (to_stderr_) std::setvbuf(stderr, nullptr, _IOFBF, 0);  // tables may be long; flush() ends the wait
}

void Output::write(std::string_view text) const {
  if (to_stderr_) {
    write_stderr(text);
  } else {
    write_stdout(text);
  }
}

void Output::flush() const {
  if (to_stderr_) {
    std::fflush(stderr);
  } else {
    flush_stdout();
  }
}

void Output::write_json(const Json& document) {
  if (json_) json_->write(document);
}

}  // namespace actium::cli

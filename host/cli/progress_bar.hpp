#pragma once
/// Progress of a long measurement on a terminal.
#include <unistd.h>
#include <algorithm>
#include <cstdio>

#include "output.hpp"

namespace actium::cli {

/// A line on stderr, where that is a terminal, which the next one replaces.
class ProgressBar {
 public:
  explicit ProgressBar(std::size_t steps)
      : steps_(static_cast<double>(steps)), shown_(isatty(STDERR_FILENO)) {}
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// `share` of the present step is done.
  void show(const std::string& what, double share) {
    if (!shown_) return;
    constexpr std::size_t kWidth = 30;
    const auto filled = static_cast<std::size_t>((done_ + share) / steps_ * kWidth);
    write(fmt::format("\r[{:<{}}] {:3.0f} %  {:<24}", std::string(std::min(filled, kWidth), '#'), kWidth,
                      100 * (done_ + share) / steps_, what));
  }
  void next() { ++done_; }
  void clear() {
    if (shown_) write(fmt::format("\r{:70}\r", ""));
  }

 private:
  static void write(const std::string& text) {
    write_stderr(text);
    std::fflush(stderr);
  }
  double steps_, done_ = 0;
  bool shown_;
};

}  // namespace actium::cli

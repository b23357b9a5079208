#pragma once
// What the fuzzer's bytes become: small choices first, so that one changed byte changes one thing. Bytes that
// are missing count as 0, so every input is a case.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>

namespace actium_fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  std::uint8_t byte() { return at_ == end_ ? std::uint8_t{0} : *at_++; }
  bool flag() { return (byte() & 1) != 0; }
  /// True in one of `n` cases; false where bytes are missing.
  bool one_in(unsigned n) { return byte() % n == n - 1; }
  std::size_t below(std::size_t n) { return n <= 256 ? byte() % n : integer<std::uint16_t>() % n; }
  template <class T>
  T integer() {
    std::uint8_t bytes[sizeof(T)];
    for (std::uint8_t& b : bytes) b = byte();
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  template <class T, std::size_t N>
  T pick(const T (&list)[N]) {
    return list[below(N)];
  }
  /// A parameter: mostly ordinary, otherwise from the edge of what a check must tell apart.
  double number() {
    using L = std::numeric_limits<double>;
    constexpr double kNumbers[] = {1,
                                   0.7,
                                   2,
                                   0.01,
                                   3,
                                   100,
                                   0,
                                   -0.0,
                                   -1,
                                   1e-3,
                                   -1e-300,
                                   1e300,
                                   L::max(),
                                   -L::max(),
                                   1e38,
                                   3e38,
                                   3.402e38,
                                   3.5e38,
                                   -3e38,
                                   1e-46,
                                   L::denorm_min(),
                                   L::quiet_NaN(),
                                   L::infinity(),
                                   -L::infinity()};
    return one_in(8) ? std::bit_cast<double>(integer<std::uint64_t>()) : pick(kNumbers);
  }
  std::string text(std::size_t longest) {
    std::string s(below(longest + 1), ' ');
    for (char& c : s) c = static_cast<char>(byte());
    return s;
  }

 private:
  const std::uint8_t *at_, *end_;
};

/// Ends the process, which is how the fuzzer learns of a failure.
[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "\nFAILED: %s\n", what.c_str());
  std::abort();
}
inline void require(bool condition, const char* what) {
  if (!condition) fail(what);
}

}  // namespace actium_fuzz

/// One case. Linked with libFuzzer, or with replay.cpp.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

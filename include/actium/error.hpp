#pragma once
/// Errors. Every function of actium reports failure by throwing actium::Error, before anything is written.
#include <stdexcept>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)
namespace actium {

enum class ErrorKind {
  kInvalidArgument,  ///< a value, shape, dtype, stride, pointer or overlap that the call does not take
  kUnknownName,      ///< a name that is not in the registry
  kNotBuilt,         ///< this build or this machine has no such backend (no CUDA, no device)
  kOutOfMemory,      ///< host or device memory ran out
  kCuda,             ///< a CUDA runtime call failed
  kBlas,             ///< a cuBLAS call failed
};

/// what() is "message" or "message (hint)": the message says what was wanted and what was given, the hint
/// what to do next.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, const std::string& hint = {})
      : std::runtime_error(hint.empty() ? message : message + " (" + hint + ")"), kind_(kind), hint_(hint) {}
  ErrorKind kind() const noexcept { return kind_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  ErrorKind kind_;
  std::string hint_;
};

}  // namespace actium
#pragma GCC visibility pop

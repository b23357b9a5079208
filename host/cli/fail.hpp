#pragma once
// How the program refuses what it was given.
#include <actium/error.hpp>
#include <string>

namespace actium::cli {

[[noreturn]] inline void fail(const std::string& message) {
  throw Error(ErrorKind::kInvalidArgument, message);
}

}  // namespace actium::cli

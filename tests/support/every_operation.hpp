#pragma once
// A small call of every operation, in every dtype, at every size class and both alignments: together they run
// every kernel that was compiled. For tests that ask the same of all of them.
#include <actium/actium.hpp>
#include <actium/propagation.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace actium_test {

struct Operation {
  std::string name;
  actium::DType dtype;                              // of what it wrote
  bool capturable;                                  // asynchronous: neither allocates nor waits
  std::function<void(const actium::Context&)> run;  // may be run any number of times, with the same result
  std::function<std::vector<std::byte>(const actium::Context&)> read;  // what it wrote
};

/// Operations over tensors of their own, already made and filled on `ctx`. They may run on any context of
/// that device.
std::vector<Operation> every_operation(const actium::Context& ctx, std::uint64_t seed);

/// All of them, one after the other: what they wrote.
std::vector<std::byte> run_all(const actium::Context& ctx, const std::vector<Operation>& operations);

}  // namespace actium_test

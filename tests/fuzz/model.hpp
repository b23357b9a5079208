#pragma once
// What the headers say about a call, written down again: whether it is valid, and how it must fail if not.
// Knows the documentation only; host/validate.cpp is what it is held against.
#include <actium/activation.hpp>

#include "call.hpp"

namespace actium_fuzz {

/// Ways a call may end; a set of them.
enum Ending : unsigned { kReturns = 1, kInvalidArgument = 2, kUnknownName = 4, kOutOfMemory = 8, kCuda = 16 };

struct Verdict {
  unsigned allowed = kReturns;
  bool skip = false;  // valid as far as the library can see, but its memory is not there
};
Verdict judge(const Call& call, const Arenas& arenas);

/// "What a parameter may be, besides finite."
bool in_domain(const actium::ActivationInfo& info,
               const std::array<double, actium::kMaxParameters>& parameters, std::size_t index);

bool constructible(const View& v);     // Shape and TensorView take it
std::int64_t count_of(const View& v);  // of a constructible one
std::int64_t bytes_of(const View& v);
bool is_contiguous(const View& v);
/// Where each of its elements is, in order; none where there are more than some thousand.
std::vector<std::uintptr_t> addresses_of(const View& v);
int dtype_of(const View& v);  // -1: none

}  // namespace actium_fuzz

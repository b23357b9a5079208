#pragma once
// How far a kernel's result of a call with options may be from the CPU path's.
#include "formats.hpp"
#include "option_case.hpp"

namespace actium_fuzz {

using Memory = unsigned char[kParts][kMostBytes];

/// Fails with the element where they differ too much. `start`: what the parts held before the call.
void compare(const OptionCase& c, const Memory& start, const Memory& want, const Memory& got);

/// y = f(x) of one dtype.
void expect_value(const actium::Activation& f, actium::DType dtype, double x, double want, double got);

/// What the CPU path's slope may be off by, absolutely: next to a zero of it, where the terms cancel, it is
/// right to 2^-40 (f64: 2^-58); a sine's angle counts in units of itself.
Real slope_floor(const actium::Activation& f, bool f64, double x, Real slope, Real curvature);

}  // namespace actium_fuzz

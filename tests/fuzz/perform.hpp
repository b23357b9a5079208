#pragma once
// From plain data to the library's own types.
#include <actium/context.hpp>
#include <actium/tensor.hpp>

#include "call.hpp"

namespace actium_fuzz {

actium::TensorView make(const View& v);
void perform(const actium::Context& ctx, const Call& call);

}  // namespace actium_fuzz

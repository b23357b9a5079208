#pragma once
/// The error metric and the inputs of host/accuracy, for tests.
#include <support/mpreal.hpp>

#include <accuracy/inputs.hpp>

namespace actium_test {

using actium::DType;
using actium::accuracy::append_neighbours;
using actium::accuracy::Format;
using actium::accuracy::format_of;
using actium::accuracy::from_ordinal;
using actium::accuracy::sample_inputs;
using actium::accuracy::sign_changes;
using actium::accuracy::special_values;
using actium::accuracy::to_ordinal;
using actium::accuracy::ulp_error;

}  // namespace actium_test

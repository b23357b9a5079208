#pragma once
#include <accuracy/mpreal.hpp>

namespace actium_test {
using actium::accuracy::MpReal;
}

#include "support/devices.hpp"

namespace actium_test {

const char* const kGpu = "cuda";

}  // namespace actium_test

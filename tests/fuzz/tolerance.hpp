#pragma once
// How far a kernel's result may be from the CPU path's: the documented bound of the one plus that of the
// other (docs/accuracy.md).
#include <actium/propagation.hpp>

#include "kernels_case.hpp"

namespace actium_fuzz {

/// Compares what the device wrote with what the CPU wrote; fails with the element where they differ too much.
/// `inputs`, `want` and `got` are the tensors' bytes.
void compare(const KernelCase& c, const unsigned char* const (&inputs)[3],
             const unsigned char* const (&want)[2], const unsigned char* const (&got)[2]);

void compare(const KernelCase& c, const actium::SignalStatistics& want, const actium::SignalStatistics& got);

}  // namespace actium_fuzz

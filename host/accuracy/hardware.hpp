#pragma once
/// The approximate instructions of the hardware, driven to the corners of their documented errors: the twins
/// in <actium/device/intrinsics.cuh> round correctly and are moved by what stands here. Included before any
/// of the functors.
#ifdef ACTIUM_RECIPROCAL_ULP_ERROR
#error "<accuracy/hardware.hpp> comes before <actium/device/...>"
#endif

namespace actium::accuracy {

/// By how many ULP rcp.approx (at most 1), ex2.approx and rsqrt.approx (at most 2) are off. No functor has
/// both of the latter, so that they move together.
struct Corner {
  int reciprocal = 0, exp2 = 0, reciprocal_sqrt = 0;
};
inline constexpr Corner kCorners[] = {{0, 0, 0}, {1, 2, 2}, {1, -2, -2}, {-1, 2, 2}, {-1, -2, -2}};

inline constinit thread_local Corner hardware;

}  // namespace actium::accuracy

#define ACTIUM_RECIPROCAL_ULP_ERROR ::actium::accuracy::hardware.reciprocal
#define ACTIUM_EXP2_ULP_ERROR ::actium::accuracy::hardware.exp2
#define ACTIUM_RECIPROCAL_SQRT_ULP_ERROR ::actium::accuracy::hardware.reciprocal_sqrt

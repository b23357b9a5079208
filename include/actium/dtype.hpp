#pragma once
/// Element types: the four dtypes that everything computes in, the two 8-bit ones that some results can be
/// stored in, and the narrow storage types for code that has no CUDA header.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

struct __half;         // CUDA's own types are accepted too; only their size is assumed here
struct __nv_bfloat16;  // (both are 2 bytes with the same bits as f16 and bf16 below)

#pragma GCC visibility push(default)
namespace actium {

/// kE4M3 and kE5M2 are OCP's 8-bit types, for outputs that say so (actium::forward).
enum class DType : std::uint8_t { kF64, kF32, kF16, kBF16, kE4M3, kE5M2 };
/// The dtypes of every operation.
inline constexpr DType kDTypes[] = {DType::kF64, DType::kF32, DType::kF16, DType::kBF16};

constexpr bool is_8_bit(DType t) { return t == DType::kE4M3 || t == DType::kE5M2; }
constexpr std::size_t size_of(DType t) {
  return t == DType::kF64 ? 8 : t == DType::kF32 ? 4 : is_8_bit(t) ? 1 : 2;
}
constexpr std::string_view to_string(DType t) {
  constexpr std::string_view kNames[] = {"f64", "f32", "f16", "bf16", "e4m3", "e5m2"};
  return kNames[static_cast<std::size_t>(t)];
}
/// "f64", "f32", "f16" or "bf16"; throws Error(kUnknownName) for anything else.
DType parse_dtype(std::string_view name);

namespace detail {
/// The nearest value, ties to even, of a binary format with `ExponentBits` and `MantissaBits`, as its bits.
/// One rounding from double, so that a result computed in double is rounded once. NaN stays NaN (quiet).
template <int ExponentBits, int MantissaBits>
constexpr std::uint16_t round_to_16(double x) {
  constexpr int kBias = (1 << (ExponentBits - 1)) - 1;
  constexpr std::uint16_t kInf = ((1u << ExponentBits) - 1) << MantissaBits;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x), magnitude = bits & 0x7fffffffffffffffu;
  const std::uint16_t sign = static_cast<std::uint16_t>(bits >> 48) & 0x8000u;
  if (magnitude > 0x7ff0000000000000u) return sign | kInf | (1u << (MantissaBits - 1));
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  if (exponent > kBias) return sign | kInf;
  // The significand as an integer, then dropped bits: more of them for a subnormal result.
  const int dropped = 52 - MantissaBits + (exponent < 1 - kBias ? 1 - kBias - exponent : 0);
  if (dropped > 54) return sign;  // below half of the smallest subnormal
  const std::uint64_t significand =
      (magnitude & 0xfffffffffffffu) | (magnitude >> 52 ? 0x10000000000000u : 0u);
  std::uint64_t kept = significand >> dropped;
  const std::uint64_t rest = significand & ((std::uint64_t{1} << dropped) - 1);
  const std::uint64_t half = std::uint64_t{1} << (dropped - 1);
  if (rest > half || (rest == half && (kept & 1))) ++kept;
  // A carry moves into the exponent field, which is where it belongs (up to and including infinity).
  const int biased = exponent < 1 - kBias ? 0 : exponent + kBias - 1;
  return sign | static_cast<std::uint16_t>((static_cast<std::uint64_t>(biased) << MantissaBits) + kept);
}

/// The same for the 8-bit formats, where a magnitude from `largest` on (infinity too) becomes `largest`.
template <int ExponentBits, int MantissaBits>
constexpr std::uint8_t round_to_8(double x, double largest, std::uint8_t largest_bits,
                                  std::uint8_t nan_bits) {
  const bool negative = std::bit_cast<std::uint64_t>(x) >> 63 != 0;
  const double magnitude = negative ? -x : x;
  unsigned rounded = nan_bits;
  if (magnitude >= largest) {
    rounded = largest_bits;
  } else if (magnitude == magnitude) {
    // In units of the last place there, to nearest even: adding 2^52 rounds away everything below 1.
    constexpr int kMinExponent = 2 - (1 << (ExponentBits - 1));
    const int own = static_cast<int>(std::bit_cast<std::uint64_t>(magnitude) >> 52) - 1023;
    const int exponent = own < kMinExponent ? kMinExponent : own;
    const double unit =
        std::bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent - MantissaBits) << 52);
    const auto units = static_cast<unsigned>(magnitude / unit + 0x1p52 - 0x1p52);
    // A carry moves into the exponent field, which is where it belongs.
    rounded = (static_cast<unsigned>(exponent - kMinExponent) << MantissaBits) + units;
  }
  return static_cast<std::uint8_t>(rounded | (negative ? 0x80u : 0u));
}
template <int ExponentBits, int MantissaBits>
constexpr float widen_from_8(std::uint8_t bits) {
  constexpr int kMinExponent = 2 - (1 << (ExponentBits - 1));
  const unsigned exponent = (bits & 0x7fu) >> MantissaBits, mantissa = bits & ((1u << MantissaBits) - 1);
  const unsigned significand = exponent == 0 ? mantissa : mantissa | 1u << MantissaBits;
  const int scale = kMinExponent - MantissaBits + (exponent == 0 ? 0 : static_cast<int>(exponent) - 1);
  const float value =
      static_cast<float>(significand) * std::bit_cast<float>(static_cast<std::uint32_t>(127 + scale) << 23);
  return bits & 0x80u ? -value : value;
}

template <int ExponentBits, int MantissaBits>
constexpr float widen_from_16(std::uint16_t bits) {
  constexpr int kBias = (1 << (ExponentBits - 1)) - 1;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> MantissaBits) & ((1u << ExponentBits) - 1);
  const std::uint32_t mantissa = bits & ((1u << MantissaBits) - 1);
  if (exponent == (1u << ExponentBits) - 1)
    return std::bit_cast<float>(sign | 0x7f800000u | mantissa << (23 - MantissaBits));
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^(1 - bias - MantissaBits), exact in float
    constexpr float kUnit = std::bit_cast<float>(
        ExponentBits == 8 ? 1u << (23 - MantissaBits)
                          : static_cast<std::uint32_t>(127 + 1 - kBias - MantissaBits) << 23);
    const float value = static_cast<float>(mantissa) * kUnit;
    // bf16's unit is itself subnormal in float, where the product is exact too.
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 127 - kBias) << 23 | mantissa << (23 - MantissaBits));
}
}  // namespace detail

/// IEEE binary16. A storage type: convert to float or double to compute.
struct f16 {
  std::uint16_t bits = 0;
  constexpr f16() = default;
  constexpr explicit f16(double x) : bits(detail::round_to_16<5, 10>(x)) {}
  constexpr operator float() const { return detail::widen_from_16<5, 10>(bits); }
  static constexpr f16 from_bits(std::uint16_t b) {
    f16 h;
    h.bits = b;
    return h;
  }
};

/// bfloat16: the upper half of a binary32. A storage type: convert to float or double to compute.
struct bf16 {
  std::uint16_t bits = 0;
  constexpr bf16() = default;
  constexpr explicit bf16(double x) : bits(detail::round_to_16<8, 7>(x)) {}
  constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
  static constexpr bf16 from_bits(std::uint16_t b) {
    bf16 h;
    h.bits = b;
    return h;
  }
};

/// OCP E4M3: 4 exponent and 3 mantissa bits, largest finite number 448, no infinity, NaN 0x7f and 0xff. A
/// storage type, to nearest even; magnitudes past 448, infinity too, become 448.
struct e4m3 {
  static constexpr float kLargest = 448;
  std::uint8_t bits = 0;
  constexpr e4m3() = default;
  constexpr explicit e4m3(double x) : bits(detail::round_to_8<4, 3>(x, kLargest, 0x7e, 0x7f)) {}
  constexpr operator float() const {
    return (bits & 0x7fu) == 0x7fu ? std::bit_cast<float>(0x7fc00000u) : detail::widen_from_8<4, 3>(bits);
  }
  static constexpr e4m3 from_bits(std::uint8_t b) {
    e4m3 e;
    e.bits = b;
    return e;
  }
};

/// OCP E5M2: 5 exponent and 2 mantissa bits, largest finite number 57344; f16's upper half. A storage type,
/// to nearest even; magnitudes past 57344, infinity too, become 57344.
struct e5m2 {
  static constexpr float kLargest = 57344;
  std::uint8_t bits = 0;
  constexpr e5m2() = default;
  constexpr explicit e5m2(double x) : bits(detail::round_to_8<5, 2>(x, kLargest, 0x7b, 0x7f)) {}
  constexpr operator float() const { return f16::from_bits(static_cast<std::uint16_t>(bits << 8)); }
  static constexpr e5m2 from_bits(std::uint8_t b) {
    e5m2 e;
    e.bits = b;
    return e;
  }
};

/// The dtype of an element type. Specialise it for a 2-byte type of your own that has the same bits.
template <class T>
struct dtype_of;
template <>
struct dtype_of<double> : std::integral_constant<DType, DType::kF64> {};
template <>
struct dtype_of<float> : std::integral_constant<DType, DType::kF32> {};
template <>
struct dtype_of<f16> : std::integral_constant<DType, DType::kF16> {};
template <>
struct dtype_of<bf16> : std::integral_constant<DType, DType::kBF16> {};
template <>
struct dtype_of<e4m3> : std::integral_constant<DType, DType::kE4M3> {};
template <>
struct dtype_of<e5m2> : std::integral_constant<DType, DType::kE5M2> {};
template <>
struct dtype_of<__half> : std::integral_constant<DType, DType::kF16> {};
template <>
struct dtype_of<__nv_bfloat16> : std::integral_constant<DType, DType::kBF16> {};

template <class T>
concept Element = requires {
  dtype_of<std::remove_cv_t<T>>::value;
};

}  // namespace actium
#pragma GCC visibility pop

// The emulated kernels, and the tests of the functors on the CPU, stand on the twins of the GPU's
// instructions. Where there is a GPU: is each instruction its twin?
#include <actium/dtype.hpp>
#include <cmath>

#include "support/devices.hpp"
#include "support/samples.hpp"
#include "support/twins.hpp"

namespace {

using namespace actium_test;
using actium::bf16;
using actium::e4m3;
using actium::e5m2;
using actium::f16;

class Twins : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, Twins, testing::Values("cuda"),
                         [](const auto& device) { return std::string(device.param); });

/// Within `ulp` of the twin, where results that are not normal are the limit of those that are.
template <class T>
bool near(T x, T y, double ulp) {
  constexpr T kLeast = std::numeric_limits<T>::min(), kLargest = std::numeric_limits<T>::max();
  const T distance = static_cast<T>(ulp) * std::numeric_limits<T>::epsilon();
  if (std::isnormal(y)) return std::abs(x - y) <= std::abs(y) * distance;
  return std::isinf(y) ? x == y || std::abs(x) >= kLargest * (1 - distance)
                       : std::abs(x) <= kLeast * (1 + distance);
}

template <class T>
void compare(int count) {
  std::vector<T> a = sample<T>(static_cast<std::size_t>(count), kSeed), b = sample<T>(a.size(), kSeed + 1),
                 c = sample<T>(a.size(), kSeed + 2);
  // All pairs of special values come first; of the others a quarter is where an exponential is finite.
  const std::vector<T> corners = corner_values<T>();
  for (std::size_t i = 0; i < corners.size(); ++i)
    for (std::size_t j = 0; j < corners.size(); ++j) {
      a[i * corners.size() + j] = corners[i];
      b[i * corners.size() + j] = corners[j];
    }
  const std::vector<T> ordinary = normal_sample<T>(a.size(), kSeed + 3, 0, 60);
  for (std::size_t i = corners.size() * corners.size(); i < a.size(); i += 4) a[i] = ordinary[i];
  std::vector<TwinValues<T>> got(a.size());
  ASSERT_EQ(twin_values_on_device(a.data(), b.data(), c.data(), got.data(), count), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const TwinValues<T> want = twin_values(a[i], b[i], c[i]);
    EXPECT_EQ(got[i].multiply_high, want.multiply_high);
    for (int k = 0; k < kTwinCount; ++k) {
      const T x = got[i].value[k], y = want.value[k];
      if (std::isnan(x) && std::isnan(y)) continue;
      const double ulp = std::is_same_v<T, float> ? kTwins[k].ulp : 0;
      if (ulp > 0 && std::fpclassify(a[i]) == FP_SUBNORMAL) continue;  // counts as 0
      const bool same = actium::device::to_bits(x) == actium::device::to_bits(y);
      ASSERT_TRUE(same || (ulp > 0 && near(x, y, ulp)))
          << kTwins[k].name << " of " << a[i] << ", " << b[i] << ", " << c[i] << ": " << x << ", want " << y
          << "; " << seed_message(kSeed);
    }
  }
}

TEST_P(Twins, InstructionsInFloat) { compare<float>(1 << 22); }
TEST_P(Twins, InstructionsInDouble) { compare<double>(1 << 22); }

/// The bits of x in T, all NaNs alike.
template <class T>
unsigned stored(double x) {
  return std::isnan(x) ? 0xffffffffu : T(x).bits;
}
template <class T>
unsigned alike(unsigned bits) {
  using Bits = decltype(T{}.bits);
  return std::isnan(float{T::from_bits(static_cast<Bits>(bits))}) ? 0xffffffffu : bits;
}

TEST_P(Twins, NarrowNumbersAreTheSoftwareOnes) {
  // Every upper half of a float, with lower halves on both sides of where a rounding turns.
  std::vector<float> x;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const std::uint32_t lower : {0u, 1u, 0x0fffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      x.push_back(from_bits<float>(upper << 16 | lower));
  const std::vector<float> more = sample<float>(1 << 20, kSeed);
  x.insert(x.end(), more.begin(), more.end());
  // The same as doubles, a last bit further: one rounding must see it.
  std::vector<double> wide(x.begin(), x.end());
  for (std::size_t i = 0; i < wide.size(); ++i)
    if (i % 3 != 0) wide[i] = std::nextafter(wide[i], i % 3 == 1 ? 0.0 : std::copysign(1e300, wide[i]));
  std::vector<Narrowed> got(x.size());
  ASSERT_EQ(narrow_on_device(x.data(), wide.data(), got.data(), static_cast<int>(x.size())), 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = static_cast<double>(x[i]);
    ASSERT_EQ(alike<f16>(got[i].f16), stored<f16>(v)) << v;
    ASSERT_EQ(alike<bf16>(got[i].bf16), stored<bf16>(v)) << v;
    ASSERT_EQ(alike<f16>(got[i].f16_of_double), stored<f16>(wide[i])) << wide[i];
    ASSERT_EQ(alike<bf16>(got[i].bf16_of_double), stored<bf16>(wide[i])) << wide[i];
    ASSERT_EQ(unsigned{got[i].e4m3} & (std::isnan(v) ? 0x7fu : 0xffu),
              std::isnan(v) ? 0x7fu : unsigned{e4m3(v).bits})
        << v;
    ASSERT_EQ(unsigned{got[i].e5m2} & (std::isnan(v) ? 0x7fu : 0xffu),
              std::isnan(v) ? 0x7fu : unsigned{e5m2(v).bits})
        << v;
  }
}

TEST_P(Twins, WidenedNumbersAreTheSoftwareOnes) {
  std::vector<std::uint16_t> bits(0x10000);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  std::vector<Widened> got(bits.size());
  ASSERT_EQ(widen_on_device(bits.data(), got.data(), static_cast<int>(bits.size())), 0);
  const auto same = [](float x, float y) {
    return (std::isnan(x) && std::isnan(y)) || actium::device::to_bits(x) == actium::device::to_bits(y);
  };
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(i);
    ASSERT_TRUE(same(got[i].f16, f16::from_bits(bits[i])) && same(got[i].bf16, bf16::from_bits(bits[i])) &&
                same(got[i].e4m3, e4m3::from_bits(byte)) && same(got[i].e5m2, e5m2::from_bits(byte)))
        << i;
  }
}

TEST_P(Twins, PacketsAreCopies) {
  std::vector<unsigned char> in(16 * 1000), out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 7 + i / 251);
  ASSERT_EQ(copy_packets_on_device(in.data(), out.data(), 1000), 0);
  EXPECT_EQ(in, out);
}

}  // namespace

// The emulated kernels, and the tests of the functors on the CPU, stand on the twins of the GPU's
// instructions. Where there is a GPU: is each instruction its twin?
#include <cmath>

#include "support/devices.hpp"
#include "support/samples.hpp"
#include "support/twins.hpp"

namespace {

using namespace actium_test;

class Twins : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, Twins, testing::Values("cuda"),
                         [](const auto& device) { return std::string(device.param); });

template <class T>
void compare(int count) {
  std::vector<T> a = sample<T>(static_cast<std::size_t>(count), kSeed), b = sample<T>(a.size(), kSeed + 1),
                 c = sample<T>(a.size(), kSeed + 2);
  // All pairs of special values come first.
  const std::vector<T> corners = corner_values<T>();
  for (std::size_t i = 0; i < corners.size(); ++i)
    for (std::size_t j = 0; j < corners.size(); ++j) {
      a[i * corners.size() + j] = corners[i];
      b[i * corners.size() + j] = corners[j];
    }
  std::vector<TwinValues<T>> got(a.size());
  ASSERT_EQ(twin_values_on_device(a.data(), b.data(), c.data(), got.data(), count), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const TwinValues<T> want = twin_values(a[i], b[i], c[i]);
    for (int k = 0; k < kTwins; ++k) {
      const T x = got[i].value[k], y = want.value[k];
      if (std::isnan(x) && std::isnan(y)) continue;
      if (k == kTwins - 1) {  // documented with one ULP, for normal numbers with a normal reciprocal
        if (std::isnormal(a[i]) && std::isnormal(y)) {
          ASSERT_LE(std::abs(x - y), std::abs(y) * std::numeric_limits<T>::epsilon())
              << kTwinNames[k] << " of " << a[i];
        }
        continue;
      }
      ASSERT_EQ(actium::device::to_bits(x), actium::device::to_bits(y))
          << kTwinNames[k] << " of " << a[i] << ", " << b[i] << ", " << c[i] << "; " << seed_message(kSeed);
    }
  }
}

TEST_P(Twins, InstructionsInFloat) { compare<float>(1 << 22); }
TEST_P(Twins, InstructionsInDouble) { compare<double>(1 << 22); }

TEST_P(Twins, PacketsAreCopies) {
  std::vector<unsigned char> in(16 * 1000), out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 7 + i / 251);
  ASSERT_EQ(copy_packets_on_device(in.data(), out.data(), 1000), 0);
  EXPECT_EQ(in, out);
}

}  // namespace

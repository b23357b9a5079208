// The further derivatives of softmax on devices of several kinds, at every length where the way of sharing
// out a row of one, two or three inputs changes.
#include <actium/softmax.hpp>

#include <algorithm>

#include "support/derivative_rows.hpp"
#include "support/row_devices.hpp"

namespace {

using namespace actium;
using namespace actium_test;

class SoftmaxDerivativeRows : public RowDeviceTest {};
ACTIUM_INSTANTIATE_ROW_DEVICES(SoftmaxDerivativeRows);

TEST_P(SoftmaxDerivativeRows, EveryWayOfSharingOutARow) {
  SCOPED_TRACE(seed_message(kSeed));
  std::set<RowScope> seen;
  const auto check = [&]<class T>(std::type_identity<T>) {
    constexpr int kBytes = sizeof(T);
    // Quick and in f64: those of two inputs have the most kernels, and these lengths take the others' as
    // well.
    for (const int inputs : quick() || kBytes == 8 ? std::vector{2} : std::vector{1, 2, 3}) {
      for (const std::int64_t cols : turns(kBytes, inputs)) {
        SCOPED_TRACE(std::to_string(kBytes) + " bytes, " + std::to_string(inputs) + " inputs, " +
                     std::to_string(cols) + " columns");
        seen.insert(kernels::plan_row(cols, kBytes, inputs, kernels::row_device()).scope);
        // Rows whose parts have different variables, and one of which whole parts are -inf.
        const auto n = static_cast<std::size_t>(cols);
        std::vector<T> z = near_and_far<T>(2 * n, cols);
        z.resize(3 * n, T(-std::numeric_limits<float>::infinity()));
        const std::vector<T> head = normal_sample<T>(n / 3 + 1, kSeed, 0, 4);
        std::copy(head.begin(), head.end(), z.begin() + static_cast<std::ptrdiff_t>(2 * n));
        check_every_derivative_of<T>(ctx, 3, cols, {}, z, normal_sample<T>(3 * n, kSeed + 1, 100),
                                     normal_sample<T>(3 * n, kSeed + 2));
      }
    }
  };
  check(std::type_identity<float>{});
  if (!quick()) check(std::type_identity<double>{});
  EXPECT_TRUE(std::includes(seen.begin(), seen.end(), GetParam().scopes.begin(), GetParam().scopes.end()));
}

}  // namespace

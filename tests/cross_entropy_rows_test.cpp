// Cross-entropy on devices of several kinds, at every length where the way of sharing out a row changes.
#include <actium/cross_entropy.hpp>

#include "dispatch.hpp"
#include "support/cross_entropy.hpp"
#include "support/guarded.hpp"
#include "support/row_devices.hpp"

namespace {

using namespace actium;
using namespace actium_test;

class CrossEntropyRows : public RowDeviceTest {};
ACTIUM_INSTANTIATE_ROW_DEVICES(CrossEntropyRows);

constexpr std::size_t kRows = 3;

TEST_P(CrossEntropyRows, EveryWayOfSharingOutARow) {
  SCOPED_TRACE(seed_message(kSeed));
  for (const bool smoothed : {false, true}) {
    std::set<RowScope> seen;
    bool again = false;
    std::vector<DType> dtypes{DType::kF32};
    if (!quick()) dtypes.push_back(DType::kBF16);
    if (!quick() && !smoothed) dtypes.push_back(DType::kF64);
    for (const DType dtype : dtypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        const DType computed = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
        const int registers = kernels::row_registers(sizeof(T), smoothed ? 2 : 1);
        for (const std::int64_t cols : turns(sizeof(T), 1, registers)) {
          SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(cols));
          const kernels::RowPlan plan =
              kernels::plan_row(cols, sizeof(T), 1, kernels::row_device(), registers);
          seen.insert(plan.scope);
          again = again || (plan.scope == RowScope::kGrid && plan.shared_bytes == 0);
          // Three rows: labels in the first, the last and a middle column, of the largest logit, an ordinary
          // one and, where whole slices are far down, one of these.
          const auto n = static_cast<std::size_t>(cols);
          std::vector<T> z = normal_sample<T>(kRows * n, kSeed + n, 0, 4);
          const std::vector<std::int64_t> labels = {0, cols - 1, cols / 2};
          z[0] = T(20);
          for (std::size_t j = 0; j < n; ++j)
            if (j > n / 3) z[2 * n + j] = smoothed ? T(-60) : T(-std::numeric_limits<float>::infinity());
          z[2 * n + static_cast<std::size_t>(labels[2])] = T(-50);
          const CrossEntropyOptions options{.label_smoothing = smoothed ? 0.1 : 0};
          const Labels on_device(ctx, labels);
          const IndexView label_view = on_device.view({kRows});
          const Shape shape{kRows, cols};
          Guarded<T> zs(ctx, z, 1), loss(ctx, kRows), both_loss(ctx, kRows), dz(ctx, z.size(), 3),
              in_place(ctx, z, 2);
          cross_entropy(ctx, zs.view(shape), label_view, loss.view(), options);
          cross_entropy_with_gradient(ctx, zs.view(shape), label_view, both_loss.view(), dz.view(shape),
                                      options);
          const auto losses = loss.read(), both_losses = both_loss.read(), dzs = dz.read();
          const double tie = std::ldexp(0.002, 23 - format_of(dtype).mantissa_bits);
          for (std::size_t r = 0; r < kRows; ++r) {
            const ExactCrossEntropy want([&](std::size_t j) { return static_cast<double>(z[r * n + j]); }, n,
                                         static_cast<std::size_t>(labels[r]),
                                         {.label_smoothing = options.label_smoothing});
            const auto error = [&](T got, long double exact, long double terms) {
              const long double slack =
                  smoothed ? std::ldexp(terms, 2 - format_of(computed).mantissa_bits) : 0;
              return computed_ulps(static_cast<double>(got), exact, slack, dtype, computed);
            };
            for (const T got : {losses[r], both_losses[r]})
              ASSERT_LE(error(got, want.loss, 0), sizeof(T) == 2 ? tie : 8)
                  << "loss of row " << r << ": " << static_cast<double>(got) << " " << want.loss;
            for (std::size_t j = 0; j < n; ++j)
              ASSERT_LE(error(dzs[r * n + j], want.dz[j], want.dz_terms[j]), sizeof(T) == 2 ? tie : 4)
                  << "dz " << r << " " << j << ": " << static_cast<double>(dzs[r * n + j]) << " "
                  << want.dz[j];
          }
          ASSERT_TRUE(zs.untouched() && loss.guards_intact() && both_loss.guards_intact() &&
                      dz.guards_intact());

          // In place, where the second pass reads what may have been written, and alone.
          cross_entropy_with_gradient(ctx, in_place.view(shape), label_view, both_loss.view(),
                                      in_place.view(shape), options);
          ASSERT_TRUE(same_bits(in_place.read(), dzs) && same_bits(both_loss.read(), both_losses));
          ASSERT_TRUE(in_place.guards_intact());
          Guarded<T> one(ctx,
                         std::vector<T>(z.begin() + static_cast<std::ptrdiff_t>(n),
                                        z.begin() + static_cast<std::ptrdiff_t>(2 * n)),
                         5);
          cross_entropy_with_gradient(ctx, one.view(), IndexView(label_view.data() + 1, {1}), {}, one.view(),
                                      options);
          ASSERT_TRUE(
              same_bits(one.read(), std::vector<T>(dzs.begin() + static_cast<std::ptrdiff_t>(n),
                                                   dzs.begin() + static_cast<std::ptrdiff_t>(2 * n))));
        }
      });
    EXPECT_EQ(seen, GetParam().scopes);
    EXPECT_EQ(again, GetParam().reads_again);
  }
}

}  // namespace

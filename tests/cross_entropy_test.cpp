// Cross-entropy and its gradient on every device, against their definition in long double.
#include <actium/cross_entropy.hpp>
#include <cmath>

#include "dispatch.hpp"
#include "support/cross_entropy.hpp"
#include "support/devices.hpp"
#include "support/errors.hpp"
#include "support/guarded.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLossUlps = 8, kGradientUlps = 4;  // of f32, or f64

std::vector<std::int64_t> columns() {
  if (quick()) return {1, 33, 130, 513, 8200};
  return {1, 2, 3, 31, 64, 127, 129, 513, 1000, 1025, 2051, 4099, 16387, 33001, 70003};
}

DType computing(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

std::vector<std::int64_t> random_labels(std::int64_t rows, std::int64_t cols) {
  std::mt19937_64 random(kSeed + static_cast<std::uint64_t>(cols));
  std::vector<std::int64_t> labels;
  for (std::int64_t r = 0; r < rows; ++r)
    labels.push_back(std::uniform_int_distribution<std::int64_t>(0, cols - 1)(random));
  return labels;
}

class CrossEntropyTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(CrossEntropyTest);

TEST_P(CrossEntropyTest, LossesAndGradientsOfEveryDTypeAndRowLength) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : columns())
        for (const double spread : {1.0, 12.0}) {
          SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols) + " spread " +
                       std::to_string(spread));
          // The last row is sure and right: a tiny loss.
          const std::int64_t rows = cols > 2000 ? 3 : 6;
          const auto n = static_cast<std::size_t>(cols), count = static_cast<std::size_t>(rows) * n;
          std::vector<T> z = normal_sample<T>(count, kSeed + n, 0, spread);
          const std::vector<std::int64_t> labels = random_labels(rows, cols);
          for (std::size_t j = 0; j < n; ++j) z[count - n + j] = static_cast<T>(static_cast<double>(j % 3));
          z[count - n + static_cast<std::size_t>(labels.back())] = T(24);
          const Labels on_device(ctx, labels);
          const IndexView label_view = on_device.view({rows});
          const Shape shape{rows, cols};
          const auto of_rows = static_cast<std::size_t>(rows);
          Guarded<T> zs(ctx, z, 1), loss(ctx, of_rows), lse(ctx, of_rows, 3), both_loss(ctx, of_rows),
              dz(ctx, count, 2), in_place(ctx, z, 3);
          cross_entropy(ctx, zs.view(shape), label_view, loss.view(), {.logsumexp = lse.view()});
          cross_entropy_with_gradient(ctx, zs.view(shape), label_view, both_loss.view(), dz.view(shape));
          const auto losses = loss.read(), both_losses = both_loss.read(), lses = lse.read(), dzs = dz.read();
          for (std::size_t r = 0; r < of_rows; ++r) {
            const ExactCrossEntropy want([&](std::size_t j) { return static_cast<double>(z[r * n + j]); }, n,
                                         static_cast<std::size_t>(labels[r]));
            const auto check = [&](T got, long double exact, double ulps, long double slack,
                                   const char* what) {
              const double error =
                  computed_ulps(static_cast<double>(got), exact, slack, dtype, computing(dtype));
              // 16-bit results may be on the wrong side of a tie, by 0.002 of their ULP.
              const double most =
                  sizeof(T) == 2 ? std::ldexp(0.002, 23 - format_of(dtype).mantissa_bits) : ulps;
              ASSERT_LE(error, most) << what << " of row " << r << ": got " << static_cast<double>(got)
                                     << ", want " << exact;
            };
            check(losses[r], want.loss, kLossUlps, 0, "loss");
            check(both_losses[r], want.loss, kLossUlps, 0, "loss beside the gradient");
            check(lses[r], want.logsumexp, 4,
                  4 * std::ldexp(want.logsumexp_terms, -format_of(computing(dtype)).mantissa_bits),
                  "logsumexp");
            long double total = 0;
            for (std::size_t j = 0; j < n; ++j) {
              check(dzs[r * n + j], want.dz[j], kGradientUlps, 0, "dz");
              total += static_cast<long double>(static_cast<double>(dzs[r * n + j]));
            }
            EXPECT_NEAR(static_cast<double>(total), 0,
                        std::ldexp(1 + static_cast<double>(cols) / 200, -format_of(dtype).mantissa_bits) +
                            1e-6 * (dtype != DType::kF64));
          }
          ASSERT_TRUE(zs.untouched() && loss.guards_intact() && lse.guards_intact() && dz.guards_intact());
          cross_entropy_with_gradient(ctx, in_place.view(shape), label_view, {}, in_place.view(shape));
          EXPECT_TRUE(same_bits(in_place.read(), dzs)) << "in place";
          ASSERT_TRUE(in_place.guards_intact());
        }
    });
}

// Smoothing, weights, z_loss and dloss, alone and together.
TEST_P(CrossEntropyTest, EveryOption) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
      for (const std::int64_t cols : quick()
                                         ? std::vector<std::int64_t>{3, 100, 130, 300, 8200}
                                         : std::vector<std::int64_t>{1, 3, 100, 130, 300, 600, 1500, 20011})
        for (const int combination : {1, 2, 4, 3, 5, 6, 7, 8, 15}) {
          SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols) + " options " +
                       std::to_string(combination));
          const std::int64_t rows = 3;
          const auto n = static_cast<std::size_t>(cols), count = 3 * n;
          const std::vector<T> z = normal_sample<T>(count, kSeed + n, -2, 3);
          const std::vector<std::int64_t> labels = random_labels(rows, cols);
          std::vector<Real> weights;
          for (std::size_t j = 0; j < n; ++j) weights.push_back(static_cast<Real>(j % 7) / 4 + Real(0.1));
          if (n > 1) weights[static_cast<std::size_t>(labels[1] == 0)] = 0;
          const std::vector<Real> dlosses = {Real(0.25), Real(-3), Real(1e-20)};
          const Labels on_device(ctx, labels);
          const Tensor weights_there(ctx, weights), dlosses_there(ctx, dlosses);
          CrossEntropyOptions options;
          CrossEntropyCase of_row;
          if (combination & 1) options.label_smoothing = of_row.label_smoothing = 0.1;
          if (combination & 2) options.z_loss = of_row.z_loss = 1e-2;
          if (combination & 4) {
            options.class_weights = weights_there;
            of_row.weights.assign(weights.begin(), weights.end());
          }
          CrossEntropyOptions with_dloss = options;
          if (combination & 8) with_dloss.dloss = dlosses_there;
          const Shape shape{rows, cols};
          Guarded<T> zs(ctx, z, 1), loss(ctx, 3), lse(ctx, 3), dz(ctx, count, 2), both_loss(ctx, 3);
          cross_entropy(ctx, zs.view(shape), on_device.view({rows}), loss.view(), options);
          with_dloss.logsumexp = lse.view();
          cross_entropy_with_gradient(ctx, zs.view(shape), on_device.view({rows}), both_loss.view(),
                                      dz.view(shape), with_dloss);
          const auto losses = loss.read(), both_losses = both_loss.read(), lses = lse.read(), dzs = dz.read();
          for (std::size_t r = 0; r < 3; ++r) {
            if (combination & 8) of_row.dloss = static_cast<double>(dlosses[r]);
            const ExactCrossEntropy want([&](std::size_t j) { return static_cast<double>(z[r * n + j]); }, n,
                                         static_cast<std::size_t>(labels[r]), of_row);
            const auto check = [&](T got, long double exact, long double terms, double ulps,
                                   const char* what) {
              const double most =
                  sizeof(T) == 2 ? std::ldexp(0.002, 23 - format_of(dtype).mantissa_bits) : ulps;
              const long double slack = std::ldexp(terms, -format_of(computing(dtype)).mantissa_bits) *
                                        static_cast<long double>(kGradientUlps);
              ASSERT_LE(computed_ulps(static_cast<double>(got), exact, slack, dtype, computing(dtype)), most)
                  << what << " of row " << r << ": got " << static_cast<double>(got) << ", want " << exact;
            };
            check(losses[r], want.loss, want.loss_terms, kLossUlps, "loss");
            check(both_losses[r], want.loss, want.loss_terms, kLossUlps, "loss beside the gradient");
            check(lses[r], want.logsumexp, want.logsumexp_terms, 4, "logsumexp");
            for (std::size_t j = 0; j < n; ++j)
              check(dzs[r * n + j], want.dz[j], want.dz_terms[j], kGradientUlps, "dz");
          }
          ASSERT_TRUE(zs.untouched() && loss.guards_intact() && dz.guards_intact() && lse.guards_intact());
        }
    });
}

// f16 and bf16 logits with results of f32, as a training step has them.
TEST_P(CrossEntropyTest, WideResultsOf16BitLogits) {
  const Context ctx = context();
  for (const DType dtype : {DType::kF16, DType::kBF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {9, 300, 1025, 40000}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        const auto n = static_cast<std::size_t>(cols);
        const std::vector<std::int64_t> labels = random_labels(2, cols);
        std::vector<T> z = normal_sample<T>(2 * n, kSeed, 0, 2);
        z[n + static_cast<std::size_t>(labels[1])] = T(40);
        const Labels on_device(ctx, labels);
        const Shape shape{2, cols};
        Guarded<T> zs(ctx, z, 1), narrow_dz(ctx, 2 * n, 1);
        Guarded<float> loss(ctx, 2), both_loss(ctx, 2), lse(ctx, 2), dz(ctx, 2 * n, 1);
        cross_entropy(ctx, zs.view(shape), on_device.view({2}), loss.view());
        cross_entropy_with_gradient(ctx, zs.view(shape), on_device.view({2}), both_loss.view(),
                                    narrow_dz.view(shape), {.logsumexp = lse.view()});
        cross_entropy_with_gradient(ctx, zs.view(shape), on_device.view({2}), {}, dz.view(shape));
        const auto losses = loss.read(), both_losses = both_loss.read(), lses = lse.read(), dzs = dz.read();
        const auto narrow_dzs = narrow_dz.read();
        for (std::size_t r = 0; r < 2; ++r) {
          const auto at = [&](std::size_t j) { return static_cast<double>(z[r * n + j]); };
          const ExactCrossEntropy want(at, n, static_cast<std::size_t>(labels[r]));
          double range = 0;
          for (std::size_t j = 0; j < n; ++j) range = std::max(range, (r == 1 ? 40 : 8) - at(j));
          const auto check = [&](float got, long double exact, double relative, const char* what) {
            ASSERT_NEAR(static_cast<double>(got), static_cast<double>(exact),
                        relative * std::fabs(static_cast<double>(exact)) + 0x1p-149)
                << what << " of row " << r;
          };
          check(losses[r], want.loss, 0x1p-21 + range * 0x1p-24, "loss");
          check(both_losses[r], want.loss, 0x1p-21, "loss beside the gradient");
          check(lses[r], want.logsumexp, 0x1p-22, "logsumexp");
          for (std::size_t j = 0; j < n; ++j) {
            check(dzs[r * n + j], want.dz[j], 0x1p-21, "dz");
            // The CPU rounds a double.
            if (!on_cuda()) continue;
            ASSERT_EQ(static_cast<double>(narrow_dzs[r * n + j]),
                      static_cast<double>(static_cast<T>(static_cast<double>(dzs[r * n + j]))));
          }
        }
        ASSERT_TRUE(loss.guards_intact() && dz.guards_intact() && narrow_dz.guards_intact());
      }
    });
}

/// loss, logsumexp and dz of one row under some options.
template <class T>
std::vector<double> one_row(const Context& ctx, const std::vector<double>& z, std::int64_t label,
                            CrossEntropyOptions options) {
  std::vector<T> stored;
  for (const double x : z) stored.push_back(static_cast<T>(x));
  const std::int64_t n = std::ssize(z);
  const Labels labels(ctx, {label});
  Tensor zs(ctx, stored), loss(ctx, dtype_of<T>::value, {}), forward(ctx, dtype_of<T>::value, {1}),
      lse(ctx, dtype_of<T>::value, {1}), dz(ctx, dtype_of<T>::value, {n});
  cross_entropy(ctx, zs, labels.view({1}), forward, options);
  options.logsumexp = lse;
  cross_entropy_with_gradient(ctx, zs, labels.view({}), loss, dz, options);
  std::vector<double> results = loss.to_doubles(ctx);
  const double alone = forward.to_doubles(ctx)[0];
  EXPECT_TRUE(
      std::isnan(alone) == std::isnan(results[0]) &&
      (std::isnan(alone) || std::fabs(alone - results[0]) <= 1e-5 * std::fabs(alone) || alone == results[0]))
      << alone << " " << results[0];
  results.push_back(lse.to_doubles(ctx)[0]);
  for (const double x : dz.to_doubles(ctx)) results.push_back(x);
  return results;
}

TEST_P(CrossEntropyTest, IgnoredAndInvalidLabels) {
  const Context ctx = context();
  for (const std::int64_t cols : {5, 700, 3000})
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        for (const double smoothing : {0.0, 0.25})
          for (const double strange : {0.5, kNaN, kInf, -kInf}) {
            SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols) + " smoothing " +
                         std::to_string(smoothing) + " with " + std::to_string(strange));
            std::vector<double> z(static_cast<std::size_t>(cols), 0.5);
            z[1] = strange;
            CrossEntropyOptions options{.label_smoothing = smoothing, .z_loss = 0.125};
            const auto expect_zeros = [&](const std::vector<double>& results) {
              for (std::size_t i = 0; i < results.size(); ++i)
                if (i != 1) {
                  EXPECT_EQ(results[i], 0) << i;
                }
              EXPECT_EQ(std::isnan(results[1]), std::isnan(strange)) << "logsumexp";
            };
            expect_zeros(one_row<T>(ctx, z, -100, options));
            options.ignore_index = 2;  // a class
            expect_zeros(one_row<T>(ctx, z, 2, options));
            for (const std::int64_t label :
                 {std::int64_t{-1}, std::int64_t{-100}, cols, std::numeric_limits<std::int64_t>::max(),
                  std::numeric_limits<std::int64_t>::min(), std::int64_t{1} << 32}) {
              options.invalid_label = InvalidLabel::kNaN;
              const std::vector<double> results = one_row<T>(ctx, z, label, options);
              for (std::size_t i = 0; i < results.size(); ++i)
                if (i != 1) {
                  EXPECT_TRUE(std::isnan(results[i])) << label << ": " << i;
                }
              options.invalid_label = InvalidLabel::kIgnore;
              expect_zeros(one_row<T>(ctx, z, label, options));
            }
          }
      });
}

TEST_P(CrossEntropyTest, InfiniteAndNaNLogits) {
  const Context ctx = context();
  for (const std::int64_t cols : {4, 300, 2500})
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        const auto n = static_cast<std::size_t>(cols);
        const auto edited = [&](std::size_t where, double what) {
          std::vector<double> z(n, 0.5);
          z[where] = what;
          return z;
        };
        const auto last = static_cast<std::int64_t>(n - 1);
        for (const double smoothing : {0.0, 0.25}) {
          const CrossEntropyOptions options{.label_smoothing = smoothing};
          for (const double bad : {kNaN, kInf})
            for (const std::size_t where : {std::size_t{0}, n - 1}) {
              const auto results = one_row<T>(ctx, edited(where, bad), last, options);
              for (std::size_t i = 0; i < results.size(); ++i)
                if (i != 1) {
                  EXPECT_TRUE(std::isnan(results[i])) << i;
                }
            }
          // The label's logit is -inf.
          const auto impossible = one_row<T>(ctx, edited(n - 1, -kInf), last, options);
          EXPECT_EQ(impossible[0], kInf);
          const double epsilon = std::ldexp(1.0, -format_of(dtype).mantissa_bits),
                       minus_one = smoothing - 1 - smoothing / static_cast<double>(n);
          EXPECT_NEAR(impossible[n + 1], minus_one, 2 * epsilon);
          for (std::size_t i = 2; i < n + 1; ++i) EXPECT_FALSE(std::isnan(impossible[i]));
          // Another's is.
          const auto masked = one_row<T>(ctx, edited(0, -kInf), last, options);
          EXPECT_EQ(masked[0] == kInf, smoothing != 0);
          EXPECT_EQ(masked[2], static_cast<double>(static_cast<T>(-smoothing / static_cast<double>(n))));
          // Nothing is left.
          const auto empty = one_row<T>(ctx, std::vector<double>(n, -kInf), 1, options);
          EXPECT_EQ(empty[1], -kInf);
          for (std::size_t i = 0; i < empty.size(); ++i)
            if (i != 1) {
              EXPECT_TRUE(std::isnan(empty[i])) << i;
            }
        }
        // What has no weight costs nothing.
        using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
        std::vector<Real> weights(n, 1);
        weights[0] = 0;
        const Tensor weights_there(ctx, weights);
        const CrossEntropyOptions options{.label_smoothing = 0.25, .class_weights = weights_there};
        const auto without = one_row<T>(ctx, edited(0, -kInf), last, options);
        EXPECT_NEAR(without[0],
                    std::log(static_cast<double>(n - 1)) * (0.75 + 0.25 * (1 - 1 / static_cast<double>(n))),
                    0.05);
        EXPECT_EQ(one_row<T>(ctx, edited(0, -kInf), 0, {.class_weights = weights_there})[0], 0);
      });
}

TEST_P(CrossEntropyTest, AnyAxisAndStrides) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t n : {1, 5, 70, 700})
        for (const double smoothing : {0.0, 0.1}) {
          SCOPED_TRACE(std::string(to_string(dtype)) + " n " + std::to_string(n));
          constexpr std::int64_t kOuter = 3, kInner = 37, kPitch = 40;
          const std::vector<T> z =
              normal_sample<T>(static_cast<std::size_t>(kOuter * n * kPitch), kSeed, 0, 3);
          const std::vector<std::int64_t> labels = random_labels(kOuter * kInner, n);
          const Labels on_device(ctx, labels);
          Guarded<T> zs(ctx, z, 1), loss(ctx, static_cast<std::size_t>(kOuter * kInner)),
              dz(ctx, z.size(), 2);
          Guarded<T> in_place(ctx, z);
          const Shape shape{kOuter, n, kInner};
          const std::int64_t strides[] = {n * kPitch, kPitch, 1};
          const CrossEntropyOptions options{.axis = 1, .label_smoothing = smoothing};
          const auto strided = [&](Guarded<T>& g) {
            return TensorView(g.view().data(), dtype, shape, strides);
          };
          cross_entropy(ctx, strided(zs), on_device.view({kOuter, kInner}), loss.view({kOuter, kInner}),
                        options);
          const auto losses = loss.read();
          cross_entropy_with_gradient(ctx, strided(zs), on_device.view({kOuter, kInner}),
                                      loss.view({kOuter, kInner}), strided(dz), options);
          cross_entropy_with_gradient(ctx, strided(in_place), on_device.view({kOuter, kInner}), {},
                                      strided(in_place), options);
          const auto both_losses = loss.read(), dzs = dz.read(), in_places = in_place.read();
          for (std::int64_t row = 0; row < kOuter * kInner; ++row) {
            const auto place = [&](std::size_t j) {
              return static_cast<std::size_t>((row / kInner * n + static_cast<std::int64_t>(j)) * kPitch +
                                              row % kInner);
            };
            const auto at = static_cast<std::size_t>(row);
            const ExactCrossEntropy want([&](std::size_t j) { return static_cast<double>(z[place(j)]); },
                                         static_cast<std::size_t>(n), static_cast<std::size_t>(labels[at]),
                                         {.label_smoothing = smoothing});
            const double most =
                sizeof(T) == 2 ? std::ldexp(0.002, 23 - format_of(dtype).mantissa_bits) : kLossUlps;
            for (const T got : {losses[at], both_losses[at]})
              ASSERT_LE(computed_ulps(static_cast<double>(got), want.loss, 0, dtype, computing(dtype)), most)
                  << row;
            for (std::size_t j = 0; j < static_cast<std::size_t>(n); ++j) {
              const long double slack =
                  smoothing == 0
                      ? 0
                      : std::ldexp(want.dz_terms[j], 2 - format_of(computing(dtype)).mantissa_bits);
              ASSERT_LE(computed_ulps(static_cast<double>(dzs[place(j)]), want.dz[j], slack, dtype,
                                      computing(dtype)),
                        sizeof(T) == 2 ? most : kGradientUlps)
                  << row << " " << j;
              ASSERT_EQ(static_cast<double>(dzs[place(j)]), static_cast<double>(in_places[place(j)]));
            }
          }
          ASSERT_TRUE(zs.untouched() && loss.guards_intact() && dz.guards_intact());
        }
    });
}

TEST_P(CrossEntropyTest, ARowDependsOnNothingButTheRow) {
  const Context ctx = context();
  for (const std::int64_t cols : {3, 37, 1001, 1537}) {  // odd: rows start at every alignment
    const std::vector<float> row = normal_sample<float>(static_cast<std::size_t>(cols), kSeed, 0, 4);
    std::vector<float> batch;
    for (int r = 0; r < 9; ++r) batch.insert(batch.end(), row.begin(), row.end());
    const Labels label(ctx, {2}), labels(ctx, std::vector<std::int64_t>(9, 2));
    Guarded<float> one(ctx, row), one_dz(ctx, row.size()), one_loss(ctx, 1), many(ctx, batch, 1),
        many_dz(ctx, batch.size(), 2), many_losses(ctx, 9);
    cross_entropy_with_gradient(ctx, one.view(), label.view({1}), one_loss.view(), one_dz.view());
    cross_entropy_with_gradient(ctx, many.view({9, cols}), labels.view({9}), many_losses.view(),
                                many_dz.view({9, cols}));
    const auto want = one_dz.read(), got = many_dz.read(), losses = many_losses.read();
    for (int r = 0; r < 9; ++r) {
      EXPECT_TRUE(same_bits(want, std::vector<float>(got.begin() + r * cols, got.begin() + (r + 1) * cols)))
          << r;
      EXPECT_EQ(losses[static_cast<std::size_t>(r)], one_loss.read()[0]);
    }
  }
}

TEST_P(CrossEntropyTest, NoRowsAndNoClasses) {
  const Context ctx = context();
  const Labels three(ctx, {0, -100, 1});
  Tensor none(ctx, DType::kF32, {0, 7}), no_loss(ctx, DType::kF32, {0});
  cross_entropy(ctx, none, IndexView(nullptr, {0}), no_loss);
  cross_entropy_with_gradient(ctx, none, IndexView(nullptr, {0}), no_loss, none);
  Tensor empty(ctx, DType::kF32, {3, 0}), loss(ctx, DType::kF32, {3});
  for (const double smoothing : {0.0, 0.5}) {
    cross_entropy(ctx, empty, three.view({3}), loss, {.label_smoothing = smoothing});
    const std::vector<double> losses = loss.to_doubles(ctx);
    EXPECT_TRUE(std::isnan(losses[0]) && std::isnan(losses[2])) << "no label is valid";
    EXPECT_EQ(losses[1], 0);
    cross_entropy_with_gradient(ctx, empty, three.view({3}), loss, empty, {.label_smoothing = smoothing});
    EXPECT_TRUE(std::isnan(loss.to_doubles(ctx)[0]));
  }
}

TEST_P(CrossEntropyTest, BadArguments) {
  const Context ctx = context();
  const Labels labels_there(ctx, {0, 1});
  const IndexView labels = labels_there.view({2});
  Tensor z(ctx, DType::kF32, {2, 3}), loss(ctx, DType::kF32, {2}), dz(ctx, DType::kF32, {2, 3}),
      lse(ctx, DType::kF32, {2}), weights(ctx, DType::kF32, {3}), wide(ctx, DType::kF64, {3}),
      half(ctx, DType::kF16, {2, 3}), half_loss(ctx, DType::kF16, {2}), number(ctx, DType::kF32, {});
  const auto expect = [&](const CrossEntropyOptions& options, const char* message) {
    expect_error(ErrorKind::kInvalidArgument, message,
                 [&] { cross_entropy_with_gradient(ctx, z, labels, loss, dz, options); });
  };
  for (const double bad : {-0.1, 1.1, kNaN, kInf}) expect({.label_smoothing = bad}, "label_smoothing: want");
  for (const double bad : {-0.1, kNaN, kInf}) expect({.z_loss = bad}, "z_loss");
  expect({.axis = 2}, "axis");
  expect({.axis = 0}, "labels.shape: want [3], got [2]");
  expect({.class_weights = loss}, "class_weights.shape");
  expect({.class_weights = wide}, "class_weights.dtype");
  expect({.dloss = weights}, "dloss.shape");
  expect({.dloss = half_loss}, "dloss.dtype");
  expect({.logsumexp = weights}, "logsumexp.shape");
  expect({.logsumexp = half_loss}, "logsumexp.dtype");
  expect({.class_weights = ConstTensorView(dz.view().data_as<float>(), {3})}, "dz and class_weights");
  expect({.logsumexp = loss}, "logsumexp and loss");
  expect({.logsumexp = TensorView(z.view().data_as<float>(), {2})}, "logsumexp and z");
  const auto expect_call = [&](const ConstTensorView& in, const IndexView& given, const TensorView& out,
                               const TensorView& gradient, const char* message,
                               const CrossEntropyOptions& options = {}) {
    expect_error(ErrorKind::kInvalidArgument, message,
                 [&] { cross_entropy_with_gradient(ctx, in, given, out, gradient, options); });
  };
  expect_call(z, labels_there.view({1}), loss, dz, "labels.shape: want [2], got [1]");
  expect_call(z, {}, loss, dz, "labels.shape");
  expect_call(z, IndexView(nullptr, {2}), loss, dz, "labels");
  expect_call(z, labels, weights, dz, "loss.shape");
  expect_call(z, labels, half_loss, dz, "loss.dtype");
  expect_call(z, labels, loss, loss, "dz.shape");
  expect_call(z, labels, loss, half, "dz.dtype");
  expect_call(half, labels, half_loss, half, "logsumexp.dtype", {.logsumexp = lse});
  expect_call(number, labels, loss, dz, "z.rank");
  expect_call(z, labels, TensorView(dz.view().data_as<float>() + 1, {2}), dz, "dz and loss");
  expect_call(z, labels, TensorView(z.view().data_as<float>() + 1, {2}), dz, "loss and z");
  expect_call(TensorView(z.view().data_as<float>(), {1, 3}), labels_there.view({1}),
              TensorView(loss.view().data_as<float>(), {1}),
              TensorView(z.view().data_as<float>() + 2, {1, 3}), "dz and z");
  expect_call(z, labels, TensorView(reinterpret_cast<float*>(const_cast<std::int64_t*>(labels.data())), {2}),
              dz, "loss and labels");
  expect_error(ErrorKind::kInvalidArgument, "dloss: want none",
               [&] { cross_entropy(ctx, z, labels, loss, {.dloss = lse}); });
  expect_error(ErrorKind::kInvalidArgument, "loss.shape", [&] { cross_entropy(ctx, z, labels, {}); });
}

}  // namespace

// Gated units in every dtype on every device, against the product of the reference formulas in extended
// precision.
#include <actium/gated.hpp>
#include <cmath>

#include "dispatch.hpp"
#include "reference/activation_formulas.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

reference::Dual<long double> gate_formula(const GatedUnit& unit, long double x) {
  constexpr double kNone[kMaxParameters] = {};
  switch (unit.kind()) {
#define ACTIUM_GATED_UNIT(name, activation, ...) \
  case GatedKind::name:                          \
    return reference::value_and_slope<ActivationKind::activation, long double>(x, kNone);
#include <actium/gated_units.def>
  }
  return {0.0L, 0.0L};
}

template <class T>
long double wide(T x) {
  return static_cast<long double>(static_cast<double>(x));
}

class GatedTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(GatedTest);

TEST_P(GatedTest, ForwardAndBackwardToBothInputs) {
  const Context ctx = context();
  for (const GatedInfo& info : gated_units())
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(info.name) + " " + std::string(to_string(dtype)) + ", " +
                     seed_message(kSeed));
        const GatedUnit unit(info.kind);
        // Gates far into the tails; contents and gradients of ordinary size, so that products stay in range.
        const std::size_t count = quick() ? 1103 : 5003;
        std::vector<T> gate = normal_sample<T>(count, kSeed, 0, 3);
        const std::vector<T> content = normal_sample<T>(count, kSeed + 1),
                             dy = normal_sample<T>(count, kSeed + 2);
        Guarded<T> gates(ctx, gate, 1), contents(ctx, content), dys(ctx, dy), y(ctx, count),
            dgate(ctx, count), dcontent(ctx, count, 3);
        const GatedInput x{.gate = gates.view(), .content = contents.view()};
        gated_forward(ctx, unit, x, y.view());
        gated_backward(ctx, unit, x, dys.view(), {.gate = dgate.view(), .content = dcontent.view()});
        const auto ys = y.read(), dgates = dgate.read(), dcontents = dcontent.read();

        // A bound of k ULP of f32 on a factor is at most 2k ULP of a product; each product adds half of one.
        const ActivationInfo& activation = activations()[static_cast<std::size_t>(info.gate_activation)];
        const bool f64 = dtype == DType::kF64;
        const double unit_ulp =
            f64 || dtype == DType::kF32 ? 1 : std::ldexp(1.0, format_of(dtype).mantissa_bits - 23);
        const auto bound = [&](int order, double roundings) {
          if (!ctx.is_cuda()) return 0.502;
          return 0.5 +
                 unit_ulp * (2 * activation.ulp_bound(f64 ? DType::kF64 : DType::kF32, order) + roundings);
        };
        for (std::size_t i = 0; i < count; ++i) {
          const auto [value, slope] = gate_formula(unit, wide(gate[i]));
          const auto error = [&](T got, long double want) {
            return ulp_error(static_cast<double>(got), want, format_of(dtype));
          };
          ASSERT_LE(error(ys[i], wide(content[i]) * value), bound(0, 0)) << static_cast<double>(gate[i]);
          ASSERT_LE(error(dgates[i], wide(dy[i]) * wide(content[i]) * slope), bound(1, 1))
              << static_cast<double>(gate[i]);
          ASSERT_LE(error(dcontents[i], wide(dy[i]) * value), bound(0, 0)) << static_cast<double>(gate[i]);
        }
        EXPECT_TRUE(y.guards_intact() && dgate.guards_intact() && dcontent.guards_intact());
        EXPECT_TRUE(gates.untouched() && contents.untouched() && dys.untouched());
      });
}

// Every combination of huge, tiny and ordinary factors: no finite input gives NaN, and products are not lost
// on the way.
TEST_P(GatedTest, ExtremeFactors) {
  const Context ctx = context();
  for (const GatedInfo& info : gated_units())
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        SCOPED_TRACE(std::string(info.name) + " " + std::string(to_string(dtype)));
        std::vector<T> gate, content, dy;
        const double largest = static_cast<double>(from_bits<T>(dtype == DType::kF64   ? 0x7fefffffffffffff
                                                                : dtype == DType::kF32 ? 0x7f7fffff
                                                                : dtype == DType::kF16 ? 0x7bff
                                                                                       : 0x7f7f));
        for (const double g : {-largest, -700.0, -200.0, -90.0, -20.0, -1.0, -0.0, 0.5, 1.5, 30.0, largest})
          for (const double c : {-largest, -std::sqrt(largest), -2.0, 1e-20, 1.0, largest / 3})
            for (const double d : {-largest, std::sqrt(largest) * 3, 1e-30, -0.75, largest}) {
              gate.push_back(static_cast<T>(g));
              content.push_back(static_cast<T>(c));
              dy.push_back(static_cast<T>(d));
            }
        const std::size_t count = gate.size();
        Guarded<T> gates(ctx, gate), contents(ctx, content), dys(ctx, dy), y(ctx, count), dgate(ctx, count),
            dcontent(ctx, count);
        const GatedUnit unit(info.kind);
        gated_forward(ctx, unit, {.gate = gates.view(), .content = contents.view()}, y.view());
        gated_backward(ctx, unit, {.gate = gates.view(), .content = contents.view()}, dys.view(),
                       {.gate = dgate.view(), .content = dcontent.view()});
        const auto ys = y.read(), dgates = dgate.read(), dcontents = dcontent.read();
        for (std::size_t i = 0; i < count; ++i) {
          const auto [value, slope] = gate_formula(unit, wide(gate[i]));
          const long double want[] = {wide(content[i]) * value, wide(dy[i]) * wide(content[i]) * slope,
                                      wide(dy[i]) * value};
          const double got[] = {static_cast<double>(ys[i]), static_cast<double>(dgates[i]),
                                static_cast<double>(dcontents[i])};
          for (int k = 0; k < 3; ++k) {
            EXPECT_FALSE(std::isnan(got[k])) << k << " at " << static_cast<double>(gate[i]);
            if (std::fabs(want[k]) > 2 * static_cast<long double>(largest)) {
              EXPECT_TRUE(std::isinf(got[k])) << k << " at " << static_cast<double>(gate[i]);
            } else if (std::fabs(want[k]) < static_cast<long double>(largest) / 2 &&
                       std::fabs(want[k]) > 1e-4L) {
              EXPECT_NEAR(static_cast<double>(got[k] / want[k]), 1, 0.01)
                  << k << " at " << static_cast<double>(gate[i]);
            }
          }
        }
      });
}

TEST_P(GatedTest, InPlaceGivesTheSameBits) {
  const Context ctx = context();
  const std::vector<float> gate = sample<float>(3000, kSeed), content = normal_sample<float>(3000, kSeed + 1),
                           dy = normal_sample<float>(3000, kSeed + 2);
  Guarded<float> gates(ctx, gate), contents(ctx, content), dys(ctx, dy), y(ctx, 3000), dgate(ctx, 3000),
      dcontent(ctx, 3000);
  gated_forward(ctx, swiglu(), {.gate = gates.view(), .content = contents.view()}, y.view());
  gated_backward(ctx, swiglu(), {.gate = gates.view(), .content = contents.view()}, dys.view(),
                 {.gate = dgate.view(), .content = dcontent.view()});

  for (const bool over_gate : {true, false}) {
    Guarded<float> g(ctx, gate), c(ctx, content);
    gated_forward(ctx, swiglu(), {.gate = g.view(), .content = c.view()}, over_gate ? g.view() : c.view());
    EXPECT_TRUE(same_bits((over_gate ? g : c).read(), y.read()));
  }
  for (const bool crossed : {false, true}) {
    Guarded<float> g(ctx, gate), c(ctx, content);
    gated_backward(ctx, swiglu(), {.gate = g.view(), .content = c.view()}, dys.view(),
                   {.gate = crossed ? c.view() : g.view(), .content = crossed ? g.view() : c.view()});
    EXPECT_TRUE(same_bits((crossed ? c : g).read(), dgate.read()));
    EXPECT_TRUE(same_bits((crossed ? g : c).read(), dcontent.read()));
  }
}

// The activated gate must stay in f32: rounding it to bf16 before the product changes about a quarter of the
// outputs.
TEST_P(GatedTest, SixteenBitOutputsAreRoundedOnce) {
  const Context ctx = context();
  const std::vector<bf16> gate = normal_sample<bf16>(20000, kSeed),
                          content = normal_sample<bf16>(20000, kSeed + 1);
  Tensor gates(ctx, gate), contents(ctx, content), y(ctx, DType::kBF16, {20000});
  gated_forward(ctx, swiglu(), {.gate = gates, .content = contents}, y);
  const std::vector<double> ys = y.to_doubles(ctx);
  int once = 0, twice = 0;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double silu = static_cast<double>(gate_formula(swiglu(), wide(gate[i])).value),
                 c = static_cast<double>(content[i]);
    once += ys[i] == static_cast<double>(bf16(c * silu));
    twice += ys[i] == static_cast<double>(bf16(c * static_cast<double>(bf16(silu))));
  }
  EXPECT_GE(once, 19950);
  EXPECT_LE(twice, 17000);
}

TEST(GatedName, ParsesAndExplains) {
  EXPECT_EQ(GatedUnit::parse("swiglu").kind(), GatedKind::swiglu);
  EXPECT_EQ(swiglu().info().gate_activation, ActivationKind::silu);
  try {
    GatedUnit::parse("swigloo");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "no gated unit 'swigloo'; did you mean 'swiglu'? there are: glu, geglu, swiglu, bilinear");
    EXPECT_EQ(e.kind(), ErrorKind::kUnknownName);
  }
}

}  // namespace

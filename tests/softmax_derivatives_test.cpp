// The derivatives of softmax and its statistics on every device: against closed forms in long double, against
// finite differences in f64, and by identities that hold whatever the implementation.
#include <actium/softmax.hpp>
#include <cmath>
#include <functional>
#include <string>

#include "dispatch.hpp"
#include "support/derivative_rows.hpp"
#include "support/devices.hpp"
#include "support/errors.hpp"

namespace {

using namespace actium;
using namespace actium_test;

// Every size class of the kernels with one, two and three inputs, and both sides of most boundaries.
std::vector<std::int64_t> columns() {
  if (quick()) return {1, 33, 100, 130, 300, 513, 8200};
  return {1, 2, 5, 31, 32, 33, 100, 128, 129, 511, 513, 1025, 2051, 4096, 10007, 16387, 33001, 70003};
}

class SoftmaxDerivatives : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(SoftmaxDerivatives);

TEST_P(SoftmaxDerivatives, EveryOperationEveryDTypeEveryRowLength) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : columns())
        for (const auto& [temperature, spread, mean] :
             {std::tuple{1.0, 1.0, 0.0}, {0.7, 12.0, 0.0}, {3.0, 1.0, 1000.0}}) {
          if (mean != 0 && cols > 20000) continue;  // one long length has it too
          if (cols > 20000 && dtype != DType::kF32 && temperature != 0.7) continue;
          SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols) + " T " +
                       std::to_string(temperature) + " mean " + std::to_string(mean));
          const std::int64_t rows = cols > 2000 ? 2 : 5;
          check_every_derivative<T>(ctx, rows, cols, {.temperature = temperature}, spread, mean);
        }
    });
}

// f32 results of 16-bit inputs.
TEST_P(SoftmaxDerivatives, WideResults) {
  const Context ctx = context();
  for (const DType dtype : {DType::kF16, DType::kBF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {1, 40, 700, 5001})
        check_every_derivative<T, float>(ctx, 3, cols, {.temperature = 0.7}, 2, 3);
    });
}

TEST_P(SoftmaxDerivatives, ATemperatureForEachRow) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
      const std::vector<C> temperatures = {C(0.5), C(1), C(7), C(0.125), C(1.7)};
      const Tensor on_device(ctx, temperatures);
      for (const std::int64_t cols : {3, 129, 3001})
        check_every_derivative<T>(ctx, 5, cols, {.temperatures = on_device.view()}, 2, 0,
                                  {temperatures.begin(), temperatures.end()});
    });
}

TEST_P(SoftmaxDerivatives, Masks) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {1, 7, 130, 2100, 20001}) {
        if (quick() && cols > 3000) continue;
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        check_masks<T>(ctx, 6, cols);
      }
    });
}

// A middle axis, whose elements are not neighbours; and rows with gaps between their elements.
TEST_P(SoftmaxDerivatives, OtherAxesAndStrides) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {1, 5, 64, 65, 700}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        check_axis<T>(ctx, 3, cols, 11);
      }
    });
}

TEST_P(SoftmaxDerivatives, InPlaceGivesTheSameBits) {
  const Context ctx = context();
  for (const DType dtype : {DType::kF32, DType::kF16})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t cols : {7, 900, 3001, 20001}) {
        if (quick() && cols > 4000) continue;
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        const Shape shape{3, cols};
        const auto count = static_cast<std::size_t>(3 * cols);
        const std::vector<T> a = normal_sample<T>(count, kSeed), b = normal_sample<T>(count, kSeed + 1),
                             c = normal_sample<T>(count, kSeed + 2);
        // call(first input, second, third, outputs): with outputs elsewhere, then on each of the inputs.
        using Call = std::function<void(TensorView, TensorView, TensorView, TensorView, TensorView)>;
        const auto expect_same = [&](const char* what, int inputs, int outputs, const Call& call) {
          Guarded<T> x(ctx, a, 1), y(ctx, b, 1), w(ctx, c, 1), out(ctx, count, 1), out2(ctx, count, 1);
          call(x.view(shape), y.view(shape), w.view(shape), out.view(shape), out2.view(shape));
          for (int i = 0; i < inputs; ++i) {
            Guarded<T> in[] = {Guarded<T>(ctx, a, 1), Guarded<T>(ctx, b, 1), Guarded<T>(ctx, c, 1)};
            Guarded<T>& first = in[i];
            Guarded<T>& second = in[(i + 1) % 2];
            call(in[0].view(shape), in[1].view(shape), in[2].view(shape), first.view(shape),
                 second.view(shape));
            EXPECT_TRUE(same_bits(first.read(), out.read())) << what << " in place of input " << i;
            if (outputs == 2) {
              EXPECT_TRUE(same_bits(second.read(), out2.read())) << what << " in place of input " << i;
            }
            EXPECT_TRUE(first.guards_intact() && second.guards_intact()) << what;
          }
        };
        const Tensor numbers(ctx, std::vector<T>(3, T(0.75f)));
        expect_same("value_and_jvp", 2, 2, [&](auto z, auto tz, auto, auto p, auto tp) {
          softmax_value_and_jvp(ctx, z, tz, p, tp);
        });
        expect_same("entropy_vjp", 1, 1,
                    [&](auto z, auto, auto, auto dz, auto) { entropy_vjp(ctx, z, numbers, dz); });
        expect_same("logsumexp_vjp", 1, 1,
                    [&](auto z, auto, auto, auto dz, auto) { logsumexp_vjp(ctx, z, numbers, dz); });
        expect_same("log_softmax_vjp", 2, 1,
                    [&](auto z, auto dy, auto, auto dz, auto) { log_softmax_vjp(ctx, z, dy, dz); });
        expect_same("log_softmax_jvp", 2, 1,
                    [&](auto z, auto tz, auto, auto ty, auto) { log_softmax_jvp(ctx, z, tz, ty); });
        expect_same("hvp", 3, 1,
                    [&](auto p, auto dp, auto tz, auto out, auto) { softmax_hvp(ctx, p, dp, tz, out); });
      }
    });
}

// ---------------------------------------------------------------- derivatives of what they say

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The central difference of f at z along v.
std::vector<double> difference(const std::function<std::vector<double>(const std::vector<double>&)>& f,
                               const std::vector<double>& z, const std::vector<double>& v) {
  constexpr double kStep = 1e-5;
  std::vector<double> plus = z, minus = z;
  for (std::size_t i = 0; i < z.size(); ++i) {
    plus[i] += kStep * v[i];
    minus[i] -= kStep * v[i];
  }
  std::vector<double> above = f(plus);
  const std::vector<double> below = f(minus);
  for (std::size_t i = 0; i < above.size(); ++i) above[i] = (above[i] - below[i]) / (2 * kStep);
  return above;
}

TEST_P(SoftmaxDerivatives, AreTheDerivativesOfTheFunctions) {
  const Context ctx = context();
  constexpr std::int64_t kCols = 37;
  const auto n = static_cast<std::size_t>(kCols);
  const std::vector<double> z = normal_sample<double>(n, kSeed, 0, 2),
                            v = normal_sample<double>(n, kSeed + 1), u = normal_sample<double>(n, kSeed + 2);
  const SoftmaxOptions options{.temperature = 0.7};
  const auto map = [&](const std::vector<double>& x, std::size_t results, const auto& call) {
    const Tensor in(ctx, x);
    Tensor out(ctx, std::vector<double>(results));
    call(in.view(), out.view());
    return out.to_doubles(ctx);
  };
  const auto probabilities = [&](const std::vector<double>& x) {
    return map(x, n, [&](auto in, auto out) { softmax(ctx, in, out, options); });
  };
  const auto logs = [&](const std::vector<double>& x) {
    return map(x, n, [&](auto in, auto out) { log_softmax(ctx, in, out, options); });
  };
  const Tensor vs(ctx, v), us(ctx, u), one(ctx, std::vector<double>{1.0});
  const auto expect_near = [](const std::vector<double>& got, const std::vector<double>& want,
                              const char* what) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-9) << what << " " << i;
  };

  Tensor zs(ctx, z), p(ctx, DType::kF64, {kCols}), tp(ctx, DType::kF64, {kCols});
  softmax_value_and_jvp(ctx, zs, vs, p, tp, options);
  expect_near(p.to_doubles(ctx), probabilities(z), "p");
  expect_near(tp.to_doubles(ctx), difference(probabilities, z, v), "value_and_jvp");

  const auto gradient_along_v = [&](const auto& gradient, const auto& jvp, const auto& statistic,
                                    const char* what) {
    const std::vector<double> dz = map(z, n, [&](auto in, auto out) { gradient(in, out); });
    const std::vector<double> want = difference(
        [&](const std::vector<double>& x) {
          return map(x, 1, [&](auto in, auto out) { statistic(ctx, in, out, options); });
        },
        z, v);
    EXPECT_NEAR(dot(dz, v), want[0], 2e-9) << what;
    const double along_v = map(z, 1, [&](auto in, auto out) { jvp(ctx, in, vs, out, options); })[0];
    EXPECT_NEAR(along_v, want[0], 2e-9) << what << "_jvp";
    EXPECT_NEAR(along_v, dot(dz, v), 1e-14) << what << ": <gradient, v> = tangent along v";
  };
  gradient_along_v([&](auto in, auto out) { entropy_vjp(ctx, in, one, out, options); }, entropy_jvp, entropy,
                   "entropy");
  gradient_along_v([&](auto in, auto out) { logsumexp_vjp(ctx, in, one, out, options); }, logsumexp_jvp,
                   logsumexp, "logsumexp");

  const std::vector<double> log_p = logs(z);
  const auto log_jvp = map(log_p, n, [&](auto in, auto out) { log_softmax_jvp(ctx, in, vs, out, options); });
  const auto log_vjp = map(log_p, n, [&](auto in, auto out) { log_softmax_vjp(ctx, in, us, out, options); });
  expect_near(log_jvp, difference(logs, z, v), "log_softmax_jvp");
  EXPECT_NEAR(dot(log_vjp, v), dot(u, log_jvp), 1e-12) << "<J'u,v> = <u,Jv>";

  // The Hessian of <u, softmax(z)>: the derivative of softmax_vjp with respect to z, along v.
  const auto vjp_of = [&](const std::vector<double>& x) {
    return map(probabilities(x), n, [&](auto in, auto out) { softmax_vjp(ctx, in, us, out, options); });
  };
  const std::vector<double> ps = probabilities(z);
  const auto hvp = [&](const Tensor& dp, const Tensor& t) {
    return map(ps, n, [&](auto in, auto out) { softmax_hvp(ctx, in, dp, t, out, options); });
  };
  expect_near(hvp(us, vs), difference(vjp_of, z, v), "hvp");
  EXPECT_EQ(hvp(us, vs), hvp(vs, us)) << "symmetric in dp and tz";
  const std::vector<double> w = normal_sample<double>(n, kSeed + 3);
  EXPECT_NEAR(dot(hvp(us, vs), w), dot(hvp(us, Tensor(ctx, w)), v), 1e-13) << "<Hv,w> = <v,Hw>";

  Tensor dT(ctx, DType::kF64, {1});
  softmax_temperature_gradient(ctx, zs, Tensor(ctx, ps), us, dT, options);
  const auto of_temperature = [&](const std::vector<double>& t) {
    Tensor out(ctx, DType::kF64, {kCols});
    softmax(ctx, zs, out, {.temperature = t[0]});
    return std::vector{dot(out.to_doubles(ctx), u)};
  };
  EXPECT_NEAR(dT.to_doubles(ctx)[0], difference(of_temperature, {0.7}, {1.0})[0], 2e-9) << "temperature";
}

// <vjp(g), tz> = g jvp(tz), in every dtype: both are sums of the same terms, a few roundings of each apart.
TEST_P(SoftmaxDerivatives, StatisticsGoForwardsAsBackwards) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      using C = std::conditional_t<std::is_same_v<T, double>, double, float>;  // results
      for (const std::int64_t cols : {3, 200, 2500, 20000}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " cols " + std::to_string(cols));
        const auto n = static_cast<std::size_t>(cols);
        const std::vector<T> z = normal_sample<T>(n, kSeed, 2, 3), t = normal_sample<T>(n, kSeed + 1);
        const Tensor zs(ctx, z), ts(ctx, t), g(ctx, std::vector<C>{C(-1.75)});
        const SoftmaxOptions options{.temperature = 1.3};
        const auto expect_same = [&](const char* what, const auto& vjp, const auto& jvp) {
          Tensor dz(ctx, std::vector<C>(n)), along(ctx, std::vector<C>(1));
          vjp(ctx, zs, g, dz, options);
          jvp(ctx, zs, ts, along, options);
          const auto gradient = dz.to_doubles(ctx);
          double sum = 0, size = 0;
          for (std::size_t i = 0; i < n; ++i) {
            const double term = gradient[i] * static_cast<double>(t[i]);
            sum += term;
            size += std::fabs(term);
          }
          EXPECT_NEAR(sum, -1.75 * along.to_doubles(ctx)[0], 8 * (sizeof(C) == 8 ? 0x1p-53 : 0x1p-24) * size)
              << what;
        };
        expect_same("entropy", entropy_vjp, entropy_jvp);
        expect_same("logsumexp", logsumexp_vjp, logsumexp_jvp);
      }
    });
}

TEST_P(SoftmaxDerivatives, TheJacobianIsSymmetric) {
  const Context ctx = context();
  for (const std::int64_t cols : {5, 300, 5000}) {
    const auto n = static_cast<std::size_t>(cols);
    const std::vector<double> z = normal_sample<double>(n, kSeed), v = normal_sample<double>(n, kSeed + 1),
                              u = normal_sample<double>(n, kSeed + 2);
    const Tensor zs(ctx, z);
    const auto jacobian_times = [&](const std::vector<double>& x) {
      Tensor p(ctx, DType::kF64, {cols}), tp(ctx, DType::kF64, {cols});
      softmax_value_and_jvp(ctx, zs, Tensor(ctx, x), p, tp);
      return tp.to_doubles(ctx);
    };
    EXPECT_NEAR(dot(jacobian_times(v), u), dot(jacobian_times(u), v), 1e-14);
    EXPECT_GE(dot(jacobian_times(v), v), 0) << "positive semidefinite";
    for (const double x : jacobian_times(std::vector<double>(n, 12345.678)))
      EXPECT_NEAR(x, 0, 1e-20) << "J 1";
  }
}

// ---------------------------------------------------------------- ends of the range

// Far from 0 with little variation: the tangent's differences, the logits' and the gradients' are all kept.
TEST_P(SoftmaxDerivatives, NearlyConstantTangents) {
  const Context ctx = context();
  for (const std::int64_t cols : {3, 200, 2500, 20000}) {
    const auto n = static_cast<std::size_t>(cols);
    SCOPED_TRACE("cols " + std::to_string(cols));
    const std::vector<float> z = normal_sample<float>(n, kSeed);
    std::vector<float> t(n), u(n);  // with the smallest steps that there are
    for (std::size_t i = 0; i < n; ++i) {
      t[i] = 1e6f + 0.0625f * static_cast<float>(i * 7 % 5);
      u[i] = -3e4f + 0x1p-8f * static_cast<float>(i * 5 % 7);
    }
    check_every_derivative_of<float>(ctx, 1, cols, {}, z, t, u);
  }
}

TEST_P(SoftmaxDerivatives, LogitsFarFromZero) {
  const Context ctx = context();
  for (const float offset : {1e5f, -1e6f, 3e7f})
    for (const std::int64_t cols : {3, 200, 2500, 40000}) {
      const auto n = static_cast<std::size_t>(cols);
      for (const float of_tangents : {0.0f, 1e5f}) {
        SCOPED_TRACE("offset " + std::to_string(offset) + ", of tangents " + std::to_string(of_tangents) +
                     " cols " + std::to_string(cols));
        check_every_derivative_of<float>(
            ctx, 1, cols, {.temperature = 0.8}, normal_sample<float>(n, kSeed, offset, 15),
            normal_sample<float>(n, kSeed + 1, of_tangents), normal_sample<float>(n, kSeed + 2, of_tangents));
      }
    }
}

// Logits near 0 that differ by less than half an ULP of their distance from the maximum, within a part of the
// row and (along the first axis, whose warps take eight elements in turn) from part to part.
TEST_P(SoftmaxDerivatives, TheEntropysTangentKeepsDifferencesOfSmallLogits) {
  const Context ctx = context();
  for (const std::int64_t cols : {497, 2993, 20001}) {  // 16 k + 1
    const auto n = static_cast<std::size_t>(cols);
    for (const std::size_t neighbours : {1, 8}) {
      std::vector<float> z(n), t(n), twice_z, twice_t;
      for (std::size_t i = 0; i < n; ++i) {
        const bool odd = i / neighbours % 2 == 1;
        z[i] = odd ? 0.9f * 0x1p-25f : 0;
        t[i] = odd ? 1 : 0;
      }
      // Of the mean tangent: the maximum itself gives nothing.
      z[n - 1] = 1;
      t[n - 1] = 0.5f;
      for (std::size_t i = 0; i < n; ++i) {
        twice_z.insert(twice_z.end(), 2, z[i]);
        twice_t.insert(twice_t.end(), 2, t[i]);
      }
      const Bounded want = Exact(z, 1).entropy_jvp(Exact::widened(t));
      const auto expect = [&](const Tensor& got, const char* what) {
        for (const double x : got.to_doubles(ctx))
          EXPECT_LE(std::fabs(x - static_cast<double>(want.value[0])),
                    8 * 0x1p-24 * static_cast<double>(want.terms[0]))
              << what << " of " << cols << ", " << neighbours << " alike: want "
              << static_cast<double>(want.value[0]);
      };
      Tensor along(ctx, DType::kF32, {1}), two(ctx, DType::kF32, {2});
      entropy_jvp(ctx, Tensor(ctx, z), Tensor(ctx, t), along);
      expect(along, "neighbours");
      const Tensor zs(ctx, twice_z), ts(ctx, twice_t);
      entropy_jvp(ctx, ConstTensorView(zs.view().data_as<float>(), {cols, 2}),
                  ConstTensorView(ts.view().data_as<float>(), {cols, 2}), two, {.axis = 0});
      expect(two, "first axis");
    }
  }
}

TEST_P(SoftmaxDerivatives, PartsOfARowWithDifferentVariables) {
  const Context ctx = context();
  const auto check = [&]<class T>(std::type_identity<T>) {
    for (const std::int64_t cols : {20, 700, 40000})
      for (const RowLayout& rows :
           {contiguous_rows(2, cols), RowLayout{{2, cols}, {1, 2}, -1, 2, cols, 1, 1, 0, 2}}) {
        const std::size_t n = rows.count();
        SCOPED_TRACE("cols " + std::to_string(cols) + " stride " + std::to_string(rows.col_step));
        const std::vector<T> z = near_and_far<T>(n, rows.col_step == 1 ? cols : 2 * cols);
        check_layout<T>(ctx, rows, {}, z, Exact::widened(z), normal_sample<T>(n, kSeed + 1, 1000),
                        normal_sample<T>(n, kSeed + 2));
      }
  };
  check(std::type_identity<float>{});
  check(std::type_identity<double>{});
}

// Parts of a row so far apart that their distance, divided by T, is beyond f32.
TEST_P(SoftmaxDerivatives, TangentsOfStatisticsOfPartsAtTheEndsOfTheRange) {
  const Context ctx = context();
  constexpr std::int64_t kCols = 300, kRows = 3;
  std::vector<float> z(kCols * kRows), t = normal_sample<float>(z.size(), kSeed);
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = i < z.size() / 2 ? -3e38f : 3e38f;
  const SoftmaxOptions options{.temperature = 0.01, .axis = 0};
  const Tensor zs(ctx, z), ts(ctx, t);
  Tensor th(ctx, DType::kF32, {kRows}), tlse(ctx, DType::kF32, {kRows});
  const auto in = [&](const Tensor& x) { return ConstTensorView(x.view().data_as<float>(), {kCols, kRows}); };
  entropy_jvp(ctx, in(zs), in(ts), th, options);
  logsumexp_jvp(ctx, in(zs), in(ts), tlse, options);
  const auto ths = th.to_doubles(ctx), tlses = tlse.to_doubles(ctx);
  for (std::size_t r = 0; r < kRows; ++r) {
    double mean = 0, size = 0;  // of the upper half: the lower has probability 0
    for (std::size_t c = kCols / 2; c < kCols; ++c) {
      const double term = static_cast<double>(t[c * kRows + r]) / (kCols / 2) / 0.01;
      mean += term;
      size += std::fabs(term);
    }
    EXPECT_NEAR(tlses[r], mean, 8 * 0x1p-24 * size) << r;
    EXPECT_EQ(ths[r], 0) << r;
  }
}

TEST_P(SoftmaxDerivatives, LargeAndSmallTangents) {
  const Context ctx = context();
  for (const std::int64_t cols : {4, 1000, 3000}) {
    const auto n = static_cast<std::size_t>(cols);
    for (const float size : {1e38f, 1e-30f}) {
      std::vector<float> z = normal_sample<float>(n, kSeed), t = normal_sample<float>(n, kSeed + 1);
      for (float& x : t) x = std::tanh(x) * size;
      const Tensor zs(ctx, z), ts(ctx, t);
      Tensor p(ctx, DType::kF32, {cols}), tp(ctx, DType::kF32, {cols});
      softmax_value_and_jvp(ctx, zs, ts, p, tp);
      const Exact want(z, 1);
      const auto exact = want.jvp(t);
      const auto got = tp.to_doubles(ctx);
      for (std::size_t i = 0; i < n; ++i)
        EXPECT_LE(std::fabs(got[i] - static_cast<double>(exact.value[i])),
                  8 * 0x1p-24 * static_cast<double>(exact.terms[i]))
            << size << " " << i;
      Tensor along(ctx, DType::kF32, {1});
      const auto expect = [&](const Bounded& bounded, const char* what) {
        EXPECT_LE(std::fabs(along.to_doubles(ctx)[0] - static_cast<double>(bounded.value[0])),
                  8 * 0x1p-24 * static_cast<double>(bounded.terms[0]))
            << what << " " << size;
      };
      entropy_jvp(ctx, zs, ts, along);
      expect(want.entropy_jvp(Exact::widened(t)), "entropy");
      logsumexp_jvp(ctx, zs, ts, along);
      expect(want.logsumexp_jvp(Exact::widened(t)), "logsumexp");
    }
    // The mean of a tz is beyond f32 where the covariance is not.
    {
      std::vector<float> z(n, -5), t(n, 3e38f);
      z[0] = 0;
      t[0] = 2.9e38f;
      Tensor along(ctx, DType::kF32, {1});
      entropy_jvp(ctx, Tensor(ctx, z), Tensor(ctx, t), along);
      const Bounded want = Exact(z, 1).entropy_jvp(Exact::widened(t));
      EXPECT_NEAR(along.to_doubles(ctx)[0] / static_cast<double>(want.value[0]), 1, 1e-6);
    }
    // The distance from the mean overflows; the product does not, and a probability of 0 beats it.
    std::vector<float> z(n, -300), t(n, -3e38f);
    z[n - 1] = 0;
    z[0] = -14;
    t[n - 1] = 3e38f;
    const Tensor zs(ctx, z), ts(ctx, t);
    Tensor p(ctx, DType::kF32, {cols}), tp(ctx, DType::kF32, {cols});
    softmax_value_and_jvp(ctx, zs, ts, p, tp);
    const auto got = tp.to_doubles(ctx);
    const Exact want(z, 1);
    EXPECT_NEAR(got[0] / static_cast<double>(want.p[0] * -6e38L * want.p[n - 1]), 1, 1e-5);
    EXPECT_EQ(got[1], 0);
  }
}

// dy - p sum dy of the dominant element is dy (1 - p), which log p knows.
TEST_P(SoftmaxDerivatives, TheDominantElementKeepsItsGradient) {
  const Context ctx = context();
  for (const float gap : {5.0f, 12.0f, 17.0f, 30.0f}) {
    std::vector<float> log_p = {-std::exp(-gap), -gap, -gap - 2}, dy = {1, 0, 0};
    Tensor logs(ctx, log_p), dys(ctx, dy), dz(ctx, DType::kF32, {3});
    log_softmax_vjp(ctx, logs, dys, dz);
    EXPECT_LE(ulp_error(dz.to_doubles(ctx)[0], -std::expm1(static_cast<long double>(log_p[0])),
                        format_of(DType::kF32)),
              3)
        << gap;
  }
}

TEST_P(SoftmaxDerivatives, WhatIsMaskedHasNoInfluence) {
  const Context ctx = context();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t cols : {4, 300, 2500}) {
    const auto n = static_cast<std::size_t>(cols);
    for (const float junk : {nan, inf, 3e38f}) {
      std::vector<float> z = normal_sample<float>(n, kSeed), t = normal_sample<float>(n, kSeed + 1),
                         clean = t;
      z[2] = -inf;
      t[2] = junk;
      clean[2] = 0;
      const Tensor zs(ctx, z), ts(ctx, t), cleans(ctx, clean);
      Tensor log_p(ctx, DType::kF32, {cols}), p(ctx, DType::kF32, {cols}), unused(ctx, DType::kF32, {cols});
      log_softmax(ctx, zs, log_p);
      softmax(ctx, zs, p);
      const auto both = [&](const char* what, const auto& call) {
        Tensor got(ctx, DType::kF32, {cols}), want(ctx, DType::kF32, {cols});
        call(ts, got);
        call(cleans, want);
        const auto values = got.to_doubles(ctx);
        EXPECT_EQ(values, want.to_doubles(ctx)) << what << " " << junk;
        EXPECT_EQ(values[2], 0) << what << " " << junk;
      };
      both("value_and_jvp", [&](auto& in, auto& out) { softmax_value_and_jvp(ctx, zs, in, unused, out); });
      both("log vjp", [&](auto& in, auto& out) { log_softmax_vjp(ctx, log_p, in, out); });
      both("log jvp", [&](auto& in, auto& out) { log_softmax_jvp(ctx, log_p, in, out); });
      both("hvp", [&](auto& in, auto& out) { softmax_hvp(ctx, p, in, in, out); });
      const auto one = [&](const char* what, const auto& call) {
        Tensor got(ctx, DType::kF32, {}), want(ctx, DType::kF32, {});
        call(ts, got);
        call(cleans, want);
        EXPECT_EQ(got.to_doubles(ctx), want.to_doubles(ctx)) << what << " " << junk;
      };
      one("temperature", [&](auto& in, auto& out) { softmax_temperature_gradient(ctx, zs, p, in, out); });
      one("entropy_jvp", [&](auto& in, auto& out) { entropy_jvp(ctx, zs, in, out); });
      one("logsumexp_jvp", [&](auto& in, auto& out) { logsumexp_jvp(ctx, zs, in, out); });
    }
    // A logit of -inf counts for nothing even where p, of another mask perhaps, is not 0.
    std::vector<float> z = normal_sample<float>(n, kSeed), p(n, 0.125f), less = p;
    z[2] = -inf;
    less[2] = 0;
    const Tensor zs(ctx, z), dp(ctx, normal_sample<float>(n, kSeed + 1));
    Tensor got(ctx, DType::kF32, {}), want(ctx, DType::kF32, {});
    softmax_temperature_gradient(ctx, zs, Tensor(ctx, p), dp, got);
    softmax_temperature_gradient(ctx, zs, Tensor(ctx, less), dp, want);
    EXPECT_EQ(got.to_doubles(ctx), want.to_doubles(ctx));
    EXPECT_FALSE(std::isnan(got.to_doubles(ctx)[0]));
  }
}

TEST_P(SoftmaxDerivatives, RowsWithNothingInThemAndNaN) {
  const Context ctx = context();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t cols : {3, 300, 2500}) {
    const auto n = static_cast<std::size_t>(cols);
    const Tensor t(ctx, normal_sample<float>(n, kSeed)), one(ctx, std::vector<float>{1});
    const auto run = [&](const std::vector<float>& z, EmptyRow policy) {
      const SoftmaxOptions options{.empty_row = policy};
      const Tensor zs(ctx, z);
      Tensor p(ctx, DType::kF32, {cols}), log_p(ctx, DType::kF32, {cols}), dT(ctx, DType::kF32, {1}),
          th(ctx, DType::kF32, {1}), tlse(ctx, DType::kF32, {1});
      Tensor out[6];
      for (Tensor& o : out) o = Tensor(ctx, DType::kF32, {cols});
      softmax_value_and_jvp(ctx, zs, t, p, out[0], options);
      entropy_vjp(ctx, zs, one, out[1], options);
      logsumexp_vjp(ctx, zs, one, out[2], options);
      log_softmax(ctx, zs, log_p, options);
      log_softmax_vjp(ctx, log_p, t, out[3], options);
      log_softmax_jvp(ctx, log_p, t, out[4], options);
      softmax_hvp(ctx, p, t, t, out[5], options);
      softmax_temperature_gradient(ctx, zs, p, t, dT, options);
      entropy_jvp(ctx, zs, t, th, options);
      logsumexp_jvp(ctx, zs, t, tlse, options);
      std::vector<std::vector<double>> results{p.to_doubles(ctx)};
      for (const Tensor& o : out) results.push_back(o.to_doubles(ctx));
      results.push_back(th.to_doubles(ctx));
      results.push_back(tlse.to_doubles(ctx));
      results.push_back(dT.to_doubles(ctx));
      return results;
    };
    const std::vector<float> nothing(n, -inf);
    for (const auto& result : run(nothing, EmptyRow::kZeros))
      EXPECT_EQ(result, std::vector(result.size(), 0.0));
    const auto nans = run(nothing, EmptyRow::kNaN);
    for (std::size_t k = 0; k + 1 < nans.size(); ++k)  // but the temperature's: its logits are masked
      for (const double x : nans[k]) EXPECT_TRUE(std::isnan(x)) << k;
    const auto uniform = run(nothing, EmptyRow::kUniform);
    for (const double x : uniform[0]) EXPECT_EQ(x, static_cast<double>(1 / static_cast<float>(n)));
    for (const std::size_t k : {1, 2, 3}) EXPECT_EQ(uniform[k], std::vector(n, 0.0)) << k;
    for (const std::size_t k : {7, 8}) EXPECT_EQ(uniform[k], std::vector{0.0}) << k;
    for (const float bad : {nan, inf})
      for (const std::size_t where : {std::size_t{0}, n - 1}) {
        std::vector<float> z(n, 0.5f);
        z[where] = bad;
        for (const auto& result : run(z, EmptyRow::kZeros))
          for (const double x : result) EXPECT_TRUE(std::isnan(x)) << bad << " at " << where;
      }
  }
}

TEST_P(SoftmaxDerivatives, ExtremeTemperatures) {
  const Context ctx = context();
  for (const double temperature : {1e-36, 1e-19, 1e15, 1e19, 1e36}) {
    std::vector<float> z(40);
    for (std::size_t i = 0; i < z.size(); ++i)
      z[i] = static_cast<float>(-temperature * 0.375 * static_cast<double>(i % 11));
    SCOPED_TRACE("T " + std::to_string(temperature));
    const Tensor zs(ctx, z), dh(ctx, std::vector<float>{static_cast<float>(temperature)});
    Tensor dz(ctx, DType::kF32, {40});
    const Exact want(z, temperature);
    // A tangent of the logits' size, but no smaller than those that keep their digits.
    std::vector<float> t = normal_sample<float>(40, kSeed);
    for (float& x : t) x *= std::max(static_cast<float>(temperature), 1e-29f);
    Tensor along(ctx, DType::kF32, {1});
    const auto expect = [&](const Bounded& bounded, const char* what) {
      EXPECT_LE(std::fabs(along.to_doubles(ctx)[0] - static_cast<double>(bounded.value[0])),
                8 * 0x1p-24 * static_cast<double>(bounded.terms[0]))
          << what;
    };
    entropy_jvp(ctx, zs, Tensor(ctx, t), along, {.temperature = temperature});
    expect(want.entropy_jvp(Exact::widened(t)), "entropy_jvp");
    logsumexp_jvp(ctx, zs, Tensor(ctx, t), along, {.temperature = temperature});
    expect(want.logsumexp_jvp(Exact::widened(t)), "logsumexp_jvp");
    for (const bool is_entropy : {true, false}) {
      if (is_entropy)
        entropy_vjp(ctx, zs, dh, dz, {.temperature = temperature});
      else
        logsumexp_vjp(ctx, zs, dh, dz, {.temperature = temperature});
      const Bounded exact = is_entropy ? want.entropy_vjp(static_cast<float>(temperature))
                                       : want.logsumexp_vjp(static_cast<float>(temperature));
      const auto got = dz.to_doubles(ctx);
      for (std::size_t i = 0; i < z.size(); ++i)
        EXPECT_LE(std::fabs(got[i] - static_cast<double>(exact.value[i])),
                  8 * 0x1p-24 * static_cast<double>(exact.terms[i]))
            << i;
    }
  }
}

TEST_P(SoftmaxDerivatives, NoRowsAndNoColumns) {
  const Context ctx = context();
  for (const Shape& shape : {Shape{0, 7}, Shape{3, 0}}) {
    Tensor in(ctx, DType::kF32, shape), out(ctx, DType::kF32, shape), out2(ctx, DType::kF32, shape),
        numbers(ctx, std::vector<float>(static_cast<std::size_t>(shape[0]), 1.0f));
    softmax_value_and_jvp(ctx, in, in, out, out2);
    entropy_vjp(ctx, in, numbers, out);
    logsumexp_vjp(ctx, in, numbers, out);
    log_softmax_vjp(ctx, in, in, out);
    log_softmax_jvp(ctx, in, in, out);
    softmax_hvp(ctx, in, in, in, out);
    Tensor dT(ctx, std::vector<float>(static_cast<std::size_t>(shape[0]), 5.0f));
    softmax_temperature_gradient(ctx, in, in, in, dT);
    for (const double x : dT.to_doubles(ctx)) EXPECT_EQ(x, 0);
    for (const EmptyRow policy : {EmptyRow::kZeros, EmptyRow::kUniform})
      for (const auto& jvp : {entropy_jvp, logsumexp_jvp}) {
        Tensor along(ctx, std::vector<float>(static_cast<std::size_t>(shape[0]), 5.0f));
        jvp(ctx, in, in, along, {.empty_row = policy});
        for (const double x : along.to_doubles(ctx)) EXPECT_EQ(x, 0);
      }
  }
}

TEST_P(SoftmaxDerivatives, BadArguments) {
  const Context ctx = context();
  Tensor z(ctx, DType::kF32, {3, 8}), t(ctx, DType::kF32, {3, 8}), a(ctx, DType::kF32, {3, 8}),
      b(ctx, DType::kF32, {3, 8}), rows(ctx, DType::kF32, {3}), wrong(ctx, DType::kF32, {3, 7}),
      halves(ctx, DType::kF16, {3, 8}), half_rows(ctx, DType::kF16, {3});
  const auto invalid = [](const char* text, const auto& call) {
    expect_error(ErrorKind::kInvalidArgument, text, call);
  };
  invalid("softmax_value_and_jvp: temperature: want",
          [&] { softmax_value_and_jvp(ctx, z, t, a, b, {.temperature = 0}); });
  invalid("axis", [&] { softmax_hvp(ctx, z, t, a, b, {.axis = 2}); });
  invalid("tz.shape", [&] { softmax_value_and_jvp(ctx, z, wrong, a, b); });
  invalid("tz.dtype", [&] { softmax_value_and_jvp(ctx, z, halves, a, b); });
  invalid("tp.shape", [&] { softmax_value_and_jvp(ctx, z, t, a, wrong); });
  invalid("disjoint", [&] { softmax_value_and_jvp(ctx, z, t, a, a); });
  invalid("tp.dtype", [&] {
    softmax_value_and_jvp(ctx, halves, halves, a, Tensor(ctx, DType::kF16, {3, 8}));
  });
  invalid("dh.shape", [&] { entropy_vjp(ctx, z, Tensor(ctx, DType::kF32, {4}), a); });
  invalid("dh.dtype", [&] { entropy_vjp(ctx, z, half_rows, a); });
  invalid("dz and dlse", [&] {
    Tensor one(ctx, DType::kF32, {1, 1});
    logsumexp_vjp(ctx, one, TensorView(one.view().data_as<float>(), {1}), one);
  });
  invalid("tz.shape", [&] { entropy_jvp(ctx, z, wrong, rows); });
  invalid("tz.dtype", [&] { logsumexp_jvp(ctx, z, halves, rows); });
  invalid("th.shape", [&] { entropy_jvp(ctx, z, t, Tensor(ctx, DType::kF32, {4})); });
  invalid("tlse.dtype", [&] { logsumexp_jvp(ctx, z, t, half_rows); });
  invalid("th and tz", [&] { entropy_jvp(ctx, z, t, TensorView(t.view().data_as<float>(), {3})); });
  invalid("dy.shape", [&] { log_softmax_vjp(ctx, z, wrong, a); });
  invalid("tz.shape", [&] { log_softmax_jvp(ctx, z, wrong, a); });
  invalid("result.dtype", [&] { softmax_hvp(ctx, z, t, a, halves); });
  invalid("dT.shape", [&] { softmax_temperature_gradient(ctx, z, t, a, Tensor(ctx, DType::kF32, {4})); });
  invalid("mask.shape", [&] {
    const BoolView keep(static_cast<const bool*>(wrong.view().data()), {7});
    softmax_temperature_gradient(ctx, z, t, a, rows, {.mask = keep});
  });
  invalid("dT and p",
          [&] { softmax_temperature_gradient(ctx, z, t, a, TensorView(t.view().data_as<float>(), {3})); });
}

}  // namespace

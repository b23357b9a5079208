// forward, backward, jvp and backward_of_backward of every registry entry, in every dtype, on every device,
// against the reference formulas in extended precision with derivatives from dual numbers.
// (activation_reference_test.cpp holds those against MPFR.)
#include <accuracy/subject.hpp>

#include <actium/activation.hpp>
#include <clocale>
#include <cmath>
#include <map>
#include <memory>

#include "dispatch.hpp"
#include "kernels/plan.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

template <class T>
long double wide(T x) {
  return static_cast<long double>(static_cast<double>(x));
}

long double to_long_double(const MpReal& x) {
  const double head = x.to_double();
  return std::isfinite(head) ? static_cast<long double>(head) + (x - MpReal(head)).to_double() : head;
}

/// f(x), f'(x) and f''(x) to long double: by the reference, and by MPFR where a derivative is small and long
/// double would cancel.
struct Exact {
  long double value, slope, curvature;
};
Exact exact(const Activation& f, double x) {
  thread_local std::map<std::string, std::unique_ptr<accuracy::Subject>> subjects;
  auto& subject = subjects[f.to_string()];
  const auto p = f.parameters();
  if (!subject) subject = accuracy::make_subject(f.kind(), {p[0], p[1], p[2]});
  accuracy::Triple<long double> y;
  subject->expect({&x, 1}, &y);
  const auto small = [](long double v) { return std::fabs(v) < 0.05L; };
  const auto cancelled = [](long double v) {
    return std::fabs(v) > 1e-20L && std::fabs(v) < 0.05L;
  };  // no tail
  if ((std::fabs(x) < 40 && (small(y[1]) || small(y[2]))) || cancelled(y[1]) || cancelled(y[2])) {
    const auto by_mpfr = subject->exact(x);
    for (std::size_t order = 0; order < 3; ++order) y[order] = to_long_double(by_mpfr[order]);
  }
  return {y[0], y[1], y[2]};
}

/// The unit in the last place of `x` in a dtype; the smallest subnormal for 0.
long double ulp_of(long double x, DType dtype) {
  const Format format = format_of(dtype);
  const int exponent =
      x == 0 || !std::isfinite(x) ? format.min_exponent : std::max(format.min_exponent, std::ilogb(x));
  return std::ldexp(1.0L, exponent - format.mantissa_bits);
}

/// Bounds in ULP of what is stored. The CPU path rounds an extended-precision result once.
double value_bound(const Context& ctx, const ActivationInfo& info, DType dtype) {
  return ctx.is_cuda() ? info.ulp_bound(dtype, 0) : 0.502;
}

/// Next to a zero of a derivative the CPU path is right to 2^-56 (f64) or 2^-40 absolutely
/// (docs/accuracy.md).
long double floor_of(const Context& ctx, DType dtype, long double derivative) {
  if (ctx.is_cuda() || std::fabs(derivative) > 0.05L) return 0;
  return std::ldexp(1.0L, dtype == DType::kF64 ? -56 : -40);
}

/// dy * slope, rounded once, where the slope was right to `bound` ULP of the type that computes.
bool product_close(double got, long double factor, long double slope, DType dtype, double slope_bound,
                   long double slope_floor = 0) {
  const long double want = factor * slope;
  // A slope beyond the type that computes is infinite there, and so is every product of it but that with 0.
  if (std::fabs(slope) >=
          std::ldexp(1.0L, format_of(dtype == DType::kF64 ? DType::kF64 : DType::kF32).max_exponent + 1) &&
      factor != 0)
    return std::isinf(got) || std::fabs(got - want) <= ulp_of(want, dtype);
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  const DType computes = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  const long double largest = std::ldexp(1.0L, format_of(dtype).max_exponent + 1);
  if (std::fabs(want) >= largest * (1 - std::ldexp(1.0L, -format_of(dtype).mantissa_bits - 2)))
    return std::isinf(got) == !std::isnan(want) && std::signbit(got) == std::signbit(want);
  const long double tolerance =
      std::fabs(factor) * (static_cast<long double>(slope_bound) * ulp_of(slope, computes) + slope_floor) +
      0.5001L * ulp_of(want, dtype) + 0.5001L * ulp_of(want, computes);
  return std::fabs(static_cast<long double>(got) - want) <= tolerance;
}

std::vector<Activation> every_activation() {
  std::vector<Activation> list;
  for (const ActivationInfo& info : activations()) {
    list.emplace_back(info.kind, info.parameter_defaults);
    if (const auto more = accuracy::more_parameters(info); more.size() > 1)
      list.emplace_back(info.kind, more[1]);
  }
  return list;
}

/// body.operator()<T>(activation) for every activation and dtype.
template <class Body>
void for_each_case(const Body& body) {
  for (const Activation& f : every_activation())
    for (const DType dtype : kDTypes) {
      SCOPED_TRACE(f.to_string() + " " + std::string(to_string(dtype)));
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) { body.template operator()<T>(f); });
    }
}

class ActivationTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(ActivationTest);

TEST_P(ActivationTest, ForwardBackwardAndJvpOnSampledBitPatterns) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  for_each_case(
      [&]<class T>(const Activation& f) {
        const DType dtype = dtype_of<T>::value;
        const std::vector<T> x = sample<T>(quick() ? 503 : 2003, kSeed),
                             dy = normal_sample<T>(x.size(), kSeed + 1);
        const std::vector<T> ddx = normal_sample<T>(x.size(), kSeed + 2);
        Guarded<T> xs(ctx, x), dys(ctx, dy), ddxs(ctx, ddx), y(ctx, x.size()), dx(ctx, x.size()),
            y2(ctx, x.size()), ty(ctx, x.size()), ddy(ctx, x.size()), dx2(ctx, x.size());
        forward(ctx, f, xs.view(), y.view());
        backward(ctx, f, xs.view(), dys.view(), dx.view());
        jvp(ctx, f, xs.view(), dys.view(), y2.view(), ty.view());
        backward_of_backward(ctx, f, xs.view(), dys.view(), ddxs.view(), ddy.view(), dx2.view());
        const std::vector<T> ys = y.read(), dxs = dx.read(), y2s = y2.read(), tys = ty.read(),
                             ddys = ddy.read(), dx2s = dx2.read();
        const double bound = value_bound(ctx, f.info(), dtype);
        // 16-bit forms have errors of a part of a 16-bit ULP; the CPU path's are those of rounding.
        const DType computes = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
        const double to_computing =
            std::ldexp(1.0, format_of(computes).mantissa_bits - format_of(dtype).mantissa_bits);
        const auto derivative_bound = [&](int order) {
          return !ctx.is_cuda()      ? 0.01
                 : computes == dtype ? f.info().ulp_bound(dtype, order)
                                     : 0.4 * to_computing;
        };
        for (std::size_t i = 0; i < x.size(); ++i) {
          const auto [value, slope, curvature] = exact(f, static_cast<double>(x[i]));
          const std::string where = "x = " + std::to_string(static_cast<double>(x[i]));
          ASSERT_LE(ulp_error(static_cast<double>(ys[i]), value, format_of(dtype)), bound)
              << where << " y = " << static_cast<double>(ys[i]) << " want " << value;
          ASSERT_TRUE(product_close(static_cast<double>(dxs[i]), wide(dy[i]), slope, dtype,
                                    derivative_bound(1), floor_of(ctx, dtype, slope)))
              << where << " dy = " << static_cast<double>(dy[i]) << " dx = " << static_cast<double>(dxs[i])
              << " want " << wide(dy[i]) * slope;
          ASSERT_TRUE(product_close(static_cast<double>(ddys[i]), wide(ddx[i]), slope, dtype,
                                    derivative_bound(1), floor_of(ctx, dtype, slope)))
              << where << " ddx = " << static_cast<double>(ddx[i])
              << " ddy = " << static_cast<double>(ddys[i]);
          // A curvature is measured in ULP of at least 2^-10, round its zeros (docs/accuracy.md); dy * ddx is
          // rounded too.
          const long double product = wide(ddx[i]) * wide(dy[i]);
          const long double floor = floor_of(ctx, dtype, curvature) +
                                    (ctx.is_cuda() ? derivative_bound(2) * ulp_of(0x1p-10L, computes) : 0) +
                                    std::fabs(curvature) * ulp_of(1, computes);
          ASSERT_TRUE(product_close(static_cast<double>(dx2s[i]), product, curvature, dtype,
                                    derivative_bound(2), floor))
              << where << " ddx dy = " << product << " dx = " << static_cast<double>(dx2s[i]) << " want "
              << product * curvature;
        }
        EXPECT_TRUE(same_bits(ddys,
                              [&] {
                                backward(ctx, f, xs.view(), ddxs.view(), dx.view());
                                return dx.read();
                              }()))
            << "ddy is backward's result for ddx";
        EXPECT_TRUE(same_bits(ys, y2s)) << "jvp's value is forward's";
        EXPECT_TRUE(same_bits(dxs, tys))
            << "an elementwise Jacobian is diagonal: jvp's tangent is backward's gradient";
        EXPECT_TRUE(xs.untouched() && dys.untouched());
        EXPECT_TRUE(y.guards_intact() && dx.guards_intact() && y2.guards_intact() && ty.guards_intact());
      });
}

// An element's result depends on nothing but the element: every length around the packets and tiles, at every
// kind of misalignment, gives the bits that a long aligned tensor gives there, and touches nothing else.
TEST_P(ActivationTest, EveryLengthAndAlignmentGivesTheSameBits) {
  const Context ctx = context();
  const Activation f = silu();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      const int packet = static_cast<int>(kernels::kPacketBytes / sizeof(T)),
                tile = kernels::kElementwiseThreads * packet;
      std::vector<int> lengths = {0, 1, 2, 3, packet - 1, packet, packet + 1, 33, 257};
      for (const int tiles : quick() ? std::vector<int>{1} : std::vector<int>{1, 2, 4})
        for (const int extra : {-1, 0, 1, packet + 1}) lengths.push_back(tiles * tile + extra);
      const auto longest = static_cast<std::size_t>(4 * tile + packet + 1);
      const std::vector<T> x = sample<T>(longest, kSeed), dy = normal_sample<T>(longest, kSeed + 1);
      Guarded<T> all_x(ctx, x), all_dy(ctx, dy), all_y(ctx, longest), all_dx(ctx, longest);
      jvp(ctx, f, all_x.view(), all_dy.view(), all_y.view(), all_dx.view());
      const std::vector<T> want_y = all_y.read(), want_dx = all_dx.read();

      for (const int length : lengths)
        for (const int in : {0, 1, packet - 1})
          for (const int out : {0, 1}) {
            SCOPED_TRACE(std::string(to_string(dtype)) + " length " + std::to_string(length) + " offsets " +
                         std::to_string(in) + ", " + std::to_string(out));
            const auto prefix = [&](const std::vector<T>& v) {
              return std::vector<T>(v.begin(), v.begin() + length);
            };
            const auto in_offset = static_cast<std::size_t>(in), out_offset = static_cast<std::size_t>(out);
            const auto count = static_cast<std::size_t>(length);
            Guarded<T> xs(ctx, prefix(x), in_offset), dys(ctx, prefix(dy), out_offset),
                y(ctx, count, out_offset), dx(ctx, count, out_offset), y2(ctx, count, in_offset),
                ty(ctx, count);
            forward(ctx, f, xs.view(), y.view());
            backward(ctx, f, xs.view(), dys.view(), dx.view());
            jvp(ctx, f, xs.view(), dys.view(), y2.view(), ty.view());
            ASSERT_TRUE(same_bits(y.read(), prefix(want_y))) << "forward";
            ASSERT_TRUE(same_bits(dx.read(), prefix(want_dx))) << "backward";
            ASSERT_TRUE(same_bits(y2.read(), prefix(want_y)) && same_bits(ty.read(), prefix(want_dx)))
                << "jvp";
            ASSERT_TRUE(y.guards_intact() && dx.guards_intact() && y2.guards_intact() && ty.guards_intact());
          }
    });
}

TEST_P(ActivationTest, InPlaceGivesTheSameBits) {
  const Context ctx = context();
  for_each_case([&]<class T>(const Activation& f) {
    const std::vector<T> x = sample<T>(quick() ? 1100 : 3000, kSeed),
                         dy = normal_sample<T>(x.size(), kSeed + 1);
    Guarded<T> xs(ctx, x), dys(ctx, dy), y(ctx, x.size()), dx(ctx, x.size());
    forward(ctx, f, xs.view(), y.view());
    backward(ctx, f, xs.view(), dys.view(), dx.view());

    Guarded<T> over_x(ctx, x);
    forward(ctx, f, over_x.view(), over_x.view());
    EXPECT_TRUE(same_bits(over_x.read(), y.read())) << "forward, y = x";
    Guarded<T> over_dy(ctx, dy);
    backward(ctx, f, xs.view(), over_dy.view(), over_dy.view());
    EXPECT_TRUE(same_bits(over_dy.read(), dx.read())) << "backward, dx = dy";
    Guarded<T> dx_over_x(ctx, x);
    backward(ctx, f, dx_over_x.view(), dys.view(), dx_over_x.view());
    EXPECT_TRUE(same_bits(dx_over_x.read(), dx.read())) << "backward, dx = x";
    Guarded<T> jvp_x(ctx, x), jvp_t(ctx, dy);
    jvp(ctx, f, jvp_x.view(), jvp_t.view(), jvp_x.view(), jvp_t.view());
    EXPECT_TRUE(same_bits(jvp_x.read(), y.read()) && same_bits(jvp_t.read(), dx.read()))
        << "jvp, y = x, ty = tx";
    Guarded<T> crossed_x(ctx, x), crossed_t(ctx, dy);
    jvp(ctx, f, crossed_x.view(), crossed_t.view(), crossed_t.view(), crossed_x.view());
    EXPECT_TRUE(same_bits(crossed_t.read(), y.read()) && same_bits(crossed_x.read(), dx.read()))
        << "jvp, y = tx, ty = x";
  });
}

TEST_P(ActivationTest, LimitsKinksAndSignedZeros) {
  const Context ctx = context();
  constexpr double kInf = std::numeric_limits<double>::infinity(),
                   kNan = std::numeric_limits<double>::quiet_NaN();
  struct Row {
    Activation f;
    double x, value, slope;
  };
  const Row rows[] = {{identity(), -0.0, -0.0, 1},
                      {identity(), -kInf, -kInf, 1},
                      {sigmoid(), -0.0, 0.5, 0.25},
                      {sigmoid(), kInf, 1, 0},
                      {sigmoid(), -kInf, 0, 0},
                      {sigmoid(), kNan, kNan, kNan},
                      {tanh(), -0.0, -0.0, 1},
                      {tanh(), 0.0, 0.0, 1},
                      {tanh(), kInf, 1, 0},
                      {tanh(), -kInf, -1, 0},
                      {tanh(), kNan, kNan, kNan},
                      {relu(), 0.0, 0.0, 0},
                      {relu(), -0.0, 0.0, 0},
                      {relu(), -kInf, 0.0, 0},
                      {relu(), kInf, kInf, 1},
                      {relu(), kNan, kNan, kNan},
                      {leaky_relu(0.5), 0.0, 0.0, 0.5},
                      {leaky_relu(0.5), -0.0, -0.0, 0.5},
                      {leaky_relu(0.5), -kInf, -kInf, 0.5},
                      {leaky_relu(0.5), kInf, kInf, 1},
                      {leaky_relu(0.5), kNan, kNan, kNan},
                      {softplus(), kInf, kInf, 1},
                      {softplus(), -kInf, 0.0, 0},
                      {softplus(), kNan, kNan, kNan},
                      {gelu(), -0.0, -0.0, 0.5},
                      {gelu(), kInf, kInf, 1},
                      {gelu(), -kInf, -0.0, 0},
                      {gelu(), kNan, kNan, kNan},
                      {gelu_tanh(), -0.0, -0.0, 0.5},
                      {gelu_tanh(), kInf, kInf, 1},
                      {gelu_tanh(), -kInf, -0.0, 0},
                      {gelu_tanh(), kNan, kNan, kNan},
                      {silu(), -0.0, -0.0, 0.5},
                      {silu(), kInf, kInf, 1},
                      {silu(), -kInf, -0.0, 0},
                      {silu(), kNan, kNan, kNan},
                      {mish(), -0.0, -0.0, 0.6},
                      {mish(), kInf, kInf, 1},
                      {mish(), -kInf, -0.0, 0},
                      {mish(), kNan, kNan, kNan}};
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const Row& row : rows) {
        SCOPED_TRACE(row.f.to_string() + " " + std::string(to_string(dtype)) + " at " +
                     std::to_string(row.x));
        Tensor x(ctx, std::vector<T>{static_cast<T>(row.x)}), one(ctx, std::vector<T>{static_cast<T>(1.0)}),
            y(ctx, dtype, {1}), ty(ctx, dtype, {1});
        jvp(ctx, row.f, x, one, y, ty);
        const double value = y.to_doubles(ctx)[0], slope = ty.to_doubles(ctx)[0];
        if (std::isnan(row.value)) {
          EXPECT_TRUE(std::isnan(value) && std::isnan(slope)) << value << " " << slope;
        } else {
          EXPECT_EQ(value, static_cast<double>(static_cast<T>(row.value)));
          EXPECT_EQ(std::signbit(value), std::signbit(row.value)) << value;
          // mish'(0) = 3/5 is not a number of any dtype, so its last bit may differ on a GPU.
          EXPECT_NEAR(slope, static_cast<double>(static_cast<T>(row.slope)),
                      row.slope == 0.6 ? 4 * std::ldexp(1.0, -1 - format_of(dtype).mantissa_bits) : 0);
        }
      }
    });
}

/// Zeros whose sign the kernels have wrong.
bool known_wrong_sign(const Activation& f, int order, double x) {
  return f.name() == "xielu" && order == 0 && std::fabs(x) < 1e-44;  // +0 for the smallest x < 0
}

// A result that is 0, be it by a limit, by underflow or at a root, has the sign of its neighbours, on every
// device: the value, the slope and the curvature.
TEST_P(ActivationTest, ZerosHaveOneSign) {
  const Context ctx = context(), cpu = Context::cpu();
  std::vector<Activation> list = every_activation();
  for (const Activation& f :
       {leaky_relu(0),  leaky_relu(-1),  prelu(-0.5),      threshold(1, 0), threshold(-1, 2), hardtanh(0, 0),
        hardtanh(0, 1), hardtanh(-1, 0), hardtanh(-2, -1), hardshrink(0),   softshrink(0),    elu(0),
        elu(-1),        swish(0),        swish(-1),        softplus(20),    softplus(0.01),   celu(0.1),
        celu(10),       squareplus(0),   snake(5)})
    list.push_back(f);
  for (const Activation& f : list)
    for (const DType dtype : kDTypes)
      visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
        std::vector<T> x;
        for (const double v : {0.0,    std::numeric_limits<double>::infinity(),
                               5e-324, 1e-320,
                               1e-45,  1e-40,
                               1e-38,  6e-8,
                               1e-20,  0.1,
                               0.5,    1.0,
                               1.5,    3.0,
                               6.0,    10.0,
                               30.0,   90.0,
                               110.0,  200.0,
                               1000.0, 65504.0,
                               1e30,   3e38,
                               1e300})
          for (const double sign : {1.0, -1.0}) x.push_back(static_cast<T>(sign * v));
        const std::vector<T> ones(x.size(), static_cast<T>(1.0));
        const auto orders = [&](const Context& on) {
          const Tensor xs(on, x), dy(on, ones);
          Tensor y(on, dtype, xs.shape()), slope(on, dtype, xs.shape()), curvature(on, dtype, xs.shape());
          forward(on, f, xs, y);
          backward_of_backward(on, f, xs, dy, dy, slope, curvature);
          return std::array{y.to_doubles(on), slope.to_doubles(on), curvature.to_doubles(on)};
        };
        const auto got = orders(ctx), by_cpu = orders(cpu);
        for (int order = 0; order < 3; ++order)
          for (std::size_t i = 0; i < x.size(); ++i) {
            const double at = static_cast<double>(x[i]), a = got[static_cast<std::size_t>(order)][i],
                         b = by_cpu[static_cast<std::size_t>(order)][i];
            if (a == 0 && b == 0 && !known_wrong_sign(f, order, at)) {
              EXPECT_EQ(std::signbit(a), std::signbit(b))
                  << f.to_string() << " " << to_string(dtype) << " order " << order << " at " << at;
            }
          }
      });
  // And the CPU path's against the definitions, as far as they are short.
  const auto sign_of_zero = [&](const Activation& f, double x, int order) {
    const Tensor xs(cpu, std::vector<double>{x}), one(cpu, std::vector<double>{1});
    Tensor y(cpu, DType::kF64, {1}), slope(cpu, DType::kF64, {1}), curvature(cpu, DType::kF64, {1});
    forward(cpu, f, xs, y);
    backward_of_backward(cpu, f, xs, one, one, slope, curvature);
    const double result = (order == 0 ? y : order == 1 ? slope : curvature).to_doubles(cpu)[0];
    EXPECT_EQ(result, 0) << f.to_string() << " " << x;
    return std::signbit(result) ? -1 : 1;
  };
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const Activation& f : {gelu(), gelu_tanh(), silu(), quick_gelu(), swish(3), mish()})
    for (const double x : {-1e5, -kInf}) {  // x E: x < 0, E + x E' < 0 and 2 E' + x E'' < 0 where E = exp(x)
      EXPECT_EQ(sign_of_zero(f, x, 0), -1) << f.to_string();
      EXPECT_EQ(sign_of_zero(f, x, 1), -1) << f.to_string();
      EXPECT_EQ(sign_of_zero(f, x, 2), -1) << f.to_string();
      EXPECT_EQ(sign_of_zero(f, -x, 2), -1) << f.to_string();
    }
  for (const Activation& f : {sigmoid(), tanh(), erf(), sine()})  // f'' has the sign of -x
    for (const double x : {0.0, 1e5, kInf}) {
      if (f == sine() && x != 0) continue;
      EXPECT_EQ(sign_of_zero(f, x, 2), -1) << f.to_string();
      EXPECT_EQ(sign_of_zero(f, -x, 2), 1) << f.to_string();
    }
  EXPECT_EQ(sign_of_zero(softsign(), -kInf, 1), 1);
  EXPECT_EQ(sign_of_zero(softsign(), kInf, 2), -1);
  EXPECT_EQ(sign_of_zero(softsign(), -kInf, 2), 1);
  EXPECT_EQ(sign_of_zero(log_sigmoid(), 1e5, 0), -1);
  EXPECT_EQ(sign_of_zero(leaky_relu(0), -kInf, 0), -1);
}

TEST_P(ActivationTest, NoFiniteInputGivesNaN) {
  const Context ctx = context();
  for_each_case([&]<class T>(const Activation& f) {
    const std::vector<T> x = sample<T>(quick() ? 600 : 5000, kSeed + 7);
    Tensor xs(ctx, x), y(ctx, dtype_of<T>::value, xs.shape()), ty(ctx, dtype_of<T>::value, xs.shape());
    Tensor ones(ctx, std::vector<T>(x.size(), static_cast<T>(1.0)));
    jvp(ctx, f, xs, ones, y, ty);
    const std::vector<double> ys = y.to_doubles(ctx), tys = ty.to_doubles(ctx);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double xi = static_cast<double>(x[i]);
      const bool finite = std::isfinite(xi);  // elsewhere NaN is where f has no limit
      EXPECT_EQ(!finite && std::isnan(exact(f, xi).value), std::isnan(ys[i])) << xi;
      EXPECT_EQ(!finite && std::isnan(exact(f, xi).slope), std::isnan(tys[i])) << xi;
    }
  });
}

TEST_P(ActivationTest, LargeTensor) {
  const Context ctx = context();
  const std::size_t count = (std::size_t{1} << (quick() ? 16 : 22)) + 13;
  const std::vector<float> x = normal_sample<float>(count, kSeed);
  Guarded<float> xs(ctx, x), y(ctx, count);
  forward(ctx, gelu(), xs.view(), y.view());
  const std::vector<float> ys = y.read();
  for (std::size_t i = 0; i < count; i += 97)
    ASSERT_LE(ulp_error(ys[i], exact(gelu(), static_cast<double>(x[i])).value, format_of(DType::kF32)),
              value_bound(ctx, gelu().info(), DType::kF32));
  EXPECT_TRUE(y.guards_intact());
}

// ---------------------------------------------------------------- names and parameters

TEST(ActivationName, EveryNameParsesToItsFactoryAndBack) {
  for (const ActivationInfo& info : activations()) {
    const Activation f = Activation::parse(std::string(info.name) + "()");  // "swish" alone is silu
    EXPECT_EQ(f.kind(), info.kind);
    EXPECT_EQ(Activation::parse(f.to_string()), f);
  }
  for (const auto& [alias, name] : activation_aliases())
    EXPECT_EQ(Activation::parse(alias), Activation::parse(name)) << alias;
  EXPECT_EQ(Activation::parse("swish"), silu());
  EXPECT_EQ(Activation::parse("swish(2)"), swish(2));
  EXPECT_EQ(Activation::parse("swish(1)").name(), "swish");
  EXPECT_EQ(Activation::parse("logistic"), sigmoid());
  EXPECT_EQ(Activation::parse("leaky_relu"), leaky_relu());
  EXPECT_EQ(leaky_relu().parameters()[0], 0.01);
  EXPECT_EQ(Activation::parse(" leaky_relu ( 0.1 ) "), leaky_relu(0.1));
  EXPECT_EQ(Activation::parse("leaky_relu(slope=0.1)"), leaky_relu(0.1));
  EXPECT_EQ(Activation::parse("gelu()"), gelu());
  EXPECT_EQ(leaky_relu(0.1).to_string(), "leaky_relu(0.1)");
  EXPECT_EQ(leaky_relu(1.0 / 3).to_string(), "leaky_relu(0.3333333333333333)");
}

TEST(ActivationName, DoesNotDependOnTheLocale) {
  const char* comma = std::setlocale(LC_ALL, "de_DE.UTF-8");  // where it is installed; the C locale otherwise
  EXPECT_EQ(Activation::parse("leaky_relu(0.1)"), leaky_relu(0.1)) << (comma ? comma : "C");
  EXPECT_EQ(leaky_relu(0.1).to_string(), "leaky_relu(0.1)");
  std::setlocale(LC_ALL, "C");
  EXPECT_EQ(Activation::parse("leaky_relu(+0.5)"), leaky_relu(0.5));
  EXPECT_THROW(Activation::parse(std::string_view("leaky_relu(0.1\0)", 16)), Error);
}

TEST(ActivationName, KindsThatAreNone) {
  const Context ctx = Context::cpu();
  std::vector<float> x(3);
  EXPECT_THROW(forward(ctx, Activation(ActivationKind(200), {}), x, x), Error);
}

TEST(ActivationName, ErrorsNameTheNearestAndTheList) {
  const auto message = [](std::string_view text) -> std::string {
    try {
      Activation::parse(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message("gleu").substr(0, 68),
            "no activation 'gleu'; did you mean 'gelu'? there are: identity, relu");
  EXPECT_EQ(message("quaternion").find("did you mean"), std::string::npos);
  // Aliases are near, too; the list is of names.
  EXPECT_EQ(message("logstic").substr(0, 61),
            "no activation 'logstic'; did you mean 'logistic'? there are: ");
  EXPECT_EQ(message("hard_sgmoid").substr(0, 53), "no activation 'hard_sgmoid'; did you mean 'hard_sigmo");
  EXPECT_EQ(message("logstic").find("linear"), std::string::npos);
  EXPECT_NE(message("").find("no activation ''"), std::string::npos);
  EXPECT_EQ(message("leaky_relu(0.1"), "activation 'leaky_relu(0.1': want a closing ')' at the end");
  EXPECT_EQ(message("leaky_relu(0.1, 2)"), "activation 'leaky_relu(0.1, 2)': want at most 1 parameter");
  EXPECT_EQ(message("hardtanh(1, 2, 3)"), "activation 'hardtanh(1, 2, 3)': want at most 2 parameters");
  EXPECT_EQ(message("gelu(1)"), "activation 'gelu(1)': gelu has no parameters");
  EXPECT_EQ(message("silu(1)"), "activation 'silu(1)': silu has no parameters");
  // No parameter twice, and none by its place behind one by its name: that says two things.
  EXPECT_EQ(message("hardtanh(1,lo=-1)"), "activation 'hardtanh(1,lo=-1)': lo is there twice");
  EXPECT_EQ(message("hardtanh(lo=1, lo=1)"), "activation 'hardtanh(lo=1, lo=1)': lo is there twice");
  EXPECT_EQ(message("hardtanh(hi=2, 1)"),
            "activation 'hardtanh(hi=2, 1)': want '1' before the named parameters");
  EXPECT_EQ(message("hardtanh(lo=-2, 1)"),
            "activation 'hardtanh(lo=-2, 1)': want '1' before the named parameters");
  EXPECT_EQ(message("leaky_relu(+-0.1)"), "activation 'leaky_relu(+-0.1)': want a number, got '+-0.1'");
  EXPECT_EQ(message("leaky_relu(slope=++1)"), "activation 'leaky_relu(slope=++1)': want a number, got '++1'");
  EXPECT_EQ(message("leaky_relu(slope=)"), "activation 'leaky_relu(slope=)': want a number, got ''");
  EXPECT_EQ(message("leaky_relu(+)"), "activation 'leaky_relu(+)': want a number, got '+'");
  EXPECT_EQ(Activation::parse("hardtanh(hi=2, lo=-2)"), hardtanh(-2, 2));
  EXPECT_EQ(Activation::parse("hardtanh(-2, hi=2)"), hardtanh(-2, 2));
  EXPECT_EQ(message("leaky_relu(alpha=1)"),
            "activation 'leaky_relu(alpha=1)': no parameter 'alpha'; there is slope");
  EXPECT_EQ(message("leaky_relu(x)"), "activation 'leaky_relu(x)': want a number, got 'x'");
  EXPECT_EQ(message("leaky_relu(0.1,)"), "activation 'leaky_relu(0.1,)': want a parameter after ','");
  EXPECT_EQ(message("leaky_relu(nan)"), "activation 'leaky_relu(nan)': slope: want a finite number, got nan");
  EXPECT_EQ(message("hardtanh(2, 1)"), "activation 'hardtanh(2, 1)': hi: want at least lo, got 1");
  EXPECT_EQ(message("softplus(0)"), "activation 'softplus(0)': beta: want > 0, got 0");
  EXPECT_EQ(message("softshrink(-1)"), "activation 'softshrink(-1)': lambda: want >= 0, got -1");
}

}  // namespace

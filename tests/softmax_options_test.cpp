// The options of softmax and its statistics: axes, strides, masks, lengths, temperatures, empty rows, f32
// results. Each combination is compared with long double, row by row of the logical tensor.
#include <actium/softmax.hpp>
#include <cmath>
#include <functional>
#include <random>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"
#include "support/ulp.hpp"

namespace {

using namespace actium;
using namespace actium_test;

constexpr double kInf = std::numeric_limits<double>::infinity();

/// Numbers of one seed.
struct Numbers {
  std::mt19937_64 engine;
  double normal() { return std::normal_distribution<double>()(engine); }
  std::uint64_t below(std::uint64_t n) { return engine() % n; }
};

/// Where the elements of a logical tensor lie in a buffer.
struct Place {
  const char* name;
  Shape shape;
  std::vector<std::int64_t> strides;
  int axis;  // of the rows
  std::size_t offset = 0;

  std::int64_t rows() const { return shape.count() / shape[axis]; }
  std::int64_t cols() const { return shape[axis]; }
  std::size_t size() const {
    std::int64_t last = 0;
    for (int a = 0; a < shape.rank(); ++a) last += (shape[a] - 1) * strides[static_cast<std::size_t>(a)];
    return static_cast<std::size_t>(last + 1);
  }
  /// Of element c of row r, rows counted in order of the other axes' indices.
  std::size_t at(std::int64_t r, std::int64_t c) const {
    std::int64_t where = c * strides[static_cast<std::size_t>(axis)];
    for (int a = shape.rank() - 1; a >= 0; --a) {
      if (a == axis) continue;
      where += r % shape[a] * strides[static_cast<std::size_t>(a)];
      r /= shape[a];
    }
    return static_cast<std::size_t>(where);
  }
  Place contiguous() const {
    Place place = *this;
    std::int64_t stride = 1;
    for (int a = shape.rank() - 1; a >= 0; --a) {
      place.strides[static_cast<std::size_t>(a)] = stride;
      stride *= shape[a];
    }
    place.offset = 0;
    return place;
  }
};

std::vector<Place> places(std::int64_t n) {
  return {{"contiguous", {6, n}, {n, 1}, 1},
          {"misaligned", {6, n}, {n, 1}, 1, 3},
          {"padded rows", {6, n}, {n + 3, 1}, 1, 1},
          {"two padded axes", {2, 3, n}, {3 * (n + 5) + 2, n + 5, 1}, 2},
          {"axis 0", {n, 6}, {6, 1}, 0},
          {"axis 1 of 3", {2, n, 3}, {3 * n, 3, 1}, 1},
          {"axis 1 of 4", {2, n, 3, 12}, {36 * n, 36, 12, 1}, 1, 1},
          {"transposed", {6, n}, {1, 7}, 1}};
}

/// The masks of a call and what they say of an element.
struct Mask {
  const char* name;
  bool keep = false, broadcast = false, bias = false, lengths = false, causal = false;
  std::int64_t causal_offset = 0;
};
const Mask kMasks[] = {
    {"none"},
    {.name = "keep", .keep = true},
    {.name = "keep, broadcast", .keep = true, .broadcast = true},
    {.name = "bias", .bias = true},
    {.name = "bias, broadcast", .broadcast = true, .bias = true},
    {.name = "lengths", .lengths = true},
    {.name = "causal", .causal = true},
    {.name = "causal from before the row", .causal = true, .causal_offset = -2},
    {.name = "all", .keep = true, .bias = true, .lengths = true, .causal = true, .causal_offset = 4}};

/// One row by the textbook; `logits` are z / T, -inf where masked.
struct ExactRow {
  std::vector<long double> p, log_p;
  long double logsumexp = -std::numeric_limits<long double>::infinity(), entropy = 0;
};
ExactRow exact_row(const std::vector<long double>& logits, EmptyRow policy) {
  ExactRow row;
  std::size_t top = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > logits[top]) top = i;
  if (std::isinf(logits[top])) {
    const auto n = static_cast<long double>(logits.size());
    const long double nan = std::numeric_limits<long double>::quiet_NaN();
    const bool uniform = policy == EmptyRow::kUniform, zeros = policy == EmptyRow::kZeros;
    row.p.assign(logits.size(), uniform ? 1 / n : zeros ? 0 : nan);
    row.log_p.assign(logits.size(), uniform ? -std::log(n) : zeros ? logits[top] : nan);
    row.entropy = uniform ? std::log(n) : zeros ? 0 : nan;
    return row;
  }
  long double others = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (i != top) others += std::exp(logits[i] - logits[top]);
  const long double log_sum = std::log1p(others);
  row.logsumexp = logits[top] + log_sum;
  for (const long double a : logits) {
    row.log_p.push_back(a - logits[top] - log_sum);
    row.p.push_back(std::exp(a - logits[top]) / (1 + others));
    if (row.p.back() > 0) row.entropy -= row.p.back() * row.log_p.back();
  }
  return row;
}

void expect_ulps(double got, long double want, DType stored, double ulps, const char* what) {
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(got)) << what << ": got " << got;
  } else if (std::isinf(want)) {
    ASSERT_EQ(got, static_cast<double>(want)) << what;
  } else {
    ASSERT_LE(ulp_error(got, want, format_of(stored)), ulps) << what << ": got " << got << ", want " << want;
  }
}

/// Everything of one call.
template <class T>
struct Case {
  Place place;
  Mask mask;
  EmptyRow policy = EmptyRow::kZeros;
  bool temperatures = false, f32_out = false, same_strides = false;
  std::uint64_t seed = kSeed;

  void run(const Context& ctx) const {
    using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const std::int64_t rows = place.rows(), cols = place.cols();
    Numbers random{std::mt19937_64(seed)};
    // Multiples of 1/64, so that the sum with a bias is exact; NaN between the elements of the tensor.
    std::vector<T> z(place.size(), T(std::numeric_limits<float>::quiet_NaN()));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c)
        z[place.at(r, c)] = static_cast<T>(std::round(random.normal() * 3 * 64) / 64);

    // Masks: of the tensor's shape, or 1 along every axis but the rows' and the last of the others.
    Shape mask_shape = place.shape;
    if (mask.broadcast) {
      std::vector<std::int64_t> extents;
      for (int a = 0; a < place.shape.rank(); ++a)
        extents.push_back(a == place.axis || a == (place.axis == 0 ? 1 : 0) ? place.shape[a] : 1);
      mask_shape = Shape(extents);
    }
    Place mask_place{"mask", mask_shape, std::vector<std::int64_t>(place.strides.size()), place.axis};
    mask_place = mask_place.contiguous();
    for (int a = 0; a < mask_shape.rank(); ++a)
      if (mask_shape[a] == 1) mask_place.strides[static_cast<std::size_t>(a)] = 0;
    const Place indices{"", place.shape, mask_place.strides, place.axis};  // at() by the tensor's row numbers
    const auto mask_count = static_cast<std::size_t>(mask_shape.count());
    std::vector<T> bias(mask_count);
    std::vector<std::uint8_t> keep(mask_count);
    for (std::size_t i = 0; i < mask_count; ++i) {
      keep[i] = random.below(4) != 0;
      bias[i] = random.below(5) == 0 ? T(-std::numeric_limits<float>::infinity())
                                     : static_cast<T>(static_cast<float>(random.below(32)) / 4 - 4);
    }
    std::vector<std::int64_t> lengths;
    std::vector<C> temperature;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t all[] = {
          cols, 0, cols + 5,
          -3,   1, static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(cols) + 1))};
      lengths.push_back(all[r % 6]);
      temperature.push_back(static_cast<C>(0.37 + 0.45 * static_cast<double>(r % 5)));
    }
    // A masked NaN must not be seen.
    const std::int64_t queries = place.shape[std::max(place.shape.rank() - 2, 0)];
    const auto takes_part = [&](std::int64_t r, std::int64_t c) {
      return (!mask.keep || keep[indices.at(r, c)] != 0) &&
             (!mask.lengths || c < lengths[static_cast<std::size_t>(r)]) &&
             (!mask.causal || c <= r % queries + mask.causal_offset);
    };
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c)
        if (!takes_part(r, c) && random.below(2) == 0)
          z[place.at(r, c)] = T(std::numeric_limits<float>::quiet_NaN());

    Guarded<T> zs(ctx, z, place.offset), biases(ctx, bias);
    Tensor keeps(ctx, DType::kE4M3, {static_cast<std::int64_t>(mask_count)});
    static_assert(sizeof(bool) == 1);
    copy(ctx, ConstTensorView(keep.data(), DType::kE4M3, {static_cast<std::int64_t>(mask_count)}), keeps);
    Tensor length_tensor(ctx, std::vector<double>(lengths.size())), temperature_tensor(ctx, temperature);
    copy(ctx, ConstTensorView(lengths.data(), DType::kF64, {rows}), length_tensor);

    Shape row_shape;
    {
      std::vector<std::int64_t> extents;
      for (int a = 0; a < place.shape.rank(); ++a)
        if (a != place.axis) extents.push_back(place.shape[a]);
      row_shape = Shape(extents);
    }
    SoftmaxOptions options{.axis = place.axis == place.shape.rank() - 1 ? -1 : place.axis};
    if (temperatures)
      options.temperatures = ConstTensorView(temperature_tensor.view().data(), dtype_of<C>::value, row_shape);
    else
      options.temperature = 1.25;
    if (mask.keep) options.mask = BoolView(static_cast<const bool*>(keeps.view().data()), mask_shape);
    if (mask.bias) options.bias = ConstTensorView(biases.view().data(), dtype_of<T>::value, mask_shape);
    if (mask.lengths)
      options.lengths = IndexView(static_cast<const std::int64_t*>(length_tensor.view().data()), row_shape);
    options.causal = mask.causal;
    options.causal_offset = mask.causal_offset;
    options.empty_row = policy;

    const Place out_place = same_strides ? place : place.contiguous();
    const ConstTensorView view(zs.view().data(), dtype_of<T>::value, place.shape, place.strides);
    if (f32_out)
      check<float>(ctx, view, z, out_place, options, row_shape, takes_part, bias, indices, temperature);
    else
      check<T>(ctx, view, z, out_place, options, row_shape, takes_part, bias, indices, temperature);
    EXPECT_TRUE(zs.untouched());
  }

  template <class Out, class TakesPart, class C>
  void check(const Context& ctx, const ConstTensorView& view, const std::vector<T>& z, const Place& out_place,
             const SoftmaxOptions& options, const Shape& row_shape, const TakesPart& takes_part,
             const std::vector<T>& bias, const Place& indices, const std::vector<C>& temperature) const {
    const std::int64_t rows = place.rows(), cols = place.cols();
    Guarded<Out> p(ctx, out_place.size(), place.offset), log_p(ctx, out_place.size()),
        lse(ctx, static_cast<std::size_t>(rows)), h(ctx, static_cast<std::size_t>(rows));
    const auto before = p.read();
    const auto out_view = [&](Guarded<Out>& out) {
      return TensorView(out.view().data(), dtype_of<Out>::value, place.shape, out_place.strides);
    };
    const auto row_view = [&](Guarded<Out>& out) {
      return TensorView(out.view().data(), dtype_of<Out>::value, row_shape);
    };
    softmax(ctx, view, out_view(p), options);
    log_softmax(ctx, view, out_view(log_p), options);
    logsumexp(ctx, view, row_view(lse), options);
    entropy(ctx, view, row_view(h), options);
    const auto ps = p.read(), log_ps = log_p.read(), lses = lse.read(), hs = h.read();
    ASSERT_TRUE(p.guards_intact() && log_p.guards_intact() && lse.guards_intact() && h.guards_intact());

    const DType stored = dtype_of<Out>::value;
    const bool narrow = size_of(stored) == 2, wide = sizeof(T) == 2 && !narrow;  // f32 of 16-bit logits
    const double ulps = narrow ? 0.502 : 4, row_ulps = narrow ? 0.51 : wide ? 64 : 16;
    std::vector<bool> written(ps.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      std::vector<long double> logits;
      const long double t = temperatures ? static_cast<long double>(temperature[static_cast<std::size_t>(r)])
                                         : static_cast<long double>(1.25);
      for (std::int64_t c = 0; c < cols; ++c) {
        long double v = static_cast<double>(z[place.at(r, c)]);
        if (mask.bias) v += static_cast<long double>(static_cast<double>(bias[indices.at(r, c)]));
        logits.push_back(takes_part(r, c) ? v / t : -static_cast<long double>(kInf));
      }
      const ExactRow want = exact_row(logits, policy);
      for (std::int64_t c = 0; c < cols; ++c) {
        const std::size_t at = out_place.at(r, c), i = static_cast<std::size_t>(c);
        SCOPED_TRACE("row " + std::to_string(r) + " column " + std::to_string(c));
        written[at] = true;
        expect_ulps(static_cast<double>(ps[at]), want.p[i], stored, ulps, "p");
        expect_ulps(static_cast<double>(log_ps[at]), want.log_p[i], stored, ulps, "log p");
      }
      SCOPED_TRACE("row " + std::to_string(r));
      const auto ri = static_cast<std::size_t>(r);
      const double lse_error =
          8 * std::ldexp(1.0, std::is_same_v<C, double> ? -52 : -23) *
          (std::fabs(static_cast<double>(want.logsumexp)) + std::log(static_cast<double>(cols)) + 4);
      if (!(std::fabs(static_cast<double>(static_cast<long double>(static_cast<double>(lses[ri])) -
                                          want.logsumexp)) <= lse_error))
        expect_ulps(static_cast<double>(lses[ri]), want.logsumexp, stored, narrow ? 0.51 : 4, "logsumexp");
      expect_ulps(static_cast<double>(hs[ri]), want.entropy, stored, row_ulps, "entropy");
    }
    for (std::size_t i = 0; i < ps.size(); ++i)
      if (!written[i]) {
        ASSERT_TRUE(same_bits(std::vector{ps[i]}, std::vector{before[i]})) << "between rows, " << i;
      }
  }
};

class SoftmaxOptionsTest : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(SoftmaxOptionsTest);

TEST_P(SoftmaxOptionsTest, EveryLayoutAndMask) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  std::uint64_t seed = kSeed;
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t n : quick() ? std::vector<std::int64_t>{1, 37, 140}
                                          : std::vector<std::int64_t>{1, 7, 37, 140, 1030, 4200})
        for (const Place& place : places(n)) {
          if (n > 1100 && sizeof(T) != 4) continue;
          if (n > 140 && place.rows() > 6) continue;
          for (const Mask& mask : kMasks) {
            if (mask.causal && place.axis != place.shape.rank() - 1) continue;
            // Every other option takes turns.
            ++seed;
            const Case<T> one{place,
                              mask,
                              static_cast<EmptyRow>(seed % 3),
                              seed % 5 < 2,
                              sizeof(T) == 2 && seed % 7 < 3,
                              seed % 2 == 0,
                              seed};
            SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(n) + ", " + place.name +
                         ", " + mask.name + ", policy " + std::to_string(seed % 3) + ", seed " +
                         std::to_string(seed));
            one.run(ctx);
            if (HasFatalFailure()) return;
          }
        }
    });
}

// A block's slices, a cluster: rows for which the test above would take long.
TEST_P(SoftmaxOptionsTest, LongRows) {
  const Context ctx = context();
  SCOPED_TRACE(seed_message(kSeed));
  std::uint64_t seed = kSeed + 1000;
  for (const DType dtype :
       quick() ? std::vector{DType::kF32} : std::vector{DType::kF32, DType::kBF16, DType::kF64})
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t n : {18001, 70000})
        for (const Mask& mask : kMasks) {
          ++seed;
          if (quick() && seed % 3 != 0) continue;
          const Place place{"padded rows", {3, n}, {n + 3, 1}, 1, seed % 2};
          const Case<T> one{place,
                            mask,
                            static_cast<EmptyRow>(seed % 3),
                            seed % 2 == 0,
                            sizeof(T) == 2 && seed % 4 < 2,
                            seed % 3 == 0,
                            seed};
          SCOPED_TRACE(std::string(to_string(dtype)) + " of " + std::to_string(n) + ", " + mask.name +
                       ", seed " + std::to_string(seed));
          one.run(ctx);
          if (HasFatalFailure()) return;
        }
    });
}

TEST_P(SoftmaxOptionsTest, InPlaceWithStrides) {
  const Context ctx = context();
  for (const Place& place : places(300)) {
    std::vector<float> z = normal_sample<float>(place.size(), kSeed);
    Guarded<float> elsewhere(ctx, z), here(ctx, z), p(ctx, z);
    const SoftmaxOptions options{.axis = place.axis};
    const auto view = [&](Guarded<float>& t) {
      return TensorView(t.view().data(), DType::kF32, place.shape, place.strides);
    };
    softmax(ctx, view(elsewhere), view(p), options);
    softmax(ctx, view(here), view(here), options);
    EXPECT_TRUE(same_bits(here.read(), p.read())) << place.name;
    EXPECT_TRUE(here.guards_intact());
  }
}

TEST_P(SoftmaxOptionsTest, JvpOfAnotherAxisIsThatOfTheLast) {
  const Context ctx = context();
  for (const DType dtype : kDTypes)
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (const std::int64_t n : {3, 200}) {
        const std::int64_t rows = 5;
        const auto count = static_cast<std::size_t>(rows * n);
        std::vector<T> p = normal_sample<T>(count, kSeed, 0.5, 0.1), t = normal_sample<T>(count, kSeed + 1),
                       pt(count), tt(count);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < n; ++c) {
            const auto from = static_cast<std::size_t>(r * n + c),
                       to = static_cast<std::size_t>(c * rows + r);
            pt[to] = p[from];
            tt[to] = t[from];
          }
        Tensor ps(ctx, p), ts(ctx, t), ptv(ctx, pt), ttv(ctx, tt), last(ctx, dtype, {rows, n}),
            first(ctx, dtype, {n, rows});
        softmax_jvp(ctx, ps.view().reshaped({rows, n}), ts.view().reshaped({rows, n}), last);
        softmax_jvp(ctx, ptv.view().reshaped({n, rows}), ttv.view().reshaped({n, rows}), first, {.axis = 0});
        const std::vector<double> want = last.to_doubles(ctx), got = first.to_doubles(ctx);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < n; ++c) {
            const double w = want[static_cast<std::size_t>(r * n + c)];
            ASSERT_NEAR(got[static_cast<std::size_t>(c * rows + r)], w,
                        std::ldexp(1.0, -format_of(dtype).mantissa_bits) * (std::fabs(w) + 1))
                << r << " " << c;
          }
      }
    });
}

// p (t - mean) = x / 2 without a rounding, so that the division's is the only one.
TEST_P(SoftmaxOptionsTest, TemperaturesInMemoryDivideWithOneRounding) {
  const Context ctx = context();
  const auto check = [&]<class T>(std::type_identity<T>) {
    const std::int64_t rows = 300;
    const auto x = normal_sample<T>(static_cast<std::size_t>(rows), kSeed), temperatures = [] {
      auto t = normal_sample<T>(300, kSeed + 1);
      for (T& v : t) v = std::fabs(v) + T(0.01);
      return t;
    }();
    std::vector<T> t;
    for (const T v : x) t.insert(t.end(), {v, -v});
    Tensor p(ctx, std::vector<T>(600, T(0.5))), ts(ctx, t), tp(ctx, dtype_of<T>::value, {rows, 2}),
        all(ctx, temperatures);
    SoftmaxOptions options;
    options.temperatures = all;
    softmax_jvp(ctx, p.view().reshaped({rows, 2}), ts.view().reshaped({rows, 2}), tp, options);
    const std::vector<double> got = tp.to_doubles(ctx);
    for (std::size_t r = 0; r < x.size(); ++r)
      EXPECT_LE(ulp_error(got[2 * r],
                          static_cast<long double>(x[r]) / 2 / static_cast<long double>(temperatures[r]),
                          format_of(dtype_of<T>::value)),
                0.501)
          << x[r] << " / 2 / " << temperatures[r];
  };
  check(std::type_identity<float>{});
  check(std::type_identity<double>{});
}

TEST_P(SoftmaxOptionsTest, InvalidTemperaturesInMemoryMakeTheirRowsNaN) {
  const Context ctx = context();
  const std::vector<float> temperatures = {
      1,      0,    -1, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
      1e-45f, 3e38f};
  const std::int64_t rows = std::ssize(temperatures);
  std::vector<float> z;
  for (std::int64_t r = 0; r < rows; ++r) z.insert(z.end(), {1, 3, 3, -2});
  Tensor zs(ctx, z), p(ctx, DType::kF32, {rows, 4}), ts(ctx, temperatures), tp(ctx, DType::kF32, {rows, 4});
  SoftmaxOptions options;
  options.temperatures = ts;
  softmax(ctx, zs.view().reshaped({rows, 4}), p, options);
  const std::vector<double> ps = p.to_doubles(ctx);
  for (std::size_t i = 4; i < 20; ++i) EXPECT_TRUE(std::isnan(ps[i])) << i;
  EXPECT_EQ(std::vector(ps.begin() + 20, ps.begin() + 24), (std::vector<double>{0, 0.5, 0.5, 0}));
  for (std::size_t i = 24; i < 28; ++i) EXPECT_EQ(ps[i], 0.25);
  softmax_jvp(ctx, p, p, tp, options);
  const std::vector<double> tps = tp.to_doubles(ctx);
  for (std::size_t i = 4; i < 20; ++i) EXPECT_TRUE(std::isnan(tps[i])) << i;
  EXPECT_FALSE(std::isnan(tps[0]));
}

TEST_P(SoftmaxOptionsTest, ManyTangentsOfOneJacobian) {
  const Context ctx = context();
  for (const std::int64_t n : {5, 200, 3000}) {
    const std::int64_t rows = 3, k = 4;
    const auto z = normal_sample<float>(static_cast<std::size_t>(rows * n), kSeed);
    const auto t = normal_sample<float>(static_cast<std::size_t>(rows * k * n), kSeed + 1);
    Tensor zs(ctx, z), p(ctx, DType::kF32, {rows, n}), ts(ctx, t), many(ctx, DType::kF32, {rows, k, n}),
        one(ctx, DType::kF32, {rows, n}), tangent(ctx, DType::kF32, {rows, n});
    softmax(ctx, zs.view().reshaped({rows, n}), p);
    softmax_jvp(ctx, p, ts.view().reshaped({rows, k, n}), many, {.temperature = 0.6});
    const std::vector<double> all = many.to_doubles(ctx);
    for (std::int64_t probe = 0; probe < k; ++probe) {
      // The same tangent alone: a strided view of the many.
      const std::int64_t strides[] = {k * n, 1};
      const ConstTensorView alone(ts.view().data_as<float>() + probe * n, DType::kF32, {rows, n}, strides);
      softmax_jvp(ctx, p, alone, one, {.temperature = 0.6});
      const std::vector<double> want = one.to_doubles(ctx);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < n; ++c)
          ASSERT_EQ(all[static_cast<std::size_t>((r * k + probe) * n + c)],
                    want[static_cast<std::size_t>(r * n + c)]);
    }
  }
}

// Of [B, H, M, N] logits the mask of attention is [B, 1, M, N].
TEST_P(SoftmaxOptionsTest, MasksWithOneAxisLess) {
  const Context ctx = context();
  const std::vector<float> z(2 * 3 * 4 * 5, 0.5f);
  std::vector<float> bias(2 * 4 * 5);
  for (std::size_t i = 0; i < bias.size(); ++i)
    if (i % 3 == 0) bias[i] = -std::numeric_limits<float>::infinity();
  Tensor zs(ctx, z), biases(ctx, bias), p(ctx, DType::kF32, {2, 3, 4, 5});
  softmax(ctx, zs.view().reshaped({2, 3, 4, 5}), p, {.bias = biases.view().reshaped({2, 1, 4, 5})});
  const std::vector<double> ps = p.to_doubles(ctx);
  for (std::size_t i = 0; i < ps.size(); ++i) {
    const std::size_t column = i % 5, row = i / 5 % 4, batch = i / 60, first = (batch * 4 + row) * 5;
    int left = 0;
    for (std::size_t c = 0; c < 5; ++c) left += (first + c) % 3 != 0;
    EXPECT_NEAR(ps[i], (first + column) % 3 == 0 ? 0 : 1.0 / left, 1e-7) << i;
  }
}

// The bias of a masked element does not count, nor the logit under a bias of -inf.
TEST_P(SoftmaxOptionsTest, WhatIsMaskedDoesNotCount) {
  const Context ctx = context();
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const std::int64_t stride : {1, 2})
    for (const float hidden : {nan, inf}) {
      std::vector<float> z(8), bias(4);
      for (std::size_t i = 0; i < 4; ++i) z[i * static_cast<std::size_t>(stride)] = 1;
      z[2 * static_cast<std::size_t>(stride)] = hidden;
      bias[2] = -inf;
      bias[3] = hidden;
      const unsigned char keep[] = {1, 1, 1, 0};
      Tensor zs(ctx, z), biases(ctx, bias), keeps(ctx, DType::kE4M3, {4}), p(ctx, DType::kF32, {4});
      copy(ctx, ConstTensorView(keep, DType::kE4M3, {4}), keeps);
      SoftmaxOptions options;
      options.mask = BoolView(static_cast<const bool*>(keeps.view().data()), {4});
      options.bias = biases;
      const std::int64_t strides[] = {stride};
      softmax(ctx, ConstTensorView(zs.view().data(), DType::kF32, {4}, strides), p, options);
      EXPECT_EQ(p.to_doubles(ctx), (std::vector<double>{0.5, 0.5, 0, 0})) << stride << " " << hidden;
    }
}

TEST_P(SoftmaxOptionsTest, LogsumexpBeyondTheLargestNumber) {
  const Context ctx = context();
  Tensor lse(ctx, DType::kF32, {1});
  for (const auto& [z, want] : {std::pair{1e38f, kInf}, {-3e38f, -kInf}}) {
    Tensor zs(ctx, std::vector<float>{z});
    logsumexp(ctx, zs, lse, {.temperature = 3e-9});
    EXPECT_EQ(lse.to_doubles(ctx)[0], want);
  }
}

TEST_P(SoftmaxOptionsTest, WhatDoesNotFitIsRefused) {
  const Context ctx = context();
  Tensor z(ctx, DType::kF16, {4, 6}), p(ctx, DType::kF16, {4, 6}), stats(ctx, DType::kF16, {4});
  const auto message = [&](const SoftmaxOptions& options,
                           const std::function<void(const SoftmaxOptions&)>& call) {
    try {
      call(options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const auto of = [&](const SoftmaxOptions& options) {
    return message(options, [&](const SoftmaxOptions& o) { softmax(ctx, z, p, o); });
  };
  const auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(of({.axis = 2}), "axis: want -2 to 1, got 2");
  has(of({.axis = -3}), "axis: want -2 to 1, got -3");
  Tensor bytes(ctx, DType::kF32, {24});
  const auto* const flags = static_cast<const bool*>(bytes.view().data());
  const auto* const indices = static_cast<const std::int64_t*>(bytes.view().data());
  has(of({.mask = BoolView(flags, {5})}), "mask.shape: want [4, 6] or one that broadcasts to it, got [5]");
  has(of({.mask = BoolView(flags, {2, 4, 6})}), "mask.shape");
  has(of({.mask = BoolView(nullptr, {4, 6})}), "mask: want memory for 24 elements");
  has(of({.bias = ConstTensorView(bytes.view())}), "bias.dtype: want f16, got f32");
  has(of({.bias = ConstTensorView(z.view().data(), DType::kF16, {4, 5})}), "bias.shape");
  has(of({.lengths = IndexView(indices, {6})}), "lengths.shape: want [4], got [6]");
  has(of({.axis = 0, .causal = true}), "causal");
  has(of({.temperatures = ConstTensorView(bytes.view().data(), DType::kF32, {6})}),
      "temperatures.shape: want [4], got [6]");
  has(of({.temperatures = ConstTensorView(z.view().data(), DType::kF16, {4})}),
      "temperatures.dtype: want f32, got f16");
  has(of({.temperature = 2, .temperatures = ConstTensorView(bytes.view().data(), DType::kF32, {4})}),
      "temperature: want 1");
  // What is written may not be read as a mask.
  has(of({.mask = BoolView(static_cast<const bool*>(p.view().data()), {4, 6})}), "overlap");
  has(of({.bias = ConstTensorView(p)}), "overlap");
  // Outputs: their dtype, elements that overlap, axes that do not merge.
  Tensor f64(ctx, DType::kF64, {4, 6}), f32_stats(ctx, DType::kF32, {4});
  has(message({}, [&](const SoftmaxOptions& o) { softmax(ctx, z, f64, o); }),
      "p.dtype: want f16 or f32, got f64");
  logsumexp(ctx, z, f32_stats);
  const std::int64_t none[] = {0, 1}, apart[] = {300, 100, 30, 7, 1}, backwards[] = {6, -1};
  const TensorView repeated(p.view().data(), DType::kF16, {4, 6}, none);
  has(message({}, [&](const SoftmaxOptions& o) { softmax(ctx, z, repeated, o); }), "p.strides");
  Tensor wide(ctx, DType::kF16, {1000}), four(ctx, DType::kF16, {2, 2, 2, 2, 6});
  const ConstTensorView three(wide.view().data(), DType::kF16, {2, 2, 2, 2, 6}, apart);
  has(message({}, [&](const SoftmaxOptions& o) { softmax(ctx, three, four, o); }), "merge");
  const ConstTensorView reversed(static_cast<const f16*>(z.view().data()) + 5, DType::kF16, {4, 6},
                                 backwards);
  has(message({}, [&](const SoftmaxOptions& o) { softmax(ctx, reversed, p, o); }),
      "z.strides: want none below 0");
  Tensor p16(ctx, DType::kF16, {4, 6}), tp32(ctx, DType::kF32, {4, 6});
  has(message({}, [&](const SoftmaxOptions& o) { softmax_value_and_jvp(ctx, z, z, p16, tp32, o); }),
      "tp.dtype: want f16, got f32");
  Tensor jacobian(ctx, DType::kF16, {4, 6, 6});
  has(message({.axis = 0}, [&](const SoftmaxOptions& o) { softmax_jacobian(ctx, z, jacobian, o); }), "axis");
}

}  // namespace

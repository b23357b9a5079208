#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "activation_checks.hpp"
#include "dispatch.hpp"
#include "evaluate.hpp"
#include "philox.hpp"
#include "reference.hpp"
#include "scalar.hpp"

namespace actium::reference {

namespace {

/// A double or long double: every dtype but f64 is computed in double.
template <class F>
void visit_wide(DType dtype, const F& f) {
  if (dtype == DType::kF64)
    f(std::type_identity<long double>{});
  else
    f(std::type_identity<double>{});
}

/// One tensor's elements as numbers, whatever its dtype.
template <class W, class View>
class Elements {
 public:
  Elements(const View& view, std::int64_t row_stride = 0) : view_(view), row_stride_(row_stride) {}
  explicit operator bool() const { return view_.data() != nullptr; }

  W load(std::int64_t row, std::int64_t column) const {
    const std::int64_t at = row * row_stride_ + column;
    switch (view_.dtype()) {
      case DType::kF64:
        return static_cast<W>(view_.template data_as<double>()[at]);
      case DType::kF32:
        return static_cast<W>(view_.template data_as<float>()[at]);
      case DType::kF16:
        return static_cast<W>(static_cast<float>(view_.template data_as<f16>()[at]));
      default:
        return static_cast<W>(static_cast<float>(view_.template data_as<bf16>()[at]));
    }
  }
  W load(std::int64_t index) const { return load(0, index); }

  /// Rounds once; every NaN is the same. Returns the number as stored.
  W store(std::int64_t row, std::int64_t column, W value) const {
    if (std::isnan(value)) value = std::numeric_limits<W>::quiet_NaN();
    const std::int64_t at = row * row_stride_ + column;
    const auto put = [&]<class T>(std::type_identity<T>) -> W {
      T& stored = view_.template data_as<T>()[at];
      if constexpr (std::is_same_v<T, double> || std::is_same_v<T, float>) {
        stored = static_cast<T>(value);
        return static_cast<W>(stored);
      } else {
        stored = T(static_cast<double>(value));
        return static_cast<W>(static_cast<float>(stored));
      }
    };
    return visit_storage(view_.dtype(), put);
  }

 private:
  View view_;
  std::int64_t row_stride_;
};
template <class W>
using Input = Elements<W, ConstTensorView>;
template <class W>
using Output = Elements<W, TensorView>;

/// Where element i of order of memory is.
struct Position {
  std::int64_t row, column;
};
Position position(const Layout& layout, std::int64_t i) {
  if (layout.rows() == 1) return {0, i};
  return {i / layout.cols(), i % layout.cols()};
}

/// Which element of a vector along an axis belongs to element i of order of memory.
struct Channels {
  std::int64_t count = 1, inner = 1;
  std::int64_t of(std::int64_t i) const { return i / inner % count; }
};
Channels channels(const Layout& layout, const Shape& shape, int axis) {
  if (axis < 0) return {1, layout.rows() * layout.cols()};
  return {shape[axis], layout.inner(axis)};
}

/// body(channel, i) for every element i, the elements of one channel one after the other.
template <class Body>
void for_each_of_channel(const Channels& map, std::int64_t count, std::int64_t channel, const Body& body) {
  for (std::int64_t outer = channel * map.inner; outer < count; outer += map.count * map.inner)
    for (std::int64_t i = outer; i < outer + map.inner; ++i) body(i);
}

/// What dropout multiplies element i by.
class DropoutFactor {
 public:
  explicit DropoutFactor(const Dropout& dropout)
      : threshold_(dropout_threshold(dropout)), scale_(dropout_scale(threshold_)), key_(dropout.key) {}
  bool kept(std::int64_t i) const {
    return threshold_ == 0 || philox_word(key_, static_cast<std::uint64_t>(i)) >= threshold_;
  }
  double scale() const { return scale_; }

 private:
  std::uint32_t threshold_;
  double scale_;
  RandomKey key_;
};

/// f's parameters at element i, where a tensor may hold the first one for each channel.
template <class W>
class ParametersAt {
 public:
  ParametersAt(const Activation& f, const Layout& layout, const Shape& shape, const ConstTensorView& slope,
               int axis)
      : parameters_(f.parameters().data()), slope_(slope) {
    if (slope_) map_ = channels(layout, shape, axis);
  }
  std::array<double, kMaxParameters> operator()(std::int64_t i) const {
    std::array<double, kMaxParameters> p = {parameters_[0], parameters_[1], parameters_[2]};
    if (slope_) p[0] = static_cast<double>(slope_.load(map_.of(i)));
    return p;
  }

 private:
  const double* parameters_;
  Input<W> slope_;
  Channels map_;
};

/// An 8-bit result at the end of its range, where the number that was stored may have been larger.
template <class W>
bool saturated(DType dtype, W stored) {
  return (dtype == DType::kE4M3 && std::fabs(stored) == W(e4m3::kLargest)) ||
         (dtype == DType::kE5M2 && std::fabs(stored) == W(e5m2::kLargest));
}

/// The type that the kernels compute in, whose roundings decide on which side of a kink a sum is, and what
/// overflows.
template <class W>
using Computing = std::conditional_t<std::is_same_v<W, long double>, double, float>;

/// x + bias, rounded once.
template <class W>
W biased(W x, W bias) {
  using C = Computing<W>;
  return static_cast<W>(static_cast<C>(x) + static_cast<C>(bias));
}
/// Infinite if it is past the largest number of the type that computes.
template <class W>
W in_range(W x) {
  const auto rounded = static_cast<Computing<W>>(x);
  return std::isinf(rounded) ? static_cast<W>(rounded) : x;
}

/// A number that times 0 is 0.
template <class W>
W finite(W x) {
  return std::isinf(x) ? std::copysign(std::numeric_limits<W>::max(), x) : x;
}

/// The larger of two numbers; NaN where either is.
template <class W>
W max_nan(W a, W b) {
  return std::isnan(a) || a > b ? a : b;
}

/// The slope that a mask bit of 0 stands for, given the parameters.
double off_slope(const Activation& f, const double* p) {
  return takes_slope_per_channel(f.kind()) ? p[0] : 0.0;
}
template <class W>
W on_slope(const Activation& f) {
  return f.name() == "hardsigmoid" ? W(1) / W(6) : W(1);
}

}  // namespace

void forward(const Activation& f, const Layout& layout, const ConstTensorView& x, const TensorView& y,
             const ForwardOptions& options, int threads) {
  visit_wide(x.dtype(), [&]<class W>(std::type_identity<W>) {
    const auto eval = value_function<W>(f.kind());
    const auto slope_of = slope_function<W>(f.kind());
    const Input<W> xs(x, layout.row_stride(0)), bias(options.bias),
        residual(options.residual, options.residual.data() ? layout.row_stride(2) : 0);
    const Output<W> ys(y, layout.row_stride(1));
    const ParametersAt<W> parameters_at(f, layout, x.shape(), options.slope, options.channel_axis);
    const Channels bias_map = bias ? channels(layout, x.shape(), x.shape().rank() - 1) : Channels{};
    const DropoutFactor dropout(options.dropout);
    const auto element = [&](std::int64_t i) {
      const auto [row, column] = position(layout, i);
      const auto p = parameters_at(i);
      W argument = xs.load(row, column);
      if (bias) argument = biased(argument, bias.load(bias_map.of(i)));
      W value = in_range(eval(argument, p.data()));
      value = dropout.kept(i) ? value * static_cast<W>(dropout.scale()) : W(0);
      value = (options.scale == 0 ? finite(value) : value) * static_cast<W>(options.scale);
      if (residual) value += residual.load(row, column);
      const bool on =
          options.mask != nullptr &&
          (takes_slope_per_channel(f.kind()) ? argument : slope_of(argument, p.data()).slope) > W(0);
      // What is finite stays so in f32, in which 8-bit results are computed.
      constexpr W kMost = std::numeric_limits<float>::max();
      const W product = value * static_cast<W>(options.quantization_scale);
      const W exact =
          is_8_bit(y.dtype()) && std::isfinite(value) ? std::clamp(product, -kMost, kMost) : product;
      const W stored = ys.store(row, column, exact);
      return std::pair(on, saturated(y.dtype(), stored) ? std::max(std::fabs(exact), std::fabs(stored))
                                                        : std::fabs(stored));
    };
    // In words of the mask, which also are what amax is found in.
    const std::int64_t count = x.count(), words = mask_words(count);
    std::vector<W> largest(options.amax ? static_cast<std::size_t>(words) : 0);
    parallel_for(words, threads, 32, [&](std::int64_t word) {
      std::uint32_t bits = 0;
      W most = 0;
      for (std::int64_t i = 32 * word; i < std::min(count, 32 * word + 32); ++i) {
        const auto [on, magnitude] = element(i);
        bits |= static_cast<std::uint32_t>(on) << (i % 32);
        most = max_nan(most, magnitude);
      }
      if (options.mask) options.mask[word] = bits;
      if (options.amax) largest[static_cast<std::size_t>(word)] = most;
    });
    if (options.amax) {
      W most = 0;
      for (const W magnitude : largest) most = max_nan(most, magnitude);
      *options.amax = static_cast<float>(most / static_cast<W>(options.quantization_scale));
    }
  });
}

void backward(const Activation& f, SlopeFrom from, const Layout& layout, const ConstTensorView& x,
              const std::uint32_t* mask, const ConstTensorView& dy, const TensorView& dx,
              const BackwardOptions& options, int threads) {
  visit_wide(dy.dtype(), [&]<class W>(std::type_identity<W>) {
    const auto slope_of = slope_function<W>(f.kind());
    const auto inverse = inverse_function<W>(f.kind());
    const std::size_t first = from == SlopeFrom::kMask ? 0 : 1;
    const Input<W> xs(x, layout.row_stride(0)), dys(dy, layout.row_stride(first)), bias(options.bias);
    const Output<W> dxs(dx, layout.row_stride(first + 1));
    const Shape& shape = dy.shape();
    const ParametersAt<W> parameters_at(f, layout, shape, options.slope, options.channel_axis);
    const Channels last =
        shape.rank() > 0 && shape.count() > 0 ? channels(layout, shape, shape.rank() - 1) : Channels{};
    const DropoutFactor dropout(options.dropout);
    const auto element = [&](std::int64_t i) {
      const auto [row, column] = position(layout, i);
      const auto p = parameters_at(i);
      W slope;
      if (from == SlopeFrom::kMask) {
        slope = mask[i / 32] >> (i % 32) & 1 ? on_slope<W>(f) : static_cast<W>(off_slope(f, p.data()));
      } else {
        W argument = xs.load(row, column);
        if (from == SlopeFrom::kOutput) argument = inverse(argument, p.data());
        if (bias) argument = biased(argument, bias.load(last.of(i)));
        slope = slope_of(argument, p.data()).slope;
      }
      W gradient = dys.load(row, column) * static_cast<W>(options.scale) * static_cast<W>(dropout.scale());
      gradient *= options.scale == 0 ? finite(slope) : slope;
      if (!dropout.kept(i)) gradient = 0;  // whatever x is
      dxs.store(row, column, gradient);
      return gradient;
    };
    if (options.dbias.data() == nullptr) return parallel_for(dy.count(), threads, 1, element);
    const Output<W> dbias(options.dbias);
    parallel_for(options.dbias.count(), threads, dy.count() / options.dbias.count(),
                 [&](std::int64_t channel) {
                   W sum = 0;
                   for_each_of_channel(last, dy.count(), channel, [&](std::int64_t i) { sum += element(i); });
                   dbias.store(0, channel, sum);
                 });
  });
}

void jvp(const Activation& f, const Layout& layout, const ConstTensorView& x, const ConstTensorView& tx,
         const TensorView& y, const TensorView& ty, int threads) {
  visit_wide(x.dtype(), [&]<class W>(std::type_identity<W>) {
    const auto eval = slope_function<W>(f.kind());
    const Input<W> xs(x, layout.row_stride(0)), txs(tx, layout.row_stride(1));
    const Output<W> ys(y, layout.row_stride(2)), tys(ty, layout.row_stride(3));
    parallel_for(x.count(), threads, 1, [&](std::int64_t i) {
      const auto [row, column] = position(layout, i);
      const auto [value, slope] = eval(xs.load(row, column), f.parameters().data());
      const W tangent = txs.load(row, column) * slope;  // read before y is written: y may be tx
      ys.store(row, column, value);
      tys.store(row, column, tangent);
    });
  });
}

void backward_of_backward(const Activation& f, const Layout& layout, const ConstTensorView& x,
                          const ConstTensorView& dy, const ConstTensorView& ddx, const TensorView& ddy,
                          const TensorView& dx, int threads) {
  visit_wide(x.dtype(), [&]<class W>(std::type_identity<W>) {
    const auto eval = curvature_function<W>(f.kind());
    const Input<W> xs(x, layout.row_stride(0)), dys(dy, layout.row_stride(1)),
        ddxs(ddx, layout.row_stride(2));
    const Output<W> ddys(ddy, layout.row_stride(3)), dxs(dx, layout.row_stride(4));
    parallel_for(x.count(), threads, 1, [&](std::int64_t i) {
      const auto [row, column] = position(layout, i);
      const auto jet = eval(xs.load(row, column), f.parameters().data());
      const W v = ddxs.load(row, column), g = dys.load(row, column);  // read before anything is written
      ddys.store(row, column, v * jet.slope);
      dxs.store(row, column, v * g * jet.curvature);
    });
  });
}

void parameter_gradient(const Activation& f, const Layout& layout, const ConstTensorView& x,
                        const ConstTensorView& dy, const TensorView& dp, int channel_axis, int threads) {
  visit_wide(x.dtype(), [&]<class W>(std::type_identity<W>) {
    const auto parameter_slope = parameter_function<W>(f.kind());
    const Input<W> xs(x, layout.row_stride(0)), dys(dy, layout.row_stride(1));
    const Output<W> dps(dp);
    const Channels map = x.count() > 0 ? channels(layout, x.shape(), channel_axis) : Channels{};
    const std::int64_t channel_count = dp.shape().count() / f.info().parameter_count;
    parallel_for(dp.count(), threads, x.count() / channel_count, [&](std::int64_t j) {
      W sum = 0;
      for_each_of_channel(map, x.count(), j % channel_count, [&](std::int64_t i) {
        const auto [row, column] = position(layout, i);
        sum += dys.load(row, column) * parameter_slope(xs.load(row, column), f.parameters().data(),
                                                       static_cast<int>(j / channel_count));
      });
      dps.store(0, j, sum);
    });
  });
}

}  // namespace actium::reference

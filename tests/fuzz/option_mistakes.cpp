#include "option_mistakes.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

namespace actium_fuzz {

using namespace actium;

namespace {

enum class Kind : std::uint8_t { kForward, kBackward, kFromOutput, kFromMask, kParameterGradient, kMany };

/// The tensors of a call, by their slots.
enum : std::size_t { kX, kDy, kResult, kBias, kResidual, kSlope, kMask, kSum };

struct Arguments {
  Kind kind = Kind::kForward;
  Activation f = relu();
  TensorView parts[kMistakeSlots];
  int channel_axis = 1;
  double scale = 1, quantization_scale = 1;
  Dropout dropout;
  std::vector<ForwardPair> pairs;

  bool has(std::size_t part) const { return parts[part].data() != nullptr; }
  const Shape& shape() const { return parts[kind == Kind::kFromMask ? kDy : kX].shape(); }
  void call(const Context& ctx) const {
    auto* const mask = static_cast<std::uint32_t*>(parts[kMask].data());
    if (kind == Kind::kMany) return forward_many(ctx, f, pairs);
    if (kind == Kind::kForward)
      return forward(ctx, f, parts[kX], parts[kResult],
                     {.bias = parts[kBias],
                      .residual = parts[kResidual],
                      .scale = scale,
                      .dropout = dropout,
                      .slope = parts[kSlope],
                      .channel_axis = channel_axis,
                      .mask = mask,
                      .quantization_scale = quantization_scale,
                      .amax = static_cast<float*>(parts[kSum].data())});
    if (kind == Kind::kParameterGradient)
      return parameter_gradient(ctx, f, parts[kX], parts[kDy], parts[kSum], channel_axis);
    const BackwardOptions o{.bias = parts[kBias],
                            .scale = scale,
                            .dropout = dropout,
                            .slope = parts[kSlope],
                            .channel_axis = channel_axis,
                            .dbias = parts[kSum]};
    if (kind == Kind::kBackward) return backward(ctx, f, parts[kX], parts[kDy], parts[kResult], o);
    if (kind == Kind::kFromOutput)
      return backward_from_output(ctx, f, parts[kX], parts[kDy], parts[kResult], o);
    backward_from_mask(ctx, f, mask, parts[kDy], parts[kResult], o);
  }
};

DType other_than(DType dtype) { return dtype == DType::kF64 ? DType::kF32 : DType::kF64; }

/// With every part that it may have, or some of them.
Arguments good(Input& in, std::uintptr_t memory) {
  Arguments a;
  a.kind = static_cast<Kind>(in.below(6));
  const Activation kinds[] = {leaky_relu(0.2), prelu(0.5), relu(), hardtanh(-1, 0.5)};
  a.f = kinds[in.below(a.kind == Kind::kParameterGradient ? 2 : 4)];
  const bool takes_slopes = a.f.info().parameter_count == 1, f64 = in.one_in(4);
  constexpr std::int64_t kExtents[] = {2, 3, 4, 5, 6, 1};
  std::array<std::int64_t, 3> extents{};
  for (std::int64_t& n : extents) n = in.pick(kExtents);
  const Shape shape(std::span<const std::int64_t>(extents).first(2 + in.below(2)));
  constexpr DType kNarrow[] = {DType::kF32, DType::kF16, DType::kBF16};
  const DType common = f64 ? DType::kF64 : in.pick(kNarrow);
  const bool plain = a.kind == Kind::kParameterGradient || a.kind == Kind::kMany;
  const std::uint8_t there = in.byte();
  const auto put = [&](std::size_t part, const Shape& s, DType dtype) {
    a.parts[part] =
        TensorView(reinterpret_cast<void*>(memory + part * kMistakeBytes + kMistakeBytes / 4), dtype, s);
  };
  const auto some_dtype = [&] {
    const DType dtype = in.pick(kNarrow);
    return f64 || plain ? common : dtype;
  };
  const Shape last{shape.back()}, words{mask_words(shape.count())};
  const bool input = a.kind == Kind::kForward || a.kind == Kind::kBackward;
  if (a.kind != Kind::kFromMask) put(kX, shape, some_dtype());
  if (a.kind != Kind::kForward && a.kind != Kind::kMany) put(kDy, shape, some_dtype());
  if (!plain) put(kResult, shape, some_dtype());
  if (input && (there & 1) != 0) put(kBias, last, some_dtype());
  if (a.kind == Kind::kForward && (there & 2) != 0) put(kResidual, shape, some_dtype());
  a.channel_axis = static_cast<int>(in.below(static_cast<std::size_t>(shape.rank())));
  if (takes_slopes && !plain && a.kind != Kind::kFromOutput && (there & 4) != 0)
    put(kSlope, Shape{shape[a.channel_axis]}, some_dtype());
  if (a.kind == Kind::kFromMask || (a.kind == Kind::kForward && (there & 8) != 0))
    put(kMask, words, DType::kF32);
  if (a.kind == Kind::kForward && !f64 && (there & 16) != 0) {
    put(kResult, shape, in.flag() ? DType::kE4M3 : DType::kE5M2);
    a.quantization_scale = 3;
    put(kSum, Shape{1}, DType::kF32);
  }
  if (!plain && a.kind != Kind::kForward && (there & 32) != 0) put(kSum, last, in.pick(kDTypes));
  if (a.kind == Kind::kParameterGradient) {
    if ((there & 32) != 0) a.channel_axis = -1;
    put(kSum, a.channel_axis < 0 ? Shape{1} : Shape{1, shape[a.channel_axis]},
        in.flag() ? DType::kF32 : DType::kF64);
  }
  if (!plain && (there & 64) != 0) a.scale = -0.7;
  if (!plain && (there & 128) != 0) a.dropout = {.p = 0.3, .key = {1, 2}};
  if (a.kind == Kind::kMany)
    for (std::size_t i = 0; i < 4; ++i) {
      const Shape own{static_cast<std::int64_t>(in.below(9))};
      const auto at = [&](std::size_t slot) {
        return TensorView(reinterpret_cast<void*>(memory + slot * kMistakeBytes + kMistakeBytes / 4), common,
                          own);
      };
      a.pairs.push_back({at(2 * i), at(2 * i + (in.flag() ? 1 : 0))});
    }
  return a;
}

TensorView with_data(const TensorView& t, std::uintptr_t address) {
  return {reinterpret_cast<void*>(address), t.dtype(), t.shape()};
}
TensorView with_dtype(const TensorView& t, DType dtype) { return {t.data(), dtype, t.shape()}; }
std::uintptr_t address_of(const TensorView& t) { return reinterpret_cast<std::uintptr_t>(t.data()); }

bool is_output(const Arguments& a, std::size_t part) {
  return part == kResult || part == kSum || (part == kMask && a.kind == Kind::kForward);
}

/// One mistake in a list, or none where the list has no room for it.
std::string break_list(Input& in, Arguments& a, std::uintptr_t to_elsewhere) {
  const std::size_t i = in.below(4), j = (i + 1 + in.below(3)) % 4;
  ForwardPair &pair = a.pairs[i], &other = a.pairs[j];
  TensorView x(const_cast<void*>(pair.x.data()), pair.x.dtype(), pair.x.shape());
  if (x.count() == 0 || other.x.count() == 0) return "";
  switch (in.below(9)) {
    case 0:
      pair.y = with_dtype(pair.y, other_than(x.dtype()));
      return "another dtype";
    case 1:
      pair.y = TensorView(pair.y.data(), x.dtype(), Shape{x.count() + 1});
      return "another shape";
    case 2:
      pair.y = with_data(pair.y, 0);
      return "null";
    case 3:
      pair.y = with_data(pair.y, address_of(pair.y) + 1);
      return "misaligned";
    case 4:
      pair.y = with_data(pair.y, address_of(pair.y) + to_elsewhere);
      return "on the other device";
    case 5:  // y on the last element of another pair's x
      pair.y = with_data(pair.y, reinterpret_cast<std::uintptr_t>(other.x.data()) +
                                     static_cast<std::uintptr_t>(other.x.count() - 1) * size_of(x.dtype()));
      return "y over another's x";
    case 6:
      pair.y = with_data(pair.y, address_of(other.y));
      return "two results in one place";
    case 7:  // y one element behind its x
      pair.y = with_data(pair.y, address_of(x) + size_of(x.dtype()));
      return x.count() > 1 ? "y over its x" : "";
    default:
      a.f = softplus(-1);
      return "a parameter out of its domain";
  }
}

/// One mistake in a call with options; empty where this call has no place for it.
std::string break_call(Input& in, Arguments& a, std::uintptr_t to_elsewhere) {
  constexpr double kInf = std::numeric_limits<double>::infinity(),
                   kNan = std::numeric_limits<double>::quiet_NaN();
  const bool f64 = a.parts[a.kind == Kind::kFromMask ? kDy : kX].dtype() == DType::kF64;
  const bool numbers = a.kind != Kind::kParameterGradient;
  const std::size_t part = in.below(kMistakeSlots), other = in.below(kMistakeSlots);
  TensorView& t = a.parts[part];
  switch (in.below(20)) {
    case 0: {
      constexpr double kShares[] = {1, -0.1, kNan, kInf, -kInf, 1.0000001, 5};
      a.dropout.p = in.pick(kShares);
      return numbers ? "dropout.p" : "";
    }
    case 1: {
      constexpr double kScales[] = {kNan, kInf, -kInf, 1e300, -1e39, 1e-300};
      const std::size_t i = in.below(6);
      a.scale = kScales[i];
      return numbers && (i < 3 || !f64) ? "scale" : "";
    }
    case 2: {
      constexpr double kScales[] = {0, -1, kNan, kInf, 2};
      const std::size_t i = in.below(is_8_bit(a.parts[kResult].dtype()) ? 4 : 5);
      a.quantization_scale = kScales[i];
      return a.kind == Kind::kForward ? "quantization_scale" : "";
    }
    case 3:
      if (a.kind != Kind::kForward || is_8_bit(a.parts[kResult].dtype())) return "";
      a.parts[kSum] =
          TensorView(reinterpret_cast<void*>(address_of(a.parts[kX]) + 7 * kMistakeBytes), DType::kF32, {1});
      return "amax without an 8-bit result";
    case 4:
      if (!a.has(kSlope)) return "";
      a.f = a.kind == Kind::kFromMask ? relu() : gelu();
      a.parts[kMask] = a.kind == Kind::kForward ? TensorView{} : a.parts[kMask];
      return "slopes for an activation without";
    case 5: {
      constexpr int kAxes[] = {-2, 3, 8, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()};
      a.channel_axis = in.pick(kAxes);
      return a.has(kSlope) || a.kind == Kind::kParameterGradient ? "channel_axis" : "";
    }
    case 6:  // of another shape
      if (!a.has(part) || part == kMask || (part == kSum && a.kind == Kind::kForward)) return "";
      t = TensorView(t.data(), t.dtype(), t.shape().with(1));
      if (part == (a.kind == Kind::kFromMask ? kDy : kX)) return "";  // then it is the others that are wrong
      return "a shape";
    case 7:  // of another dtype
      if (!a.has(part) || part == kMask || part == kSum) return "";
      t = with_dtype(t, other_than(t.dtype()));
      return "a dtype";
    case 8:
      if (!a.has(part) || part == kMask || part == kSum || (part == kResult && a.kind == Kind::kForward))
        return "";
      t = with_dtype(t, DType::kE4M3);
      return "an 8-bit type";
    case 9:  // null: a part that must be there, with elements
      if (!a.has(part) || part == kSum || (part == kMask && a.kind == Kind::kForward)) return "";
      t = with_data(t, 0);
      return "null";
    case 10:
      if (!a.has(part) || size_of(t.dtype()) == 1) return "";
      t = with_data(t, address_of(t) + 1);
      return "misaligned";
    case 11:
      if (!a.has(part)) return "";
      t = with_data(t, address_of(t) + to_elsewhere);
      return "on the other device";
    case 12:
    case 13:
    case 14: {  // an output over another part: its last element on that one's first
      if (part == other || !a.has(part) || !a.has(other) || !is_output(a, part)) return "";
      const auto last = static_cast<std::uintptr_t>(t.bytes()) - size_of(t.dtype());
      const std::uintptr_t unit = std::max(size_of(t.dtype()), size_of(a.parts[other].dtype()));
      const std::uintptr_t to = address_of(a.parts[other]) - last / unit * unit;
      const bool same = to == address_of(a.parts[other]);
      t = with_data(t, to);
      // Where both are one element this is in place.
      return same ? "" : "an overlap";
    }
    case 15:
      if (a.kind != Kind::kFromOutput && a.kind != Kind::kFromMask) return "";
      a.parts[kBias] = TensorView(reinterpret_cast<void*>(address_of(a.parts[kDy]) + 2 * kMistakeBytes),
                                  a.parts[kDy].dtype(), {a.shape().back()});
      return "a bias where there is no input";
    case 16:
      if (a.kind == Kind::kFromOutput) {
        const Activation bad[] = {tanh(), gelu(), leaky_relu(-0.5), softshrink(), hardtanh(-1, 1e-300)};
        a.f = bad[in.below(f64 ? 4 : 5)];
        return "an activation whose output does not tell";
      }
      if (a.kind == Kind::kFromMask || (a.kind == Kind::kForward && a.has(kMask))) {
        a.f = in.flag() ? gelu() : identity();
        a.parts[kSlope] = {};
        return "an activation of more than two slopes";
      }
      if (a.kind == Kind::kParameterGradient) {
        a.f = gelu();
        return "an activation without parameters";
      }
      return "";
    case 17:
      if (a.kind != Kind::kParameterGradient) return "";
      a.parts[kSum] = with_dtype(a.parts[kSum], DType::kF16);
      return "dp's dtype";
    case 18: {  // an order of axes of its own, or rows that overlap
      if (!a.has(part) || (part != kX && part != kDy && part != kResult && part != kResidual)) return "";
      const Shape& s = t.shape();
      const int last = s.rank() - 1;
      if (s[last] < 2 || s[last - 1] < 2) return "";
      std::int64_t strides[3] = {s[last] * s[last - (s.rank() > 1 ? 1 : 0)], s[last], 1};
      std::int64_t* const own = strides + 3 - s.rank();
      own[last - 1] = in.flag() ? 1 : 0;
      t = TensorView(t.data(), t.dtype(), s,
                     std::span<const std::int64_t>(own, static_cast<std::size_t>(s.rank())));
      return "strides";
    }
    default:
      a.f = Activation(ActivationKind::softplus, {in.flag() ? -1.0 : kNan, 0, 0});
      a.parts[kSlope] = a.parts[kMask] = {};
      return a.kind == Kind::kFromMask ? "" : "a parameter out of its domain";
  }
}

}  // namespace

OptionMistake decode_option_mistake(Input& in, std::uintptr_t memory, std::uintptr_t elsewhere) {
  const auto arguments = std::make_shared<Arguments>(good(in, memory));
  OptionMistake result;
  const Arguments before = *arguments;
  if (!in.one_in(4)) {
    result.what = arguments->kind == Kind::kMany ? break_list(in, *arguments, elsewhere - memory)
                                                 : break_call(in, *arguments, elsewhere - memory);
    if (result.what.empty()) *arguments = before;
  }
  result.valid = result.what.empty();
  result.what = "operation " + std::to_string(static_cast<int>(before.kind)) + " of " +
                arguments->f.to_string() + ": " + (result.valid ? "no mistake" : result.what);
  result.call = [arguments](const Context& ctx) { arguments->call(ctx); };
  const auto add = [&](const TensorView& t) {
    result.outputs.emplace_back(address_of(t), static_cast<std::size_t>(t.bytes()));
  };
  for (std::size_t part = 0; part < kMistakeSlots; ++part)
    if (arguments->has(part) && is_output(*arguments, part)) add(arguments->parts[part]);
  for (const ForwardPair& pair : arguments->pairs)
    if (pair.y.count() > 0) add(pair.y);
  return result;
}

}  // namespace actium_fuzz

#include "option_case.hpp"

#include <algorithm>
#include <cmath>
#include <reference/evaluate.hpp>

namespace actium_fuzz {

using namespace actium;

namespace {

bool takes_slopes(const Activation& f) { return f.name() == "leaky_relu" || f.name() == "prelu"; }
bool has_mask(const ActivationInfo& info) {
  return info.backward_from == BackwardFrom::input_mask ||
         info.backward_from == BackwardFrom::input_output_mask;
}
bool has_output(const ActivationInfo& info) {
  return info.backward_from == BackwardFrom::input_output ||
         info.backward_from == BackwardFrom::input_output_mask;
}

Shape some_shape(Input& in) {
  constexpr std::int64_t kColumns[] = {0,  1,  2,  3,   4,   5,   7,   8,   12,  16,  31,   32,   33,
                                       37, 64, 99, 100, 127, 128, 129, 200, 257, 513, 1025, 2051, 6};
  constexpr std::int64_t kRows[] = {1, 2, 3, 4, 5, 7, 8, 17, 33, 64, 130, 257, 1, 2, 3, 0};
  const std::size_t rank = 1 + in.below(3);
  const bool large = in.one_in(8);  // which is slow to emulate
  const std::int64_t columns = in.pick(kColumns) % (large ? 4096 : 140);
  if (rank == 1) return {columns};
  const std::int64_t most = (large ? 4000 : 400) / std::max<std::int64_t>(1, columns);
  const std::int64_t rows = std::min(in.pick(kRows), most);
  if (rank == 2) return {rows, columns};
  const auto outer = static_cast<std::int64_t>(in.below(4));
  return {std::min(outer, most / std::max<std::int64_t>(1, rows)), rows, columns};
}

/// The first activation from `start` on that the operation can have.
const ActivationInfo& some_kind(OptionOp op, std::size_t start) {
  const auto all = activations();
  for (std::size_t i = start;; ++i) {
    const ActivationInfo& info = all[i % all.size()];
    if (op == OptionOp::kFromOutput ? has_output(info)
        : op == OptionOp::kFromMask ? has_mask(info)
                                    : op != OptionOp::kParameterGradient || info.parameter_count > 0)
      return info;
  }
}

DType some_dtype(Input& in, bool f64) {
  constexpr DType kNarrow[] = {DType::kF32, DType::kF16, DType::kBF16};
  const DType dtype = in.pick(kNarrow);
  return f64 ? DType::kF64 : dtype;
}

/// Which parts there are, of which shape and dtype.
void give_parts(Input& in, OptionCase& c) {
  const bool f64 = in.one_in(6), alike = in.flag();
  const DType common = some_dtype(in, f64);
  const auto give = [&](std::size_t part, const Shape& shape, bool output = false) {
    Part& p = c.parts[part];
    p.there = true;
    p.output = output;
    p.shape = shape;
    const DType own = some_dtype(in, f64);
    p.dtype = alike ? common : own;
  };
  const std::uint8_t choice = in.byte();
  const auto chosen = [&](unsigned bit) { return (choice >> bit & 1) != 0; };
  const Shape last{c.shape.back()};
  const bool sums = c.op == OptionOp::kParameterGradient;
  if (c.op != OptionOp::kFromMask) give(kX, c.shape);
  if (c.op != OptionOp::kForward) give(kDy, c.shape);
  if (!sums) give(kResult, c.shape, true);
  if (sums) c.parts[kDy].dtype = c.parts[kX].dtype;
  if ((c.op == OptionOp::kForward || c.op == OptionOp::kBackward) && chosen(0)) give(kBias, last);
  if (c.op == OptionOp::kForward && chosen(1)) give(kResidual, c.shape);
  if (takes_slopes(c.f) && !sums && c.op != OptionOp::kFromOutput && chosen(2)) {
    c.channel_axis = static_cast<int>(in.below(static_cast<std::size_t>(c.shape.rank())));
    give(kSlope, Shape{c.shape[c.channel_axis]});
  }
  const Shape words{mask_words(c.shape.count())};
  if (c.op == OptionOp::kFromMask || (c.op == OptionOp::kForward && has_mask(c.f.info()) && chosen(3))) {
    give(kMask, words, c.op == OptionOp::kForward);
    c.parts[kMask].dtype = DType::kF32;
  }
  if (c.op == OptionOp::kForward && !f64 && chosen(4)) {
    c.parts[kResult].dtype = in.flag() ? DType::kE4M3 : DType::kE5M2;
    constexpr double kScales[] = {1, 16, 0.25, 1000, 0.7};
    c.quantization_scale = in.pick(kScales);
    if (chosen(5)) give(kSum, Shape{1}, true);
    c.parts[kSum].dtype = DType::kF32;
  }
  if (c.op != OptionOp::kForward && !sums && chosen(4)) give(kSum, last, true);
  if (c.op != OptionOp::kForward && !sums && chosen(5)) c.parts[kSum].dtype = in.pick(kDTypes);
  if (sums) {
    c.channel_axis = static_cast<int>(in.below(static_cast<std::size_t>(c.shape.rank()) + 1)) - 1;
    const std::int64_t parameters = c.f.info().parameter_count;
    if (c.channel_axis >= 0 &&
        parameters * c.shape[c.channel_axis] > static_cast<std::int64_t>(kMostElements))
      c.channel_axis = -1;
    give(kSum, c.channel_axis < 0 ? Shape{parameters} : Shape{parameters, c.shape[c.channel_axis]}, true);
    c.parts[kSum].dtype = in.flag() ? DType::kF64 : DType::kF32;
  }
}

/// Where the parts are: rows apart, misaligned, in place.
void place_parts(Input& in, OptionCase& c) {
  const bool mask = c.parts[kMask].there, strided = in.one_in(3);
  for (const std::size_t part : {kX, kDy, kResult, kResidual})
    if (strided && !mask) {
      Part& p = c.parts[part];
      p.gap = static_cast<std::int64_t>(in.below(6));
      if (p.rows() * (p.columns() + p.gap) > static_cast<std::int64_t>(kMostElements)) p.gap = 0;
    }
  for (Part& p : c.parts) p.offset = static_cast<unsigned>(in.below(17));
  if (in.flag())
    for (Part& p : c.parts) p.offset = c.parts[0].offset;
  constexpr std::size_t kInputs[] = {kX, kDy, kResidual, kResult};
  const std::size_t other = in.pick(kInputs);
  Part& result = c.parts[kResult];
  if (other != kResult && result.there && c.parts[other].there && c.parts[other].dtype == result.dtype) {
    result.alias = static_cast<int>(other);
    result.gap = c.parts[other].gap;
    result.offset = c.parts[other].offset;
  }
}

}  // namespace

TensorView Part::view(void* data) const {
  if (gap == 0) return {data, dtype, shape};
  std::int64_t strides[3] = {};
  std::int64_t stride = columns() + gap;
  strides[shape.rank() - 1] = 1;
  for (int axis = shape.rank() - 2; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return {data, dtype, shape, std::span<const std::int64_t>(strides, static_cast<std::size_t>(shape.rank()))};
}

OptionCase decode_option_case(Input& in) {
  OptionCase c;
  c.op = static_cast<OptionOp>(in.below(5));
  const ActivationInfo& info = some_kind(c.op, in.below(activations().size()));
  c.f = Activation(info.kind, info.parameter_defaults);
  const std::uint8_t parameters = in.byte();
  if (info.parameter_count > 0) c.f = some_activation(info, parameters);
  if (c.op == OptionOp::kFromOutput && info.name == "hardtanh") c.f = hardtanh(-1, 0.5);
  if (c.op == OptionOp::kFromOutput && takes_slopes(c.f))
    c.f = Activation(info.kind, {std::fabs(c.f.parameters()[0]), 0, 0});
  c.shape = some_shape(in);
  give_parts(in, c);
  place_parts(in, c);
  constexpr double kScales[] = {1, 0.7, -2, 0, 1e-3, 1e4, 1, 1}, kShares[] = {0, 0.3, 0.5, 0.9, 0, 0};
  if (c.op != OptionOp::kParameterGradient) {
    c.scale = in.pick(kScales);
    c.dropout = {.p = in.pick(kShares), .key = {in.byte() * 0x123456789u, in.byte()}};
  }
  constexpr Values kValues[] = {Values::kSixtyFourths, Values::kUniform, Values::kExponents, Values::kBits};
  for (Values& v : c.values) v = in.pick(kValues);
  if (c.parts[kSum].there && c.values[1] == Values::kBits) c.values[1] = Values::kUniform;
  if (c.op == OptionOp::kParameterGradient && c.values[0] == Values::kBits) c.values[0] = Values::kExponents;
  c.specials = in.one_in(3) ? static_cast<unsigned>(in.below(4)) : 0;
  c.seed = in.integer<std::uint32_t>();
  for (emulator::Options& options : c.options) options = some_options(in);
  c.twice = in.below(4) == 0;
  return c;
}

void make_values(const OptionCase& c, std::size_t part, unsigned char* bytes) {
  const Part& p = c.parts[part];
  std::uint64_t state = c.seed + 1000 * part;
  if (p.output || part == kMask) {
    for (std::size_t i = 0; i < p.bytes(); ++i) bytes[i] = static_cast<unsigned char>(next(state));
    return;
  }
  std::memset(bytes, 0x5a, p.bytes());
  const Values how = part == kX ? c.values[0] : part == kSlope ? Values::kUniform : c.values[1];
  const auto value = [&]() -> double {
    const std::uint64_t bits = next(state);
    const double unit = static_cast<double>(bits >> 11) * 0x1p-53;
    switch (how) {
      case Values::kSixtyFourths:
        return static_cast<double>(bits % 1025) / 64 - 8;
      case Values::kExponents:
        return std::ldexp(bits % 2 == 0 ? 1 + unit : -1 - unit, static_cast<int>(bits / 2 % 25) - 12);
      case Values::kBits:
        if (p.dtype == DType::kF64) return std::bit_cast<double>(bits);
        return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
      default:
        return 8 * unit - 4;
    }
  };
  const auto output_of = reference::value_function<long double>(c.f.kind());
  const auto put = [&](std::int64_t i, double x) {
    if (c.op == OptionOp::kFromOutput && part == kX)
      x = static_cast<double>(output_of(x, c.f.parameters().data()));
    store(p.dtype, bytes, p.at(i), x);
  };
  const std::int64_t count = p.shape.count();
  for (std::int64_t i = 0; i < count; ++i) put(i, value());
  if (part == kX)
    for (unsigned k = 0; k < c.specials && count > 0; ++k) {
      const auto where = static_cast<std::int64_t>(next(state) % static_cast<std::uint64_t>(count));
      put(where, special(p.dtype, next(state)));
    }
}

}  // namespace actium_fuzz

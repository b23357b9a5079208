#include "kernels_case.hpp"

#include <algorithm>
#include <cmath>

namespace actium_fuzz {

using namespace actium;

namespace {

/// Both sides of where a kernel changes.
std::int64_t near(Input& in, std::int64_t boundary) {
  return std::max<std::int64_t>(0, boundary + static_cast<std::int64_t>(in.below(37)) - 18);
}

std::int64_t elements(Input& in) {
  constexpr std::int64_t kTiles[] = {512, 512, 512, 1024, 1024, 2048, 4096};
  switch (in.below(16)) {
    case 0:
      return static_cast<std::int64_t>(in.below(5001));
    case 1:
      return near(in, in.pick(kTiles));
    default:
      return static_cast<std::int64_t>(in.below(100));
  }
}

void rows_and_columns(Input& in, KernelCase& c) {
  constexpr std::int64_t kColumns[] = {0,   1,   2,    3,    4,    5,    7,    8,    16,   31,
                                       32,  33,  64,   100,  127,  128,  129,  200,  511,  512,
                                       513, 700, 1000, 1023, 1024, 1025, 1040, 1100, 1537, 2051};
  c.columns = in.one_in(4) ? static_cast<std::int64_t>(in.below(140)) : in.pick(kColumns);
  if (c.op == Op::kJacobian) c.columns %= 25;
  if (c.columns > 1024 && in.below(8) != 1) c.columns %= 600;  // a block for each row is slow to emulate
  c.rows = static_cast<std::int64_t>(in.below(c.columns > 1024 ? 3 : c.columns > 200 ? 4 : 8));
  if (c.op == Op::kJacobian)
    c.rows = std::min(c.rows, std::int64_t{kMostElements} / std::max<std::int64_t>(1, c.columns * c.columns));
}

}  // namespace

emulator::Options some_options(Input& in) {
  constexpr unsigned char kPoisons[] = {0xff, 0x7f, 0x00, 0x80, 0xfc};
  const std::uint8_t schedule = in.byte();
  return {.schedule = static_cast<emulator::Schedule>(schedule % 3),
          .seed = schedule / 3u,
          .poison = in.pick(kPoisons),
          .only = {}};
}

std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Activation some_activation(const ActivationInfo& info, unsigned choice) {
  constexpr double kNumbers[] = {0.01, -0.3, 1, 0, 0.1, 2};
  std::array<double, kMaxParameters> p{};
  for (std::size_t i = 0; i < static_cast<std::size_t>(info.parameter_count); ++i) {
    const double number = kNumbers[(choice + 4 * i) % std::size(kNumbers)], magnitude = std::abs(number);
    switch (info.parameter_domains[i]) {
      case ParameterDomain::finite:
        p[i] = number;
        break;
      case ParameterDomain::positive:
        p[i] = magnitude > 0 ? magnitude : 0.7;
        break;
      case ParameterDomain::nonnegative:
        p[i] = magnitude;
        break;
      case ParameterDomain::not_below_first:
        p[i] = p[0] + magnitude;
    }
  }
  return {info.kind, p};
}

double special(DType dtype, std::uint64_t which) {
  using L = std::numeric_limits<double>;
  const double largest = dtype == DType::kF64   ? L::max()
                         : dtype == DType::kF32 ? 0x1.fffffep127
                         : dtype == DType::kF16 ? 65504
                                                : 0x1.fep127;
  const double smallest = dtype == DType::kF64 ? L::denorm_min() : dtype == DType::kF16 ? 0x1p-24 : 0x1p-133;
  const double list[] = {
      0,       1,           -0.75,    -1.278465, -1.192431, 88.7, 20, L::quiet_NaN(), L::infinity(),
      largest, largest / 2, smallest, 0.5,       3,         6,    0.1};  // the last: kinks
  const double value = list[which / 2 % std::size(list)];
  return which % 2 == 0 ? value : -value;
}

Shape KernelCase::shape(std::size_t tensor) const {
  switch (op) {
    case Op::kLogSumExp:
    case Op::kEntropy:
      return tensor == 1 ? Shape{rows} : Shape{rows, columns};
    case Op::kJacobian:
      return tensor == 1 ? Shape{rows, columns, columns} : Shape{rows, columns};
    case Op::kMatmul:
      if (tensor == 1 && shared) return {inner, columns};
      return tensor == 0   ? Shape{batch, rows, inner}
             : tensor == 1 ? Shape{batch, inner, columns}
                           : Shape{batch, rows, columns};
    case Op::kPropagateLayer:
      return tensor == 0 ? Shape{rows, inner} : Shape{rows, columns};
    default:
      return {rows, columns};
  }
}

KernelCase decode_kernel(Input& in) {
  constexpr Op kOps[] = {Op::kForward,
                         Op::kBackward,
                         Op::kJvp,
                         Op::kGatedForward,
                         Op::kGatedBackward,
                         Op::kSoftmax,
                         Op::kLogSoftmax,
                         Op::kLogSumExp,
                         Op::kEntropy,
                         Op::kSoftmaxJvp,
                         Op::kSoftmaxVjp,
                         Op::kJacobian,
                         Op::kFillUniform,
                         Op::kFillNormal,
                         Op::kInitialize,
                         Op::kMatmul,
                         Op::kStatistics,
                         Op::kPropagateLayer,
                         Op::kBackwardOfBackward};
  KernelCase c;
  c.op = in.pick(kOps);
  c.dtype = in.pick(kDTypes);
  const bool flat = c.op <= Op::kGatedBackward || c.op == Op::kBackwardOfBackward ||
                    c.op == Op::kFillUniform || c.op == Op::kFillNormal;
  if (c.op == Op::kMatmul || c.op == Op::kPropagateLayer) {
    c.batch = static_cast<std::int64_t>(in.below(4));
    c.rows = static_cast<std::int64_t>(in.below(9));
    c.columns = static_cast<std::int64_t>(in.below(12));
    c.inner = static_cast<std::int64_t>(in.below(12));
    c.shared = in.flag();
  } else if (flat) {
    c.columns = elements(in);
  } else {
    rows_and_columns(in, c);
    if (c.op == Op::kStatistics && in.flag()) std::swap(c.rows, c.columns);
  }
  for (unsigned& offset : c.offsets) offset = static_cast<unsigned>(in.below(17));
  if (in.flag())
    for (unsigned& offset : c.offsets) offset = c.offsets[0];
  // An output of the shape of an input may be that input, and no two outputs the same.
  const bool in_place = flat || c.op == Op::kSoftmax || c.op == Op::kLogSoftmax || c.op == Op::kSoftmaxJvp ||
                        c.op == Op::kSoftmaxVjp;
  const std::uint8_t aliases = in.byte();
  if (in_place && c.inputs() > 0) {
    const auto choice = [&](unsigned shift) {
      return static_cast<int>((aliases >> shift & 15u) % (c.inputs() + 1)) - 1;
    };
    c.alias[0] = choice(0);
    c.alias[1] = choice(4);
    if (c.alias[1] == c.alias[0]) c.alias[1] = -1;
  }
  const ActivationInfo& info = activations()[in.below(activations().size())];
  c.activation = Activation(info.kind, info.parameter_defaults);
  if (info.parameter_count > 0) c.activation = some_activation(info, in.byte());
  c.unit = GatedUnit(gated_units()[in.below(gated_units().size())].kind);
  constexpr double kTemperatures[] = {1, 0.7, 3, 0.05, 100, 1e-3};
  c.temperature = in.pick(kTemperatures);
  constexpr double kLows[] = {0, -1, -2, 0.25, -100};
  c.low = in.pick(kLows);
  c.high = c.low + std::abs(in.pick(kTemperatures));
  c.initializer = {in.flag() ? InitializerKind::kHe : InitializerKind::kXavier,
                   in.flag() ? Distribution::kUniform : Distribution::kNormal, 1.5};
  for (std::size_t i = 0; i < 3; ++i) c.values[i] = static_cast<Values>(in.below(i == 0 ? 6 : 4));
  c.specials = in.one_in(3) ? static_cast<unsigned>(in.below(4)) : 0;
  c.seed = in.integer<std::uint32_t>();
  c.key = {c.seed * 0x100000001u, in.byte()};
  for (emulator::Options& options : c.options) options = some_options(in);
  c.twice = in.below(flat ? 4 : 2) == 0;
  return c;
}

double load(DType dtype, const unsigned char* bytes, std::size_t index) {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, bytes + index * sizeof value, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::kF64:
      return as(0.0);
    case DType::kF32:
      return static_cast<double>(as(0.0f));
    case DType::kF16:
      return static_cast<double>(float{as(f16())});
    case DType::kE4M3:
      return static_cast<double>(float{as(e4m3())});
    case DType::kE5M2:
      return static_cast<double>(float{as(e5m2())});
    default:
      return static_cast<double>(float{as(bf16())});
  }
}

void store(DType dtype, unsigned char* bytes, std::size_t index, double value) {
  const auto put = [&](const auto& v) { std::memcpy(bytes + index * sizeof v, &v, sizeof v); };
  switch (dtype) {
    case DType::kF64:
      return put(value);
    case DType::kF32:
      return put(static_cast<float>(value));
    case DType::kF16:
      return put(f16(value));
    default:
      return put(bf16(value));
  }
}

void make_values(const KernelCase& c, std::size_t i, unsigned char* bytes) {
  const auto count = static_cast<std::size_t>(c.shape(i).count());
  std::uint64_t state = c.seed + 1000 * i;
  const bool probabilities =
      i == 0 && (c.op == Op::kSoftmaxJvp || c.op == Op::kSoftmaxVjp || c.op == Op::kJacobian);
  const bool sums = c.op == Op::kMatmul || c.op == Op::kStatistics || c.op == Op::kPropagateLayer;
  Values how = c.values[i];
  if ((sums && how > Values::kUniform) || probabilities) how = Values::kUniform;
  const double constant = static_cast<double>(next(state) % 1024) / 64 - 8;
  for (std::size_t k = 0; k < count; ++k) {
    const std::uint64_t bits = next(state);
    const double unit = static_cast<double>(bits >> 11) * 0x1p-53,
                 sixty_fourth = static_cast<double>(bits % 1025) / 64 - 8;
    switch (how) {
      case Values::kSixtyFourths:
        store(c.dtype, bytes, k, sixty_fourth);
        break;
      case Values::kUniform:
        store(c.dtype, bytes, k,
              probabilities ? unit * (bits % 7 == 0 ? 1.0 : 2.0 / static_cast<double>(c.columns))
                            : 8 * unit - 4);
        break;
      case Values::kConstant:
        store(c.dtype, bytes, k, constant);
        break;
      case Values::kExponents:
        store(c.dtype, bytes, k,
              std::ldexp(bits % 2 == 0 ? 1 + unit : -1 - unit, static_cast<int>(bits / 2 % 25) - 12));
        break;
      case Values::kShifted:
        store(c.dtype, bytes, k, 100 * constant + unit);
        break;
      case Values::kBits:
        std::memcpy(bytes + k * size_of(c.dtype), &bits, size_of(c.dtype));
    }
  }
  if (i == 0 && !sums && !probabilities)
    for (unsigned k = 0; k < c.specials && count > 0; ++k) {
      const std::size_t where = next(state) % count;
      store(c.dtype, bytes, where, special(c.dtype, next(state)));
    }
}

}  // namespace actium_fuzz

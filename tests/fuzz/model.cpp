#include "model.hpp"

#include <actium/activation.hpp>
#include <actium/gated.hpp>
#include <algorithm>
#include <cmath>

namespace actium_fuzz {

namespace {

constexpr std::int64_t kSizes[] = {8, 4, 2, 2};

bool finite_in_f32(double x) { return std::fabs(x) < 0x1.ffffffp127; }  // what rounds to a finite number

Extents without_last(Extents e) {
  if (!e.empty()) e.pop_back();
  return e;
}
Extents with(Extents e, std::int64_t last) {
  e.push_back(last);
  return e;
}

bool overlap(const View& a, const View& b) {
  const auto end = [](const View& v) { return v.address + static_cast<std::uintptr_t>(bytes_of(v)); };
  return bytes_of(a) > 0 && bytes_of(b) > 0 && a.address < end(b) && b.address < end(a);
}

/// The rules of one call. What is broken is collected: where two things are wrong, either may be reported.
class Rules {
 public:
  explicit Rules(const Call& call) : call_(call) {}

  void want(bool condition, Ending otherwise = kInvalidArgument) {
    if (!condition) broken_ |= otherwise;
  }
  /// "contiguous; f64, f32, f16 or bf16"; no null pointer with elements; aligned.
  void memory(const View& v) {
    const int dtype = dtype_of(v);
    want(dtype >= 0);
    want(is_contiguous(v));
    if (count_of(v) == 0) return;
    want(v.address != 0);
    if (dtype >= 0) want(v.address % static_cast<std::uintptr_t>(kSizes[dtype]) == 0);
  }
  /// "all on the context's device"
  void tensor(const View& v) {
    memory(v);
    if (count_of(v) == 0) return;
    if (call_.cuda) want(v.side == Side::kDevice);
    if (!call_.cuda) want(v.side != Side::kDevice);
  }
  void tensor(const View& v, int dtype, const Extents& extents) {
    want(dtype_of(v) == dtype && v.extents == extents);
    tensor(v);
  }
  void disjoint(const View& a, const View& b) { want(!overlap(a, b)); }
  void same_or_disjoint(const View& a, const View& b) {
    want(!overlap(a, b) || (a.address == b.address && bytes_of(a) == bytes_of(b)));
  }
  void activation() {
    const auto all = actium::activations();
    want(call_.kind < all.size(), kUnknownName);
    if (call_.kind >= all.size()) return;
    // The documentation is silent about parameters that the activation does not have.
    for (int i = 0; i < 2; ++i)
      if (!std::isfinite(call_.parameters[i]))
        i < all[call_.kind].parameter_count ? want(false) : undecided();
  }
  void temperature() { want(std::isfinite(call_.temperature) && call_.temperature > 0); }
  void gain() { want(std::isfinite(call_.numbers[0]) && call_.numbers[0] > 0); }
  /// "Parameters must be finite, and finite in f32 too for every dtype but f64."
  void range(double x, int dtype) { want(std::isfinite(x) && (dtype == 0 || finite_in_f32(x))); }
  /// The parameters that initialize() derives.
  void derived(std::int64_t fan_in, std::int64_t fan_out, int dtype) {
    if (!(std::isfinite(call_.numbers[0]) && call_.numbers[0] > 0)) return;
    const double in = static_cast<double>(fan_in), out = static_cast<double>(fan_out);
    const double deviation = call_.numbers[0] * std::sqrt(2 / (call_.he ? in : in + out));
    range(call_.uniform ? 2 * std::sqrt(3.0) * deviation : deviation, dtype);
  }

  void undecided() { undecided_ = true; }
  bool broken() const { return broken_ != 0; }
  unsigned allowed() const {
    return broken_ == 0 ? unsigned{kReturns} | (undecided_ ? kInvalidArgument : 0u) : broken_;
  }

 private:
  const Call& call_;
  unsigned broken_ = 0;
  bool undecided_ = false;
};

/// One shape and one dtype for all tensors; an output may be exactly an input, and overlap nothing else.
void alike(Rules& rules, const Call& call) {
  for (const View& v : call.views) rules.tensor(v, dtype_of(call.views[0]), call.views[0].extents);
  for (std::size_t out = call.inputs(); out < call.views.size(); ++out)
    for (std::size_t other = 0; other < out; ++other)
      if (other < call.inputs())
        rules.same_or_disjoint(call.views[out], call.views[other]);
      else
        rules.disjoint(call.views[out], call.views[other]);
}

void matmul(Rules& rules, const Call& call) {
  const View &a = call.views[0], &b = call.views[1], &c = call.views[2];
  rules.want(a.extents.size() >= 2 && b.extents.size() >= 2);
  if (rules.broken()) return;
  const Extents batch = without_last(without_last(a.extents));
  const std::int64_t m = a.extents[batch.size()], k = a.extents.back(), n = b.extents.back();
  rules.tensor(a);
  rules.tensor(b, dtype_of(a), with(with(b.extents.size() == 2 ? Extents{} : batch, k), n));
  rules.tensor(c, dtype_of(a), with(with(batch, m), n));
  rules.disjoint(c, a);
  rules.disjoint(c, b);
}

void propagate_layer(Rules& rules, const Call& call) {
  const View &x = call.views[0], &y = call.views[1];
  rules.want(call.fan_in >= 0 && call.fan_out >= 0);
  rules.gain();
  rules.want(!x.extents.empty());
  if (rules.broken()) return rules.activation();
  const Extents rows = without_last(x.extents);
  rules.tensor(x, call.layer_dtype, with(rows, call.fan_in));
  rules.tensor(y, call.layer_dtype, with(rows, call.fan_out));
  rules.same_or_disjoint(y, x);
  View weights;
  weights.extents = {call.fan_in, call.fan_out};
  rules.want(constructible(weights));
  rules.activation();
  if (call.fan_in > 0 && call.fan_out > 0) rules.derived(call.fan_in, call.fan_out, call.layer_dtype);
}

void check_numbers(Rules& rules, const Call& call) {
  const View& x = call.views[0];
  const double a = call.numbers[0], b = call.numbers[1];
  const int dtype = std::max(dtype_of(x), 0);
  rules.tensor(x);
  if (call.op == Op::kInitialize) {
    rules.gain();
    rules.want(x.extents.size() >= 2);
    if (count_of(x) > 0 && x.extents.size() >= 2)
      rules.derived(x.extents[x.extents.size() - 2], x.extents.back(), dtype);
    return;
  }
  rules.range(a, dtype);
  rules.range(b, dtype);
  if (call.op == Op::kFillNormal) return rules.want(b >= 0);
  rules.want(a <= b);
  rules.range(b - a, dtype);  // which the documentation does not say
}

}  // namespace

Verdict judge(const Call& call, const Arenas& arenas) {
  Verdict verdict;
  Rules rules(call);
  for (const View& v : call.views) rules.want(constructible(v));
  if (rules.broken()) return {.allowed = rules.allowed()};

  const View& first = call.views[0];
  const Extents rows = without_last(first.extents);
  switch (call.op) {
    case Op::kForward:
    case Op::kBackward:
    case Op::kJvp:
      alike(rules, call);
      rules.activation();
      break;
    case Op::kGatedForward:
    case Op::kGatedBackward:
      alike(rules, call);
      rules.want(call.kind < actium::gated_units().size(), kUnknownName);
      break;
    case Op::kSoftmax:
    case Op::kLogSoftmax:
    case Op::kSoftmaxVjp:
    case Op::kSoftmaxJvp:
      rules.temperature();
      rules.want(!first.extents.empty());
      alike(rules, call);
      break;
    case Op::kLogSumExp:
    case Op::kEntropy:
      rules.temperature();
      rules.want(!first.extents.empty());
      rules.tensor(first);
      // "a rank-1 z gives one number: a view of shape [1] or []"
      rules.tensor(call.views[1], dtype_of(first),
                   rows.empty() && call.views[1].extents == Extents{1} ? Extents{1} : rows);
      rules.disjoint(call.views[1], first);
      break;
    case Op::kJacobian:
      rules.temperature();
      rules.want(!first.extents.empty());
      rules.tensor(first);
      rules.tensor(call.views[1], dtype_of(first),
                   with(first.extents, first.extents.empty() ? 1 : first.extents.back()));
      rules.disjoint(call.views[1], first);
      break;
    case Op::kCopy:
      rules.want(dtype_of(first) == dtype_of(call.views[1]) && first.extents == call.views[1].extents);
      for (const View& v : call.views) call.cuda ? rules.memory(v) : rules.tensor(v);
      rules.disjoint(call.views[1], first);
      break;
    case Op::kTensor:
      call.cuda ? rules.memory(first) : rules.tensor(first);
      break;
    case Op::kMatmul:
      matmul(rules, call);
      break;
    case Op::kStatistics:
      rules.want(!first.extents.empty());
      rules.tensor(first);
      break;
    case Op::kPropagateLayer:
      propagate_layer(rules, call);
      break;
    default:
      check_numbers(rules, call);
  }
  verdict.allowed = rules.allowed();

  // Memory that nobody has: of a view that is too large for its arena, of a layer's weights, of a statistic's
  // units.
  constexpr std::int64_t kMost = 1 << 16;
  for (const View& v : call.views) {
    const std::uintptr_t begin = v.side == Side::kHost ? arenas.host : arenas.device;
    const auto bytes = static_cast<std::uintptr_t>(bytes_of(v));
    if (bytes > 0 && (v.side == Side::kNowhere || bytes > kArenaBytes || v.address < begin ||
                      v.address - begin > kArenaBytes - bytes))
      verdict.skip = !rules.broken() || (call.op == Op::kTensor && bytes > kMost);
  }
  if (call.op == Op::kPropagateLayer && !rules.broken())
    verdict.skip |= call.fan_in > kMost || call.fan_out > kMost || call.fan_in * call.fan_out > kMost;
  if (call.op == Op::kStatistics && !rules.broken()) verdict.skip |= first.extents.back() > kMost;

  // A launch that fails, in a call that has just one.
  if (call.launch_fails && verdict.allowed == kReturns && count_of(call.output(0)) > 0)
    verdict.allowed = kCuda;
  return verdict;
}

}  // namespace actium_fuzz

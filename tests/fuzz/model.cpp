#include "model.hpp"

#include <actium/activation.hpp>
#include <actium/gated.hpp>
#include <algorithm>
#include <cmath>

namespace actium_fuzz {

namespace {

constexpr std::int64_t kSizes[] = {8, 4, 2, 2, 1, 1};

bool finite_in_f32(double x) { return std::fabs(x) < 0x1.ffffffp127; }  // what rounds to a finite number

Extents without_last(Extents e) {
  if (!e.empty()) e.pop_back();
  return e;
}
Extents with(Extents e, std::int64_t last) {
  e.push_back(last);
  return e;
}

Extents strides_of(const View& v) {
  if (v.strides) return *v.strides;
  Extents strides(v.extents.size(), 1);
  for (std::size_t a = v.extents.size(); a-- > 1;) strides[a - 1] = strides[a] * v.extents[a];
  return strides;
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
  void memory(const View& v, int dtypes = 4) {
    want(dtype_of(v) < dtypes);
    want(is_contiguous(v));
    elements(v);
  }
  void elements(const View& v) {
    const int dtype = dtype_of(v);
    want(dtype >= 0);
    if (count_of(v) == 0) return;
    want(v.address != 0);
    if (dtype >= 0) want(v.address % static_cast<std::uintptr_t>(kSizes[dtype]) == 0);
    __int128 distance = 0;
    const Extents strides = strides_of(v);
    for (std::size_t axis = 0; axis < strides.size(); ++axis)
      distance +=
          (strides[axis] < 0 ? -__int128{strides[axis]} : __int128{strides[axis]}) * (v.extents[axis] - 1);
    want(distance <= std::int64_t{1} << 57);
  }
  /// "all on the context's device"
  void tensor(const View& v, int dtypes = 4) {
    memory(v, dtypes);
    device(v);
  }
  void device(const View& v) {
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
  /// The same with any strides.
  void apart(const View& out, const View& other, bool may_be_same) {
    if (is_contiguous(out) && is_contiguous(other))
      return may_be_same && dtype_of(out) == dtype_of(other) ? same_or_disjoint(out, other)
                                                             : disjoint(out, other);
    const auto a = addresses_of(out), b = addresses_of(other);
    if (a.empty() || b.empty()) return undecided();  // too many, or none
    if (may_be_same && dtype_of(out) == dtype_of(other) && a == b) return;
    const auto size = [](const View& v) { return static_cast<std::uintptr_t>(kSizes[dtype_of(v)]); };
    std::vector<std::uintptr_t> bytes_a, bytes_b, common;
    for (const std::uintptr_t p : a)
      for (std::uintptr_t i = 0; i < size(out); ++i) bytes_a.push_back(p + i);
    for (const std::uintptr_t p : b)
      for (std::uintptr_t i = 0; i < size(other); ++i) bytes_b.push_back(p + i);
    std::ranges::sort(bytes_a);
    std::ranges::sort(bytes_b);
    std::ranges::set_intersection(bytes_a, bytes_b, std::back_inserter(common));
    want(common.empty());
    // Between one another's elements: an error or not.
    if (bytes_a.back() >= bytes_b.front() && bytes_b.back() >= bytes_a.front()) undecided();
  }
  void activation(int dtype = 0) {
    const auto all = actium::activations();
    want(call_.kind < all.size(), kUnknownName);
    if (call_.kind >= all.size()) return;
    // The documentation is silent about parameters that the activation does not have.
    const auto& info = all[call_.kind];
    for (std::size_t i = 0; i < 3; ++i)
      if (static_cast<int>(i) >= info.parameter_count) {
        if (!std::isfinite(call_.parameters[i])) undecided();
      } else {
        want(in_domain(info, {call_.parameters[0], call_.parameters[1], call_.parameters[2]}, i));
        const double size = std::fabs(call_.parameters[i]);
        if (dtype > 0) want(size == 0 || (size >= 0x1p-126 && size <= 0x1.fffffep127));
      }
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

/// "All dense in the same order of axes, or such that axes merge into a matrix of contiguous rows that each
/// tensor strides over as it likes": is there an order in which the inner axes are dense and the others rows?
bool merge(const std::vector<const View*>& views) {
  using Wide = __int128;
  const Extents& extents = views[0]->extents;
  std::vector<std::size_t> axes;
  for (std::size_t a = 0; a < extents.size(); ++a)
    if (extents[a] > 1) axes.push_back(a);
  do {
    std::size_t left = axes.size();
    const auto all = [&](const auto& holds) {
      return std::ranges::all_of(views, [&](const View* v) { return holds(strides_of(*v)); });
    };
    Wide cols = 1, rows = 1;
    while (left > 0 && all([&](const Extents& s) { return s[axes[left - 1]] == cols; }))
      cols *= extents[axes[--left]];
    if (left == 0) return true;
    const std::size_t row = axes[left - 1];
    if (!all([&](const Extents& s) { return s[row] >= cols; })) continue;
    while (left > 0 && all([&](const Extents& s) { return s[axes[left - 1]] == rows * Wide{s[row]}; }))
      rows *= extents[axes[--left]];
    if (left == 0) return true;
  } while (std::ranges::next_permutation(axes).found);
  return false;
}

/// Tensors of one shape with any strides that merge; an output may be exactly an input, and overlap nothing
/// else.
void elementwise(Rules& rules, const Call& call, std::size_t tensors) {
  std::vector<const View*> views;
  for (std::size_t i = 0; i < tensors; ++i) {
    views.push_back(&call.views[i]);
    rules.want(call.views[i].extents == call.views[0].extents);
    rules.elements(call.views[i]);
    rules.device(call.views[i]);
  }
  if (rules.broken()) return;
  if (count_of(call.views[0]) > 0) rules.want(merge(views));
  for (std::size_t out = call.inputs(); out < tensors; ++out)
    for (std::size_t other = 0; other < out; ++other)
      rules.apart(call.views[out], call.views[other], other < call.inputs());
}

/// One dtype; or, where the documentation allows it, "each f32, f16 or bf16, y also e4m3 or e5m2; or all
/// f64".
void dtypes(Rules& rules, const Call& call, std::size_t tensors) {
  const int first = dtype_of(call.views[0]);
  const bool mixed =
      call.op == Op::kForward || call.op == Op::kBackward || call.op == Op::kBackwardFromOutput;
  for (std::size_t i = 0; i < tensors; ++i) {
    const int dtype = dtype_of(call.views[i]);
    rules.want(dtype >= 0 && dtype < (call.op == Op::kForward && i == 1 ? 6 : 4));
    if (mixed)
      rules.want((dtype == 0) == (first == 0));
    else
      rules.want(dtype == first);
  }
}

/// Rows along the last axis with any strides; "what the calls on f16 and bf16 write may be f32"; statistics
/// are contiguous, and the tangents of [..., n] may be [..., k, n].
void softmaxes(Rules& rules, const Call& call) {
  const View &first = call.views[0], &out = call.views.back();
  const bool statistic = call.op == Op::kLogSumExp || call.op == Op::kEntropy;
  rules.temperature();
  rules.want(!first.extents.empty());
  for (const View& v : call.views) {
    rules.want(dtype_of(v) < 4);
    rules.elements(v);
    rules.device(v);
    // Whether their axes merge into two, and an output's elements do not overlap, is not worked out here.
    if (!is_contiguous(v)) statistic&&& v == &out ? rules.want(false) : rules.undecided();
  }
  const bool narrow = dtype_of(first) >= 2;
  rules.want(dtype_of(out) == dtype_of(first) || (narrow && dtype_of(out) == 1));
  if (rules.broken()) return;
  if (statistic) {
    // "a rank-1 z gives one number: a view of shape [1] or []"
    const Extents rows = without_last(first.extents);
    rules.want(out.extents == rows || (rows.empty() && out.extents == Extents{1}));
    rules.apart(out, first, false);
    return;
  }
  Extents extents = first.extents;
  if (call.inputs() == 2) {
    const View& tangent = call.views[1];
    rules.want(dtype_of(tangent) == dtype_of(first));
    if (tangent.extents.size() == extents.size() + 1 && extents.size() < 8)
      extents.insert(extents.end() - 1, tangent.extents[extents.size() - 1]);
    rules.want(tangent.extents == extents);
  }
  rules.want(out.extents == extents);
  if (rules.broken()) return;
  for (std::size_t i = 0; i < call.inputs(); ++i)
    rules.apart(out, call.views[i], call.views[i].extents == extents);
}

void parameter_gradient(Rules& rules, const Call& call) {
  elementwise(rules, call, 2);
  const View& dp = call.views[2];
  rules.want(dtype_of(dp) == 0 || dtype_of(dp) == 1);
  rules.tensor(dp);
  if (call.kind < actium::activations().size()) {
    const int parameters = actium::activations()[call.kind].parameter_count;
    rules.want(parameters > 0 && dp.extents == Extents{parameters});
  }
  if (rules.broken()) return;
  for (std::size_t i = 0; i < 2; ++i) rules.apart(dp, call.views[i], false);
}

void from_output(Rules& rules, const Call& call) {
  elementwise(rules, call, 3);
  if (call.kind >= actium::activations().size()) return;
  const actium::ActivationInfo& info = actium::activations()[call.kind];
  rules.want(info.backward_from == actium::BackwardFrom::input_output ||
             info.backward_from == actium::BackwardFrom::input_output_mask);
  // Parameters with which the output does not tell, of which the documentation says no more.
  if (info.parameter_count > 0) rules.undecided();
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
  rules.activation(call.layer_dtype);
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

bool in_domain(const actium::ActivationInfo& info,
               const std::array<double, actium::kMaxParameters>& parameters, std::size_t index) {
  using actium::ParameterDomain;
  const double p = parameters[index];
  if (!std::isfinite(p)) return false;
  switch (info.parameter_domains[index]) {
    case ParameterDomain::positive:
      return p > 0;
    case ParameterDomain::nonnegative:
      return p >= 0;
    case ParameterDomain::not_below_first:
      return p >= parameters[0];
    default:
      return true;
  }
}

std::vector<std::uintptr_t> addresses_of(const View& v) {
  std::vector<std::uintptr_t> list;
  if (count_of(v) == 0 || count_of(v) > 4096) return list;
  const Extents strides = strides_of(v);
  for (std::int64_t i = 0; i < count_of(v); ++i) {
    std::uintptr_t offset = 0;
    std::int64_t rest = i;
    for (std::size_t a = v.extents.size(); a-- > 0; rest /= v.extents[a])
      offset += static_cast<std::uintptr_t>(rest % v.extents[a]) * static_cast<std::uintptr_t>(strides[a]);
    list.push_back(v.address + offset * static_cast<std::uintptr_t>(kSizes[std::max(dtype_of(v), 0)]));
  }
  return list;
}

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
    case Op::kBackwardOfBackward:
    case Op::kBackwardFromOutput:
      dtypes(rules, call, call.views.size());
      call.op == Op::kBackwardFromOutput ? from_output(rules, call)
                                         : elementwise(rules, call, call.views.size());
      rules.activation(dtype_of(first));
      break;
    case Op::kParameterGradient:
      dtypes(rules, call, 2);
      parameter_gradient(rules, call);
      rules.activation(dtype_of(first));
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
    case Op::kLogSumExp:
    case Op::kEntropy:
      softmaxes(rules, call);
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
      for (const View& v : call.views) call.cuda ? rules.memory(v, 6) : rules.tensor(v, 6);
      rules.disjoint(call.views[1], first);
      break;
    case Op::kTensor:
      call.cuda ? rules.memory(first, 6) : rules.tensor(first, 6);
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
    std::uintptr_t bytes = static_cast<std::uintptr_t>(bytes_of(v));
    if (bytes > 0 && !is_contiguous(v)) {  // from its first element to its last
      const auto elements = addresses_of(v);
      bytes = elements.empty() || std::ranges::min(elements) < v.address
                  ? kArenaBytes + 1
                  : std::ranges::max(elements) - v.address + 8;
    }
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

#pragma once
// Cross-entropy of rows of logits and class indices, and its gradient in the same pass. With p the softmax of
// a row, y its class, w the weights of the classes and s the label smoothing:
//   loss = (1 - s) w_y (-log p_y) + s / n * sum_j w_j (-log p_j) + z_loss * logsumexp^2
//   dz_j = (1 - s) w_y (p_j - [j = y]) + s / n * (sum_i w_i p_j - w_j) + 2 z_loss * logsumexp * p_j
// -log p_j is log_sum + (max - z_j), two terms >= 0, and p_y - 1 is minus the others' sum over the sum, so
// that a small loss is as exact as a large one. Bytes moved: one read, and one write of dz. Parallel shape:
// rows.cuh; exponentials: softmax.cuh.
#include "softmax/softmax.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

/// Which sums and results there are.
enum class CrossEntropyKind : std::uint8_t {
  kLoss,      // without smoothing
  kGradient,  // and with the gradient
  kSmoothed   // with smoothing; the gradient where it is asked for
};

/// Of the smoothed labels: s / n * sum_j w_j (max - z_j), and sum_j w_j.
template <class C>
struct SmoothedSums {
  RowSum<C> distance, weight;
  __device__ static SmoothedSums none() { return {RowSum<C>::none(), RowSum<C>::none()}; }
  __device__ SmoothedSums merged(const SmoothedSums& other) const {
    return {distance.merged(other.distance), weight.merged(other.weight)};
  }
  __device__ SmoothedSums shuffled(int offset) const {
    return {distance.shuffled(offset), weight.shuffled(offset)};
  }
};
struct NoSmoothedSums {
  __device__ static NoSmoothedSums none() { return {}; }
  __device__ NoSmoothedSums merged(const NoSmoothedSums&) const { return {}; }
  __device__ NoSmoothedSums shuffled(int) const { return {}; }
};

template <class C, class Smoothed>
struct CrossEntropySums {
  SoftmaxSums<C> softmax;
  C target;  // the logit of the label
  Smoothed smoothed;
  __device__ static CrossEntropySums none() { return {SoftmaxSums<C>::none(), C(0), Smoothed::none()}; }
  __device__ CrossEntropySums merged(const CrossEntropySums& other) const {
    return {softmax.merged(other.softmax), target + other.target, smoothed.merged(other.smoothed)};
  }
  __device__ CrossEntropySums shuffled(int offset) const {
    return {softmax.shuffled(offset), shuffle_xor(target, offset), smoothed.shuffled(offset)};
  }
};

template <CrossEntropyKind K, class Element>
struct CrossEntropy {
  static constexpr bool kWritesGradient = K != CrossEntropyKind::kLoss;
  static constexpr bool kSmoothed = K == CrossEntropyKind::kSmoothed;
  using Rows = Softmax<kWritesGradient ? SoftmaxResult::kProbability : SoftmaxResult::kLogSumExp, Element>;
  using T = Element;
  using C = Compute<T>;
  using Peak = typename Rows::Peak;
  using State = typename Rows::State;
  using Sums = CrossEntropySums<C, std::conditional_t<kSmoothed, SmoothedSums<C>, NoSmoothedSums>>;
  static constexpr int kInputs = 1, kElementResults = kWritesGradient ? 1 : 0, kRowResults = 2;
  static constexpr bool kMasked = false;
  static constexpr int kRegisters = row_registers(sizeof(T), kSmoothed ? 2 : 1);

  struct Finish {
    typename Rows::Finish softmax;
    C loss, logsumexp;
    bool ignored;
    // dz_j = slope p_j - push w_j, but for the label: rest p_y - own (sum - exp(a_y)) / sum - push w_y
    RowSum<C> sum;
    C slope, rest, own, push;
  };

  Rows softmax;
  // Of the call.
  const std::int64_t* labels;
  const C* weights;
  const C* dlosses;
  std::int64_t classes, ignore_index;
  bool ignores_invalid;
  C hard;   // 1 - s
  C share;  // 2 s / n, for half distances
  C z_loss;
  // Of the row.
  std::int64_t label;  // or -1
  C weight, dloss;
  bool ignored;

  __device__ CrossEntropy of_row(std::int64_t row) const {
    CrossEntropy own = *this;
    const std::int64_t label_there = labels[row];
    const bool valid = label_there >= 0 && label_there < classes;
    own.ignored = label_there == ignore_index || (!valid && ignores_invalid);
    own.label = valid && !own.ignored ? label_there : -1;
    own.weight = own.label < 0 ? C(NAN) : weights != nullptr ? weights[own.label] : C(1);
    own.dloss = dlosses != nullptr ? dlosses[row] : C(1);
    return own;
  }

  __device__ static C padding() { return Rows::padding(); }
  __device__ static Peak peak(const C (&x)[1]) { return Rows::peak(x); }
  __device__ State state(const Peak& peak) const { return softmax.state(peak); }

  __device__ C weight_of(std::int64_t column) const {
    if (column >= classes) return C(0);
    return weights != nullptr ? weights[column] : C(1);
  }

  /// (max - z) / 2 with the maximum that `state` is of; nothing is as far down as z = -inf.
  __device__ C half_distance(const State& state, C z) const {
    if (z == Max::identity<C>()) return -z;
    return device::fma(-z, softmax.scale.before, state.shift + state.top);  // one of these two is 0
  }

  __device__ void add(C (&x)[1], std::int64_t column, const State& state, Sums& sums) const {
    if constexpr (kSmoothed) {
      const C of_class = weight_of(column);
      if (of_class != 0) {  // -inf may have no weight
        sums.smoothed.distance.add(of_class * share * half_distance(state, x[0]));
        sums.smoothed.weight.add(of_class);
      }
    }
    softmax.add(x, column, state, sums.softmax);
  }
  __device__ std::int64_t target_column() const { return label; }
  __device__ void add_target(const C (&x)[1], Sums& sums) const { sums.target = x[0]; }

  __device__ Sums rescaled(const Sums& sums, const Peak& from, const Peak& to) const {
    Sums result{softmax.rescaled(sums.softmax, from, to), sums.target, sums.smoothed};
    if constexpr (kSmoothed) {
      const C of_classes = sums.smoothed.weight.hi;
      if (of_classes != 0 && from.number != to.number)
        result.smoothed.distance.add(of_classes * share * half_distance(state(to), from.number));
    }
    return result;
  }

  __device__ Finish finish(const Peak& peak, const State& state, const Sums& sums) const {
    Finish f;
    f.softmax = softmax.finish(peak, state, sums.softmax);
    f.ignored = ignored;
    f.sum = sums.softmax.sum;
    C logsumexp[1];
    softmax.row_results(f.softmax, logsumexp);
    f.logsumexp = logsumexp[0];

    const C distance = C(2) * half_distance(state, sums.target), hard_weight = hard * weight;
    // A class without weight costs nothing, also where its logit is -inf.
    f.loss = hard_weight * (hard_weight == 0 ? f.softmax.log_sum : f.softmax.log_sum + distance);
    C all_weights = 0;  // times s / n
    f.push = 0;
    if constexpr (kSmoothed) {
      const auto& [away, all] = sums.smoothed;
      const C rest = away.hi + away.lo;
      all_weights = C(0.5) * share * (all.hi + all.lo);
      f.loss +=
          device::fma(all_weights, f.softmax.log_sum, rest == rest ? rest : away.hi);  // inf has no rest
      f.push = C(0.5) * share * dloss;
    }
    const C of_z_loss = z_loss * f.logsumexp;
    f.loss = peak.number == padding() ? C(NAN) : device::fma(of_z_loss, f.logsumexp, f.loss);
    f.own = dloss * hard_weight;
    f.rest = dloss * device::fma(C(2), of_z_loss, all_weights);
    f.slope = f.own + f.rest;
    return f;
  }

  __device__ void results(const C (&x)[1], std::int64_t column, const Finish& f, C (&y)[1]) const {
    const C p = x[0] * f.softmax.reciprocal;
    y[0] = p * f.slope;
    if constexpr (kSmoothed) y[0] = device::fma(-f.push, weight_of(column), y[0]);
    if (f.ignored) y[0] = 0;
  }
  __device__ void target_results(const C (&x)[1], std::int64_t column, const Finish& f, C (&y)[1]) const {
    const C p = x[0] * f.softmax.reciprocal;
    const C others = ((f.sum.hi - x[0]) + f.sum.lo) * f.softmax.reciprocal;
    y[0] = device::fma(p, f.rest, -f.own * others);
    if constexpr (kSmoothed) y[0] = device::fma(-f.push, weight_of(column), y[0]);
  }
  __device__ void row_results(const Finish& f, C (&y)[2]) const {
    y[0] = f.ignored ? C(0) : f.loss;
    y[1] = f.logsumexp;
  }
};

// ---------------------------------------------------------------- launchers

template <CrossEntropyKind K, class T>
CrossEntropy<K, T> cross_entropy_op(const CrossEntropyArguments& arguments, const RowCall& call) {
  using C = Compute<T>;
  CrossEntropy<K, T> op{};
  op.softmax.scale = logit_scale<C>(1);
  op.labels = arguments.labels;
  op.weights = static_cast<const C*>(arguments.weights);
  op.dlosses = static_cast<const C*>(arguments.dloss);
  op.classes = call.cols;
  op.ignore_index = arguments.ignore_index;
  op.ignores_invalid = arguments.ignores_invalid;
  op.hard = static_cast<C>(1 - arguments.label_smoothing);
  op.share = static_cast<C>(2 * arguments.label_smoothing / static_cast<double>(call.cols));
  op.z_loss = static_cast<C>(arguments.z_loss);
  return op;
}

/// body(the operation that this call is)
template <class T, class Body>
auto with_cross_entropy(const CrossEntropyArguments& arguments, const RowCall& call, const Body& body) {
  using enum CrossEntropyKind;
  // Where nothing is left of s / n in C, there is no smoothing.
  if (static_cast<Compute<T>>(arguments.label_smoothing / static_cast<double>(call.cols)) != 0)
    return body(cross_entropy_op<kSmoothed, T>(arguments, call));
  if (call.out[0].data != nullptr) return body(cross_entropy_op<kGradient, T>(arguments, call));
  return body(cross_entropy_op<kLoss, T>(arguments, call));
}

template <class T>
std::size_t cross_entropy_scratch(const CrossEntropyArguments& arguments, const RowCall& call) {
  return with_cross_entropy<T>(arguments, call, [&]<class Op>(const Op&) { return rows_scratch<Op>(call); });
}

template <class T>
Status launch_cross_entropy(const CrossEntropyArguments& arguments, const RowCall& call, Stream stream) {
  return with_cross_entropy<T>(arguments, call,
                               [&](const auto& op) { return launch_rows(op, call, stream); });
}

}  // namespace actium::kernels

#define ACTIUM_INSTANTIATE_CROSS_ENTROPY(T)                                                      \
  template Status launch_cross_entropy<T>(const CrossEntropyArguments&, const RowCall&, Stream); \
  template std::size_t cross_entropy_scratch<T>(const CrossEntropyArguments&, const RowCall&);

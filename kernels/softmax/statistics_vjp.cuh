#pragma once
// The gradients of the statistics of rows, from logits: of log sum exp(z / T), dz = dy p / T, and of the
// entropy, dz = -dy p (a - <p, a>) / T with a = z / T, which is -dy p (log p + H) / T. Bytes moved: one read,
// one write. Parallel shape: rows.cuh. The entropy's takes z itself for a, not log p, and <p, a> in two words
// (weighted_sums.cuh): nothing cancels but what does in the formula.
#include "softmax/softmax.cuh"
#include "softmax/weighted_sums.cuh"

namespace actium::kernels {

// ---------------------------------------------------------------- device functions

template <bool IsEntropy, class Element>
struct StatisticVjp {
  using T = Element;
  using C = Compute<T>;
  using Peak = kernels::Peak<C>;
  using State = RowScale<C>;
  using Sums = std::conditional_t<IsEntropy, WeightedSums<C>, RowSum<C>>;
  static constexpr int kInputs = 1, kElementResults = 1, kRowResults = 0;
  static constexpr bool kMasked = true;
  static constexpr bool kFewWays = true;
  static constexpr Exponential kExponential =
      sizeof(T) == 2 ? Exponential::kInstruction : Exponential::kPolynomial;

  struct Finish {
    C reciprocal;          // of the sum
    device::Pair<C> mean;  // of the weights
    C factor;              // of every result
    State state;
  };

  LogitScale<C> scale;
  const C* temperatures;   // [rows], or null
  RowNumbers gradients;    // dy, [rows]
  C empty;                 // results of an empty row: 0 or NaN
  C gradient;              // dy / T of this row
  bool overflows = false;  // dy / T of a finite dy

  __device__ StatisticVjp of_row(std::int64_t row) const {
    StatisticVjp own = *this;
    if (temperatures != nullptr) own.scale = logit_scale_of(temperatures[row]);
    const C dy = sizeof(T) == 2 && gradients.f32
                     ? static_cast<const C*>(gradients.data)[row]
                     : static_cast<C>(widen(static_cast<const T*>(gradients.data)[row]));
    own.gradient = divided(dy, own.scale);
    own.overflows = dy - dy == 0 && own.gradient - own.gradient != 0;
    return own;
  }

  __device__ static C padding() { return Max::identity<C>(); }
  __device__ static Peak peak(const C (&x)[1]) { return {x[0]}; }
  __device__ State state(const Peak& peak) const { return row_scale(peak.number, scale); }

  __device__ void add(C (&x)[1], std::int64_t, const State& state, Sums& sums) const {
    const C v = variable(x[0], scale, state), e = exponential<kExponential>(v, scale, state);
    if constexpr (IsEntropy) {
      sums.add(e, v * variable_unit(scale));
    } else {
      sums.add(e);
      x[0] = e;
    }
  }

  __device__ Sums rescaled(const Sums& sums, const Peak& from, const Peak& to) const {
    if (from.number == padding()) return to.number == from.number ? sums : Sums::none();
    const State own = state(from), all = state(to);
    const C ratio = part_ratio<kExponential>(from.number, scale, own, all);
    if constexpr (!IsEntropy) {
      return times_exactly(sums, ratio);
    } else {
      if (ratio == 0) return Sums::none();
      Sums result = sums.times(ratio);
      // The row's variables are the part's plus this difference, in two words.
      const device::Pair<C> shift = device::two_sum<C>(own.shift, -all.shift);
      const C weight = Sums::kWeight, unit = variable_unit(scale);
      add_product<C>(result.sum.times(weight), {shift.hi.number * unit, shift.lo.number * unit},
                     result.weighted);
      return result;
    }
  }

  __device__ Finish finish(const Peak& peak, const State& state, const Sums& sums) const {
    if (peak.number == padding()) return {C(0), {C(0), C(0)}, empty, state};
    if constexpr (IsEntropy)
      return {C(1) / (sums.sum.hi + sums.sum.lo), sums.mean(),
              -gradient * (scale.nats / variable_unit(scale)), state};
    else
      return {C(1) / (sums.hi + sums.lo), {C(0), C(0)}, gradient, state};
  }

  __device__ void results(const C (&x)[1], std::int64_t, const Finish& f, C (&y)[1]) const {
    C p;
    if constexpr (IsEntropy) {
      const C v = variable(x[0], scale, f.state);
      p = exponential<kExponential>(v, scale, f.state) * f.reciprocal;
      y[0] = p * distance_from(f.mean, v * variable_unit(scale)) * f.factor;
    } else {
      p = x[0] * f.reciprocal;
      y[0] = p * f.factor;
    }
    if (overflows && p == 0) y[0] = 0;
  }
};

// ---------------------------------------------------------------- launchers

template <class T>
std::size_t statistic_vjp_scratch(const RowCall& call) {
  return rows_scratch<StatisticVjp<true, T>>(call);
}

template <class T>
Status launch_statistic_vjp(SoftmaxResult statistic, const RowNumbers& gradients, const RowCall& call,
                            Stream stream) {
  using C = Compute<T>;
  const C empty = call.empty == EmptyRow::kNaN ? std::numeric_limits<C>::quiet_NaN() : C(0);
  const auto launch_op = [&]<bool IsEntropy>(std::bool_constant<IsEntropy>) {
    return launch_rows(
        StatisticVjp<IsEntropy, T>{logit_scale<C>(call.temperature), static_cast<const C*>(call.temperatures),
                                   gradients, empty, C(0)},
        call, stream);
  };
  if (statistic == SoftmaxResult::kEntropy) return launch_op(std::true_type{});
  return launch_op(std::false_type{});
}

}  // namespace actium::kernels

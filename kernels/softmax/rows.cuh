#pragma once
// Rows that are read once: a thread keeps its packets of a row in registers or in shared memory from the sums
// over the row to the results. Two kernels for every operation that is sums over a row and then results for
// each element, for the row, or both. (Rows whose elements are not neighbours: strided_rows.cuh.)
//
// An operation is a class Op that goes to the kernel by value:
//   T, C                 the element type and the one of computing
//   kInputs, kElementResults, kRowResults   how many there are, kMasked: whether a mask applies to input 0
//   of_row(row)          the Op with what belongs to this row
//   padding()            what an element that takes no part is, of every input
//   Peak peak(x)         what the first reduction is of: a C with merged() and shuffled(), or Nothing
//   State state(peak)    what the sums need of it
//   Sums                 of the second reduction, with none(), merged(), shuffled()
//   add(x, column, state, sums)   adds an element; what it writes into x is what results() gets
//   rescaled(sums, from, to)      the sums of a part of the row with another peak
//   Finish finish(peak, state, sums), results(x, column, finish, y), row_results(finish, y)
// and, where a row has a column of its own (the class that is right), what becomes of that one:
//   target_column()      or a negative number
//   add_target(x, sums)  besides add(), of the element as it was
//   target_results(x, column, finish, y)   in place of results()
// and kRegisters, where it needs more of them: how many elements a thread may keep in them.
//
// Which thread has which column depends on the plan alone (plan_rows.hpp). An output may be an input: what a
// thread writes nobody else reads after the sums.
#include "launch_rows.hpp"
#include "simt.cuh"
#include "softmax/plan_rows.hpp"

namespace actium::kernels {

// ---------------------------------------------------------------- reductions over the threads of a row

/// The largest element, NaN if any is.
template <class C>
struct Peak {
  C number;
  __device__ static Peak none() { return {Max::identity<C>()}; }
  __device__ Peak merged(const Peak& other) const { return {Max{}(number, other.number)}; }
  __device__ Peak shuffled(int offset) const { return {shuffle_xor(number, offset)}; }
};

/// A sum as hi + lo.
template <class C>
struct RowSum {
  C hi, lo;
  __device__ static RowSum none() { return {C(0), C(0)}; }
  __device__ void add(C x) {
    const device::Pair<C> sum = device::two_sum<C>(hi, x);
    hi = sum.hi.number;
    lo += sum.lo.number;
  }
  /// The same bits whichever of the two is merged with the other.
  __device__ RowSum merged(const RowSum& other) const {
    const device::Pair<C> sum = device::two_sum<C>(hi, other.hi);
    return {sum.hi.number, (lo + other.lo) + sum.lo.number};
  }
  __device__ RowSum shuffled(int offset) const { return {shuffle_xor(hi, offset), shuffle_xor(lo, offset)}; }
  __device__ RowSum times(C factor) const { return {hi * factor, lo * factor}; }
};

/// Over 2^log2 neighbouring lanes; the same value in each. Every lane of the warp calls it.
template <class V>
__device__ V reduce_lanes(V v, int log2) {
  for (int offset = (1 << log2) >> 1; offset > 0; offset >>= 1) v = v.merged(v.shuffled(offset));
  return v;
}

/// Over the block; the same value in each thread. `partial` is used again from one call to the next.
template <class V>
__device__ V reduce_block(V v, V* partial /* [32] */) {
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize,
                 warps = blockDim.x / kWarpSize;
  v = reduce_lanes(v, 5);
  __syncthreads();
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  return reduce_lanes(lane < warps ? partial[lane] : V::none(), 5);
}

// ---------------------------------------------------------------- elements of a row

/// Columns [column, column + n) of a row that ends at `cols`; `padding` behind that. `shift`: neighbouring
/// packets may be read to put together one that is not at a packet boundary.
template <class T>
__device__ Packet<T> load_columns(const T* row, std::int64_t column, std::int64_t cols, bool shift,
                                  T padding) {
  constexpr int kCount = Packet<T>::kCount;
  const T* const p = row + column;
  if (column + kCount <= cols) {
    if (at_packet_boundary(p)) return load_packet(p, true);
    if (shift && column >= kCount && column + 2 * kCount <= cols) return load_shifted_packet(p);
  }
  Packet<T> packet;
#pragma unroll
  for (int e = 0; e < kCount; ++e) packet.element[e] = column + e < cols ? p[e] : padding;
  return packet;
}

/// `Count` flags of a byte each, in the bytes of the result; 0 from the n-th on.
template <int Count>
__device__ std::uint64_t load_flags(const unsigned char* p, std::int64_t n) {
  if (n >= Count && reinterpret_cast<std::uintptr_t>(p) % Count == 0) {
    if constexpr (Count == 8) {
      const uint2 v = *reinterpret_cast<const uint2*>(p);
      return std::uint64_t{v.y} << 32 | v.x;
    } else {
      return *reinterpret_cast<const std::conditional_t<Count == 4, unsigned, unsigned short>*>(p);
    }
  }
  std::uint64_t flags = 0;
#pragma unroll
  for (int e = 0; e < Count; ++e)
    if (e < n) flags |= std::uint64_t{p[e]} << (8 * e);
  return flags;
}

/// Eight f32 results of 16-bit elements.
__device__ inline void store_wide_columns(float* row, std::int64_t column, std::int64_t cols,
                                          const float (&y)[8]) {
  float* const p = row + column;
  if (column + 8 <= cols && at_packet_boundary(p)) {
    store_packet(p, Packet<float>{y[0], y[1], y[2], y[3]}, true);
    store_packet(p + 4, Packet<float>{y[4], y[5], y[6], y[7]}, true);
    return;
  }
#pragma unroll
  for (int e = 0; e < 8; ++e)
    if (column + e < cols) p[e] = y[e];
}

__device__ inline std::int64_t row_start(const AnyRows& rows, std::int64_t row, const RowCall& call) {
  if (call.inner == 1) return row * rows.outer_stride;
  const std::int64_t others = row / call.inner;
  return others / call.middle * rows.outer_stride + others % call.middle * rows.middle_stride +
         row % call.inner * rows.inner_stride;
}

/// A logit with its bias; one of -inf masks whatever the logit is.
template <class C>
__device__ C biased(C z, C bias) {
  return bias == Max::identity<C>() ? bias : z + bias;
}

/// One row of a call.
template <class Op>
struct Row {
  using T = typename Op::T;
  using C = typename Op::C;
  const T* in[Op::kInputs];
  std::int64_t cols, limit;   // all elements, and those that are not cut off
  const unsigned char* keep;  // of the mask, or null
  const T* bias;

  /// Row numbers past the last are rows without elements.
  __device__ Row(const RowCall& call, std::int64_t number) {
    const bool active = number < call.rows;
    const std::int64_t row = active ? number : 0;
    cols = limit = active ? call.cols : 0;
#pragma unroll
    for (int i = 0; i < Op::kInputs; ++i)
      in[i] = static_cast<const T*>(call.in[i].data) + row_start(call.in[i], row, call);
    keep = nullptr;
    bias = nullptr;
    if constexpr (Op::kMasked) {
      const RowMask& mask = call.mask;
      if (mask.lengths != nullptr) cut(mask.lengths[row]);
      if (mask.queries != 0) cut(row % mask.queries + mask.causal_offset + 1);
      if (mask.keep.data != nullptr)
        keep = static_cast<const unsigned char*>(mask.keep.data) + row_start(mask.keep, row, call);
      if (mask.bias.data != nullptr)
        bias = static_cast<const T*>(mask.bias.data) + row_start(mask.bias, row, call);
    }
  }

  /// Masks the elements of the packet at this column.
  template <int Count>
  __device__ void mask(std::int64_t column, C (&x)[Count][Op::kInputs]) const {
    if constexpr (Op::kMasked) {
      if (bias != nullptr) {
        const Packet<T> packet = load_columns(bias, column, limit, true, T{});
#pragma unroll
        for (int e = 0; e < Count; ++e) x[e][0] = biased<C>(x[e][0], widen(packet.element[e]));
      }
      if (keep != nullptr) {
        const std::uint64_t flags = load_flags<Count>(keep + column, limit - column);
#pragma unroll
        for (int e = 0; e < Count; ++e)
          if ((flags >> (8 * e) & 0xff) == 0) x[e][0] = Op::padding();
      }
    }
  }

 private:
  __device__ void cut(std::int64_t length) {
    const std::int64_t most = length > 0 ? length : 0;
    limit = most < limit ? most : limit;
  }
};

/// Hands over the row's target where it is among the elements at this column.
template <class Op, int Count>
__device__ void add_target(const Op& op, std::int64_t column, const typename Op::C (&x)[Count][Op::kInputs],
                           typename Op::Sums& sums) {
  if constexpr (requires { op.target_column(); }) {
    const auto target = static_cast<std::uint64_t>(op.target_column() - column);
    if (target < Count) {
#pragma unroll
      for (unsigned e = 0; e < Count; ++e)
        if (e == target) op.add_target(x[e], sums);
    }
  }
}

/// The results of the elements at this column.
template <class Op, int Count>
__device__ void results_of(const Op& op, std::int64_t column, const typename Op::C (&x)[Count][Op::kInputs],
                           const typename Op::Finish& finish,
                           typename Op::C (&y)[Count][Op::kElementResults]) {
#pragma unroll
  for (int e = 0; e < Count; ++e) op.results(x[e], column + e, finish, y[e]);
  if constexpr (requires { op.target_column(); }) {
    const auto target = static_cast<std::uint64_t>(op.target_column() - column);
    if (target < Count) {
#pragma unroll
      for (unsigned e = 0; e < Count; ++e)
        if (e == target) op.target_results(x[e], column + e, finish, y[e]);
    }
  }
}

/// Whether there is an output with a number for each element.
template <class Op>
__device__ bool writes_elements(const RowCall& call) {
  if constexpr (Op::kElementResults != 0) return call.out[0].data != nullptr;
  return false;
}

/// Stores the results of the packet at this column, as store_columns() does. Every lane of the warp calls it.
template <class Op>
__device__ void store_results(const Op& op, const RowCall& call, std::int64_t row, std::int64_t column,
                              std::int64_t end,
                              const typename Op::C (&x)[Packet<typename Op::T>::kCount][Op::kInputs],
                              const typename Op::Finish& finish, bool first, bool last) {
  using T = typename Op::T;
  using C = typename Op::C;
  constexpr int kCount = Packet<T>::kCount, kResults = Op::kElementResults;
  C y[kCount][kResults];
  results_of(op, column, x, finish, y);
#pragma unroll
  for (int o = 0; o < kResults; ++o) {
    const std::int64_t start = row_start(call.out[o], row, call);
    if constexpr (kCount == 8)
      if (call.f32_out) {
        float wide[kCount];
#pragma unroll
        for (int e = 0; e < kCount; ++e) wide[e] = y[e][o];
        store_wide_columns(static_cast<float*>(call.out[o].data) + start, column, end, wide);
        continue;
      }
    Packet<T> packet;
#pragma unroll
    for (int e = 0; e < kCount; ++e) packet.element[e] = narrow<T>(y[e][o]);
    store_columns(static_cast<T*>(call.out[o].data) + start, column, end, packet, first, last);
  }
}

/// Stores what is one for the row; one thread calls it.
template <class Op>
__device__ void store_row_results(const Op& op, const RowCall& call, std::int64_t row,
                                  const typename Op::Finish& finish) {
  if constexpr (Op::kRowResults != 0) {
    using T = typename Op::T;
    typename Op::C y[Op::kRowResults];
    op.row_results(finish, y);
#pragma unroll
    for (int o = 0; o < Op::kRowResults; ++o) {
      if (call.row_out[o] == nullptr) continue;
      if (sizeof(T) == 2 && call.f32_rows)
        static_cast<typename Op::C*>(call.row_out[o])[row] = y[o];
      else
        static_cast<T*>(call.row_out[o])[row] = narrow<T>(y[o]);
    }
  }
}

// ---------------------------------------------------------------- kernel: rows in registers

/// 2^plan.threads_log2 threads share a row: lanes of a warp, or the block. Packets rank, rank + threads, ...
/// belong to a thread.
template <class Op, int Packets, bool Block>
__global__ void __launch_bounds__(Block ? row_block_threads(sizeof(typename Op::T)) : kRowThreads, 1)
    row_registers_kernel(const __grid_constant__ Op op, const __grid_constant__ RowCall call, bool shift,
                         int threads_log2) {
  using T = typename Op::T;
  using C = typename Op::C;
  constexpr int kCount = Packet<T>::kCount;
  const unsigned threads = 1u << threads_log2, rank = threadIdx.x & (threads - 1);
  const auto reduce = [&](auto v) {
    if constexpr (Block) {
      ACTIUM_SHARED(partial, decltype(v)[kWarpSize]);
      return reduce_block(v, partial);
    } else {
      return reduce_lanes(v, threads_log2);
    }
  };
  const int of_block = Block ? 1 : kRowThreads >> threads_log2;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * of_block; first < call.rows;
       first += static_cast<std::int64_t>(gridDim.x) * of_block) {
    const std::int64_t number = first + (Block ? 0 : threadIdx.x >> threads_log2);
    const bool active = number < call.rows;
    const Row<Op> row(call, number);
    const Op own = op.of_row(active ? number : 0);

    C x[Packets][kCount][Op::kInputs];
#pragma unroll
    for (int k = 0; k < Packets; ++k) {
      const std::int64_t column = (rank + static_cast<std::int64_t>(k) * threads) * kCount;
#pragma unroll
      for (int i = 0; i < Op::kInputs; ++i) {
        const Packet<T> packet = load_columns(row.in[i], column, row.limit, shift, narrow<T>(Op::padding()));
#pragma unroll
        for (int e = 0; e < kCount; ++e) x[k][e][i] = widen(packet.element[e]);
      }
    }
    if constexpr (Op::kMasked) {
      if (row.keep != nullptr || row.bias != nullptr) {
#pragma unroll
        for (int k = 0; k < Packets; ++k)
          row.mask((rank + static_cast<std::int64_t>(k) * threads) * kCount, x[k]);
      }
    }
    if (shift) warp_barrier();  // a neighbour's elements have been read

    auto peak = Op::Peak::none();
#pragma unroll
    for (int k = 0; k < Packets; ++k)
#pragma unroll
      for (int e = 0; e < kCount; ++e) peak = peak.merged(Op::peak(x[k][e]));
    if constexpr (!std::is_empty_v<typename Op::Peak>) peak = reduce(peak);
    const auto state = own.state(peak);
    auto sums = Op::Sums::none();
#pragma unroll
    for (int k = 0; k < Packets; ++k) {
      const std::int64_t column = (rank + static_cast<std::int64_t>(k) * threads) * kCount;
      add_target(own, column, x[k], sums);
#pragma unroll
      for (int e = 0; e < kCount; ++e) own.add(x[k][e], column + e, state, sums);
    }
    const auto finish = own.finish(peak, state, reduce(sums));

    if (rank == 0 && active) store_row_results(own, call, number, finish);
    if constexpr (Op::kElementResults != 0) {
      if (!writes_elements<Op>(call)) continue;
      const unsigned lane = threadIdx.x % kWarpSize;
#pragma unroll
      for (int k = 0; k < Packets; ++k)
        store_results(own, call, active ? number : 0,
                      (rank + static_cast<std::int64_t>(k) * threads) * kCount, row.cols, x[k], finish,
                      rank == 0 || lane == 0, rank == threads - 1 || lane == kWarpSize - 1);
    }
  }
}

// ---------------------------------------------------------------- kernel: rows in slices

/// What a slice contributes.
template <class Op>
struct SliceState {
  typename Op::Peak peak;
  typename Op::Sums sums;
};

/// Merges `count` slices, the same value in each thread of each warp. state(i) is the i-th.
template <class Op, class State>
__device__ SliceState<Op> merge_slices(const Op& op, int count, const State& state) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  auto peak = Op::Peak::none();
  for (int i = lane; i < count; i += kWarpSize) peak = peak.merged(state(i).peak);
  peak = reduce_lanes(peak, 5);
  auto sums = Op::Sums::none();
  for (int i = lane; i < count; i += kWarpSize) {
    const SliceState<Op> slice = state(i);
    sums = sums.merged(op.rescaled(slice.sums, slice.peak, peak));
  }
  return {peak, reduce_lanes(sums, 5)};
}

struct SliceArguments {
  RowScope scope;
  int slices;  // of a row, neighbouring blocks
  std::int64_t slice_packets, row_packets;
  bool keeps;          // dynamic shared memory holds the slice of every input
  bool sums, results;  // what this launch does; kLaunches does one after the other
  bool shift;          // load_columns may
};

/// `slices` blocks share a row. Each packet is loaded, summed up and finished by one thread.
template <class Op>
__global__ void __launch_bounds__(kSliceThreads, 1)
    row_slices_kernel(const __grid_constant__ Op op, const __grid_constant__ RowCall call,
                      const __grid_constant__ SliceArguments slicing) {
  using T = typename Op::T;
  using C = typename Op::C;
  constexpr int kCount = Packet<T>::kCount, kThreads = kSliceThreads;
  ACTIUM_DYNAMIC_SHARED(kept, Packet<T>);  // [slice_packets][kInputs]
  ACTIUM_SHARED(peaks, typename Op::Peak[kWarpSize]);
  ACTIUM_SHARED(partial_sums, typename Op::Sums[kWarpSize]);
  ACTIUM_SHARED(own_state, SliceState<Op>);
  const unsigned slice = blockIdx.x % static_cast<unsigned>(slicing.slices);
  const std::int64_t group = blockIdx.x / static_cast<unsigned>(slicing.slices),
                     groups = gridDim.x / static_cast<unsigned>(slicing.slices);
  const std::int64_t first = slice * slicing.slice_packets, left = slicing.row_packets - first;
  const std::int64_t packets = left < slicing.slice_packets ? (left > 0 ? left : 0) : slicing.slice_packets;

  // All blocks of a grid go round alike: they meet at its barrier.
  for (std::int64_t done = 0; done < call.rows; done += groups) {
    const std::int64_t number = done + group;
    const bool active = number < call.rows;
    if (!active && slicing.scope != RowScope::kGrid) break;
    const Row<Op> row(call, number);
    const Op own = op.of_row(active ? number : 0);
    // [concurrent rows (kLaunches: rows), slices]
    auto* states = static_cast<SliceState<Op>*>(call.scratch);
    if (states != nullptr)
      states += (slicing.scope == RowScope::kLaunches ? number : group) * std::int64_t{slicing.slices};

    const auto load = [&](std::int64_t k, C(&x)[kCount][Op::kInputs], bool again) {
      const std::int64_t column = (first + k) * kCount;
#pragma unroll
      for (int i = 0; i < Op::kInputs; ++i) {
        Packet<T> packet;
        if (again && slicing.keeps) {
          packet = kept[k * Op::kInputs + i];
        } else {
          packet = load_columns(row.in[i], column, row.limit, slicing.shift, narrow<T>(Op::padding()));
          if (slicing.keeps) kept[k * Op::kInputs + i] = packet;
        }
#pragma unroll
        for (int e = 0; e < kCount; ++e) x[e][i] = widen(packet.element[e]);
      }
      row.mask(column, x);
    };

    SliceState<Op> total{Op::Peak::none(), Op::Sums::none()};
    if (slicing.sums) {
      constexpr bool kPeak = !std::is_empty_v<typename Op::Peak>;
      if constexpr (kPeak) {
#pragma unroll 8
        for (std::int64_t k = threadIdx.x; k < packets; k += kThreads) {
          C x[kCount][Op::kInputs];
          load(k, x, false);
#pragma unroll
          for (int e = 0; e < kCount; ++e) total.peak = total.peak.merged(Op::peak(x[e]));
        }
        total.peak = reduce_block(total.peak, peaks);
      }
      const auto state = own.state(total.peak);
#pragma unroll kPeak ? 1 : 4
      for (std::int64_t k = threadIdx.x; k < packets; k += kThreads) {
        C x[kCount][Op::kInputs];
        load(k, x, kPeak);
        add_target(own, (first + k) * kCount, x, total.sums);
#pragma unroll
        for (int e = 0; e < kCount; ++e) own.add(x[e], (first + k) * kCount + e, state, total.sums);
      }
      total.sums = reduce_block(total.sums, partial_sums);
    }

    switch (slicing.scope) {
      case RowScope::kCluster: {
        if (threadIdx.x == 0) own_state = total;
        cluster_barrier();
        total = merge_slices(own, slicing.slices, [&](int i) { return *in_cluster(&own_state, i); });
        cluster_barrier();  // own_state is free again, and may go
        break;
      }
      case RowScope::kGrid:
      case RowScope::kLaunches:
        if (slicing.sums && threadIdx.x == 0) states[slice] = total;
        if (slicing.scope == RowScope::kGrid) grid_barrier();
        if (slicing.results) total = merge_slices(own, slicing.slices, [&](int i) { return states[i]; });
        if (slicing.scope == RowScope::kGrid && done + groups < call.rows)
          grid_barrier();  // states are free again
        break;
      default:
        break;
    }
    if (!slicing.results || !active) continue;

    const auto state = own.state(total.peak);
    const auto finish = own.finish(total.peak, state, total.sums);
    if (slice == 0 && threadIdx.x == 0) store_row_results(own, call, number, finish);
    if constexpr (Op::kElementResults != 0) {
      if (!writes_elements<Op>(call)) continue;
      const unsigned lane = threadIdx.x % kWarpSize;
      const std::int64_t end = (first + packets) * kCount;
      for (std::int64_t base = 0; base < packets; base += kThreads) {
        const std::int64_t k = base + threadIdx.x, column = (first + k) * kCount;
        C x[kCount][Op::kInputs] = {};
        if (k < packets) {
          load(k, x, true);
          auto unused = Op::Sums::none();
#pragma unroll
          for (int e = 0; e < kCount; ++e) own.add(x[e], column + e, state, unused);
        }
        if (!slicing.keeps)
          warp_barrier();  // a neighbour's elements have been read, which may be this one's to store
        store_results(own, call, number, column, end < row.cols ? end : row.cols, x, finish,
                      threadIdx.x == 0 || lane == 0, threadIdx.x == kThreads - 1 || lane == kWarpSize - 1);
      }
    }
  }
}

}  // namespace actium::kernels

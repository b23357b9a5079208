#pragma once
// Rows that are read once: a thread keeps its packets of a row in registers or in shared memory from the sums
// over the row to the results. Two kernels for every operation that is sums over a row and then a result for
// each element, or one for the row.
//
// An operation is a class Op that goes to the kernel by value:
//   T, C                 the element type and the one of computing; kInputs inputs; kOneResult: one a row
//   Peak peak(x)         what the first reduction is of: a C with maximum(), or Nothing
//   State state(peak)    what the sums need of it
//   Sums                 of the second reduction, with none(), merged(), shuffled()
//   add(x, state, sums)  adds an element and returns what finish wants in place of x[0]
//   rescaled(sums, from, to)  the sums of a part of the row with another peak
//   Finish finish(peak, state, sums), result(x, finish), row_result(finish)
//
// Which thread has which column depends on the plan alone (plan_rows.hpp). An output may be an input: what a
// thread writes nobody else reads after the sums.
#include "launch.hpp"
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

/// Columns [column, column + n) of a row, where the row ends at `cols`. `shift`: neighbouring packets may be
/// read to put together one that is not at a packet boundary.
template <class T>
__device__ Packet<T> load_columns(const T* row, std::int64_t column, std::int64_t cols, bool shift) {
  constexpr int kCount = Packet<T>::kCount;
  const T* const p = row + column;
  if (column + kCount <= cols) {
    if (at_packet_boundary(p)) return load_packet(p, true);
    if (shift && column >= kCount && column + 2 * kCount <= cols) return load_shifted_packet(p);
  }
  Packet<T> packet;
#pragma unroll
  for (int e = 0; e < kCount; ++e) packet.element[e] = column + e < cols ? p[e] : T{};
  return packet;
}

/// The tensors of a call.
template <class Op>
struct Rows {
  const typename Op::T* in[Op::kInputs];  // each [rows, cols]
  typename Op::T* out;                    // [rows, cols], or [rows]
  std::int64_t rows, cols;
  bool shift = true;  // load_columns may
};

// ---------------------------------------------------------------- kernel: rows in registers

/// 2^plan.threads_log2 threads share a row: lanes of a warp, or the block. Packets rank, rank + threads, ...
/// belong to a thread.
template <class Op, int Packets, bool Block>
__global__ void __launch_bounds__(Block ? row_block_threads(sizeof(typename Op::T)) : kRowThreads)
    row_registers_kernel(const __grid_constant__ Op op, const __grid_constant__ Rows<Op> call,
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
    const std::int64_t row = first + (Block ? 0 : threadIdx.x >> threads_log2);
    const std::int64_t cols = row < call.rows ? call.cols : 0, start = row < call.rows ? row * call.cols : 0;

    C x[Packets * kCount][Op::kInputs];
#pragma unroll
    for (int k = 0; k < Packets; ++k) {
      const std::int64_t column = (rank + static_cast<std::int64_t>(k) * threads) * kCount;
#pragma unroll
      for (int i = 0; i < Op::kInputs; ++i) {
        Packet<T> packet;
        if (column < cols) packet = load_columns(call.in[i] + start, column, cols, call.shift);
#pragma unroll
        for (int e = 0; e < kCount; ++e)
          x[k * kCount + e][i] = column + e < cols ? static_cast<C>(widen(packet.element[e])) : Op::padding();
      }
    }
    if (call.shift) warp_barrier();  // a neighbour's elements have been read

    auto peak = Op::Peak::none();
#pragma unroll
    for (int e = 0; e < Packets * kCount; ++e) peak = peak.merged(Op::peak(x[e]));
    if constexpr (!std::is_empty_v<typename Op::Peak>) peak = reduce(peak);
    const auto state = op.state(peak);
    auto sums = Op::Sums::none();
#pragma unroll
    for (int e = 0; e < Packets * kCount; ++e) x[e][0] = op.add(x[e], state, sums);
    const auto finish = op.finish(peak, state, reduce(sums));

    if constexpr (Op::kOneResult) {
      if (rank == 0 && row < call.rows) call.out[row] = narrow<T>(op.row_result(finish));
    } else {
#pragma unroll
      for (int k = 0; k < Packets; ++k) {
        const std::int64_t column = (rank + static_cast<std::int64_t>(k) * threads) * kCount;
        Packet<T> packet;
#pragma unroll
        for (int e = 0; e < kCount; ++e) packet.element[e] = narrow<T>(op.result(x[k * kCount + e], finish));
        const unsigned lane = threadIdx.x % kWarpSize;
        store_columns(call.out + start, column, cols, packet, rank == 0 || lane == 0,
                      rank == threads - 1 || lane == kWarpSize - 1);
      }
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
  void* states;        // [concurrent rows (kLaunches: rows), slices] of SliceState
};

/// `slices` blocks share a row. Each packet is loaded, summed up and finished by one thread.
template <class Op>
__global__ void __launch_bounds__(kSliceThreads, 1)
    row_slices_kernel(const __grid_constant__ Op op, const __grid_constant__ Rows<Op> call,
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
  const std::int64_t own = left < slicing.slice_packets ? (left > 0 ? left : 0) : slicing.slice_packets;

  // All blocks of a grid go round alike: they meet at its barrier.
  for (std::int64_t done = 0; done < call.rows; done += groups) {
    const std::int64_t row = done + group;
    const bool active = row < call.rows;
    if (!active && slicing.scope != RowScope::kGrid) break;
    const std::int64_t start = active ? row * call.cols : 0, cols = active ? call.cols : 0;
    auto* states = static_cast<SliceState<Op>*>(slicing.states);
    if (states != nullptr)
      states += (slicing.scope == RowScope::kLaunches ? row : group) * std::int64_t{slicing.slices};

    const auto load = [&](std::int64_t k, C(&x)[kCount][Op::kInputs], bool again) {
      const std::int64_t column = (first + k) * kCount;
#pragma unroll
      for (int i = 0; i < Op::kInputs; ++i) {
        Packet<T> packet;
        if (again && slicing.keeps) {
          packet = kept[k * Op::kInputs + i];
        } else {
          packet = load_columns(call.in[i] + start, column, cols, call.shift);
          if (slicing.keeps) kept[k * Op::kInputs + i] = packet;
        }
#pragma unroll
        for (int e = 0; e < kCount; ++e)
          x[e][i] = column + e < cols ? static_cast<C>(widen(packet.element[e])) : Op::padding();
      }
    };

    SliceState<Op> total{Op::Peak::none(), Op::Sums::none()};
    if (slicing.sums) {
      constexpr bool kPeak = !std::is_empty_v<typename Op::Peak>;
      if constexpr (kPeak) {
#pragma unroll 8
        for (std::int64_t k = threadIdx.x; k < own; k += kThreads) {
          C x[kCount][Op::kInputs];
          load(k, x, false);
#pragma unroll
          for (int e = 0; e < kCount; ++e) total.peak = total.peak.merged(Op::peak(x[e]));
        }
        total.peak = reduce_block(total.peak, peaks);
      }
      const auto state = op.state(total.peak);
#pragma unroll kPeak ? 1 : 4
      for (std::int64_t k = threadIdx.x; k < own; k += kThreads) {
        C x[kCount][Op::kInputs];
        load(k, x, kPeak);
#pragma unroll
        for (int e = 0; e < kCount; ++e) op.add(x[e], state, total.sums);
      }
      total.sums = reduce_block(total.sums, partial_sums);
    }

    switch (slicing.scope) {
      case RowScope::kCluster: {
        if (threadIdx.x == 0) own_state = total;
        cluster_barrier();
        total = merge_slices(op, slicing.slices, [&](int i) { return *in_cluster(&own_state, i); });
        cluster_barrier();  // own_state is free again, and may go
        break;
      }
      case RowScope::kGrid:
      case RowScope::kLaunches:
        if (slicing.sums && threadIdx.x == 0) states[slice] = total;
        if (slicing.scope == RowScope::kGrid) grid_barrier();
        if (slicing.results) total = merge_slices(op, slicing.slices, [&](int i) { return states[i]; });
        if (slicing.scope == RowScope::kGrid && done + groups < call.rows)
          grid_barrier();  // states are free again
        break;
      default:
        break;
    }
    if (!slicing.results || !active) continue;

    const auto finish = op.finish(total.peak, op.state(total.peak), total.sums);
    if constexpr (Op::kOneResult) {
      if (slice == 0 && threadIdx.x == 0) call.out[row] = narrow<T>(op.row_result(finish));
    } else {
      const auto state = op.state(total.peak);
      const unsigned lane = threadIdx.x % kWarpSize;
      for (std::int64_t base = 0; base < own; base += kThreads) {
        const std::int64_t k = base + threadIdx.x, column = (first + k) * kCount;
        Packet<T> packet;
        if (k < own) {
          C x[kCount][Op::kInputs];
          load(k, x, true);
          auto unused = Op::Sums::none();
#pragma unroll
          for (int e = 0; e < kCount; ++e) {
            x[e][0] = op.add(x[e], state, unused);
            packet.element[e] = narrow<T>(op.result(x[e], finish));
          }
        }
        if (!slicing.keeps)
          warp_barrier();  // a neighbour's elements have been read, which may be this one's to store
        const std::int64_t end = (first + own) * kCount;
        store_columns(call.out + start, column, end < cols ? end : cols, packet,
                      threadIdx.x == 0 || lane == 0, threadIdx.x == kThreads - 1 || lane == kWarpSize - 1);
      }
    }
  }
}

// ---------------------------------------------------------------- launchers

/// Bytes of scratch that launch_rows takes.
template <class Op>
std::size_t rows_scratch(std::int64_t rows, std::int64_t cols) {
  const RowDevice device = row_device();
  const RowPlan plan = plan_row(cols, sizeof(typename Op::T), Op::kInputs, device);
  if (plan.scope == RowScope::kLaunches)
    return static_cast<std::size_t>(rows * plan.slices) * sizeof(SliceState<Op>);
  return plan.scope == RowScope::kGrid ? row_blocks(rows, plan, device) * sizeof(SliceState<Op>) : 0;
}

template <class Op>
Status launch_rows(const Op& op, Rows<Op> call, void* scratch, Stream stream) {
  using T = typename Op::T;
  constexpr int kMost = row_registers(sizeof(T), Op::kInputs) / Packet<T>::kCount;
  const RowDevice device = row_device();
  const RowPlan plan = plan_row(call.cols, sizeof(T), Op::kInputs, device);
  const unsigned blocks = row_blocks(call.rows, plan, device);
  // What is read again must not have been written by a neighbour.
  call.shift = true;
  if (plan.scope >= RowScope::kSlice && plan.shared_bytes == 0)
    for (const T* in : call.in) call.shift = call.shift && in != call.out;
  switch (plan.scope) {
    case RowScope::kLanes:
      switch (plan.packets) {
        case 1:
          return launch(row_registers_kernel<Op, 1, false>, blocks, kRowThreads, stream, op, call,
                        plan.threads_log2);
        case 2:
          return launch(row_registers_kernel<Op, 2, false>, blocks, kRowThreads, stream, op, call,
                        plan.threads_log2);
        case 4:
          if constexpr (kMost >= 4)
            return launch(row_registers_kernel<Op, 4, false>, blocks, kRowThreads, stream, op, call,
                          plan.threads_log2);
          break;
        default:
          if constexpr (kMost >= 8)
            return launch(row_registers_kernel<Op, 8, false>, blocks, kRowThreads, stream, op, call,
                          plan.threads_log2);
      }
      return cudaErrorInvalidValue;
    case RowScope::kBlock:
      return launch(row_registers_kernel<Op, kMost, true>, blocks, 1u << plan.threads_log2, stream, op, call,
                    plan.threads_log2);
    default:
      break;
  }
  SliceArguments slicing{plan.scope,
                         plan.slices,
                         plan.slice_packets,
                         divide_up(call.cols, Packet<T>::kCount),
                         plan.shared_bytes != 0,
                         true,
                         true,
                         scratch};
  LaunchShape shape{.blocks = blocks,
                    .threads = kSliceThreads,
                    .shared_bytes = static_cast<std::size_t>(plan.shared_bytes),
                    .shared_limit = static_cast<std::size_t>(device.shared_bytes)};
  if (plan.scope == RowScope::kCluster) shape.cluster = static_cast<unsigned>(plan.slices);
  shape.cooperative = plan.scope == RowScope::kGrid;
  if (plan.scope != RowScope::kLaunches)
    return launch(row_slices_kernel<Op>, shape, stream, op, call, slicing);
  slicing.results = false;
  if (const Status status = launch(row_slices_kernel<Op>, shape, stream, op, call, slicing);
      status != cudaSuccess)
    return status;
  slicing.sums = false;
  slicing.results = true;
  return launch(row_slices_kernel<Op>, shape, stream, op, call, slicing);
}

}  // namespace actium::kernels

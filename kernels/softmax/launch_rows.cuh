#pragma once
// How an operation on rows is launched: the kernel that plan_rows.hpp chooses for the length, or that of
// strided rows.
#include "softmax/rows.cuh"
#include "softmax/strided_rows.cuh"

namespace actium::kernels {

/// Whether every tensor's rows are contiguous.
template <class Op>
bool contiguous_rows(const RowCall& call) {
  bool contiguous = true;
  const auto look = [&](const AnyRows& rows) {
    contiguous = contiguous && (rows.data == nullptr || rows.col_stride == 1 || call.cols == 1);
  };
  for (int i = 0; i < Op::kInputs; ++i) look(call.in[i]);
  for (int o = 0; o < Op::kElementResults; ++o) look(call.out[o]);
  look(call.mask.keep);
  look(call.mask.bias);
  return contiguous;
}

/// Elements of each input that a thread keeps in registers at most: the Op's own number where it has one.
template <class Op>
constexpr int kept_in_registers() {
  if constexpr (requires { Op::kRegisters; })
    return Op::kRegisters;
  else
    return row_registers(sizeof(typename Op::T), Op::kInputs);
}

/// Whether an Op goes without the kernels of some lengths, so that it compiles sooner: 2 or 4 packets a lane,
/// and a block's registers. In f64 every Op does.
template <class Op>
constexpr bool few_ways() {
  return sizeof(typename Op::T) == 8 || requires { Op::kFewWays; };
}

template <class Op>
RowPlan plan_row_of(const RowCall& call, const RowDevice& device) {
  return plan_row(call.cols, sizeof(typename Op::T), Op::kInputs, device, kept_in_registers<Op>(),
                  few_ways<Op>());
}

/// Bytes of scratch that launch_rows takes.
template <class Op>
std::size_t rows_scratch(const RowCall& call) {
  if (!contiguous_rows<Op>(call)) return 0;
  const RowDevice device = row_device();
  const RowPlan plan = plan_row_of<Op>(call, device);
  if (plan.scope == RowScope::kLaunches)
    return static_cast<std::size_t>(call.rows * plan.slices) * sizeof(SliceState<Op>);
  return plan.scope == RowScope::kGrid ? row_blocks(call.rows, plan, device) * sizeof(SliceState<Op>) : 0;
}

template <class Op>
Status launch_strided_rows(const Op& op, const RowCall& call, Stream stream) {
  const auto blocks =
      static_cast<unsigned>(std::min<std::int64_t>(kLargestGrid, divide_up(call.rows, kWarpSize)));
  return launch(strided_rows_kernel<Op>, blocks, static_cast<unsigned>(strided_warps(call.cols) * kWarpSize),
                stream, op, call);
}

template <class Op>
Status launch_rows(const Op& op, const RowCall& call, Stream stream) {
  using T = typename Op::T;
  constexpr int kMost = kept_in_registers<Op>() / Packet<T>::kCount;
  if (!contiguous_rows<Op>(call)) return launch_strided_rows(op, call, stream);
  const RowDevice device = row_device();
  const RowPlan plan = plan_row_of<Op>(call, device);
  const unsigned blocks = row_blocks(call.rows, plan, device);
  const auto in_registers = [&](auto* kernel, unsigned threads) {
    return launch(kernel, blocks, threads, stream, op, call, true, plan.threads_log2);
  };
  switch (plan.scope) {
    case RowScope::kLanes:
      if (plan.packets == 1) return in_registers(row_registers_kernel<Op, 1, false>, kRowThreads);
      if constexpr (kMost == 2 || !few_ways<Op>())
        if (plan.packets == 2) return in_registers(row_registers_kernel<Op, 2, false>, kRowThreads);
      if constexpr (kMost == 4 || (kMost > 4 && !few_ways<Op>()))
        if (plan.packets == 4) return in_registers(row_registers_kernel<Op, 4, false>, kRowThreads);
      if constexpr (kMost >= 8)
        if (plan.packets == 8) return in_registers(row_registers_kernel<Op, 8, false>, kRowThreads);
      return cudaErrorInvalidValue;
    case RowScope::kBlock:
      if constexpr (!few_ways<Op>())
        return in_registers(row_registers_kernel<Op, kMost, true>, 1u << plan.threads_log2);
      return cudaErrorInvalidValue;
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
                         true};
  // What is read again must not have been written by a neighbour.
  if (!slicing.keeps)
    for (const AnyRows& in : call.in)
      for (const AnyRows& out : call.out)
        slicing.shift = slicing.shift && (in.data == nullptr || in.data != out.data);
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

#pragma once
// Rows whose elements are not neighbours in memory: softmax over another axis than the last. Lanes have
// neighbouring rows, whose elements are neighbours as a rule; the warps of a block share the elements of 32
// rows in batches. Bytes moved: rows of up to kStridedBatch elements a warp are read once, longer ones twice,
// the second time from L2 where 32 rows of each multiprocessor fit there.
#include "softmax/rows.cuh"

namespace actium::kernels {

/// Of registers as many as one block may have, or ptxas spills for the sake of more blocks.
template <class Op>
__global__ void __launch_bounds__(kStridedWarps* kWarpSize, 1)
    strided_rows_kernel(const __grid_constant__ Op op, const __grid_constant__ RowCall call) {
  using T = typename Op::T;
  using C = typename Op::C;
  using Part = SliceState<Op>;
  constexpr int kBatch = kStridedBatch;
  ACTIUM_SHARED(parts, Part[kStridedWarps][kWarpSize]);
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int warps = static_cast<int>(blockDim.x / kWarpSize);
  for (std::int64_t first = std::int64_t{blockIdx.x} * kWarpSize; first < call.rows;
       first += std::int64_t{gridDim.x} * kWarpSize) {
    const std::int64_t number = first + lane;
    const bool active = number < call.rows;
    const Row<Op> row(call, number);
    const Op own = op.of_row(active ? number : 0);

    C x[kBatch][Op::kInputs];
    std::int64_t in_x = -1;  // the column that x begins at
    const auto load = [&](std::int64_t column) {
      if (in_x == column) return;
      in_x = column;
#pragma unroll
      for (int e = 0; e < kBatch; ++e)
#pragma unroll
        for (int i = 0; i < Op::kInputs; ++i)
          x[e][i] = column + e < row.limit
                        ? static_cast<C>(widen(row.in[i][(column + e) * call.in[i].col_stride]))
                        : Op::padding();
      if constexpr (Op::kMasked) {
#pragma unroll
        for (int e = 0; e < kBatch; ++e) {
          if (column + e >= row.limit) continue;
          if (row.bias != nullptr)
            x[e][0] = biased<C>(x[e][0], widen(row.bias[(column + e) * call.mask.bias.col_stride]));
          if (row.keep != nullptr && row.keep[(column + e) * call.mask.keep.col_stride] == 0)
            x[e][0] = Op::padding();
        }
      }
    };

    Part total{Op::Peak::none(), Op::Sums::none()};
    for (std::int64_t column = warp * kBatch; column < row.limit; column += warps * kBatch) {
      load(column);
      Part part = total;
#pragma unroll
      for (int e = 0; e < kBatch; ++e) part.peak = part.peak.merged(Op::peak(x[e]));
      part.sums = own.rescaled(total.sums, total.peak, part.peak);
      const auto state = own.state(part.peak);
      add_target(own, column, x, part.sums);
#pragma unroll
      for (int e = 0; e < kBatch; ++e) {
        C copy[Op::kInputs];
#pragma unroll
        for (int i = 0; i < Op::kInputs; ++i) copy[i] = x[e][i];
        own.add(copy, column + e, state, part.sums);
      }
      total = part;
    }
    __syncthreads();  // parts of the rows before have been read
    parts[warp][lane] = total;
    __syncthreads();
    total = Part{Op::Peak::none(), Op::Sums::none()};
    for (int w = 0; w < warps; ++w) total.peak = total.peak.merged(parts[w][lane].peak);
    for (int w = 0; w < warps; ++w) {
      const Part part = parts[w][lane];
      total.sums = total.sums.merged(own.rescaled(part.sums, part.peak, total.peak));
    }

    const auto state = own.state(total.peak);
    const auto finish = own.finish(total.peak, state, total.sums);
    if (warp == 0 && active) store_row_results(own, call, number, finish);
    if constexpr (Op::kElementResults != 0) {
      if (!writes_elements<Op>(call)) continue;
      for (std::int64_t column = warp * kBatch; column < row.cols; column += warps * kBatch) {
        load(column);
        auto unused = Op::Sums::none();
#pragma unroll
        for (int e = 0; e < kBatch; ++e) own.add(x[e], column + e, state, unused);
        C y[kBatch][Op::kElementResults];
        results_of(own, column, x, finish, y);
#pragma unroll
        for (int e = 0; e < kBatch; ++e) {
          if (column + e >= row.cols) continue;
#pragma unroll
          for (int o = 0; o < Op::kElementResults; ++o) {
            const AnyRows& out = call.out[o];
            const std::int64_t at = row_start(out, number, call) + (column + e) * out.col_stride;
            if (sizeof(T) == 2 && call.f32_out)
              static_cast<C*>(out.data)[at] = y[e][o];
            else
              static_cast<T*>(out.data)[at] = narrow<T>(y[e][o]);
          }
        }
        in_x = -1;  // add() has written into x
      }
    }
  }
}

}  // namespace actium::kernels

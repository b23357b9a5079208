#pragma once
// The engine of the plain elementwise operations: out[o][r, c] = map(in[0][r, c], in[1][r, c], ...), with a
// map that is made of an activation's parameters.
//
// Parallel shape: each row of the last output is cut into packets of 16 bytes at the output's own packet
// boundaries, the first and the last of a row ragged. The packets of all rows stand in one sequence, a tile
// of them a block: no row has a block of its own, and a contiguous tensor is one row. Each input is read once
// and each output written once; an output may be exactly an input, because a thread loads all of its elements
// before it stores any. Deterministic; no shared memory, no atomics. One 64-bit division a block, 32-bit
// arithmetic inside it.
#include <actium/device/activation_op.cuh>

#include "launch.hpp"
#include "simt.cuh"

namespace actium::kernels {

template <class T, int Inputs, int Outputs>
struct ElementwiseTensors {
  Matrix<const T> in[Inputs];  // each [rows, cols]
  Matrix<T> out[Outputs];      // each [rows, cols]
};

// ---------------------------------------------------------------- device functions

/// A packet of the last output: columns [column + begin, column + end) of its row.
struct PacketPlace {
  std::int64_t row, column;
  int begin, end;
};

/// The place of packet number `packet` of those that begin with row `first_row`.
template <int Count>
__device__ PacketPlace packet_place(const ElementwisePlan& plan, std::int64_t first_row,
                                    std::int64_t packet) {
  std::int64_t row = 0, first = packet * Count - plan.misalignment;
  if (plan.rows > 1) {
    const unsigned down =  // packet / plan.row_packets
        plan.inverse_row_packets != 0
            ? static_cast<unsigned>(std::uint64_t{static_cast<unsigned>(packet)} * plan.inverse_row_packets >>
                                    31)
            : packet >= plan.row_packets;
    row = first_row + down;
    if (row >= plan.rows) return {0, 0, 0, 0};
    const unsigned misalignment =
        (plan.misalignment + static_cast<unsigned>(row) * plan.row_misalignment) % Count;
    first = (packet - down * plan.row_packets) * Count - misalignment;
  }
  const std::int64_t left = plan.cols - first;
  return {row, first, first < 0 ? static_cast<int>(-first) : 0,
          left < Count ? static_cast<int>(left) : Count};
}

template <class T>
__device__ Packet<T> load_placed(const Matrix<const T>& x, const PacketPlace& place, std::int64_t cols,
                                 bool shifted_allowed) {
  constexpr int kCount = Packet<T>::kCount;
  const T* const p = x.data + place.row * x.row_stride + place.column;
  if (place.begin == 0 && place.end == kCount) {
    if (at_packet_boundary(p)) return load_packet(p, true);
    if (shifted_allowed && place.column >= kCount && place.column <= cols - 2 * kCount)
      return load_shifted_packet(p);
  }
  Packet<T> packet;
#pragma unroll
  for (int e = 0; e < kCount; ++e) packet.element[e] = e >= place.begin && e < place.end ? p[e] : T{};
  return packet;
}

template <class T>
__device__ void store_placed(const Matrix<T>& y, const PacketPlace& place, const Packet<T>& packet) {
  constexpr int kCount = Packet<T>::kCount;
  T* const p = y.data + place.row * y.row_stride + place.column;
  if (place.begin == 0 && place.end == kCount && at_packet_boundary(p)) {
    store_packet(p, packet, true);
  } else {
#pragma unroll
    for (int e = 0; e < kCount; ++e)
      if (e >= place.begin && e < place.end) p[e] = packet.element[e];
  }
}

/// Block `block` of a plan.
template <class Map, class T, int Inputs, int Outputs>
__device__ void elementwise_block(const Map& map, const ElementwiseTensors<T, Inputs, Outputs>& tensors,
                                  const ElementwisePlan& plan, unsigned block) {
  using C = Compute<T>;
  constexpr int kPackets = kPacketsPerThread<Inputs>, kCount = Packet<T>::kCount;

  // In the blocks inside a contiguous tensor every packet is whole and every pointer at a packet boundary.
  const bool inside = block - plan.inside_first < plan.inside_count;
  const std::int64_t first_packet = static_cast<std::int64_t>(block) * (kElementwiseThreads * kPackets);
  const std::int64_t element =
      first_packet * kCount - plan.misalignment + static_cast<int>(threadIdx.x) * kCount;
  std::int64_t first_row = 0, packet = 0;  // elsewhere: the block's first row, a packet counted from there on

  Packet<T> in[Inputs][kPackets], out[Outputs][kPackets];
  if (inside) {
#pragma unroll
    for (int i = 0; i < Inputs; ++i)
#pragma unroll
      for (int k = 0; k < kPackets; ++k)
        in[i][k] = load_packet(tensors.in[i].data + element + k * (kElementwiseThreads * kCount), true);
  } else {
    if (plan.rows > 1) first_row = first_packet / plan.row_packets;
    packet = first_packet - first_row * plan.row_packets + threadIdx.x;
#pragma unroll
    for (int k = 0; k < kPackets; ++k) {
      const PacketPlace place = packet_place<kCount>(plan, first_row, packet + k * kElementwiseThreads);
#pragma unroll
      for (int i = 0; i < Inputs; ++i)
        in[i][k] = load_placed(tensors.in[i], place, plan.cols, plan.apart_mask >> i & 1);
    }
  }

#pragma unroll
  for (int k = 0; k < kPackets; ++k)
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      C x[Inputs], y[Outputs];
#pragma unroll
      for (int i = 0; i < Inputs; ++i) x[i] = widen(in[i][k].element[e]);
      map(x, y);
#pragma unroll
      for (int o = 0; o < Outputs; ++o) out[o][k].element[e] = narrow<T>(y[o]);
    }

  if (inside) {
#pragma unroll
    for (int o = 0; o < Outputs; ++o)
#pragma unroll
      for (int k = 0; k < kPackets; ++k)
        store_packet(tensors.out[o].data + element + k * (kElementwiseThreads * kCount), out[o][k], true);
  } else {
#pragma unroll
    for (int k = 0; k < kPackets; ++k) {
      const PacketPlace place = packet_place<kCount>(plan, first_row, packet + k * kElementwiseThreads);
#pragma unroll
      for (int o = 0; o < Outputs; ++o) store_placed(tensors.out[o], place, out[o][k]);
    }
  }
}

// ---------------------------------------------------------------- kernel

/// Map{parameters} is called as map(in, out) with arrays of Compute<T>.
template <class Map, class T, int Inputs, int Outputs>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise_kernel(const __grid_constant__ device::Parameters<Compute<T>> parameters,
                       const __grid_constant__ ElementwiseTensors<T, Inputs, Outputs> tensors,
                       const __grid_constant__ ElementwisePlan plan) {
  elementwise_block(Map{parameters}, tensors, plan, blockIdx.x);
}

// ---------------------------------------------------------------- launcher

template <class T, int Inputs, int Outputs>
using ElementwiseKernel = void (*)(device::Parameters<Compute<T>>, ElementwiseTensors<T, Inputs, Outputs>,
                                   ElementwisePlan);

template <class T, int Inputs, int Outputs>
Status launch_elementwise(ElementwiseKernel<T, Inputs, Outputs> kernel,
                          const device::Parameters<Compute<T>>& parameters,
                          const ElementwiseTensors<T, Inputs, Outputs>& tensors, Extent extent,
                          Stream stream) {
  std::uintptr_t addresses[Inputs + Outputs];
  for (int i = 0; i < Inputs; ++i) addresses[i] = reinterpret_cast<std::uintptr_t>(tensors.in[i].data);
  for (int o = 0; o < Outputs; ++o)
    addresses[Inputs + o] = reinterpret_cast<std::uintptr_t>(tensors.out[o].data);
  const ElementwisePlan plan =
      plan_elementwise(extent.rows, extent.cols, sizeof(T), addresses, Outputs,
                       tensors.out[Outputs - 1].row_stride, kPacketsPerThread<Inputs>);
  return launch(kernel, plan.blocks, kElementwiseThreads, stream, parameters, tensors, plan);
}

}  // namespace actium::kernels

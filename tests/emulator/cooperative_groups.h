#pragma once
// In place of NVIDIA's <cooperative_groups.h>, which is empty for a host compiler: the part that kernels may
// use.
#include "cuda_dialect.hpp"

namespace cooperative_groups {

struct thread_block {
  static void sync(ACTIUM_HERE) { __syncthreads(here); }
  static unsigned thread_rank() {
    return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  }
  static unsigned num_threads() { return blockDim.x * blockDim.y * blockDim.z; }
};
inline thread_block this_thread_block() { return {}; }

struct cluster_group {
  static void sync(ACTIUM_HERE) { emulator::cluster_barrier(true, true, here); }
  static void barrier_arrive(ACTIUM_HERE) { emulator::cluster_barrier(true, false, here); }
  static void barrier_wait(ACTIUM_HERE) { emulator::cluster_barrier(false, true, here); }
  static unsigned block_rank() { return emulator::ids.block_rank; }
  static unsigned num_blocks() { return emulator::ids.cluster_blocks; }
  template <class T>
  static T* map_shared_rank(T* p, unsigned rank, ACTIUM_HERE) {
    return static_cast<T*>(emulator::map_shared_rank(p, rank, here));
  }
};
inline cluster_group this_cluster() { return {}; }

struct grid_group {
  static void sync(ACTIUM_HERE) { emulator::grid_barrier(here); }
};
inline grid_group this_grid() { return {}; }

}  // namespace cooperative_groups

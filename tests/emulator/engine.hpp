#pragma once
// The emulator's engine: runs one grid on one OS thread, each CUDA thread a fiber, block by block (cluster by
// cluster; a cooperative grid all at once). The device functions are what cuda_dialect.hpp and
// cooperative_groups.h are made of; the host functions are the runtime's (runtime.cpp, streams.cpp).
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <vector_types.h>

#include "emulator.hpp"

namespace emulator {

/// Where a primitive was called. (clang++ 14 lacks std::source_location.)
struct Location {
  const char* file = "";
  unsigned line = 0;
  static constexpr Location current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

// ---------------------------------------------------------------- host side

struct Grid {
  const void* kernel = nullptr;  // its address: for its name
  dim3 blocks, threads;
  dim3 cluster{1, 1, 1};                                   // divides `blocks`
  std::size_t dynamic_shared_bytes = 0, shared_limit = 0;  // the limit: of static and dynamic memory together
  bool cooperative = false;  // all blocks are resident at once: grid barriers work
};

/// Runs `thread` as every thread of the grid. False: a violation was recorded, and the grid was abandoned.
/// `before`, if any, is the work that a programmatic dependent launch may overtake: it is run when the
/// threads of the first blocks have come to cudaGridDependencySynchronize() or to their end.
bool run_grid(const Grid& grid, const std::function<void()>& thread,
              const std::function<void()>& before = {});

std::string name_of(const void* kernel);  // demangled
void record_violation(const std::string& text);

/// The limits of the emulated device.
inline constexpr unsigned kMaxThreads = 1024, kMaxClusterBlocks = 8, kMultiprocessors = 4;
inline constexpr std::size_t kDefaultSharedBytes = 48 << 10, kMaxSharedBytes = 227 << 10;

// ---------------------------------------------------------------- device side

struct ThreadIds {
  unsigned lane = 0, warp = 0;
  unsigned block_rank = 0, cluster_blocks = 1;  // in the cluster
};
extern ThreadIds ids;  // of the running CUDA thread

enum class BlockOp : std::uint8_t { kSync, kCount, kAnd, kOr };
int block_barrier(BlockOp op, int predicate, Location location);
/// arrive and wait, or one of them.
void cluster_barrier(bool arrive, bool wait, Location location);
void grid_barrier(Location location);

enum class WarpOp : std::uint8_t {
  kSync,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kMatchAny,
  kAdd,
  kMinUnsigned,
  kMaxUnsigned,
  kMinSigned,
  kMaxSigned,
  kAnd,
  kOr,
  kXor
};
/// `mask` names the lanes that take part; `parameter` and `width` are those of a shuffle.
std::uint64_t warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, int parameter, int width,
                            Location location);
unsigned active_mask();  // the lanes of this warp that have not exited

/// This block's instance of a shared variable, which `tag` identifies.
void* shared_variable(const void* tag, const char* name, std::size_t bytes, std::size_t alignment,
                      Location location);
void* dynamic_shared();
/// The same place in the shared memory of another block of the cluster.
void* map_shared_rank(const void* pointer, unsigned rank, Location location);

void dependency_synchronize(Location location);  // cudaGridDependencySynchronize

/// Ends the launch with a violation, a text in the manner of printf. Does not return, and the calling
/// thread's frames are never left: nothing in them may own memory.
[[noreturn]] [[gnu::format(printf, 2, 3)]] void fail(Location location, const char* format, ...);

}  // namespace emulator

// The CUDA threads of a grid as fibers, and where they meet. Compiled without -fsanitize=thread: the
// orderings that CUDA promises are declared by hand (acquire, release), and nothing else orders two threads
// for ThreadSanitizer.
#include "engine.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "fiber.hpp"
#include "runtime.hpp"

// What cuda_dialect.hpp declares as constants: constant for the thread that reads them.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

ThreadIds ids;

namespace {

constexpr unsigned kWarp = 32;

// ---------------------------------------------------------------- what a launch is made of

/// Where all threads of a block, a cluster or a cooperative grid meet.
struct Barrier {
  const char* name = "";
  unsigned expected = 0, arrived = 0;
  std::uint64_t phase = 0;  // completed so far
  // Two edges, because a fast thread may arrive at the next phase before a slow one has left this one.
  char edges[2] = {};
  BlockOp op = BlockOp::kSync;  // of the first to arrive, and where
  Location location;
  unsigned predicates = 0;
  int result = 0;
};

struct Block;

struct Thread {
  enum class State : std::uint8_t { kReady, kWaiting, kDone };
  Fiber* fiber = nullptr;
  Block* block = nullptr;
  uint3 index{};
  ThreadIds ids;
  State state = State::kReady;
  // What it waits for, and where.
  const void* waits_for = nullptr;  // a Barrier, a WarpGroup or kDependency
  const char* primitive = "";
  unsigned mask = 0;
  Location location;
  bool in_cluster_barrier = false;       // has arrived and not yet waited
  std::uint64_t cluster_phase = 0;       // in which it arrived
  std::uint64_t sent = 0, received = 0;  // of a warp exchange
  int parameter = 0, width = 0;
};
constexpr char kDependency = 0;

/// The lanes of a warp that exchange under one mask.
struct WarpGroup {
  unsigned mask = 0, arrived = 0;
  WarpOp op = WarpOp::kSync;
  Location location;
  std::uint64_t phase = 0;
  char edges[2] = {};
};
struct Warp {
  unsigned gone = 0;  // lanes that have exited or never were
  WarpGroup groups[kWarp];
};

/// Shared memory between two guards, filled with the poison.
class SharedVariable {
 public:
  SharedVariable(const void* identity, const char* its_name, std::size_t size, std::size_t alignment,
                 Location declared_at)
      : tag(identity),
        name(its_name),
        bytes(size),
        location(declared_at),
        guard_(std::max(kGuard, alignment)) {
    memory_ = static_cast<unsigned char*>(
        std::aligned_alloc(guard_, (2 * guard_ + bytes + guard_ - 1) / guard_ * guard_));
    if (memory_ == nullptr) std::abort();
    std::memset(memory_, kGuardByte, guard_);
    std::memset(data() + bytes, kGuardByte, kGuard);
    make_fresh(data(), bytes, options().poison);
    forbid(memory_, guard_);
    forbid(data() + bytes, kGuard);
  }
  ~SharedVariable() {
    allow(memory_, guard_ + bytes + kGuard);
    std::free(memory_);
  }
  SharedVariable(const SharedVariable&) = delete;
  SharedVariable& operator=(const SharedVariable&) = delete;

  unsigned char* data() const { return memory_ + guard_; }
  bool contains(const void* p) const { return p >= data() && p < data() + bytes; }
  bool guards_intact() const {
    allow(memory_, guard_ + bytes + kGuard);
    const auto is_guard = [](const unsigned char* p) {
      static const std::vector<unsigned char> guard(kGuard, kGuardByte);
      return std::memcmp(p, guard.data(), kGuard) == 0;
    };
    return is_guard(data() - kGuard) && is_guard(data() + bytes);
  }
  /// Its block has left.
  void retire() {
    make_fresh(data(), bytes, options().poison);
    forbid(memory_, guard_ + bytes + kGuard);
  }

  const void* const tag;
  const char* const name;
  const std::size_t bytes;
  const Location location;

 private:
  static constexpr std::size_t kGuard = 4096;
  static constexpr unsigned char kGuardByte = 0xa5;
  std::size_t guard_;
  unsigned char* memory_;
};

struct Cluster {
  Barrier barrier;
  std::vector<Block*> blocks;
};

struct Block {
  Cluster* cluster = nullptr;
  uint3 index{};
  unsigned rank = 0;
  unsigned exited = 0;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<Thread*> threads;
  std::deque<SharedVariable> shared;
  SharedVariable* dynamic = nullptr;
  // The cluster's phase (plus 1) in which another block last asked for this one's memory.
  std::uint64_t mapped_in = 0;
};

/// The blocks that are resident at once: one cluster, or all of a cooperative grid.
struct Gang {
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<Thread> threads;
  Barrier grid_barrier;
  unsigned live = 0;
};

struct Launch {
  Launch(const Grid& its_grid, const std::function<void()>& its_body) : grid(its_grid), body(its_body) {}
  const Grid& grid;
  const std::function<void()>& body;
  Fiber scheduler;
  Gang* gang = nullptr;
  Thread* running = nullptr;
  std::deque<Thread*> ready;
  std::mt19937_64 random{options().seed};
  bool failed = false;
  char started = 0, ended = 0, dependency_met = 0;  // edges
  bool dependency_is_met = false;
};
Launch* launch = nullptr;  // the innermost that runs

/// Fibers without a thread to run.
std::deque<Fiber*>& idle_fibers() {
  static auto& fibers = *new std::deque<Fiber*>;  // reachable at exit, so no leak
  return fibers;
}

// ---------------------------------------------------------------- words

/// A few words without memory of their own: violations are put together in threads that are then abandoned.
struct Text {
  char characters[80];
};
[[gnu::format(printf, 1, 2)]] Text formatted(const char* format, ...) {
  Text text;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.characters, sizeof text.characters, format, arguments);
  va_end(arguments);
  return text;
}
Text text(const Location& location) {
  const char* slash = std::strrchr(location.file, '/');
  return formatted("%s:%u", slash != nullptr ? slash + 1 : location.file, location.line);
}
Text text(const uint3& v) { return formatted("(%u,%u,%u)", v.x, v.y, v.z); }

/// 0-31,64
std::string ranges(const std::vector<unsigned>& numbers) {
  std::string s;
  for (std::size_t i = 0, shown = 0; i < numbers.size(); ++shown) {
    if (shown == 4) return s + ",...";
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    s += (shown != 0 ? "," : "") + std::to_string(numbers[i]);
    if (last > i) s += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return s;
}

/// A line for each block and each place where its threads wait.
std::string who_waits_where(const Gang& gang) {
  std::string s;
  for (const auto& block : gang.blocks) {
    std::vector<std::pair<std::string, std::vector<unsigned>>> groups;
    for (unsigned i = 0; i < block->threads.size(); ++i) {
      const Thread& thread = *block->threads[i];
      std::string place = "have exited";
      if (thread.state != Thread::State::kDone)
        place = std::string("wait at ") + thread.primitive +
                (thread.mask != 0 ? formatted(" (mask 0x%08x), ", thread.mask) : formatted(", ")).characters +
                text(thread.location).characters;
      const auto same = [&](const auto& group) { return group.first == place; };
      auto group = std::find_if(groups.begin(), groups.end(), same);
      if (group == groups.end()) group = groups.insert(groups.end(), {place, {}});
      group->second.push_back(i);
    }
    s += std::string("\n  block ") + text(block->index).characters + ": ";
    for (const auto& [place, threads] : groups)
      s += (&place != &groups.front().first ? ", " : "") + std::to_string(threads.size()) + " threads " +
           place + " [" + ranges(threads) + "]";
  }
  return s;
}

void violation(const std::string& what) {
  const Quiet quiet;
  launch->failed = true;
  record_violation(name_of(launch->grid.kernel) + ": " + what);
}

// ---------------------------------------------------------------- scheduling

void make_ready(Thread* thread) {
  const Quiet quiet;
  thread->state = Thread::State::kReady;
  thread->waits_for = nullptr;
  launch->ready.push_back(thread);
}

Thread* next_ready() {
  const Quiet quiet;
  auto& ready = launch->ready;
  if (options().schedule == Schedule::kRandom)
    std::swap(ready.front(), ready[launch->random() % ready.size()]);
  Thread* thread = options().schedule == Schedule::kReverse ? ready.back() : ready.front();
  options().schedule == Schedule::kReverse ? ready.pop_back() : ready.pop_front();
  return thread;
}

/// Leaves the running thread (or the scheduler) for the next thread that is ready, or for the scheduler.
void run_next() {
  Fiber& from = launch->running != nullptr ? *launch->running->fiber : launch->scheduler;
  Thread* thread = launch->failed || launch->ready.empty() ? nullptr : next_ready();
  launch->running = thread;
  if (thread != nullptr) {
    threadIdx = thread->index;
    blockIdx = thread->block->index;
    ids = thread->ids;
  }
  Fiber& to = thread != nullptr ? *thread->fiber : launch->scheduler;
  if (&from != &to) Fiber::switch_between(from, to);
}

void park(Thread* thread, const void* what, const char* primitive, unsigned mask, Location location) {
  thread->state = Thread::State::kWaiting;
  thread->waits_for = what;
  thread->primitive = primitive;
  thread->mask = mask;
  thread->location = location;
  run_next();
}

void wake(const void* what) {
  for (Thread& thread : launch->gang->threads)
    if (thread.state == Thread::State::kWaiting && thread.waits_for == what) make_ready(&thread);
}

// ---------------------------------------------------------------- meeting places

/// Returns the phase in which the thread arrived.
std::uint64_t arrive(Barrier& barrier, BlockOp op, int predicate, Location location) {
  const std::uint64_t phase = barrier.phase;
  release(&barrier.edges[phase & 1]);
  if (barrier.arrived == 0) {
    barrier.op = op;
    barrier.location = location;
    barrier.predicates = 0;
  } else if (barrier.op != op || barrier.location.line != location.line ||
             std::strcmp(barrier.location.file, location.file) != 0) {
    const Thread& me = *launch->running;
    fail(location, "%s divergence in block %s: thread %s is here while others wait at %s", barrier.name,
         text(me.block->index).characters, text(me.index).characters, text(barrier.location).characters);
  }
  barrier.predicates += predicate != 0;
  if (++barrier.arrived == barrier.expected) {
    barrier.result = static_cast<int>(op == BlockOp::kCount ? barrier.predicates
                                      : op == BlockOp::kAnd ? barrier.predicates == barrier.expected
                                                            : barrier.predicates != 0);
    barrier.arrived = 0;
    ++barrier.phase;
    wake(&barrier);
  }
  return phase;
}

void wait(Barrier& barrier, std::uint64_t phase, Location location) {
  if (barrier.phase == phase) park(launch->running, &barrier, barrier.name, 0, location);
  acquire(&barrier.edges[phase & 1]);
}

constexpr const char* kWarpOpNames[] = {
    "__syncwarp",        "__shfl_sync",       "__shfl_up_sync",    "__shfl_down_sync",  "__shfl_xor_sync",
    "__ballot_sync",     "__match_any_sync",  "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
    "__reduce_min_sync", "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync",  "__reduce_xor_sync"};
const char* name_of(WarpOp op) { return kWarpOpNames[static_cast<int>(op)]; }

/// The lane that a shuffle reads; its own where the offset leaves the segment.
unsigned source_lane(WarpOp op, unsigned lane, int parameter, int width) {
  const unsigned segment = static_cast<unsigned>(width), base = lane & ~(segment - 1),
                 offset = static_cast<unsigned>(parameter);
  switch (op) {
    case WarpOp::kShuffle:
      return base + (offset & (segment - 1));
    case WarpOp::kShuffleUp:
      return lane - base < offset ? lane : lane - offset;
    case WarpOp::kShuffleDown:
      return offset >= base + segment - lane ? lane : lane + offset;
    default:
      return (lane ^ offset) >= base + segment ? lane : lane ^ offset;
  }
}

std::uint64_t reduced(WarpOp op, std::uint64_t a, std::uint64_t b) {
  const auto ua = static_cast<unsigned>(a), ub = static_cast<unsigned>(b);
  const auto sa = static_cast<int>(ua), sb = static_cast<int>(ub);
  switch (op) {
    case WarpOp::kAdd:
      return ua + ub;
    case WarpOp::kMinUnsigned:
      return std::min(ua, ub);
    case WarpOp::kMaxUnsigned:
      return std::max(ua, ub);
    case WarpOp::kMinSigned:
      return static_cast<unsigned>(std::min(sa, sb));
    case WarpOp::kMaxSigned:
      return static_cast<unsigned>(std::max(sa, sb));
    case WarpOp::kAnd:
      return a & b;
    case WarpOp::kOr:
      return a | b;
    default:
      return a ^ b;
  }
}

/// If all lanes of the group that are still there have arrived: exchanges their values and wakes them.
void complete_if_full(Block& block, unsigned warp_index, WarpGroup& group) {
  Warp& warp = block.warps[warp_index];
  if (group.arrived == 0 || group.arrived != (group.mask & ~warp.gone)) return;
  const auto lane_thread = [&](unsigned lane) { return block.threads[warp_index * kWarp + lane]; };
  const auto for_each_lane = [&](const auto& f) {
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if ((group.arrived >> lane & 1) != 0) f(lane, *lane_thread(lane));
  };
  const bool shuffle = group.op >= WarpOp::kShuffle && group.op <= WarpOp::kShuffleXor;
  bool first = true;
  std::uint64_t all = 0;
  for_each_lane([&](unsigned lane, const Thread& thread) {
    if (group.op == WarpOp::kBallot)
      all |= std::uint64_t{thread.sent != 0} << lane;
    else if (group.op >= WarpOp::kAdd)
      all = first ? thread.sent : reduced(group.op, all, thread.sent);
    first = false;
  });
  for_each_lane([&](unsigned lane, Thread& thread) {
    thread.received = all;
    if (shuffle) {
      const unsigned source = source_lane(group.op, lane, thread.parameter, thread.width);
      if ((group.arrived >> source & 1) == 0)
        fail(group.location,
             "lane %u of warp %u in block %s takes a value of lane %u, which %s 0x%08x, by %s", lane,
             warp_index, text(block.index).characters, source,
             (group.mask >> source & 1) != 0 ? "has exited; the mask is" : "is not in the mask", group.mask,
             name_of(group.op));
      thread.received = lane_thread(source)->sent;
    } else if (group.op == WarpOp::kMatchAny) {
      thread.received = 0;
      for_each_lane([&](unsigned other, const Thread& peer) {
        thread.received |= std::uint64_t{peer.sent == thread.sent} << other;
      });
    }
  });
  group.mask = group.arrived = 0;
  ++group.phase;
  for (unsigned lane = 0; lane < kWarp && warp_index * kWarp + lane < block.threads.size(); ++lane) {
    Thread* thread = lane_thread(lane);
    if (thread->state == Thread::State::kWaiting && thread->waits_for == &group) make_ready(thread);
  }
}

// ---------------------------------------------------------------- the life of a thread and of a block

void leave(Block& block) {  // its last thread has ended
  const Quiet quiet;
  const std::string index = text(block.index).characters;
  for (const SharedVariable& variable : block.shared)
    if (!variable.guards_intact())
      violation("shared memory: block " + index + " wrote outside `" + variable.name + "` (" +
                std::to_string(variable.bytes) + " bytes), declared at " +
                text(variable.location).characters);
  if (block.mapped_in == block.cluster->barrier.phase + 1)
    violation("block " + index + " leaves while its shared memory may still be read by its cluster: " +
              "a cluster barrier must come after the last access");
  if (block.cluster->blocks.size() > 1)
    for (SharedVariable& variable : block.shared) variable.retire();
}

void run_thread() {
  Thread* thread = launch->running;
  Block& block = *thread->block;
  acquire(&launch->started);
  launch->body();
  release(&launch->ended);
  thread->state = Thread::State::kDone;
  --launch->gang->live;
  ++block.exited;
  Warp& warp = block.warps[thread->ids.warp];
  warp.gone |= 1u << thread->ids.lane;
  for (WarpGroup& group : warp.groups)
    if (group.mask != 0) complete_if_full(block, thread->ids.warp, group);
  if (block.exited == block.threads.size()) leave(block);
}

void fiber_entry() {
  Fiber::entered();
  for (;;) {
    run_thread();
    run_next();
  }
}

/// Fibers are taken from the front and put back at the back. For ThreadSanitizer there are twice as many as a
/// gang needs: one that ran in this block and runs in the next would carry, at the first barrier, all that
/// happened here over to it, and hide races between neighbouring blocks. (A cooperative grid is one gang; and
/// the sanitizer has room for about 8000.)
void make_fibers(std::size_t gang_threads) {
  constexpr std::size_t kMost = 8000;
  const bool twice = Identity::distinguishes() && !launch->grid.cooperative && 2 * gang_threads + 7 <= kMost;
  while (idle_fibers().size() < (twice ? 2 * gang_threads + 7 : gang_threads))
    idle_fibers().push_back(new Fiber(fiber_entry));
}
Fiber* take_fiber() {
  auto& idle = idle_fibers();
  Fiber* fiber = idle.front();
  idle.pop_front();
  return fiber;
}

std::unique_ptr<Gang> make_gang(const std::vector<uint3>& cluster_origins) {
  const Grid& grid = launch->grid;
  const unsigned threads = grid.threads.x * grid.threads.y * grid.threads.z,
                 cluster_blocks = grid.cluster.x * grid.cluster.y * grid.cluster.z,
                 warps = (threads + kWarp - 1) / kWarp;
  auto gang = std::make_unique<Gang>();
  gang->live = static_cast<unsigned>(cluster_origins.size()) * cluster_blocks * threads;
  gang->threads.resize(gang->live);
  gang->grid_barrier.name = "grid.sync";
  gang->grid_barrier.expected = gang->live;
  make_fibers(gang->live);
  Thread* thread = gang->threads.data();
  for (const uint3& origin : cluster_origins) {
    Cluster& cluster = *gang->clusters.emplace_back(std::make_unique<Cluster>());
    cluster.barrier.name = "cluster.sync";
    cluster.barrier.expected = cluster_blocks * threads;
    for (unsigned rank = 0; rank < cluster_blocks; ++rank) {
      Block& block = *gang->blocks.emplace_back(std::make_unique<Block>());
      cluster.blocks.push_back(&block);
      block.cluster = &cluster;
      block.rank = rank;
      block.index = {origin.x + rank % grid.cluster.x, origin.y + rank / grid.cluster.x % grid.cluster.y,
                     origin.z + rank / (grid.cluster.x * grid.cluster.y)};
      block.barrier.name = "__syncthreads";
      block.barrier.expected = threads;
      block.warps.resize(warps);
      if (threads % kWarp != 0) block.warps.back().gone = ~0u << threads % kWarp;
      block.dynamic = &block.shared.emplace_back(nullptr, "dynamic shared memory", grid.dynamic_shared_bytes,
                                                 std::size_t{1024}, Location{});
      for (unsigned i = 0; i < threads; ++i, ++thread) {
        thread->fiber = take_fiber();
        thread->block = &block;
        thread->index = {i % grid.threads.x, i / grid.threads.x % grid.threads.y,
                         i / (grid.threads.x * grid.threads.y)};
        thread->ids = {i % kWarp, i / kWarp, rank, cluster_blocks};
        block.threads.push_back(thread);
      }
    }
  }
  return gang;
}

/// Runs every thread of the gang to its end, or until something is wrong.
void run_gang(const std::vector<uint3>& cluster_origins, const std::function<void()>& before) {
  std::unique_ptr<Gang> gang;
  {
    const Quiet quiet;
    gang = make_gang(cluster_origins);
  }
  launch->gang = gang.get();
  blockDim = launch->grid.threads;
  gridDim = launch->grid.blocks;
  for (Thread& thread : gang->threads) make_ready(&thread);
  for (;;) {
    run_next();
    if (launch->failed) break;
    if (!launch->dependency_is_met) {
      before();
      if (runtime::sticky_error() != cudaSuccess) {  // what was overtaken has failed
        launch->failed = true;
        break;
      }
      launch->dependency_is_met = true;
      release(&launch->dependency_met);
      blockDim = launch->grid.threads;
      gridDim = launch->grid.blocks;
      wake(&kDependency);
      continue;
    }
    if (gang->live == 0) break;
    const Quiet quiet;
    violation("barrier divergence or deadlock: nothing can run" + who_waits_where(*gang));
    break;
  }
  const Quiet quiet;
  for (Thread& thread : gang->threads) {
    if (launch->failed) {  // some were abandoned
      thread.fiber->release_to(&launch->ended);
      thread.fiber->restart();
    }
    idle_fibers().push_back(thread.fiber);
  }
  launch->gang = nullptr;
  launch->ready.clear();
  gang.reset();
}

/// Held while a grid runs: the fibers and threadIdx are one for the process. Nested launches are those of one
/// OS thread.
class EngineLock {
 public:
  EngineLock() {
    outermost_ = owner_ != &marker();
    if (outermost_) {
      while (busy_.test_and_set(std::memory_order_acquire)) sched_yield();
      owner_ = &marker();
    }
    outer_ = launch;
  }
  ~EngineLock() {
    launch = outer_;
    if (!outermost_) return;
    owner_ = nullptr;
    busy_.clear(std::memory_order_release);
  }
  EngineLock(const EngineLock&) = delete;
  EngineLock& operator=(const EngineLock&) = delete;

 private:
  static char& marker() {
    thread_local char mine;
    return mine;
  }
  inline static std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  inline static std::atomic<char*> owner_ = nullptr;
  bool outermost_;
  Launch* outer_;
};

}  // namespace

// ---------------------------------------------------------------- host side

bool run_grid(const Grid& grid, const std::function<void()>& thread, const std::function<void()>& before) {
  const EngineLock lock;
  std::unique_ptr<Launch> mine;
  {
    const Quiet quiet;
    mine = std::make_unique<Launch>(grid, thread);
  }
  launch = mine.get();
  launch->dependency_is_met = !before;
  release(&launch->started);

  const std::uint64_t x = grid.blocks.x / grid.cluster.x, y = grid.blocks.y / grid.cluster.y,
                      z = grid.blocks.z / grid.cluster.z, clusters = x * y * z;
  const auto origin = [&](std::uint64_t i) {
    return uint3{static_cast<unsigned>(i % x) * grid.cluster.x,
                 static_cast<unsigned>(i / x % y) * grid.cluster.y,
                 static_cast<unsigned>(i / (x * y)) * grid.cluster.z};
  };
  if (grid.cooperative) {
    std::vector<uint3> all;
    for (std::uint64_t i = 0; i < clusters; ++i) all.push_back(origin(i));
    run_gang(all, before);
  } else if (!options().only.empty()) {
    for (const std::uint64_t cluster : options().only)
      if (cluster < clusters && !launch->failed) run_gang({origin(cluster)}, before);
  } else {
    const bool random = options().schedule == Schedule::kRandom;
    // Random: a permutation; of very many clusters cluster (offset + i * step) modulo their number, which
    // visits each once.
    std::vector<std::uint64_t> order;
    std::uint64_t step = 1, offset = 0;
    if (random && clusters <= 1 << 16) {
      order.resize(clusters);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), launch->random);
    } else if (random) {
      offset = launch->random() % clusters;
      for (step = 1 + launch->random() % clusters; std::gcd(step, clusters) != 1; ++step) {
      }
    }
    for (std::uint64_t i = 0; i < clusters && !launch->failed; ++i)
      run_gang({origin(!order.empty()                             ? order[i]
                       : options().schedule == Schedule::kReverse ? clusters - 1 - i
                                                                  : (offset + i * step) % clusters)},
               before);
  }
  acquire(&launch->ended);
  if (!launch->dependency_is_met && !launch->failed) before();  // no block ran
  const bool fine = !mine->failed;
  const Quiet quiet;
  mine.reset();
  return fine;
}

std::string name_of(const void* kernel) {
  Dl_info info{};
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr) return "a kernel";
  int status = 0;
  char* demangled = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = demangled != nullptr ? demangled : info.dli_sname;
  std::free(demangled);
  return name;
}

// ---------------------------------------------------------------- device side

int block_barrier(BlockOp op, int predicate, Location location) {
  Barrier& barrier = launch->running->block->barrier;
  const std::uint64_t phase = arrive(barrier, op, predicate, location);
  wait(barrier, phase, location);
  return barrier.result;
}

void cluster_barrier(bool arrives, bool waits, Location location) {
  Thread* const me = launch->running;
  Barrier& barrier = me->block->cluster->barrier;
  if (arrives) {
    if (me->in_cluster_barrier)
      fail(location, "cluster barrier: thread %s arrives twice", text(me->index).characters);
    me->in_cluster_barrier = true;
    me->cluster_phase = arrive(barrier, BlockOp::kSync, 0, location);
  }
  if (waits) {
    if (!me->in_cluster_barrier)
      fail(location, "cluster barrier: thread %s waits and has not arrived", text(me->index).characters);
    wait(barrier, me->cluster_phase, location);
    me->in_cluster_barrier = false;
  }
}

void grid_barrier(Location location) {
  if (!launch->grid.cooperative) fail(location, "grid.sync in a kernel that was not launched cooperatively");
  Barrier& barrier = launch->gang->grid_barrier;
  wait(barrier, arrive(barrier, BlockOp::kSync, 0, location), location);
}

std::uint64_t warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, int parameter, int width,
                            Location location) {
  Thread* const me = launch->running;
  Block& block = *me->block;
  const unsigned bit = 1u << me->ids.lane;
  Warp& warp = block.warps[me->ids.warp];
  if ((mask & bit) == 0)
    fail(location, "lane %u of warp %u in block %s is not in its own mask 0x%08x at %s", me->ids.lane,
         me->ids.warp, text(block.index).characters, mask, name_of(op));
  if (width < 1 || width > static_cast<int>(kWarp) || !std::has_single_bit(static_cast<unsigned>(width)))
    fail(location, "%s: the width is %d, and must be a power of two up to 32", name_of(op), width);
  WarpGroup* group = nullptr;
  for (WarpGroup& candidate : warp.groups)
    if (candidate.mask == mask && (candidate.arrived & bit) == 0) {
      group = &candidate;
      break;
    }
  if (group == nullptr)
    group = std::find_if(std::begin(warp.groups), std::end(warp.groups),
                         [](const WarpGroup& g) { return g.mask == 0; });
  if (group->arrived == 0) {
    group->mask = mask;
    group->op = op;
    group->location = location;
  } else if (group->op != op || group->location.line != location.line ||
             std::strcmp(group->location.file, location.file) != 0) {
    fail(location,
         "warp divergence: lane %u of warp %u in block %s calls %s here while others wait at %s, %s",
         me->ids.lane, me->ids.warp, text(block.index).characters, name_of(op), name_of(group->op),
         text(group->location).characters);
  }
  me->sent = value;
  me->parameter = parameter;
  me->width = width;
  // Shuffles and votes order no memory: only __syncwarp does.
  char* const edge = &group->edges[group->phase & 1];
  if (op == WarpOp::kSync) release(edge);
  group->arrived |= bit;
  const std::uint64_t phase = group->phase;
  complete_if_full(block, me->ids.warp, *group);
  if (group->phase == phase) park(me, group, name_of(op), mask, location);
  if (op == WarpOp::kSync) acquire(edge);
  return me->received;
}

unsigned active_mask() {
  const Thread& me = *launch->running;
  return ~me.block->warps[me.ids.warp].gone;
}

void* shared_variable(const void* tag, const char* name, std::size_t bytes, std::size_t alignment,
                      Location location) {
  auto& shared = launch->running->block->shared;
  for (const SharedVariable& variable : shared)
    if (variable.tag == tag) return variable.data();
  std::size_t fixed = bytes;
  for (const SharedVariable& variable : shared)
    if (variable.tag != nullptr) fixed += variable.bytes;
  const std::size_t dynamic = launch->grid.dynamic_shared_bytes,
                    limit = dynamic > kDefaultSharedBytes ? kMaxSharedBytes : launch->grid.shared_limit;
  if (fixed > kDefaultSharedBytes || fixed + dynamic > limit)
    fail(location,
         "shared memory: `%s` makes it %zu bytes and %zu dynamic ones, the limits are %zu and %zu together",
         name, fixed, dynamic, kDefaultSharedBytes, limit);
  const Quiet quiet;
  return shared.emplace_back(tag, name, bytes, alignment, location).data();
}

void* dynamic_shared() { return launch->running->block->dynamic->data(); }

void* map_shared_rank(const void* pointer, unsigned rank, Location location) {
  Block& mine = *launch->running->block;
  const Cluster& cluster = *mine.cluster;
  if (rank >= cluster.blocks.size())
    fail(location, "map_shared_rank: rank %u of a cluster of %zu", rank, cluster.blocks.size());
  Block& peer = *cluster.blocks[rank];
  const Text peer_index = text(peer.index);
  const auto variable = std::find_if(mine.shared.begin(), mine.shared.end(),
                                     [&](const SharedVariable& v) { return v.contains(pointer); });
  if (variable == mine.shared.end())
    fail(location, "map_shared_rank: the pointer is no shared memory of this block");
  if (&peer == &mine) return const_cast<void*>(pointer);
  if (cluster.barrier.phase == 0)
    fail(location,
         "distributed shared memory: block %s may not have started: a cluster barrier must come before the "
         "first access",
         peer_index.characters);
  if (peer.exited > 0)
    fail(location,
         "distributed shared memory: block %s has left: a cluster barrier must come after the last access",
         peer_index.characters);
  const auto same = std::find_if(peer.shared.begin(), peer.shared.end(),
                                 [&](const SharedVariable& v) { return v.tag == variable->tag; });
  if (same == peer.shared.end())
    fail(location, "distributed shared memory: block %s has not come to `%s`", peer_index.characters,
         variable->name);
  peer.mapped_in = cluster.barrier.phase + 1;
  return same->data() + (static_cast<const unsigned char*>(pointer) - variable->data());
}

void dependency_synchronize(Location location) {
  if (!launch->dependency_is_met)
    park(launch->running, &kDependency, "cudaGridDependencySynchronize", 0, location);
  acquire(&launch->dependency_met);
}

void fail(Location location, const char* format, ...) {
  if (launch == nullptr) std::abort();  // not in a kernel
  {
    const Quiet quiet;
    char what[400];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    violation(std::string(what) + ", " + text(location).characters);
  }
  run_next();  // to the scheduler, which abandons the launch
  std::abort();
}

}  // namespace emulator

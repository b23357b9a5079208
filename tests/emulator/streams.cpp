// Streams of the emulated device. Work is queued and runs late: when somebody waits, in an order of the
// streams that options() chooses, so that a missing event is a wrong result under some seed. What one piece
// of work comes after is a list of points, which are the ends of earlier pieces: so nothing can wait for
// itself.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "runtime.hpp"

namespace emulator::runtime {
namespace {

double now_in_milliseconds() {
  const Quiet quiet;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

/// The end of a piece of work: the orderings of ThreadSanitizer are declared on its address. Counted by hand
/// under the lock, as the atomics of shared_ptr would order host threads.
class Point {
 public:
  Point() = default;
  Point(const Point& other) : end_(other.end_) {
    if (end_ != nullptr) ++end_->owners;
  }
  Point(Point&& other) noexcept : end_(std::exchange(other.end_, nullptr)) {}
  Point& operator=(Point other) noexcept {
    std::swap(end_, other.end_);
    return *this;
  }
  ~Point() {
    if (end_ != nullptr && --end_->owners == 0) delete end_;
  }
  static Point make() {
    Point point;
    point.end_ = new End;
    return point;
  }

  bool exists() const { return end_ != nullptr; }
  bool reached() const { return end_ == nullptr || end_->reached; }
  double milliseconds() const { return end_->milliseconds; }
  void release_here() const { release(end_); }
  void acquire_here() const {
    if (end_ != nullptr) acquire(end_);
  }
  void reach() const {
    end_->reached = true;
    end_->milliseconds = now_in_milliseconds();
  }
  bool operator==(const Point& other) const { return end_ == other.end_; }

 private:
  struct End {
    int owners = 1;
    bool reached = false;
    double milliseconds = 0;
  };
  End* end_ = nullptr;
};

struct Operation {
  std::function<void(const std::function<void()>& before)> run;  // `before`: what it overtakes; null: nothing
  bool kernel = false;
  bool programmatic = false;  // may overtake the kernel directly before it
};

/// Queued work.
struct Item {
  Operation operation;
  Point end;
  std::vector<Point> after;  // beside what is before it in its stream
  std::unique_ptr<Item> overtaken;
};

struct Node {
  Operation operation;
  std::vector<std::size_t> after;
};

/// One capture: of the stream where it began, and of those that joined it.
struct Capture {
  std::uint64_t id;
  CUstream_st* origin;
  cudaStreamCaptureMode mode;
  const void* thread;
  bool invalid = false;
  std::vector<Node> nodes = {};
};

}  // namespace
}  // namespace emulator::runtime

using namespace emulator;
using namespace emulator::runtime;

struct CUstream_st {
  explicit CUstream_st(bool is_blocking) : blocking(is_blocking) {}
  const bool blocking;  // ordered with the legacy stream
  Identity identity = Identity::fresh();
  std::deque<Item> queue;
  Point last;  // the end of what was queued last
  Capture* capture = nullptr;
  std::vector<std::size_t> tail;  // the nodes that the next captured one comes after
};
struct CUevent_st {
  bool timed = true;
  Point point;
  std::uint64_t capture = 0;  // in which it was recorded last, after these nodes
  std::vector<std::size_t> nodes;
};
struct CUgraph_st {
  std::vector<Node> nodes;
};
struct CUgraphExec_st {
  std::vector<Node> nodes;
  Point last;  // launches of one executable graph are ordered
};

namespace emulator::runtime {
namespace {

struct Streams {
  CUstream_st legacy{true}, per_thread{true};
  // In order of creation; ~address, so that LeakSanitizer does not take this for a user's pointer.
  std::vector<std::uintptr_t> hidden{hide(&legacy), hide(&per_thread)};
  Point retired;  // the ends of destroyed streams' work
  std::vector<std::unique_ptr<Capture>> captures;
  std::uint64_t captures_begun = 0;
  std::uint64_t seed = 0, random = 0;

  static std::uintptr_t hide(CUstream_st* s) { return ~reinterpret_cast<std::uintptr_t>(s); }
  std::size_t size() const { return hidden.size(); }
  CUstream_st& operator[](std::size_t i) const { return *reinterpret_cast<CUstream_st*>(~hidden[i]); }
};
Streams& streams() {
  static Streams& all = *new Streams;  // never destroyed, as users' destructors may run late
  return all;
}

/// Null if there is none.
CUstream_st* find(cudaStream_t handle) {
  Streams& all = streams();
  if (handle == nullptr || handle == cudaStreamLegacy) return &all.legacy;
  if (handle == cudaStreamPerThread) return &all.per_thread;
  const auto found = std::find(all.hidden.begin() + 2, all.hidden.end(), Streams::hide(handle));
  return found != all.hidden.end() ? handle : nullptr;
}

/// One of `count`, as the schedule chooses.
std::size_t choose(std::size_t count) {
  if (options().schedule == Schedule::kForward) return 0;
  if (options().schedule == Schedule::kReverse) return count - 1;
  Streams& all = streams();
  if (all.seed != options().seed) all.random = all.seed = options().seed;
  std::uint64_t x = all.random += 0x9e3779b97f4a7c15u;  // splitmix64
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return static_cast<std::size_t>((x ^ x >> 31) % count);
}

// ---------------------------------------------------------------- running

/// In the stream's identity.
void perform(const Item& item) {
  item.end.acquire_here();
  for (const Point& point : item.after) point.acquire_here();
  if (item.operation.run) {
    if (item.overtaken != nullptr)
      item.operation.run([&] { perform(*item.overtaken); });
    else
      item.operation.run({});
  }
  item.end.release_here();
  item.end.reach();
}

/// Runs one piece of work; false if none can.
bool step() {
  Streams& all = streams();
  std::vector<CUstream_st*> runnable;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto reached = [](const Point& point) { return point.reached(); };
    if (!all[i].queue.empty() &&
        std::all_of(all[i].queue.front().after.begin(), all[i].queue.front().after.end(), reached))
      runnable.push_back(&all[i]);
  }
  if (runnable.empty()) return false;
  CUstream_st& stream = *runnable[choose(runnable.size())];
  const Item item = std::move(stream.queue.front());
  stream.queue.pop_front();
  const Identity host = Identity::current();
  stream.identity.take_over();
  perform(item);
  host.take_over();
  return true;
}

bool idle() {
  for (std::size_t i = 0; i < streams().size(); ++i)
    if (!streams()[i].queue.empty()) return false;
  return true;
}

/// Never hangs: should nothing be able to run, that is a violation.
template <class Done>
void run_until(Done done) {
  while (!done())
    if (!step()) {
      record_violation("streams wait for each other");
      break_device(cudaErrorLaunchTimeout);
    }
  if (idle()) finish_frees();
}
void wait_until(const Point& point) {
  run_until([&] { return point.reached(); });
  point.acquire_here();
}

// ---------------------------------------------------------------- queuing

void invalidate(CUstream_st& stream) { stream.capture->invalid = true; }

cudaError_t capture(CUstream_st& stream, Operation operation) {
  Capture& capture = *stream.capture;
  if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
  capture.nodes.push_back({std::move(operation), std::exchange(stream.tail, {capture.nodes.size()})});
  return cudaSuccess;
}

cudaError_t submit(cudaStream_t handle, Operation operation, std::vector<Point> after = {}) {
  CUstream_st* const stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) return capture(*stream, std::move(operation));
  Streams& all = streams();
  if (stream == &all.legacy) {
    bool implicit = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].blocking) continue;
      if (all[i].capture != nullptr) {
        implicit = true;
        invalidate(all[i]);
      }
      if (&all[i] != stream) after.push_back(all[i].last);
    }
    if (implicit) return cudaErrorStreamCaptureImplicit;
    after.push_back(all.retired);
  } else if (stream->blocking) {
    after.push_back(all.legacy.last);
  }
  Item item{std::move(operation), Point::make(), std::move(after), nullptr};
  if (item.operation.programmatic && !stream->queue.empty() && stream->queue.back().operation.kernel) {
    Item& previous = stream->queue.back();
    const auto settled = [&](const Point& point) {
      return point.reached() ||
             std::find(previous.after.begin(), previous.after.end(), point) != previous.after.end();
    };
    constexpr int kDeepest = 3;  // each that is overtaken keeps its blocks waiting
    int depth = 0;
    for (const Item* p = previous.overtaken.get(); p != nullptr; p = p->overtaken.get()) ++depth;
    if (depth < kDeepest && std::all_of(item.after.begin(), item.after.end(), settled)) {
      item.after.insert(item.after.end(), previous.after.begin(), previous.after.end());
      item.overtaken = std::make_unique<Item>(std::move(previous));
      stream->queue.pop_back();
    }
  }
  item.end.release_here();
  stream->last = item.end;
  stream->queue.push_back(std::move(item));
  return cudaSuccess;
}

/// The nodes in an order that the schedule chooses.
std::vector<std::size_t> an_order_of(const std::vector<Node>& nodes) {
  std::vector<std::size_t> order;
  std::vector<bool> placed(nodes.size());
  while (order.size() < nodes.size()) {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto is_placed = [&](std::size_t before) { return placed[before]; };
      if (!placed[i] && std::all_of(nodes[i].after.begin(), nodes[i].after.end(), is_placed))
        ready.push_back(i);
    }
    order.push_back(ready[choose(ready.size())]);
    placed[order.back()] = true;
  }
  return order;
}

/// The captured work that the nodes come after, and they.
std::vector<bool> with_ancestors(const std::vector<Node>& nodes, const std::vector<std::size_t>& tail) {
  std::vector<bool> reached(nodes.size());
  for (const std::size_t node : tail) reached[node] = true;
  for (std::size_t i = nodes.size(); i-- > 0;)
    if (reached[i])
      for (const std::size_t before : nodes[i].after) reached[before] = true;
  return reached;
}

void end_capture(Capture& ended) {
  Streams& all = streams();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].capture == &ended) {
      all[i].capture = nullptr;
      all[i].tail.clear();
    }
  std::erase_if(all.captures, [&](const auto& candidate) { return candidate.get() == &ended; });
}

/// Waiting for, or asking after, a stream that captures.
cudaError_t forbidden_while_capturing(CUstream_st* stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    invalidate(*stream);
    return cudaErrorStreamCaptureUnsupported;
  }
  return unsafe_call();
}
cudaError_t forbidden_while_capturing(const CUevent_st* event) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (event->capture != 0) {
    for (const auto& capture : streams().captures)
      if (capture->id == event->capture) capture->invalid = true;
    return cudaErrorCapturedEvent;
  }
  return unsafe_call();
}

}  // namespace

// ---------------------------------------------------------------- for runtime.cpp

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  return submit(stream, {.run = [work = std::move(work)](const auto&) { work(); }});
}

bool is_capturing(cudaStream_t stream) { return find(stream) != nullptr && find(stream)->capture != nullptr; }

cudaError_t wait_for(cudaStream_t handle) {
  CUstream_st* const stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  count_synchronisation();
  wait_until(stream->last);
  return cudaSuccess;
}

void wait_for_all() {
  count_synchronisation();
  run_until(idle);
  for (std::size_t i = 0; i < streams().size(); ++i) streams()[i].last.acquire_here();
  streams().retired.acquire_here();
}

cudaError_t unsafe_call() {
  bool forbidden = false;
  for (const auto& capture : streams().captures)
    if (capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == this_thread()))
      forbidden = capture->invalid = true;
  return forbidden ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

void drop_work() {
  for (std::size_t i = 0; i < streams().size(); ++i) {
    for (const Item& dropped : streams()[i].queue) dropped.end.reach();
    streams()[i].queue.clear();
  }
}
void drop_captures() {
  while (!streams().captures.empty()) end_capture(*streams().captures.back());
  streams().seed = 0;  // the same seed gives the same order again
}

// ---------------------------------------------------------------- launches

namespace {

struct Launch {
  Grid grid;
  bool programmatic = false;
};

std::string text(const dim3& v) {
  return std::to_string(v.x) + " x " + std::to_string(v.y) + " x " + std::to_string(v.z);
}
std::uint64_t volume(const dim3& v) { return std::uint64_t{v.x} * v.y * v.z; }

/// Reads the attributes of a launch, and refuses what a device would.
cudaError_t validate(const cudaLaunchConfig_t& config, Launch& launch) {
  Grid& grid = launch.grid;
  const auto refuse = [&](const std::string& what, cudaError_t error) {
    record_violation(name_of(grid.kernel) + ": launched with " + what);
    return error;
  };
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttributeValue& value = config.attrs[i].val;
    switch (config.attrs[i].id) {
      case cudaLaunchAttributeCooperative:
        grid.cooperative = value.cooperative != 0;
        break;
      case cudaLaunchAttributeClusterDimension:
        grid.cluster = {value.clusterDim.x, value.clusterDim.y, value.clusterDim.z};
        break;
      case cudaLaunchAttributeProgrammaticStreamSerialization:
        launch.programmatic = value.programmaticStreamSerializationAllowed != 0;
        break;
      case cudaLaunchAttributeIgnore:
      case cudaLaunchAttributePriority:
      case cudaLaunchAttributeClusterSchedulingPolicyPreference:
      case cudaLaunchAttributePreferredSharedMemoryCarveout:
        break;
      default:
        return refuse("attribute " + std::to_string(config.attrs[i].id) + ", which is not emulated",
                      cudaErrorNotSupported);
    }
  }
  const dim3 &blocks = grid.blocks, &threads = grid.threads, &cluster = grid.cluster;
  constexpr unsigned kMaxX = 0x7fffffff, kMaxY = 0xffff, kMaxThreadsZ = 64;
  if (volume(blocks) == 0 || blocks.x > kMaxX || blocks.y > kMaxY || blocks.z > kMaxY)
    return refuse(
        "a grid of " + text(blocks) + " blocks, the limits are 1 and " + text({kMaxX, kMaxY, kMaxY}),
        cudaErrorInvalidConfiguration);
  if (volume(threads) == 0 || threads.z > kMaxThreadsZ || std::max(threads.x, threads.y) > kMaxThreads)
    return refuse("blocks of " + text(threads) + " threads, the limits are 1 and " +
                      text({kMaxThreads, kMaxThreads, kMaxThreadsZ}),
                  cudaErrorInvalidConfiguration);
  if (volume(threads) > kMaxThreads)
    return refuse(
        std::to_string(volume(threads)) + " threads a block, the limit is " + std::to_string(kMaxThreads),
        cudaErrorInvalidConfiguration);
  if (const std::size_t limit = dynamic_shared_limit(grid.kernel); grid.dynamic_shared_bytes > limit)
    return refuse(std::to_string(grid.dynamic_shared_bytes) +
                      " bytes of dynamic shared memory, the limit is " + std::to_string(limit) +
                      " (cudaFuncSetAttribute raises it to " + std::to_string(kMaxSharedBytes) + ")",
                  cudaErrorInvalidValue);
  if (volume(cluster) == 0 || volume(cluster) > kMaxClusterBlocks)
    return refuse(
        "clusters of " + text(cluster) + " blocks, the limits are 1 and " + std::to_string(kMaxClusterBlocks),
        cudaErrorInvalidClusterSize);
  if (blocks.x % cluster.x != 0 || blocks.y % cluster.y != 0 || blocks.z % cluster.z != 0)
    return refuse(
        "a grid of " + text(blocks) + " blocks, which clusters of " + text(cluster) + " do not divide",
        cudaErrorInvalidClusterSize);
  const std::uint64_t resident =
      std::uint64_t{multiprocessors()} * occupancy(volume(threads), grid.dynamic_shared_bytes);
  if (grid.cooperative && volume(blocks) > resident)
    return refuse(std::to_string(volume(blocks)) + " cooperative blocks, of which " +
                      std::to_string(resident) + " fit on the device",
                  cudaErrorCooperativeLaunchTooLarge);
  return cudaSuccess;
}

}  // namespace
}  // namespace emulator::runtime

namespace emulator {

cudaError_t enqueue_launch(const cudaLaunchConfig_t& config, const void* kernel,
                           std::function<void()> thread) {
  return api([&] {
    Launch launch;
    launch.grid.kernel = kernel;
    launch.grid.blocks = config.gridDim;
    launch.grid.threads = config.blockDim;
    launch.grid.dynamic_shared_bytes = config.dynamicSmemBytes;
    launch.grid.shared_limit = dynamic_shared_limit(kernel);
    if (const cudaError_t error = injected_launch_error(); error != cudaSuccess) return error;
    if (const cudaError_t error = validate(config, launch); error != cudaSuccess) return error;
    const auto run = [grid = launch.grid, thread = std::move(thread)](const std::function<void()>& before) {
      count_execution(grid.kernel);
      if (!run_grid(grid, thread, before)) break_device(cudaErrorLaunchFailure);
    };
    const cudaError_t error = submit(config.stream, {run, true, launch.programmatic});
    if (error == cudaSuccess) count_launch();
    return error;
  });
}

}  // namespace emulator

// ---------------------------------------------------------------- the API

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return api([&] {
    if (stream == nullptr || (flags != cudaStreamDefault && flags != cudaStreamNonBlocking))
      return cudaErrorInvalidValue;
    *stream = new CUstream_st(flags == cudaStreamDefault);
    streams().hidden.push_back(Streams::hide(*stream));
    return cudaSuccess;
  });
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return api_release([&] {
    Streams& all = streams();
    if (stream == nullptr || find(stream) != stream) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      invalidate(*stream);
      return cudaErrorStreamCaptureUnsupported;
    }
    run_until([&] { return stream->queue.empty(); });
    if (!all.retired.exists()) all.retired = Point::make();
    const Identity host = Identity::current();
    stream->identity.take_over();  // the host itself does not wait
    all.retired.release_here();
    host.take_over();
    all.retired.reach();
    std::erase(all.hidden, Streams::hide(stream));
    stream->identity.destroy();
    delete stream;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return api([&] {
    const cudaError_t error = forbidden_while_capturing(find(stream));
    return error != cudaSuccess ? error : wait_for(stream);
  });
}

cudaError_t cudaDeviceSynchronize() {
  return api([&] {
    for (const auto& capture : streams().captures) capture->invalid = true;
    if (!streams().captures.empty()) return cudaErrorStreamCaptureUnsupported;
    wait_for_all();
    return cudaSuccess;
  });
}

// A query runs one piece of work, so that polling comes to an end.
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (const cudaError_t error = forbidden_while_capturing(stream); error != cudaSuccess) return error;
    if (!stream->last.reached()) step();
    if (!stream->last.reached()) return cudaErrorNotReady;
    stream->last.acquire_here();
    return cudaSuccess;
  });
}

// ---------------------------------------------------------------- events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return api([&] {
    if (event == nullptr || flags > (cudaEventBlockingSync | cudaEventDisableTiming))
      return cudaErrorInvalidValue;
    *event = new CUevent_st;
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return api_release([&] {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (event == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
      event->capture = stream->capture->id;
      event->nodes = stream->tail;
      return cudaSuccess;
    }
    if (const cudaError_t error = submit(handle, {}); error != cudaSuccess) return error;
    event->capture = 0;
    event->point = stream->last;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (event == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->capture == 0) {
      if (stream->capture == nullptr)
        return event->point.exists() ? submit(handle, {}, {event->point}) : cudaSuccess;
      invalidate(*stream);
      return cudaErrorStreamCaptureIsolation;
    }
    Capture* joined = nullptr;
    for (const auto& capture : streams().captures)
      if (capture->id == event->capture) joined = capture.get();
    if (joined == nullptr) return cudaErrorCapturedEvent;
    if (stream == &streams().legacy) {
      joined->invalid = true;
      return cudaErrorStreamCaptureImplicit;
    }
    if (stream->capture != nullptr && stream->capture != joined) {
      joined->invalid = stream->capture->invalid = true;
      return cudaErrorStreamCaptureMerge;
    }
    if (joined->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture = joined;
    for (const std::size_t node : event->nodes)
      if (std::find(stream->tail.begin(), stream->tail.end(), node) == stream->tail.end())
        stream->tail.push_back(node);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return api([&] {
    if (const cudaError_t error = forbidden_while_capturing(event); error != cudaSuccess) return error;
    if (!event->point.reached()) step();
    if (!event->point.reached()) return cudaErrorNotReady;
    event->point.acquire_here();
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return api([&] {
    if (const cudaError_t error = forbidden_while_capturing(event); error != cudaSuccess) return error;
    count_synchronisation();
    wait_until(event->point);
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return api([&] {
    if (milliseconds == nullptr) return cudaErrorInvalidValue;
    for (const CUevent_st* event : {start, end})
      if (event == nullptr || !event->timed || !event->point.exists()) return cudaErrorInvalidResourceHandle;
    if (!start->point.reached() || !end->point.reached()) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(end->point.milliseconds() - start->point.milliseconds());
    return cudaSuccess;
  });
}

// ---------------------------------------------------------------- capture and graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed)
      return cudaErrorInvalidValue;
    if (stream == &streams().legacy) return cudaErrorStreamCaptureUnsupported;
    if (stream->capture != nullptr) return cudaErrorIllegalState;
    Streams& all = streams();
    all.captures.push_back(
        std::make_unique<Capture>(Capture{++all.captures_begun, stream, mode, this_thread()}));
    stream->capture = all.captures.back().get();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (graph == nullptr) return cudaErrorInvalidValue;
    *graph = nullptr;
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture == nullptr) return cudaErrorIllegalState;
    Capture& capture = *stream->capture;
    if (capture.origin != stream) {
      capture.invalid = true;
      return cudaErrorStreamCaptureUnmatched;
    }
    if (capture.mode != cudaStreamCaptureModeRelaxed && capture.thread != this_thread())
      return cudaErrorStreamCaptureWrongThread;
    const std::vector<bool> joined = with_ancestors(capture.nodes, stream->tail);
    const cudaError_t error = capture.invalid ? cudaErrorStreamCaptureInvalidated
                              : std::find(joined.begin(), joined.end(), false) != joined.end()
                                  ? cudaErrorStreamCaptureUnjoined
                                  : cudaSuccess;
    if (error == cudaSuccess) *graph = new CUgraph_st{std::move(capture.nodes)};
    end_capture(capture);
    return error;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return api([&] {
    const CUstream_st* const stream = find(handle);
    if (status == nullptr) return cudaErrorInvalidValue;
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = stream->capture == nullptr ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return api([&] {
    if (executable == nullptr || graph == nullptr) return cudaErrorInvalidValue;
    *executable = new CUgraphExec_st{graph->nodes, {}};
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return api([&] {
    CUstream_st* const stream = find(handle);
    if (executable == nullptr) return cudaErrorInvalidValue;
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const std::vector<Node>& nodes = executable->nodes;
    const std::vector<std::size_t> order = an_order_of(nodes);
    for (std::size_t i = 0; i < order.size(); ++i) {
      Operation operation = nodes[order[i]].operation;
      operation.programmatic =
          operation.programmatic && i > 0 && nodes[order[i]].after == std::vector{order[i - 1]};
      if (const cudaError_t error = submit(handle, std::move(operation), {executable->last});
          error != cudaSuccess)
        return error;
    }
    if (stream->capture == nullptr && !nodes.empty()) {
      executable->last = stream->last;
      stream->queue.back().operation.kernel = false;  // a graph is not overtaken
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api_release([&] {
    delete graph;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return api_release([&] {
    delete executable;
    return cudaSuccess;
  });
}

}  // extern "C"

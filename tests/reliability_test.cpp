// What programs do with the library at the same time and in any order: host threads, streams, graphs,
// contexts that come and go. Every result has the bits of the same calls made one after the other.
#include <gtest/gtest.h>

#include <actium/actium.hpp>
#include <actium/propagation.hpp>
#include <algorithm>
#include <functional>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "dispatch.hpp"
#include "emulator/emulator.hpp"
#include "support/errors.hpp"
#include "support/every_operation.hpp"
#include "support/samples.hpp"

namespace {

using namespace actium;
using namespace actium_test;
using emulator::Schedule;

using Bytes = std::vector<std::byte>;
using Views = std::vector<TensorView>;

void append(Bytes& bytes, const void* from, std::size_t count) {
  const auto* begin = static_cast<const std::byte*>(from);
  bytes.insert(bytes.end(), begin, begin + count);
}
void append(Bytes& bytes, const SignalStatistics& s) {
  for (const double v : {s.mean, s.variance, s.second_moment, s.zero_fraction}) append(bytes, &v, sizeof v);
  append(bytes, s.active_fraction.data(), s.active_fraction.size() * sizeof(double));
}
void append(Bytes& bytes, const Context& ctx, ConstTensorView x) {
  visit_dtype(x.dtype(), [&]<class T>(std::type_identity<T>) {
    std::vector<T> host(static_cast<std::size_t>(x.count()));
    copy(ctx, x, TensorView(host.data(), x.shape()));
    append(bytes, host.data(), host.size() * sizeof(T));
  });
}

/// A stream of the user's.
class Stream {
 public:
  Stream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~Stream() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// ---------------------------------------------------------------- a small call of every function

enum class Capture { kAlways, kAfterTheFirst, kNever };

struct Call {
  std::string name;
  std::vector<Shape> inputs, outputs;
  std::function<void(const Context&, const Views& in, const Views& out, Bytes& returned)> run;
  Capture capture = Capture::kAlways;
};

std::vector<Call> every_call(DType dtype) {
  const Shape shape{6, 50}, rows{6};
  std::vector<Call> list;
  const auto add = [&](std::string_view name, std::vector<Shape> in, std::vector<Shape> out, auto run) {
    list.push_back({std::string(name) + " " + std::string(to_string(dtype)), std::move(in), std::move(out),
                    [run](const Context& ctx, const Views& i, const Views& o, Bytes&) { run(ctx, i, o); }});
  };
  using C = const Context&;
  using V = const Views&;
  for (const ActivationInfo& info : activations()) {
    const Activation f(info.kind, info.parameter_defaults);
    add(info.name, {shape}, {shape}, [f](C ctx, V i, V o) { forward(ctx, f, i[0], o[0]); });
    add(f.to_string() + " backward", {shape, shape}, {shape},
        [f](C ctx, V i, V o) { backward(ctx, f, i[0], i[1], o[0]); });
    add(f.to_string() + " jvp", {shape, shape}, {shape, shape},
        [f](C ctx, V i, V o) { jvp(ctx, f, i[0], i[1], o[0], o[1]); });
  }
  for (const GatedInfo& info : gated_units()) {
    const GatedUnit unit(info.kind);
    add(info.name, {shape, shape}, {shape}, [unit](C ctx, V i, V o) {
      gated_forward(ctx, unit, {i[0], i[1]}, o[0]);
    });
    add(std::string(info.name) + " backward", {shape, shape, shape}, {shape, shape}, [unit](C ctx, V i, V o) {
      gated_backward(ctx, unit, {i[0], i[1]}, i[2], {o[0], o[1]});
    });
  }
  add("softmax", {shape}, {shape}, [](C ctx, V i, V o) { softmax(ctx, i[0], o[0]); });
  add("softmax of long rows", {{2, 1200}}, {{2, 1200}}, [](C ctx, V i, V o) { softmax(ctx, i[0], o[0]); });
  add("log_softmax", {shape}, {shape}, [](C ctx, V i, V o) { log_softmax(ctx, i[0], o[0]); });
  add("logsumexp", {shape}, {rows}, [](C ctx, V i, V o) { logsumexp(ctx, i[0], o[0]); });
  add("entropy", {shape}, {rows}, [](C ctx, V i, V o) { entropy(ctx, i[0], o[0]); });
  add("softmax_vjp", {shape, shape}, {shape}, [](C ctx, V i, V o) { softmax_vjp(ctx, i[0], i[1], o[0]); });
  add("softmax_jvp", {shape, shape}, {shape}, [](C ctx, V i, V o) { softmax_jvp(ctx, i[0], i[1], o[0]); });
  add("softmax_jacobian", {{2, 9}}, {{2, 9, 9}}, [](C ctx, V i, V o) { softmax_jacobian(ctx, i[0], o[0]); });
  add("fill_uniform", {}, {shape}, [](C ctx, V, V o) { fill_uniform(ctx, o[0], {.seed = kSeed}); });
  add("fill_normal", {}, {shape}, [](C ctx, V, V o) { fill_normal(ctx, o[0], {.seed = kSeed}); });
  add("initialize", {}, {shape}, [](C ctx, V, V o) { initialize(ctx, he_uniform(), {.seed = kSeed}, o[0]); });
  add("matmul", {{2, 5, 7}, {2, 7, 3}}, {{2, 5, 3}}, [](C ctx, V i, V o) { matmul(ctx, i[0], i[1], o[0]); });
  list.back().capture = Capture::kAfterTheFirst;
  list.push_back({"signal_statistics",
                  {{70, 37}},
                  {},
                  [](C ctx, V i, V, Bytes& returned) { append(returned, signal_statistics(ctx, i[0])); },
                  Capture::kNever});
  const Layer layer{.activation = gelu(), .fan_in = 50, .fan_out = 50, .dtype = dtype};
  list.push_back({"propagate_layer",
                  {shape},
                  {shape},
                  [layer](C ctx, V i, V o, Bytes& returned) {
                    const LayerResult result = propagate_layer(ctx, layer, i[0], o[0]);
                    append(returned, result.pre_activation);
                    append(returned, result.post_activation);
                  },
                  Capture::kNever});
  return list;
}

/// A call over tensors of its own.
class Prepared {
 public:
  Prepared(const Context& ctx, const Call& call, DType dtype, std::uint64_t seed)
      : call_(call), dtype_(dtype) {
    for (const Shape& shape : call.inputs) add(ctx, shape, in_);
    for (const Shape& shape : call.outputs) add(ctx, shape, out_);
    refill(ctx, seed);
    const Bytes poison(1 << 16, std::byte{0x5a});
    for (const TensorView& view : out_) copy(ctx, ConstTensorView(poison.data(), dtype_, view.shape()), view);
  }
  const std::string& name() const { return call_.name; }
  Capture capture() const { return call_.capture; }
  void refill(const Context& ctx, std::uint64_t seed) {
    for (const TensorView& view : in_)
      visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
        const auto values = normal_sample<T>(static_cast<std::size_t>(view.count()), ++seed);
        copy(ctx, ConstTensorView(values.data(), view.shape()), view);
      });
  }
  void run(const Context& ctx) {
    returned_.clear();
    call_.run(ctx, in_, out_, returned_);
  }
  Bytes read(const Context& ctx) const {
    Bytes bytes = returned_;
    for (const TensorView& view : out_) append(bytes, ctx, view);
    return bytes;
  }

 private:
  void add(const Context& ctx, const Shape& shape, Views& views) {
    memory_.emplace_back(ctx, dtype_, shape);
    views.push_back(memory_.back());
  }
  Call call_;
  DType dtype_;
  std::vector<Tensor> memory_;
  Views in_, out_;
  Bytes returned_;
};

std::vector<Prepared> prepare(const Context& ctx, std::uint64_t seed) {
  std::vector<Prepared> list;
  for (const DType dtype : kDTypes) {
    if (quick() && dtype != DType::kF32 && dtype != DType::kBF16) continue;
    for (const Call& call : every_call(dtype)) list.emplace_back(ctx, call, dtype, seed += 10);
  }
  return list;
}

/// All calls, from `first` on and round, queued one after the other; then what they wrote, in their order.
std::vector<Bytes> run_from(std::size_t first, const Context& ctx, std::vector<Prepared>& calls) {
  for (std::size_t i = 0; i < calls.size(); ++i) calls[(first + i) % calls.size()].run(ctx);
  std::vector<Bytes> results;
  for (const Prepared& call : calls) results.push_back(call.read(ctx));
  return results;
}

void expect_same(const std::vector<Bytes>& got, const std::vector<Bytes>& want,
                 const std::vector<Prepared>& calls, const std::string& where) {
  ASSERT_EQ(got.size(), want.size()) << where;
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_TRUE(got[i] == want[i]) << calls[i].name() << " " << where << ", " << seed_message(kSeed) << ", "
                                   << emulator::replay();
}

// ---------------------------------------------------------------- host threads

constexpr std::size_t kThreads = 8;

void in_threads(const std::function<void(std::size_t)>& body) {
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) threads.emplace_back(body, t);
  for (std::thread& thread : threads) thread.join();
}

TEST(HostThreads, EachWithItsOwnContextAndStream) {
  for (const bool on_cuda : {true, false}) {
    const auto context = [&](cudaStream_t stream) {
      return on_cuda ? Context::cuda(stream) : Context::cpu(1);
    };
    const Context serial = context(nullptr);
    std::vector<Prepared> calls = prepare(serial, kSeed);
    const std::vector<Bytes> want = run_from(0, serial, calls);
    std::vector<std::vector<Bytes>> got(kThreads);
    in_threads([&](std::size_t t) {
      const Stream stream;
      const Context ctx = context(stream);
      std::vector<Prepared> own = prepare(ctx, kSeed);
      got[t] = run_from(t * own.size() / kThreads, ctx, own);
      EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    });
    for (std::size_t t = 0; t < kThreads; ++t)
      expect_same(got[t], want, calls,
                  "in thread " + std::to_string(t) + (on_cuda ? " on CUDA" : " on the CPU"));
  }
}

// As documented: the caller's own lock, and nothing else. Scratch and handle are made under it.
TEST(HostThreads, OneContextUnderTheCallersLock) {
  for (const bool on_cuda : {true, false}) {
    const Context serial = on_cuda ? Context::cuda() : Context::cpu(1);
    std::vector<Prepared> calls = prepare(serial, kSeed);
    const std::vector<Bytes> want = run_from(0, serial, calls);
    const Stream stream;
    const Context shared = on_cuda ? Context::cuda(stream) : Context::cpu(1);
    std::vector<Prepared> own = prepare(shared, kSeed);
    std::mutex lock;
    in_threads([&](std::size_t t) {
      for (std::size_t i = t; i < own.size(); i += kThreads) {
        const Context copy_of_it = shared;
        const std::lock_guard guard(lock);
        own[i].run(copy_of_it);
      }
    });
    std::vector<Bytes> got;
    for (const Prepared& call : own) got.push_back(call.read(shared));
    expect_same(got, want, calls, on_cuda ? "on CUDA" : "on the CPU");
  }
}

// ---------------------------------------------------------------- streams

constexpr std::size_t kStreams = 8;
constexpr std::int64_t kSide = 16;

/// A signal that goes through one operation after the other, the output of each being the input of the next.
class Chain {
 public:
  Chain(const Context& ctx, DType dtype, std::size_t number) : ctx_(ctx), number_(number) {
    for (Tensor& t : tensors_) {
      t = Tensor(ctx, dtype, {kSide, kSide});
      fill_normal(ctx, t, {kSeed, number_ * 10 + ++made_});
    }
    row_ = Tensor(ctx, dtype, {kSide});
    ctx_.synchronize();  // what other streams read is there
  }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  static constexpr int kKinds = 12;
  /// Two operations: one of many, and one that keeps the numbers in range.
  void step(int kind, std::uint64_t key, const TensorView* other = nullptr) {
    const TensorView x = tensors_[0], before = tensors_[1], out = tensors_[2], second = tensors_[3];
    const auto& all = activations();
    const ActivationInfo& info = all[key % all.size()];
    const Activation f(info.kind, info.parameter_defaults);
    const GatedUnit unit(gated_units()[key % gated_units().size()].kind);
    const TensorView partner = other != nullptr ? *other : before;
    switch (kind) {
      case 0:
        forward(ctx_, f, x, out);
        break;
      case 1:
        backward(ctx_, f, x, partner, out);
        break;
      case 2:
        jvp(ctx_, f, x, partner, second, out);
        break;
      case 3:
        gated_forward(ctx_, unit, {x, partner}, out);
        break;
      case 4:
        gated_backward(ctx_, unit, {x, partner}, before, {out, second});
        break;
      case 5:
        log_softmax(ctx_, x, out, {.temperature = 0.1});
        break;
      case 6:
        softmax(ctx_, x, x, {.temperature = 0.1});
        softmax_jvp(ctx_, x, partner, out, {.temperature = 0.1});
        break;
      case 7:
        logsumexp(ctx_, x, row_);
        matmul(ctx_, x, partner, out);
        break;
      case 8:
        fill_uniform(ctx_, second, {kSeed, key}, -1, 1);
        matmul(ctx_, x, second, out);
        break;
      case 9:
        initialize(ctx_, xavier_normal(), {kSeed, key}, second);
        matmul(ctx_, second, x, out);
        break;
      case 10:
        fill_normal(ctx_, second, {kSeed, key});
        gated_forward(ctx_, bilinear(), {x, second}, out);
        break;
      default:
        if (key % 4 == 0) append(returned_, signal_statistics(ctx_, x));  // which waits
        forward(ctx_, gelu(), x, out);
    }
    forward(ctx_, tanh(), out, out);
    std::rotate(tensors_.begin(), tensors_.begin() + 2, tensors_.begin() + 3);
  }
  TensorView signal() { return tensors_[0]; }
  const Context& context() const { return ctx_; }
  Bytes read() const {
    Bytes bytes = returned_;
    for (const Tensor& t : tensors_) append(bytes, ctx_, t);
    return bytes;
  }

 private:
  Context ctx_;
  std::size_t number_;
  std::uint64_t made_ = 0;
  std::array<Tensor, 4> tensors_;  // the signal, the one before it, room for the next one, room
  Tensor row_;
  Bytes returned_;
};

struct Step {
  std::size_t chain;
  int kind;
  std::uint64_t key;
  std::optional<std::size_t> reads = {};  // the signal of another chain too
};

/// At least 100 operations of each chain, interleaved by chance: the order within a chain depends on
/// `program` alone.
std::vector<Step> interleaved(std::uint64_t program, std::uint64_t seed, bool reading) {
  constexpr int kSteps = 50;
  std::vector<std::vector<Step>> chains(kStreams);
  for (std::size_t c = 0; c < kStreams; ++c) {
    std::mt19937_64 random(program * kStreams + c);
    for (int i = 0; i < kSteps; ++i)
      chains[c].push_back({c, static_cast<int>(random() % Chain::kKinds), random()});
  }
  std::mt19937_64 random(seed);
  std::vector<Step> steps;
  std::vector<std::size_t> next(kStreams);
  while (steps.size() < kStreams * kSteps) {
    const std::size_t c = random() % kStreams;
    // In bursts, so that some streams run far ahead of others.
    for (std::size_t burst = random() % 6 + 1; burst > 0 && next[c] < kSteps; --burst) {
      steps.push_back(chains[c][next[c]++]);
      if (reading && random() % 3 == 0) steps.back().reads = (c + 1 + random() % (kStreams - 1)) % kStreams;
    }
  }
  return steps;
}

class Streams : public testing::Test {
 protected:
  Streams() {
    for (const Stream& stream : streams_) contexts_.push_back(Context::cuda(stream));
  }
  ~Streams() override {
    contexts_.clear();
    emulator::options() = before_;
  }

  /// One context, one stream, one call after the other.
  std::vector<Bytes> run_serially(const std::vector<Step>& steps, bool reading) const {
    emulator::options() = before_;
    Chains chains = make_chains(std::vector<Context>(kStreams, serial_), reading);
    for (const Step& step : steps) {
      const TensorView other = step.reads ? chains[*step.reads]->signal() : TensorView();
      chains[step.chain]->step(step.kind, step.key, step.reads ? &other : nullptr);
      serial_.synchronize();
    }
    return read(chains);
  }

  /// A stream and a context for each chain; where one reads another's signal, events order them both ways.
  std::vector<Bytes> run_on_streams(std::uint64_t run, const std::vector<Step>& steps, bool reading,
                                    bool with_events = true) const {
    emulator::options().schedule = run == 0   ? Schedule::kForward
                                   : run == 1 ? Schedule::kReverse
                                              : Schedule::kRandom;
    emulator::options().seed = run;
    Chains chains = make_chains(contexts_, reading);
    cudaEvent_t event = nullptr;
    EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    const auto order = [&](std::size_t first, std::size_t then) {
      if (!with_events) return;
      EXPECT_EQ(cudaEventRecord(event, streams_[first]), cudaSuccess);
      EXPECT_EQ(cudaStreamWaitEvent(streams_[then], event, 0), cudaSuccess);
    };
    for (const Step& step : steps) {
      const TensorView other = step.reads ? chains[*step.reads]->signal() : TensorView();
      if (step.reads) order(*step.reads, step.chain);
      chains[step.chain]->step(step.kind, step.key, step.reads ? &other : nullptr);
      if (step.reads) order(step.chain, *step.reads);
    }
    std::vector<Bytes> results = read(chains);
    EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
    return results;
  }

  void expect_equal(const std::vector<Bytes>& got, const std::vector<Bytes>& want, std::uint64_t run) const {
    for (std::size_t c = 0; c < kStreams; ++c)
      EXPECT_TRUE(got[c] == want[c]) << "stream " << c << ", run " << run << ", " << seed_message(kSeed)
                                     << ", " << emulator::replay();
  }
  const std::uint64_t runs_ = quick() ? 3 : 10;

 private:
  using Chains = std::vector<std::unique_ptr<Chain>>;
  static Chains make_chains(const std::vector<Context>& contexts, bool reading) {
    Chains chains;
    for (std::size_t c = 0; c < kStreams; ++c)
      chains.push_back(std::make_unique<Chain>(contexts[c], reading ? DType::kF32 : kDTypes[c % 4], c));
    return chains;
  }
  static std::vector<Bytes> read(const Chains& chains) {
    std::vector<Bytes> results;
    for (const auto& chain : chains) results.push_back(chain->read());
    return results;
  }
  const emulator::Options before_ = emulator::options();
  const Context serial_ = Context::cuda();
  std::array<Stream, kStreams> streams_;
  std::vector<Context> contexts_;
};

TEST_F(Streams, InterleavedInAnyOrderGiveTheSerialBits) {
  const std::vector<Bytes> want = run_serially(interleaved(1, kSeed, false), false);
  EXPECT_FALSE(want == run_serially(interleaved(2, kSeed, false), false)) << "another program";
  for (std::uint64_t run = 0; run < runs_; ++run)
    expect_equal(run_on_streams(run, interleaved(1, kSeed + run, false), false), want, run);
}

TEST_F(Streams, EventsOrderProducersAndConsumers) {
  for (std::uint64_t run = 0; run < runs_; ++run) {
    const std::vector<Step> steps = interleaved(run, kSeed + run, true);
    const std::vector<Bytes> want = run_serially(steps, true);
    expect_equal(run_on_streams(run, steps, true), want, run);
  }
}

#ifndef __SANITIZE_THREAD__  // which would report this, rightly
TEST_F(Streams, WithoutEventsSomeOrderIsWrong) {
  bool wrong = false;
  for (std::uint64_t run = 0; run < 4; ++run) {
    const std::vector<Step> steps = interleaved(run, kSeed + run, true);
    const std::vector<Bytes> want = run_serially(steps, true);
    wrong |= run_on_streams(run, steps, true, false) != want;
  }
  EXPECT_TRUE(wrong) << "the test before this one would not notice anything";
}
#endif

// ---------------------------------------------------------------- graphs

/// What `calls` queue on the stream, as a graph that can be launched.
class Graph {
 public:
  Graph(cudaStream_t stream, const std::function<void()>& calls) : stream_(stream) {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    const emulator::Counters before = emulator::counters();
    EXPECT_NO_THROW(calls());
    const emulator::Counters after = emulator::counters();
    EXPECT_EQ(after.allocation_calls, before.allocation_calls);
    EXPECT_EQ(after.synchronisations, before.synchronisations);
    EXPECT_EQ(after.copies, before.copies);
    captured_ = after.launches - before.launches;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&executable_, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }
  ~Graph() { EXPECT_EQ(cudaGraphExecDestroy(executable_), cudaSuccess); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void launch() const { EXPECT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess); }
  std::uint64_t captured() const { return captured_; }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_ = nullptr;
  std::uint64_t captured_ = 0;
};

TEST(Graphs, EveryCapturableCallReplaysWithNewInputs) {
  const Stream stream;
  const Context ctx = Context::cuda(stream), eager = Context::cuda();
  std::uint64_t seed = kSeed;
  for (const DType dtype : kDTypes)
    for (const Call& call : every_call(dtype)) {
      if (call.capture == Capture::kNever) continue;
      SCOPED_TRACE(call.name + ", " + seed_message(seed));
      Prepared captured(ctx, call, dtype, seed), direct(eager, call, dtype, seed);
      const Bytes held = captured.read(ctx);
      if (call.capture == Capture::kAfterTheFirst) Prepared(ctx, call, dtype, 1).run(ctx);
      const Graph graph(stream, [&] { captured.run(ctx); });
      EXPECT_EQ(graph.captured(), 1u);
      ctx.synchronize();
      EXPECT_TRUE(captured.read(ctx) == held) << "a capture runs nothing";
      for (int replay = 0; replay < 3; ++replay) {
        seed += 10;
        captured.refill(ctx, seed);
        direct.refill(eager, seed);
        graph.launch();
        direct.run(eager);
        EXPECT_TRUE(captured.read(ctx) == direct.read(eager)) << "replay " << replay;
      }
    }
}

// Every kernel, at every size and alignment, in one graph.
TEST(Graphs, EveryKernelReplays) {
  const Stream stream;
  const Context ctx = Context::cuda(stream);
  std::vector<Operation> capturable;
  for (const Operation& operation : every_operation(ctx, kSeed)) {
    if (quick() && !operation.name.ends_with("f32 offset 0")) continue;
    if (operation.capturable) capturable.push_back(operation);
  }
  std::vector<Bytes> held, want;
  for (const Operation& operation : capturable) held.push_back(operation.read(ctx));
  const Graph graph(stream, [&] {
    for (const Operation& operation : capturable) operation.run(ctx);
  });
  EXPECT_EQ(graph.captured(), capturable.size());
  ctx.synchronize();
  for (std::size_t i = 0; i < held.size(); ++i) EXPECT_TRUE(capturable[i].read(ctx) == held[i]);
  graph.launch();
  for (const Operation& operation : capturable) want.push_back(operation.read(ctx));
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_FALSE(want[i] == held[i]) << capturable[i].name;
    capturable[i].run(ctx);
    EXPECT_TRUE(capturable[i].read(ctx) == want[i]) << capturable[i].name;
  }
}

// What the documentation says cannot be captured: an error that says why, and a stream that works on.
TEST(Graphs, OtherCallsSayThatTheyCannotBeCaptured) {
  const Stream stream;
  for (const bool reserved : {false, true})
    for (const Call& call : every_call(DType::kF32)) {
      if (call.capture == Capture::kAlways) continue;
      SCOPED_TRACE(call.name + (reserved ? " after reserve()" : ""));
      const Context ctx = Context::cuda(stream);
      Prepared prepared(ctx, call, DType::kF32, kSeed);
      if (reserved) ctx.reserve(std::size_t{1} << 20);
      const Bytes held = prepared.read(ctx);
      const std::size_t live = emulator::counters().live_allocations;
      ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
      expect_error(
          ErrorKind::kCuda,
          "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing (this "
          "call allocates memory or waits for the stream: make it before the capture)",
          [&] { prepared.run(ctx); });
      EXPECT_EQ(cudaGetLastError(), cudaSuccess);
      cudaGraph_t graph = nullptr;
      EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
      EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
      EXPECT_TRUE(prepared.read(ctx) == held);
      EXPECT_EQ(emulator::counters().live_allocations, live);
      prepared.run(ctx);
      EXPECT_FALSE(prepared.read(ctx) == held);
    }
}

// ---------------------------------------------------------------- contexts that come and go

TEST(Lifetimes, MovedAndCopiedContextsWork) {
  const Stream stream;
  Context first = Context::cuda(stream);
  std::vector<Prepared> calls = prepare(first, kSeed);
  const std::vector<Bytes> want = run_from(0, first, calls);
  const Context second = std::move(first);
  Context third = Context::cpu();
  third = std::move(const_cast<Context&>(second));
  expect_same(run_from(1, first, calls), want, calls, "moved from");  // as documented
  expect_same(run_from(2, third, calls), want, calls, "moved to");
  EXPECT_EQ(first.stream(), third.stream());
  third = *&third;
  { const Context copied = third; }
  expect_same(run_from(3, third, calls), want, calls, "after a copy is gone");
}

TEST(Lifetimes, AContextMayGoWhileItsWorkIsQueued) {
  const Context reader = Context::cuda();
  const std::size_t live = emulator::counters().live_allocations;
  {
    const Stream stream;
    std::vector<Prepared> calls = prepare(reader, kSeed);
    const std::vector<Bytes> want = run_from(0, reader, calls);
    std::vector<Prepared> own = prepare(reader, kSeed);
    {
      const Context ctx = Context::cuda(stream);  // with scratch, workspace and handle
      for (Prepared& call : own) call.run(ctx);
    }
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    std::vector<Bytes> got;
    for (const Prepared& call : own) got.push_back(call.read(reader));
    expect_same(got, want, calls, "after the context is gone");
  }
  {
    const Stream stream;
    Tensor y(reader, DType::kF32, {1000}), want(reader, DType::kF32, {1000});
    {
      const Context ctx = Context::cuda(stream);
      Tensor x(ctx, normal_sample<float>(1000, kSeed));
      forward(ctx, mish(), x, want);
      ctx.synchronize();
      forward(ctx, mish(), x, y);
    }  // the context and its input, while the call is queued
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(y.to_doubles(reader), want.to_doubles(reader));
  }
  EXPECT_EQ(emulator::counters().live_allocations, live + 2) << "the reader's scratch and workspace";
}

TEST(Lifetimes, TensorsOutliveTheirContext) {
  const auto values = normal_sample<double>(500, kSeed);
  std::optional<Tensor> x;
  {
    const Stream stream;
    const Context ctx = Context::cuda(stream);
    x.emplace(ctx, values);
  }
  const Context other = Context::cuda();
  EXPECT_EQ(x->to_doubles(other), values);
  Tensor moved = std::move(*x);
  EXPECT_EQ(x->count(), 0);
  EXPECT_NO_THROW(forward(other, gelu(), *x, *x)) << "a moved-from tensor is empty";
  EXPECT_EQ(moved.to_doubles(other), values);
  const std::size_t live = emulator::counters().live_allocations;
  moved = Tensor(other, values);
  EXPECT_EQ(emulator::counters().live_allocations, live) << "what it held before is freed";
  EXPECT_EQ(moved.to_doubles(other), values);
}

// What takes nothing from its context needs it no more; scratch and workspace stay while a copy is there.
TEST(Lifetimes, GraphsOutliveTheHandleThatMadeThem) {
  const Stream stream;
  const Context reader = Context::cuda();
  std::optional<Context> keeper;
  for (const Call& call : every_call(DType::kF32)) {
    if (call.capture == Capture::kNever) continue;
    SCOPED_TRACE(call.name);
    Prepared prepared(reader, call, DType::kF32, kSeed);
    std::optional<Graph> graph;
    {
      const Context ctx = Context::cuda(stream);
      if (call.capture == Capture::kAfterTheFirst) {
        prepared.run(ctx);
        ctx.synchronize();  // before its inputs change
        keeper = ctx;
      }
      graph.emplace(stream, [&] { prepared.run(ctx); });
      ctx.reserve(std::size_t{1} << 22);  // the scratch grows after the capture
    }
    prepared.refill(reader, kSeed + 1);
    graph->launch();
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    const Bytes got = prepared.read(reader);
    prepared.run(reader);
    EXPECT_TRUE(prepared.read(reader) == got);
  }
}

}  // namespace

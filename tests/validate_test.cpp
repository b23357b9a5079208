// Bad input: every public function, argument and dtype against every kind of mistake. Each case must throw
// actium::Error of the right kind with exactly the expected message, write nothing, and leave the context
// usable; over the emulator it is seen to launch, copy, allocate and wait for nothing either. Sizes of zero
// and touching memory are no mistakes.
#include <actium/actium.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "dispatch.hpp"
#include "support/devices.hpp"
#include "support/guarded.hpp"

#if ACTIUM_CUDA
#include <cuda_runtime_api.h>
#endif
#ifdef ACTIUM_EMULATED  // which has both libraries
#define ACTIUM_HAVE_PROPAGATION 1
#include "emulator/emulator.hpp"
#endif
#ifdef ACTIUM_HAVE_PROPAGATION
#include <actium/propagation.hpp>
#endif

namespace {

using namespace actium;
using namespace actium_test;

// ---------------------------------------------------------------- the functions

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

/// An argument's shape, from the shape of the first one.
enum class Extents { kSame, kWithoutLast, kWithLastTwice, kMatrix, kProduct };

Shape shape_of(Extents extents, const Shape& first) {
  constexpr std::int64_t kColumns = 5;
  switch (extents) {
    case Extents::kSame:
      break;
    case Extents::kWithoutLast:
      return first.without_last();
    case Extents::kWithLastTwice:
      return first.with(first.back());
    case Extents::kMatrix:  // what `first` may be multiplied by, and the product
      return {first.back(), kColumns};
    case Extents::kProduct:
      return first.without_last().with(kColumns);
  }
  return first;
}

struct Argument {
  const char* name;
  Extents extents = Extents::kSame;
};

using Views = std::vector<TensorView>;  // inputs, then outputs

struct Function {
  const char* name;
  std::vector<Argument> inputs, outputs;
  bool in_place;     // an output may be exactly an input
  bool temperature;  // and a rank of at least 1: a softmax
  void (*call)(const Context& ctx, const Views& v, double temperature);
  bool merges = false;  // takes strides whose axes merge (layout_test.cpp)
  bool mixes = false;   // takes f32, f16 and bf16 side by side
  bool rows = false;    // softmax.hpp: any axis and strides, f32 results of 16-bit inputs, many tangents

  std::size_t size() const { return inputs.size() + outputs.size(); }
  const Argument& argument(std::size_t i) const {
    return i < inputs.size() ? inputs[i] : outputs[i - inputs.size()];
  }
};

const Function kFunctions[] = {
    {"forward",
     {{"x"}},
     {{"y"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) { forward(ctx, silu(), v[0], v[1]); },
     true,
     true},
    {"backward",
     {{"x"}, {"dy"}},
     {{"dx"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) { backward(ctx, silu(), v[0], v[1], v[2]); },
     true,
     true},
    {"backward_of_backward",
     {{"x"}, {"dy"}, {"ddx"}},
     {{"ddy"}, {"dx"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       backward_of_backward(ctx, silu(), v[0], v[1], v[2], v[3], v[4]);
     },
     true},
    {"jvp",
     {{"x"}, {"tx"}},
     {{"y"}, {"ty"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) { jvp(ctx, silu(), v[0], v[1], v[2], v[3]); },
     true},
    {"gated_forward",
     {{"gate"}, {"content"}},
     {{"y"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       gated_forward(ctx, swiglu(), {.gate = v[0], .content = v[1]}, v[2]);
     }},
    {"gated_backward",
     {{"gate"}, {"content"}, {"dy"}},
     {{"dx.gate"}, {"dx.content"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       gated_backward(ctx, geglu(), {.gate = v[0], .content = v[1]}, v[2], {.gate = v[3], .content = v[4]});
     }},
    {"softmax",
     {{"z"}},
     {{"p"}},
     true,
     true,
     [](const Context& ctx, const Views& v, double t) { softmax(ctx, v[0], v[1], {.temperature = t}); },
     false,
     false,
     true},
    {"log_softmax",
     {{"z"}},
     {{"log_p"}},
     true,
     true,
     [](const Context& ctx, const Views& v, double t) { log_softmax(ctx, v[0], v[1], {.temperature = t}); },
     false,
     false,
     true},
    {"logsumexp",
     {{"z"}},
     {{"result", Extents::kWithoutLast}},
     false,
     true,
     [](const Context& ctx, const Views& v, double t) { logsumexp(ctx, v[0], v[1], {.temperature = t}); },
     false,
     false,
     true},
    {"entropy",
     {{"z"}},
     {{"result", Extents::kWithoutLast}},
     false,
     true,
     [](const Context& ctx, const Views& v, double t) { entropy(ctx, v[0], v[1], {.temperature = t}); },
     false,
     false,
     true},
    {"softmax_vjp",
     {{"p"}, {"dp"}},
     {{"dz"}},
     true,
     true,
     [](const Context& ctx, const Views& v, double t) {
       softmax_vjp(ctx, v[0], v[1], v[2], {.temperature = t});
     },
     false,
     false,
     true},
    {"softmax_jvp",
     {{"p"}, {"tz"}},
     {{"tp"}},
     true,
     true,
     [](const Context& ctx, const Views& v, double t) {
       softmax_jvp(ctx, v[0], v[1], v[2], {.temperature = t});
     },
     false,
     false,
     true},
    {"softmax_jacobian",
     {{"p"}},
     {{"jacobian", Extents::kWithLastTwice}},
     false,
     true,
     [](const Context& ctx, const Views& v, double t) {
       softmax_jacobian(ctx, v[0], v[1], {.temperature = t});
     }},
    {"copy", {{"from"}}, {{"to"}}, false, false, [](const Context& ctx, const Views& v, double) {
       copy(ctx, v[0], v[1]);
     }}};

#ifdef ACTIUM_HAVE_PROPAGATION
Layer layer_of(const Views& v) {
  const std::int64_t units = 6;  // kFirst's
  return {.activation = silu(), .fan_in = units, .fan_out = units, .dtype = v[0].dtype(), .key = {kSeed, 0}};
}
const Function kPropagation[] = {
    {"fill_uniform",
     {},
     {{"x"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       fill_uniform(ctx, v[0], {kSeed, 1});
     }},
    {"fill_normal",
     {},
     {{"x"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       fill_normal(ctx, v[0], {kSeed, 2});
     }},
    {"initialize",
     {},
     {{"w"}},
     true,
     false,
     [](const Context& ctx, const Views& v, double) {
       initialize(ctx, he_normal(), {kSeed, 3}, v[0]);
     }},
    {"matmul",
     {{"a"}, {"b", Extents::kMatrix}},
     {{"c", Extents::kProduct}},
     false,
     false,
     [](const Context& ctx, const Views& v, double) { matmul(ctx, v[0], v[1], v[2]); }},
    {"signal_statistics",
     {{"x"}},
     {},
     false,
     false,
     [](const Context& ctx, const Views& v, double) { signal_statistics(ctx, v[0]); }},
    {"propagate_layer", {{"x"}}, {{"y"}}, true, false, [](const Context& ctx, const Views& v, double) {
       propagate_layer(ctx, layer_of(v), v[0], v[1]);
     }}};
#else
const std::span<const Function> kPropagation;
#endif

const Shape kFirst{4, 6};
const std::string kOverflow = "Shape: want fewer than 2^60 elements, got more";

// ---------------------------------------------------------------- the memory of one call

/// Room for every argument, far apart, in one guarded allocation.
template <class T>
class Arena {
 public:
  Arena(const Context& ctx, const Function& f, const Shape& first = kFirst)
      : function_(&f), first_(first), memory_(ctx, normal_sample<T>((f.size() + 1) * kSlot, kSeed)) {}

  Shape shape(std::size_t i) const { return shape_of(function_->argument(i).extents, first_); }
  void* pointer(std::size_t i, std::int64_t elements = 0) {
    return memory_.view().template data_as<T>() + static_cast<std::int64_t>(i * kSlot + kSlot / 2) + elements;
  }
  TensorView view(std::size_t i) { return {pointer(i), dtype_of<T>::value, shape(i)}; }
  Views views() {
    Views list;
    for (std::size_t i = 0; i < function_->size(); ++i) list.push_back(view(i));
    return list;
  }
  std::vector<T> read() const { return memory_.read(); }
  bool untouched() const { return memory_.untouched(); }
  bool guards_intact() const { return memory_.guards_intact(); }

 private:
  static constexpr std::size_t kSlot = 512;
  const Function* function_;
  Shape first_;
  Guarded<T> memory_;
};

// ---------------------------------------------------------------- running cases

/// In its scope CUDA is given no work and no memory, as far as that can be seen.
class AskedOfCuda {
 public:
#ifdef ACTIUM_EMULATED
  explicit AskedOfCuda(std::string what) : what_(std::move(what)) {}
  ~AskedOfCuda() {
    const emulator::Counters after = emulator::counters();
    EXPECT_EQ(after.launches, before_.launches) << what_ << ": launched";
    EXPECT_EQ(after.copies, before_.copies) << what_ << ": copied";
    EXPECT_EQ(after.allocation_calls, before_.allocation_calls) << what_ << ": allocated";
    EXPECT_EQ(after.synchronisations, before_.synchronisations) << what_ << ": waited";
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << what_;
  }
  AskedOfCuda(const AskedOfCuda&) = delete;
  AskedOfCuda& operator=(const AskedOfCuda&) = delete;

 private:
  std::string what_;
  emulator::Counters before_ = emulator::counters();
#else
  explicit AskedOfCuda(const std::string&) {}
  ~AskedOfCuda() {}
#endif
};

class ValidateTest : public DeviceTest {
 protected:
  /// Every case ends here. `call` is what must throw; `message` is all of what().
  template <class Call>
  void expect_error(const std::string& function, const std::string& kind_of_case, ErrorKind kind,
                    const std::string& message, const Call& call) {
    ++cases_[kind_of_case];
    kinds_[GetParam()][function].insert(kind_of_case);
    const AskedOfCuda nothing(kind_of_case + ": " + message);
    try {
      call();
      ADD_FAILURE() << kind_of_case << ": no error, want: " << message;
    } catch (const Error& e) {
      EXPECT_EQ(e.what(), message) << kind_of_case;
      EXPECT_EQ(e.kind(), kind) << kind_of_case << ": " << message;
    }
  }

  /// A bad call of `f`, made of good arguments and one mistake, then a good call.
  template <class T>
  void expect_bad(const Context& ctx, const Function& f, const std::string& kind_of_case,
                  const std::string& message, Arena<T>& arena,
                  const std::function<void(Views&, double& temperature)>& mistake) {
    SCOPED_TRACE(f.name + (" " + std::string(to_string(dtype_of<T>::value))));
    expect_error(f.name, kind_of_case, ErrorKind::kInvalidArgument, message, [&] {
      Views views = arena.views();
      double temperature = 0.7;
      mistake(views, temperature);
      f.call(ctx, views, temperature);
    });
    EXPECT_TRUE(arena.untouched()) << kind_of_case << " wrote something: " << message;
    expect_good_call<T>(ctx, f);
  }

  /// A good call of `f` works, and leaves in memory what the first one left.
  template <class T>
  void expect_good_call(const Context& ctx, const Function& f) {
    static std::map<std::string, std::vector<T>> first_answers;
    Arena<T> arena(ctx, f);
    EXPECT_NO_THROW(f.call(ctx, arena.views(), 0.7));
    EXPECT_EQ(arena.untouched(), f.outputs.empty());
    EXPECT_TRUE(arena.guards_intact());
    const std::vector<T> answer = arena.read();
    EXPECT_TRUE(same_bits(first_answers.try_emplace(f.name + ctx.name(), answer).first->second, answer));
  }

  static void TearDownTestSuite() {
    int total = 0;
    for (const auto& [kind_of_case, count] : cases_) total += count;
    if (testing::UnitTest::GetInstance()->test_to_run_count() > 10) {  // not one test by itself
      EXPECT_GE(total, 1000);
    }
    std::cout << "bad input: " << total << " cases of " << cases_.size() << " kinds:";
    for (const auto& [kind_of_case, count] : cases_) std::cout << "\n  " << kind_of_case << ": " << count;
    std::cout << std::endl;
  }

  /// body.operator()<T>(context, function) for every dtype and function.
  template <class Body>
  void for_each_function(const Body& body) {
    const Context ctx = context();
    for (const DType dtype : kDTypes)
      for (const Function& f : kFunctions)
        visit_dtype(dtype, [&]<class T>(std::type_identity<T>) { body.template operator()<T>(ctx, f); });
  }
  /// And for those of the propagation library.
  template <class Body>
  void for_each_function_of_both(const Body& body) {
    for_each_function(body);
    const Context ctx = context();
    for (const DType dtype : kDTypes)
      for (const Function& f : kPropagation)
        visit_dtype(dtype, [&]<class T>(std::type_identity<T>) { body.template operator()<T>(ctx, f); });
  }

  inline static std::map<std::string, int> cases_;
  inline static std::map<std::string, std::map<std::string, std::set<std::string>>> kinds_;
};
ACTIUM_INSTANTIATE_DEVICES(ValidateTest);

std::string what(const Function& f, const std::string& rest) { return std::string(f.name) + ": " + rest; }
bool is_copy(const Function& f) { return std::string_view(f.name) == "copy"; }
std::string text(std::span<const std::int64_t> numbers) {
  std::string s;
  for (const std::int64_t n : numbers) s += (s.empty() ? "" : ", ") + std::to_string(n);
  return "[" + s + "]";
}

// ---------------------------------------------------------------- pointers

TEST_P(ValidateTest, NullPointersWithElements) {
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (std::size_t i = 0; i < f.size(); ++i) {
      const std::string message =
          what(f, std::string(f.argument(i).name) + ": want memory for " +
                      std::to_string(arena.shape(i).count()) + " elements, got a null pointer");
      expect_bad(ctx, f, "null pointer", message, arena,
                 [&](Views& v, double&) { v[i] = TensorView(nullptr, v[i].dtype(), v[i].shape()); });
    }
  });
}

TEST_P(ValidateTest, MisalignedPointers) {
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (std::size_t i = 0; i < f.size(); ++i)
      for (const int bytes : {1, static_cast<int>(sizeof(T)) - 1})
        expect_bad(ctx, f, "misaligned pointer",
                   what(f, std::string(f.argument(i).name) + ": want a pointer aligned to " +
                               std::to_string(sizeof(T)) + " bytes, got a misaligned one"),
                   arena, [&](Views& v, double&) {
                     v[i] = TensorView(static_cast<char*>(v[i].data()) + bytes, v[i].dtype(), v[i].shape());
                   });
  });
}

#if ACTIUM_CUDA
TEST_P(ValidateTest, PointersOfTheOtherDevice) {
  if (!on_cuda()) return;
  const Context cpu = Context::cpu(), cuda = context();
  int pageable = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&pageable, cudaDevAttrPageableMemoryAccess, cuda.device()), cudaSuccess);
  for_each_function_of_both([&]<class T>(const Context&, const Function& f) {
    Arena<T> host(cpu, f), device(cuda, f);
    for (std::size_t i = 0; i < f.size(); ++i) {
      const std::string name = f.argument(i).name;
      expect_bad(cpu, f, "device pointer on a CPU context",
                 what(f, name + ": want host memory (the context is the CPU), got memory of CUDA device " +
                             std::to_string(cuda.device())),
                 host, [&](Views& v, double&) { v[i] = device.view(i); });
      EXPECT_TRUE(device.untouched());
      if (is_copy(f) || pageable != 0) continue;  // a copy may cross; here kernels read any host memory
      expect_bad(cuda, f, "host pointer on a CUDA context",
                 what(f, name + ": want device memory (the context is CUDA), got host memory "
                                "(actium::Tensor(ctx, host_values) copies it there)"),
                 device, [&](Views& v, double&) { v[i] = host.view(i); });
      EXPECT_TRUE(host.untouched());
    }
  });
}
#endif

// ---------------------------------------------------------------- dtypes, shapes, strides

TEST_P(ValidateTest, MismatchedDTypes) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    constexpr DType kRight = dtype_of<T>::value;
    for (const DType wrong : kDTypes) {
      if (wrong == kRight) continue;
      if (f.mixes && wrong != DType::kF64 && kRight != DType::kF64) continue;
      for (std::size_t i = 0; i < f.size(); ++i) {
        // The first argument sets the dtype, so if it is the odd one the second is blamed.
        const std::size_t blamed = std::max<std::size_t>(i, 1);
        const DType wanted = i == 0 ? wrong : kRight;
        const bool may_be_8_bit = std::string_view(f.name) == "forward";
        // "f32 results of f16 and bf16"; a first argument of 16 bits then goes with f32.
        const bool wide = f.rows && size_of(wanted) == 2 && blamed >= f.inputs.size();
        if (wide && (i == 0 ? kRight : wrong) == DType::kF32) continue;
        const std::string list = wide ? std::string(to_string(wanted)) + " or f32"
                                 : !f.mixes || wanted == DType::kF64 ? std::string(to_string(wanted))
                                 : may_be_8_bit                      ? "f32, f16, bf16, e4m3 or e5m2"
                                                                     : "f32, f16 or bf16";
        expect_bad(
            ctx, f,
            size_of(wrong) == 2 && sizeof(T) == 2 ? "dtype: f16 and bf16 exchanged" : "dtype of another size",
            what(f, f.argument(blamed).name + (".dtype: want " + list) + ", got " +
                        std::string(to_string(i == 0 ? kRight : wrong))),
            arena, [&](Views& v, double&) { v[i] = TensorView(v[i].data(), wrong, v[i].shape()); });
      }
    }
  });
}

TEST_P(ValidateTest, DTypesThatAreNone) {
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    if (is_copy(f)) return;  // it compares them first
    Arena<T> arena(ctx, f);
    expect_bad(
        ctx, f, "dtype that is none",
        what(f, f.argument(0).name + std::string(".dtype: want f64, f32, f16 or bf16, got another value")),
        arena,
        [](Views& v, double&) { v[0] = TensorView(v[0].data(), static_cast<DType>(9), v[0].shape()); });
  });
}

TEST_P(ValidateTest, MismatchedShapesAndRanks) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (std::size_t i = 1; i < f.size(); ++i) {
      const Shape right = arena.shape(i);
      std::vector<std::int64_t> fewer(static_cast<std::size_t>(right.rank()));
      for (std::size_t axis = 0; axis < fewer.size(); ++axis) fewer[axis] = right[static_cast<int>(axis)];
      std::vector<std::int64_t> more = fewer, none = fewer, reversed(fewer.rbegin(), fewer.rend());
      --fewer.back();
      ++more.front();
      none.back() = 0;
      using List = std::span<const std::int64_t>;
      const std::pair<const char*, Shape> wrongs[] = {
          {"shape: fewer", Shape(List(fewer))},         {"shape: more", Shape(List(more))},
          {"shape: none", Shape(List(none))},           {"shape: transposed", Shape(List(reversed))},
          {"rank: appended 1", right.with(1)},          {"rank: flat", Shape{right.count()}},
          {"rank: without last", right.without_last()}, {"rank: 0", Shape{}}};
      for (const auto& [kind_of_case, wrong] : wrongs)
        if (wrong != right)
          expect_bad(ctx, f, kind_of_case,
                     what(f, f.argument(i).name + (".shape: want " + right.to_string()) + ", got " +
                                 wrong.to_string()),
                     arena, [&, wrong = wrong](Views& v, double&) {
                       v[i] = TensorView(v[i].data(), v[i].dtype(), wrong);
                     });
    }
  });
}

TEST_P(ValidateTest, AStatisticOfOneRowIsOneNumber) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    if (f.outputs[0].extents != Extents::kWithoutLast) return;
    const auto view = [](Arena<T>& arena, const Shape& shape) {
      return TensorView(arena.pointer(1), dtype_of<T>::value, shape);
    };
    for (const Shape& shape : {Shape{}, Shape{1}}) {
      Arena<T> arena(ctx, f, {6});
      EXPECT_NO_THROW(f.call(ctx, {arena.view(0), view(arena, shape)}, 1)) << shape.to_string();
      EXPECT_FALSE(arena.untouched());
    }
    Arena<T> arena(ctx, f, {6});
    for (const Shape& shape : {Shape{2}, Shape{1, 1}, Shape{6}, Shape{0}})
      expect_bad(ctx, f, "shape of a single statistic",
                 what(f, "result.shape: want [], got " + shape.to_string()), arena,
                 [&](Views& v, double&) { v[1] = view(arena, shape); });
  });
}

TEST_P(ValidateTest, StridesOtherThanContiguous) {
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (std::size_t i = 0; i < f.size(); ++i) {
      const Shape shape = arena.shape(i);
      const TensorView contiguous = arena.view(i);
      const auto given = contiguous.strides();
      const std::vector<std::int64_t> right(given.begin(), given.end());
      std::vector<std::int64_t> gaps = right, broadcast = right, backwards = right, padded = right,
                                transposed(right.rbegin(), right.rend());
      for (std::int64_t& stride : gaps) stride *= 2;
      broadcast.back() = 0;
      backwards.back() = -1;
      padded.front() += 2;
      const std::pair<const char*, std::vector<std::int64_t>> wrongs[] = {
          {"strides: every second element", gaps},
          {"strides: broadcast", broadcast},
          {"strides: backwards", backwards},
          {"strides: padded rows", padded},
          {"strides: transposed", transposed}};
      for (const auto& [kind_of_case, wrong] : wrongs) {
        if (wrong == right) continue;
        std::string message =
            what(f, f.argument(i).name + (".strides: want those of contiguous " + shape.to_string()) +
                        ", got " + text(wrong));
        if (f.rows && f.argument(i).extents == Extents::kSame) {
          const std::string name = kind_of_case;
          const bool input = i < f.inputs.size();
          if (name != "strides: backwards" && (input || name != "strides: broadcast")) continue;
          message =
              what(f, f.argument(i).name +
                          (input ? ".strides: want none below 0, got " + text(wrong)
                                 : ".strides: want positive ones, of elements that do not overlap, got " +
                                       text(wrong) + " (copy it to a contiguous tensor first)"));
        }
        if (f.merges) {
          const std::string name = kind_of_case;
          if (name == "strides: every second element" || name == "strides: padded rows")
            continue;  // they merge
          const bool order =
              name == "strides: transposed";  // x's is the one that the others are compared with
          const std::size_t blamed = order && i == 0 ? 1 : i;
          message =
              what(f, f.argument(blamed).name +
                          (blamed == 0
                               ? std::string(".strides: want positive ones, of elements that do not overlap")
                               : ".strides: want the order of axes of x's, " +
                                     text(order && i == 0 ? wrong : right)) +
                          ", got " + text(order && i == 0 ? right : wrong) +
                          " (copy it to a contiguous tensor first)");
        }
        expect_bad(ctx, f, kind_of_case, message, arena, [&, wrong = wrong](Views& v, double&) {
          v[i] = TensorView(v[i].data(), v[i].dtype(), v[i].shape(), wrong);
        });
      }
    }
  });
}

TEST_P(ValidateTest, NegativeAndOverflowingExtents) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40, kHuger = std::int64_t{1} << 62;
  const struct {
    const char* kind_of_case;
    std::vector<std::int64_t> extents;
    std::string message;
  } wrongs[] = {
      {"negative extent", {4, -1}, "Shape: extent 1: want >= 0, got -1"},
      {"negative extent", {-6, 4}, "Shape: extent 0: want >= 0, got -6"},
      {"negative extent",
       {0, std::numeric_limits<std::int64_t>::min()},
       "Shape: extent 1: want >= 0, got -9223372036854775808"},
      {"overflowing extents", {kHuge, kHuge}, kOverflow},
      {"overflowing extents", {kHuger, 0, 4}, kOverflow},
      {"overflowing extents", {std::numeric_limits<std::int64_t>::max(), 2}, kOverflow},
      {"rank above 8", std::vector<std::int64_t>(9, 1), "Shape: rank: want at most 8, got 9"},
  };
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (const auto& wrong : wrongs)
      for (std::size_t i = 0; i < f.size(); ++i)
        expect_bad(ctx, f, wrong.kind_of_case, wrong.message, arena, [&](Views& v, double&) {
          v[i] = TensorView(v[i].data(), v[i].dtype(), Shape(std::span<const std::int64_t>(wrong.extents)));
        });
  });
}

TEST_P(ValidateTest, AJacobianThatIsTooLarge) {
  const Context ctx = context();
  const Function& f = *std::ranges::find(kFunctions, std::string_view("softmax_jacobian"), &Function::name);
  Arena<float> arena(ctx, f);
  expect_bad(ctx, f, "overflowing extents", kOverflow, arena, [&](Views& v, double&) {
    v[0] = TensorView(v[0].data(), DType::kF32, {std::int64_t{1} << 31});
  });
  expect_bad(ctx, f, "rank above 8", "Shape: rank: want at most 8, got 9", arena, [&](Views& v, double&) {
    v[0] = TensorView(v[0].data(), DType::kF32, {1, 1, 1, 1, 1, 1, 4, 6});
  });
}

// ---------------------------------------------------------------- overlap

TEST_P(ValidateTest, Overlap) {
  for_each_function_of_both([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f);
    for (std::size_t out = f.inputs.size(); out < f.size(); ++out)
      for (std::size_t other = 0; other < out; ++other) {
        const bool both_out = other >= f.inputs.size();
        const std::string a = f.argument(both_out ? other : out).name,
                          b = f.argument(both_out ? out : other).name;
        const bool may_coincide = f.in_place && !both_out;
        const std::string message =
            what(f, a + " and " + b +
                        (may_coincide ? ": want the same memory or disjoint memory, got a partial overlap"
                                      : ": want disjoint memory, got an overlap"));
        const std::int64_t out_count = arena.shape(out).count(), other_count = arena.shape(other).count();
        const auto moved_to = [&](std::int64_t elements) {
          return [&arena, out, other, elements](Views& v, double&) {
            v[out] = TensorView(arena.pointer(other, elements), v[out].dtype(), v[out].shape());
          };
        };
        const std::string kinds = both_out ? "overlap of two outputs" : "overlap of output and input";
        expect_bad(ctx, f, kinds + ": first element on the last", message, arena, moved_to(other_count - 1));
        expect_bad(ctx, f, kinds + ": last element on the first", message, arena, moved_to(1 - out_count));
        expect_bad(ctx, f, kinds + ": one element later", message, arena, moved_to(1));
        expect_bad(ctx, f, kinds + ": one element earlier", message, arena, moved_to(-1));
        if (!may_coincide) expect_bad(ctx, f, kinds + ": the same memory", message, arena, moved_to(0));

        // Next to each other is no overlap, nor is exactly the same memory where that is allowed.
        for (const std::int64_t elements : {other_count, -out_count, std::int64_t{0}}) {
          if (elements == 0 && !may_coincide) continue;
          Arena<T> good(ctx, f);
          Views views = good.views();
          views[out] = TensorView(good.pointer(other, elements), views[out].dtype(), views[out].shape());
          EXPECT_NO_THROW(f.call(ctx, views, 1)) << what(f, a + " and " + b) << " at distance " << elements;
          EXPECT_TRUE(good.guards_intact());
        }
      }
  });
}

// ---------------------------------------------------------------- numbers and names

TEST_P(ValidateTest, TemperaturesAndRanksOfSoftmax) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    if (!f.temperature) return;
    Arena<T> arena(ctx, f);
    const std::pair<double, std::string> wrongs[] = {{0.0, "0"},           {-0.0, "-0"},  {-1.0, "-1"},
                                                     {-1e-300, "-1e-300"}, {kNan, "nan"}, {kInf, "inf"},
                                                     {-kInf, "-inf"}};
    for (const auto& [wrong, printed] : wrongs)
      expect_bad(ctx, f, "temperature", what(f, "temperature: want finite and > 0, got " + printed), arena,
                 [wrong = wrong](Views&, double& temperature) { temperature = wrong; });
    expect_bad(ctx, f, "rank 0 where there must be a row",
               what(f, f.argument(0).name + std::string(".rank: want at least 1, got 0")), arena,
               [&](Views& v, double&) {
                 for (TensorView& view : v) view = TensorView(view.data(), view.dtype(), Shape{});
               });
  });
}

TEST_P(ValidateTest, ParametersOfAnActivation) {
  const Context ctx = context();
  for (const double wrong : {kNan, kInf, -kInf}) {
    const std::string message =
        "activation 'leaky_relu': slope: want a finite number, got " + std::string(std::isnan(wrong) ? "nan"
                                                                                   : wrong > 0       ? "inf"
                                                                                               : "-inf");
    Guarded<float> x(ctx, 8), dy(ctx, 8), dx(ctx, 8), ty(ctx, 8);
    const Activation f = leaky_relu(wrong);
    expect_error("forward", "activation parameter", ErrorKind::kInvalidArgument, message,
                 [&] { forward(ctx, f, x.view(), dx.view()); });
    expect_error("backward", "activation parameter", ErrorKind::kInvalidArgument, message,
                 [&] { backward(ctx, f, x.view(), dy.view(), dx.view()); });
    expect_error("jvp", "activation parameter", ErrorKind::kInvalidArgument, message,
                 [&] { jvp(ctx, f, x.view(), dy.view(), dx.view(), ty.view()); });
    EXPECT_TRUE(x.untouched() && dy.untouched() && dx.untouched() && ty.untouched());
  }
}

TEST_P(ValidateTest, UnknownNames) {
  std::string activations_are = " there are: ";
  for (const ActivationInfo& info : activations())
    activations_are += (info.kind == ActivationKind{} ? "" : ", ") + std::string(info.name);
  const std::string units_are = " there are: glu, geglu, swiglu, bilinear";
  const std::string dtypes_are = " there are: f64, f32, f16, bf16";
  const auto parse_activation = [](std::string_view s) { Activation::parse(s); };
  const auto parse_unit = [](std::string_view s) { GatedUnit::parse(s); };
  const auto parse_type = [](std::string_view s) { parse_dtype(s); };
  const struct {
    void (*parse)(std::string_view);
    std::string_view given;
    std::string message;
  } wrongs[] = {
      {parse_activation, "gleu", "no activation 'gleu'; did you mean 'gelu'?" + activations_are},
      {parse_activation, "GELU(", "no activation 'GELU';" + activations_are},
      {parse_activation, "leakyrelu(0.1)",
       "no activation 'leakyrelu'; did you mean 'leaky_relu'?" + activations_are},
      {parse_activation, "Tanh", "no activation 'Tanh'; did you mean 'tanh'?" + activations_are},
      {parse_activation, "quaternion", "no activation 'quaternion';" + activations_are},
      {parse_unit, "swigul", "no gated unit 'swigul'; did you mean 'swiglu'?" + units_are},
      {parse_unit, "zzzzzzzz", "no gated unit 'zzzzzzzz';" + units_are},
      {parse_unit, "swiglu()", "no gated unit 'swiglu()'; did you mean 'swiglu'?" + units_are},
      {parse_type, "fp32", "no dtype 'fp32'; did you mean 'f32'?" + dtypes_are},
      {parse_type, "bfloat16", "no dtype 'bfloat16'; did you mean 'bf16'?" + dtypes_are},
      {parse_type, "F32", "no dtype 'F32'; did you mean 'f32'?" + dtypes_are},
      {parse_type, "int8", "no dtype 'int8';" + dtypes_are},
  };
  for (const auto& wrong : wrongs)
    expect_error("names", "unknown name", ErrorKind::kUnknownName, wrong.message,
                 [&] { wrong.parse(wrong.given); });
}

TEST_P(ValidateTest, ATensorOfOtherStrides) {
  const Context ctx = context();
  std::vector<float> host(24);
  const std::int64_t strides[] = {1, 4};
  expect_error("Tensor", "strides of a tensor's values", ErrorKind::kInvalidArgument,
               "copy: from.strides: want those of contiguous " + kFirst.to_string() + ", got [1, 4]",
               [&] { Tensor(ctx, ConstTensorView(host.data(), DType::kF32, kFirst, strides)); });
  expect_error(
      "Tensor", "null values of a tensor", ErrorKind::kInvalidArgument,
      "copy: from: want memory for " + std::to_string(kFirst.count()) + " elements, got a null pointer",
      [&] { Tensor(ctx, ConstTensorView(nullptr, DType::kF32, kFirst)); });
}

TEST_P(ValidateTest, UnknownKinds) {
  const Context ctx = context();
  Guarded<float> x(ctx, 8), dy(ctx, 8), dx(ctx, 8), ty(ctx, 8);
  const Activation f(static_cast<ActivationKind>(200), {0, 0});
  const GatedUnit unit(static_cast<GatedKind>(77));
  const std::string no_activation = "no activation of kind 200", no_unit = "no gated unit of kind 77";
  const GatedInput in{x.view(), dy.view()};
  const auto unknown = [&](const char* function, const std::string& message, auto call) {
    expect_error(function, "unknown kind", ErrorKind::kUnknownName, message, call);
  };
  unknown("forward", no_activation, [&] { forward(ctx, f, x.view(), dx.view()); });
  unknown("backward", no_activation, [&] { backward(ctx, f, x.view(), dy.view(), dx.view()); });
  unknown("jvp", no_activation, [&] { jvp(ctx, f, x.view(), dy.view(), dx.view(), ty.view()); });
  unknown("gated_forward", no_unit, [&] { gated_forward(ctx, unit, in, dx.view()); });
  unknown("gated_backward", no_unit, [&] {
    gated_backward(ctx, unit, in, x.view(), {dx.view(), ty.view()});
  });
  EXPECT_TRUE(x.untouched() && dy.untouched() && dx.untouched() && ty.untouched());
}

// ---------------------------------------------------------------- the propagation library's own

#ifdef ACTIUM_HAVE_PROPAGATION
TEST_P(ValidateTest, RangesOfRandomNumbers) {
  const Context ctx = context();
  Guarded<float> x(ctx, 24);
  Guarded<f16> half(ctx, 24);
  const auto bad = [&](const char* function, const char* kind, const std::string& rest, auto call) {
    expect_error(function, kind, ErrorKind::kInvalidArgument, function + (": " + rest), call);
    EXPECT_TRUE(x.untouched() && half.untouched());
  };
  const std::string in_f32 = " (f32 random numbers are computed in f32)",
                    in_f16 = " (f16 random numbers are computed in f32)";
  for (const auto& [wrong, printed] :
       {std::pair{kNan, std::string("nan")}, {kInf, std::string("inf")}, {-kInf, std::string("-inf")}}) {
    const double v = wrong;
    const std::string want = ": want a finite number, got " + printed;
    bad("fill_uniform", "low", "low" + want, [&] { fill_uniform(ctx, x.view(), {}, v, 1); });
    bad("fill_uniform", "high", "high" + want, [&] { fill_uniform(ctx, x.view(), {}, 0, v); });
    bad("fill_normal", "mean", "mean" + want, [&] { fill_normal(ctx, x.view(), {}, v, 1); });
    bad("fill_normal", "deviation", "deviation" + want, [&] { fill_normal(ctx, x.view(), {}, 0, v); });
  }
  const std::string big = ": want a finite f32 number, got 1e+300";
  bad("fill_uniform", "beyond f32", "high" + big + in_f32,
      [&] { fill_uniform(ctx, x.view(), {}, 0, 1e300); });
  bad("fill_uniform", "beyond f32", "high" + big + in_f16,
      [&] { fill_uniform(ctx, half.view(), {}, 0, 1e300); });
  bad("fill_uniform", "range beyond f32", "high - low: want a finite f32 number, got 6e+38" + in_f32,
      [&] { fill_uniform(ctx, x.view(), {}, -3e38, 3e38); });
  bad("fill_uniform", "low above high", "low: want at most high = 1, got 2",
      [&] { fill_uniform(ctx, x.view(), {}, 2, 1); });
  bad("fill_normal", "beyond f32", "mean" + big + in_f32, [&] { fill_normal(ctx, x.view(), {}, 1e300, 1); });
  bad("fill_normal", "beyond f32", "deviation" + big + in_f16,
      [&] { fill_normal(ctx, half.view(), {}, 0, 1e300); });
  bad("fill_normal", "negative deviation", "deviation: want at least 0, got -1",
      [&] { fill_normal(ctx, x.view(), {}, 0, -1); });
  for (const auto& [gain, printed] : {std::pair{0.0, std::string("0")},
                                      {-1.0, std::string("-1")},
                                      {kNan, std::string("nan")},
                                      {kInf, std::string("inf")}})
    bad("initialize", "gain", "initializer.gain: want finite and > 0, got " + printed,
        [&, g = gain] { initialize(ctx, he_normal(g), {}, x.view(kFirst)); });
  expect_error("initialize", "gain beyond f32", ErrorKind::kInvalidArgument,
               "fill_normal: deviation: want a finite f32 number, got 1e+300" + in_f32, [&] {
                 initialize(ctx, he_normal(1e300), {}, x.view({2, 12}));
               });
  for (const Shape& shape : {Shape{}, Shape{24}})
    bad("initialize", "rank", "w.rank: want at least 2, got " + std::to_string(shape.rank()),
        [&] { initialize(ctx, he_normal(), {}, TensorView(x.view().data(), DType::kF32, shape)); });
  EXPECT_TRUE(x.untouched());
}

TEST_P(ValidateTest, ShapesAndDTypesOfProducts) {
  const Context ctx = context();
  Guarded<float> memory(ctx, 400);
  const auto at = [&](std::int64_t offset, const Shape& shape, DType dtype = DType::kF32) {
    return TensorView(memory.view().data_as<float>() + offset, dtype, shape);
  };
  const auto bad = [&](const char* kind, const std::string& rest, ConstTensorView a, ConstTensorView b,
                       TensorView c) {
    expect_error("matmul", kind, ErrorKind::kInvalidArgument, "matmul: " + rest,
                 [&] { matmul(ctx, a, b, c); });
    EXPECT_TRUE(memory.untouched());
  };
  const TensorView a = at(0, {2, 3}), b = at(100, {3, 4}), c = at(200, {2, 4});
  bad("rank of a", "a.rank: want at least 2, got 1", at(0, {6}), b, c);
  bad("rank of a", "a.rank: want at least 2, got 0", at(0, {}), b, c);
  bad("rank of b", "b.rank: want at least 2, got 1", a, at(100, {12}), c);
  bad("inner extent", "b.shape: want [3, 4], got [4, 4]", a, at(100, {4, 4}), c);
  bad("shape of c", "c.shape: want [2, 4], got [4, 2]", a, b, at(200, {4, 2}));
  bad("rank of c", "c.shape: want [2, 4], got [1, 2, 4]", a, b, at(200, {1, 2, 4}));
  bad("rank of c", "c.shape: want [2, 4], got [8]", a, b, at(200, {8}));
  bad("batches that differ", "b.shape: want [2, 3, 4], got [3, 3, 4]", at(0, {2, 2, 3}), at(100, {3, 3, 4}),
      at(200, {2, 2, 4}));
  bad("batch of c", "c.shape: want [2, 2, 4], got [1, 2, 4]", at(0, {2, 2, 3}), b, at(200, {1, 2, 4}));
  bad("batch axes", "b.shape: want [2, 2, 3, 4], got [2, 3, 4]", at(0, {2, 2, 1, 3}), at(100, {2, 3, 4}),
      at(200, {2, 2, 1, 4}));
  for (const DType wrong : {DType::kF64, DType::kF16, DType::kBF16}) {
    const std::string got = "want f32, got " + std::string(to_string(wrong));
    bad("dtype of b", "b.dtype: " + got, a, at(100, {3, 4}, wrong), c);
    bad("dtype of c", "c.dtype: " + got, a, b, at(200, {2, 4}, wrong));
  }
}

TEST_P(ValidateTest, SignalsWithoutAxes) {
  for (const DType dtype : kDTypes) {
    const Context ctx = context();
    Guarded<double> memory(ctx, 4);
    expect_error("signal_statistics", "rank", ErrorKind::kInvalidArgument,
                 "signal_statistics: x.rank: want at least 1, got 0",
                 [&] { signal_statistics(ctx, ConstTensorView(memory.view().data(), dtype, Shape{})); });
  }
}

TEST_P(ValidateTest, LayersThatCannotBe) {
  const Context ctx = context();
  Guarded<float> x(ctx, 12), y(ctx, 12);
  const Layer good{.activation = tanh(), .fan_in = 3, .fan_out = 2};
  const auto bad = [&](const char* kind, ErrorKind error, const std::string& message, const Layer& layer,
                       const Shape& from = {4, 3}, const Shape& to = {4, 2}) {
    const TensorView in(x.view().data(), DType::kF32, from), out(y.view().data(), DType::kF32, to);
    expect_error("propagate_layer", kind, error, message, [&] { propagate_layer(ctx, layer, in, out); });
    EXPECT_TRUE(x.untouched() && y.untouched()) << message;
  };
  const auto with = [&](auto change) {
    Layer layer = good;
    change(layer);
    return layer;
  };
  constexpr ErrorKind kBad = ErrorKind::kInvalidArgument;
  const std::string p = "propagate_layer: ";
  bad("fan_in", kBad, p + "layer.fan_in: want at least 0, got -1", with([](Layer& l) { l.fan_in = -1; }));
  bad("fan_out", kBad, p + "layer.fan_out: want at least 0, got -2", with([](Layer& l) { l.fan_out = -2; }));
  for (const auto& [gain, printed] : {std::pair{0.0, "0"}, {-2.0, "-2"}, {kNan, "nan"}, {kInf, "inf"}})
    bad("gain", kBad, p + "layer.initializer.gain: want finite and > 0, got " + printed,
        with([g = gain](Layer& l) { l.initializer.gain = g; }));
  bad("gain beyond f32", kBad,
      "fill_normal: deviation: want a finite f32 number, got 6.32456e+299 (f32 random numbers are computed "
      "in "
      "f32)",
      with([](Layer& l) { l.initializer.gain = 1e300; }));
  bad("layer's dtype", kBad, p + "x.dtype: want f16, got f32", with([](Layer& l) { l.dtype = DType::kF16; }));
  bad("activation parameter", kBad, "activation 'leaky_relu': slope: want a finite number, got nan",
      with([](Layer& l) { l.activation = leaky_relu(kNan); }));
  bad("unknown kind", ErrorKind::kUnknownName, "no activation of kind 99",
      with([](Layer& l) { l.activation = Activation(static_cast<ActivationKind>(99), {}); }));
  bad("rank", kBad, p + "x.rank: want at least 1, got 0", good, {});
  bad("units of x", kBad, p + "x.shape: want [6, 3], got [6, 2]", good, {6, 2});
  bad("units of y", kBad, p + "y.shape: want [4, 2], got [4, 3]", good, {4, 3}, {4, 3});
  bad("rows of y", kBad, p + "y.shape: want [4, 2], got [2, 2]", good, {4, 3}, {2, 2});
  bad("rank of y", kBad, p + "y.shape: want [4, 2], got [8]", good, {4, 3}, {8});
}
#endif

// ---------------------------------------------------------------- options of forward and backward

TEST_P(ValidateTest, OptionsThatCannotBe) {
  const Context ctx = context();
  Guarded<float> memory(ctx, 2000);
  Guarded<double> f64(ctx, 100);
  float* const data = memory.view().data_as<float>();
  const auto at = [&](std::int64_t offset, const Shape& shape, DType dtype = DType::kF32) {
    return TensorView(data + offset, dtype, shape);
  };
  const TensorView x = at(0, {4, 6}), y = at(100, {4, 6}), dy = at(200, {4, 6}), bias = at(300, {6}),
                   slope = at(400, {4});
  const TensorView y8 = at(100, {4, 6}, DType::kE4M3);
  auto* const mask = reinterpret_cast<std::uint32_t*>(data + 500);
  const auto bad_forward = [&](const char* kind, const std::string& rest, const ForwardOptions& options,
                               const TensorView& out, const Activation& f = leaky_relu()) {
    expect_error("forward", kind, ErrorKind::kInvalidArgument, "forward: " + rest,
                 [&] { forward(ctx, f, x, out, options); });
    EXPECT_TRUE(memory.untouched() && f64.untouched()) << rest;
  };
  const auto bad_backward = [&](const char* kind, const std::string& rest, const BackwardOptions& options,
                                const Activation& f = leaky_relu()) {
    expect_error("backward", kind, ErrorKind::kInvalidArgument, "backward: " + rest,
                 [&] { backward(ctx, f, x, dy, y, options); });
    EXPECT_TRUE(memory.untouched() && f64.untouched()) << rest;
  };
  bad_forward("bias's shape", "bias.shape: want [6], got [4]", {.bias = slope}, y);
  bad_backward("bias's shape", "bias.shape: want [6], got [4]", {.bias = slope});
  bad_backward("dbias's shape", "dbias.shape: want [6], got [4, 6]", {.dbias = at(300, {4, 6})});
  bad_forward("bias's dtype", "bias.dtype: want f32, f16 or bf16, got f64", {.bias = f64.view({6})}, y);
  bad_forward("residual's shape", "residual.shape: want [4, 6], got [6]", {.residual = bias}, y);
  bad_forward("residual's dtype", "residual.dtype: want f32, f16 or bf16, got e4m3",
              {.residual = at(700, {4, 6}, DType::kE4M3)}, y);
  bad_forward("overlap with the residual",
              "y and residual: want the same memory or disjoint memory, got a partial overlap",
              {.residual = at(101, {4, 6})}, y);
  bad_forward("overlap with the bias", "y and bias: want disjoint memory, got an overlap",
              {.bias = at(110, {6})}, y);
  bad_backward("overlap with dbias", "dbias and x: want disjoint memory, got an overlap",
               {.dbias = at(3, {6})});
  bad_backward("overlap with dbias", "dbias and dx: want disjoint memory, got an overlap",
               {.dbias = at(120, {6})});
  for (const auto& [p, printed] : {std::pair{1.0, "1"}, {-0.1, "-0.1"}, {kNan, "nan"}, {kInf, "inf"}}) {
    const std::string message = std::string("dropout.p: want a number in [0, 1), got ") + printed;
    bad_forward("dropout", message, {.dropout = {.p = p}}, y);
    bad_backward("dropout", message, {.dropout = {.p = p}});
  }
  bad_forward("scale", "scale: want a finite number, got nan", {.scale = kNan}, y);
  bad_forward("scale", "scale: want a number that f32 can hold, got 1e+300", {.scale = 1e300}, y);
  bad_forward("subnormal scale",
              "scale: want a magnitude that f32 holds in full, at least 1.2e-38, got 2e-45", {.scale = 2e-45},
              y);
  bad_forward("slope's shape", "slope.shape: want [6], got [4]", {.slope = slope, .channel_axis = 1}, y);
  bad_forward("slope's axis", "channel_axis: want an axis of x: 0 to 1, got 2",
              {.slope = slope, .channel_axis = 2}, y);
  bad_forward("slope of an activation without",
              "slope: want none for gelu, got a tensor (leaky_relu and prelu take a slope for each channel)",
              {.slope = bias}, y, gelu());
  for (const auto& [scale, printed] : {std::pair{0.0, "0"}, {-1.0, "-1"}, {kNan, "nan"}, {kInf, "inf"}})
    bad_forward("8-bit scale", std::string("quantization_scale: want finite and > 0, got ") + printed,
                {.quantization_scale = scale}, y8);
  bad_forward("8-bit scale",
              "quantization_scale: want a magnitude that f32 holds in full, at least 1.2e-38, got 1e-300",
              {.quantization_scale = 1e-300}, y8);
  bad_forward("scale and dropout", "scale / (1 - dropout.p): want a number that f32 can hold, got 6e+38",
              {.scale = 3e38, .dropout = {.p = 0.5}}, y);
  bad_forward("8-bit scale", "quantization_scale: want 1 for a y of f32, got 2", {.quantization_scale = 2},
              y);
  bad_forward("amax", "amax: want null for a y of f32, got a pointer", {.amax = data + 600}, y);
  bad_forward("amax inside y", "amax and y: want disjoint memory, got an overlap", {.amax = data + 102}, y8);
  try {
    forward(ctx, gelu(), x, y, {.mask = mask});
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).substr(0, 56),
              "forward: mask: want null for gelu, got a pointer (a mask");
  }
  bad_forward("mask inside y", "mask and y: want disjoint memory, got an overlap",
              {.mask = reinterpret_cast<std::uint32_t*>(data + 100)}, y);
  bad_forward("mask that is misaligned", "mask: want a pointer aligned to 4 bytes, got a misaligned one",
              {.mask = reinterpret_cast<std::uint32_t*>(reinterpret_cast<char*>(data + 500) + 2)}, y);
  const auto refuses = [&](const char* name, const std::string& start, const auto& call) {
    try {
      call();
      ADD_FAILURE() << name << ": no error";
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).substr(0, start.size()), start);
    }
    EXPECT_TRUE(memory.untouched());
  };
  refuses("from output",
          "backward_from_output: activation: want one whose slope its output determines: identity, ",
          [&] { backward_from_output(ctx, tanh(), x, dy, y); });
  refuses("from output, slope < 0",
          "backward_from_output: activation: want a slope >= 0, so that the output's sign is the input's, "
          "got leaky_relu(-1)",
          [&] { backward_from_output(ctx, leaky_relu(-1), x, dy, y); });
  refuses("from output, bias",
          "backward_from_output: bias: want none: the slope does not come from the input, got a tensor",
          [&] { backward_from_output(ctx, relu(), x, dy, y, {.bias = bias}); });
  refuses("from output, slope",
          "backward_from_output: slope: want none: a negative one makes the output ambiguous, got a tensor",
          [&] { backward_from_output(ctx, leaky_relu(), x, dy, y, {.slope = slope, .channel_axis = 0}); });
  refuses("from mask, bias",
          "backward_from_mask: bias: want none: the slope does not come from the input, got a tensor",
          [&] { backward_from_mask(ctx, relu(), mask, dy, y, {.bias = bias}); });
  // Where there is no x, no message speaks of it.
  const TensorView number = at(200, {}), result = at(100, {});
  refuses("rank", "backward: x.rank: want at least 1, got 0",
          [&] { backward(ctx, relu(), at(0, {}), number, result, {.dbias = bias}); });
  refuses("rank", "backward_from_output: y.rank: want at least 1, got 0",
          [&] { backward_from_output(ctx, relu(), at(0, {}), number, result, {.dbias = bias}); });
  refuses("rank", "backward_from_mask: dy.rank: want at least 1, got 0",
          [&] { backward_from_mask(ctx, relu(), mask, number, result, {.dbias = bias}); });
  refuses("axis", "backward_from_mask: channel_axis: want an axis of dy: 0 to 1, got 2",
          [&] { backward_from_mask(ctx, leaky_relu(), mask, dy, y, {.slope = slope, .channel_axis = 2}); });
  refuses("axis", "backward_from_mask: channel_axis: want an axis of dy, which has none, got 1",
          [&] { backward_from_mask(ctx, leaky_relu(), mask, number, result, {.slope = slope}); });
  refuses("axis", "parameter_gradient: channel_axis: want -1 or an axis of x: 0 to 1, got 2",
          [&] { parameter_gradient(ctx, leaky_relu(), x, dy, bias, 2); });
  refuses("axis", "parameter_gradient: channel_axis: want -1 or an axis of x: 0 to 1, got -2",
          [&] { parameter_gradient(ctx, leaky_relu(), x, dy, bias, -2); });
  refuses("from output, limits",
          "backward_from_output: activation: want limits that bf16 can hold, got hardtanh(-1, 1.001)", [&] {
            backward_from_output(ctx, hardtanh(-1, 1.001), at(0, {4, 6}, DType::kBF16),
                                 at(200, {4, 6}, DType::kBF16), at(100, {4, 6}, DType::kBF16));
          });
  refuses("from mask", "backward_from_mask: activation: want one with two slopes: relu, ",
          [&] { backward_from_mask(ctx, gelu(), mask, dy, y); });
  refuses("from mask, null", "backward_from_mask: mask: want memory for 1 elements, got a null pointer",
          [&] { backward_from_mask(ctx, relu(), nullptr, dy, y); });
  refuses("parameters", "parameter_gradient: activation: want one with parameters, got gelu",
          [&] { parameter_gradient(ctx, gelu(), x, dy, at(300, {1})); });
  refuses("dp's shape", "parameter_gradient: dp.shape: want [1, 6], got [6]",
          [&] { parameter_gradient(ctx, leaky_relu(), x, dy, bias, 1); });
  refuses("list", "forward_many: x[0] and y[1]: want disjoint memory, got an overlap", [&] {
    const ForwardPair pairs[] = {{at(0, {10}), at(100, {10})}, {at(50, {10}), at(5, {10})}};
    forward_many(ctx, relu(), pairs);
  });
  refuses("list", "forward_many: y[1].dtype: want f32, got f16", [&] {
    const ForwardPair pairs[] = {{at(0, {10}), at(100, {10})}, {at(50, {10}), at(200, {10}, DType::kF16)}};
    forward_many(ctx, relu(), pairs);
  });
  refuses("parameter out of f32",
          "activation 'leaky_relu': slope: want 0 or a size from 1.18e-38 to 3.4e+38, got 1e+300",
          [&] { forward(ctx, leaky_relu(1e300), x, y); });
  refuses("domain", "activation 'softplus': beta: want > 0, got 0", [&] { forward(ctx, softplus(0), x, y); });
  refuses("domain", "activation 'hardtanh': hi: want at least lo, got -2",
          [&] { forward(ctx, hardtanh(1, -2), x, y); });
}

// In place with another dtype: whether the sizes are the same or not, the message says what is the matter.
TEST_P(ValidateTest, InPlaceInAnotherDType) {
  const Context ctx = context();
  Guarded<float> memory(ctx, 400);
  float* const data = memory.view().data_as<float>();
  const auto at = [&](DType dtype, std::int64_t offset = 0) {
    return TensorView(data + offset, dtype, {4, 6});
  };
  const auto bad = [&](const std::string& function, const std::string& tensors, const std::string& dtypes,
                       const auto& call) {
    expect_error(function, "in place in another dtype", ErrorKind::kInvalidArgument,
                 function + ": " + tensors +
                     ": want one dtype where they are the same memory, or disjoint memory, got " + dtypes,
                 call);
    EXPECT_TRUE(memory.untouched());
  };
  bad("forward", "y and x", "f16 and f32", [&] { forward(ctx, relu(), at(DType::kF32), at(DType::kF16)); });
  bad("forward", "y and x", "f32 and f16", [&] { forward(ctx, relu(), at(DType::kF16), at(DType::kF32)); });
  bad("forward", "y and x", "bf16 and f16", [&] { forward(ctx, relu(), at(DType::kF16), at(DType::kBF16)); });
  bad("forward", "y and x", "e4m3 and bf16",
      [&] { forward(ctx, relu(), at(DType::kBF16), at(DType::kE4M3)); });
  bad("forward", "y and residual", "f16 and bf16",
      [&] { forward(ctx, relu(), at(DType::kF32, 100), at(DType::kF16), {.residual = at(DType::kBF16)}); });
  bad("backward", "dx and x", "bf16 and f32",
      [&] { backward(ctx, relu(), at(DType::kF32), at(DType::kF32, 100), at(DType::kBF16)); });
  bad("backward", "dx and dy", "bf16 and f16",
      [&] { backward(ctx, relu(), at(DType::kF32, 100), at(DType::kF16), at(DType::kBF16)); });
  bad("backward_from_output", "dx and y", "f32 and f16",
      [&] { backward_from_output(ctx, relu(), at(DType::kF16), at(DType::kF32, 100), at(DType::kF32)); });
  // The same memory and dtype in other strides.
  const std::int64_t wide[] = {7, 1};
  expect_error("forward", "in place in other strides", ErrorKind::kInvalidArgument,
               "forward: y and x: want the same strides where they are the same memory, or disjoint memory, "
               "got [7, 1] and [6, 1]",
               [&] {
                 forward(ctx, relu(), at(DType::kF32), TensorView(data, DType::kF32, {4, 6}, wide));
               });
  EXPECT_TRUE(memory.untouched());
}

// ---------------------------------------------------------------- lists

TEST(ForwardMany, WhichListsOverlap) {
  const Context ctx = Context::cpu();
  std::vector<float> memory(40);
  std::mt19937 random(static_cast<unsigned>(kSeed));
  SCOPED_TRACE(seed_message(kSeed));
  const auto below = [&](std::size_t n) { return static_cast<std::int64_t>(random() % n); };
  struct Piece {
    std::int64_t first, count;
  };
  const auto overlap = [](const Piece& a, const Piece& b) {
    return a.count > 0 && b.count > 0 && a.first < b.first + b.count && b.first < a.first + a.count;
  };
  int valid_lists = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<Piece> xs, ys;
    std::vector<ForwardPair> pairs;
    for (std::int64_t n = 1 + below(5); n > 0; --n) {
      const std::int64_t count = below(5);
      xs.push_back({below(36), count});
      ys.push_back({below(4) == 0 ? xs.back().first : below(36), count});
      const auto at = [&](const Piece& p) {
        return TensorView(memory.data() + p.first, DType::kF32, {p.count});
      };
      pairs.push_back({at(xs.back()), at(ys.back())});
    }
    bool valid = true;
    for (std::size_t i = 0; i < xs.size(); ++i)
      for (std::size_t j = 0; j < xs.size(); ++j) {
        const bool in_place = i == j && ys[i].first == xs[i].first;
        if ((overlap(ys[i], xs[j]) && !in_place) || (i != j && overlap(ys[i], ys[j]))) valid = false;
      }
    valid_lists += valid;
    bool returned = true;
    try {
      forward_many(ctx, relu(), pairs);
    } catch (const Error&) {
      returned = false;
    }
    std::string list;
    for (std::size_t i = 0; i < xs.size(); ++i)
      list += " " + std::to_string(xs[i].first) + ">" + std::to_string(ys[i].first) + "*" +
              std::to_string(xs[i].count);
    ASSERT_EQ(returned, valid) << "round " << round << list;
  }
  EXPECT_GT(valid_lists, 1000);
  EXPECT_LT(valid_lists, 19000);
}

// Twice the pairs cost about twice the time, whatever they share.
TEST(ForwardMany, PairsThatShareTheirInput) {
  const Context ctx = Context::cpu(1);
  constexpr std::size_t kPairs = 40000;
  std::vector<float> x(kPairs), y(kPairs);
  const auto seconds = [&](bool shared) {
    std::vector<ForwardPair> pairs;
    for (std::size_t i = 0; i < kPairs; ++i)
      pairs.push_back({ConstTensorView(x.data() + (shared ? 0 : i), DType::kF32, {1}),
                       TensorView(y.data() + i, DType::kF32, {1})});
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      forward_many(ctx, relu(), pairs);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      least = std::min(least, took.count());
    }
    return least;
  };
  EXPECT_LT(seconds(true), 8 * seconds(false));  // pair by pair it was 40 times as much
}

// ---------------------------------------------------------------- what is no mistake

TEST_P(ValidateTest, SizesOfZeroTakeAnyPointer) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    for (const Shape& shape : {Shape{0}, Shape{0, 5}, Shape{5, 0}, Shape{0, 0}, Shape{2, 0, 3}})
      for (const std::intptr_t address : {0, 1}) {  // null, and one that no element may have
        SCOPED_TRACE(f.name + (" " + shape.to_string()));
        Arena<T> arena(ctx, f, shape);
        Views views = arena.views();
        bool writes = false;
        for (std::size_t i = 0; i < f.size(); ++i)
          if (views[i].count() == 0)
            views[i] = TensorView(reinterpret_cast<void*>(address), views[i].dtype(), views[i].shape());
          else
            writes = true;  // a statistic of rows without elements
        EXPECT_NO_THROW(f.call(ctx, views, 1));
        EXPECT_TRUE(arena.guards_intact());
        EXPECT_NE(arena.untouched(), writes);
      }
  });
}

TEST_P(ValidateTest, RankZeroIsOneElement) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    if (f.temperature) return;
    Arena<T> arena(ctx, f, Shape{});
    EXPECT_NO_THROW(f.call(ctx, arena.views(), 1)) << f.name;
    EXPECT_FALSE(arena.untouched()) << f.name;
  });
}

TEST_P(ValidateTest, StridesOfExtentsThatAreOneDoNotMatter) {
  for_each_function([&]<class T>(const Context& ctx, const Function& f) {
    Arena<T> arena(ctx, f, Shape{1, 6});
    Views views = arena.views();
    const std::int64_t strides[] = {77, 1};
    views[0] = TensorView(views[0].data(), views[0].dtype(), views[0].shape(), strides);
    EXPECT_NO_THROW(f.call(ctx, views, 1)) << f.name;
    EXPECT_FALSE(arena.untouched()) << f.name;
  });
}

TEST(Validate, ElementsThatAreFarApart) {
  float number = 0;
  const auto message = [&](std::int64_t stride) -> std::string {
    const std::int64_t strides[] = {stride};
    try {
      // No more than a refusal of y's shape: nothing is read.
      forward(Context::cpu(), relu(), ConstTensorView(&number, DType::kF32, {2}, strides),
              TensorView(&number, DType::kF32, {3}));
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  const std::int64_t least = std::int64_t{1} << 57;
  EXPECT_NE(message(least).find("x.strides: want elements less than 2^57 apart"), std::string::npos)
      << message(least);
  EXPECT_NE(message(least - 1).find("y.shape"), std::string::npos) << message(least - 1);
}

// Runs after all others: how many kinds of mistakes each function was seen to refuse.
TEST_P(ValidateTest, TwelveKindsForEveryFunction) {
  const testing::TestSuite& suite = *testing::UnitTest::GetInstance()->current_test_suite();
  for (int i = 0; i < suite.total_test_count(); ++i)
    if (std::string(suite.GetTestInfo(i)->name()).ends_with(GetParam()) &&
        !suite.GetTestInfo(i)->should_run())
      GTEST_SKIP() << "not all tests were run";
  const auto& kinds = kinds_[GetParam()];
  const auto check = [&](const Function& f) {
    const auto found = kinds.find(f.name);
    const std::size_t count = found == kinds.end() ? 0 : found->second.size();
    EXPECT_GE(count, 12u) << f.name;
    std::cout << f.name << " refuses " << count << " kinds of input on " << GetParam() << "\n";
  };
  for (const Function& f : kFunctions) check(f);
  for (const Function& f : kPropagation) check(f);
}

}  // namespace

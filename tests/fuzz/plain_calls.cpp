#include "plain_calls.hpp"

#include <actium/actium.hpp>
#include <actium/initializer.hpp>
#include <actium/propagation.hpp>
#include <charconv>
#include <cmath>
#include <string_view>

#include "emulator.hpp"
#include "model.hpp"

namespace actium_fuzz {

namespace {

using namespace actium;

/// `call` throws actium::Error of one of `kinds` exactly where it must (or may: `undecided`).
template <class Call>
bool returns(bool valid, std::initializer_list<ErrorKind> kinds, const Call& call, const char* what,
             bool undecided = false) {
  try {
    call();
  } catch (const Error& error) {
    require(!valid || undecided, what);
    for (const ErrorKind kind : kinds)
      if (error.kind() == kind) return false;
    fail(std::string(what) + ": an error of another kind: " + error.what());
  }
  require(valid || undecided, what);
  return true;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// A text near a name: as it is, or cut, or with something behind or inside.
std::string near_name(Input& in, std::string_view name) {
  std::string s(name);
  if (in.flag()) s.resize(in.below(s.size() + 1));
  if (in.flag()) s += in.text(24);
  if (in.one_in(4)) s.insert(in.below(s.size() + 1), in.text(3));
  return s;
}

void parse_activation(Input& in) {
  const ActivationInfo& near = activations()[in.below(activations().size())];
  std::string s = near_name(in, near.name);
  const double parameter = in.number();
  const bool made = in.one_in(3);
  if (made) {  // the documented form
    char digits[40];
    const auto end = std::to_chars(digits, digits + sizeof digits, parameter).ptr;
    const std::string key = in.flag() ? std::string(near.parameter_names[0]) + "=" : "";
    s = std::string(near.name) + "(" + key + std::string(digits, end) + ")";
  }
  const auto open = s.find('(');
  const std::string_view name = trimmed(std::string_view(s).substr(0, open));
  const ActivationInfo* info = nullptr;
  for (const ActivationInfo& candidate : activations())
    if (candidate.name == name) info = &candidate;
  for (const ActivationAlias& known : activation_aliases())  // "swish without parameters is silu"
    if (known.alias == name && (info == nullptr || open == std::string::npos))
      for (const ActivationInfo& candidate : activations())
        if (candidate.name == known.name) info = &candidate;
  if (info == nullptr) {
    returns(
        false, {ErrorKind::kUnknownName}, [&] { Activation::parse(s); },
        "Activation::parse: an unknown name");
    return;
  }
  Activation f = identity();
  const auto parse = [&] { f = Activation::parse(s); };
  const bool exact = made && info->parameter_count == 1, bare = open == std::string::npos;
  const bool parsed =
      returns(bare || (exact && in_domain(*info, {parameter, 0, 0}, 0)), {ErrorKind::kInvalidArgument}, parse,
              "Activation::parse", !bare && !(made && info->parameter_count < 2));
  if (!parsed) return;
  require(f.name() == info->name, "Activation::parse: the name");
  if (exact)
    require(std::bit_cast<std::uint64_t>(f.parameters()[0]) == std::bit_cast<std::uint64_t>(parameter),
            "Activation::parse: the number");
  for (int i = 0; i < info->parameter_count; ++i) {
    require(in_domain(*info, {f.parameters()[0], f.parameters()[1], f.parameters()[2]},
                      static_cast<std::size_t>(i)),
            "Activation::parse: a parameter out of its domain");
    if (bare)
      require(f.parameters()[static_cast<std::size_t>(i)] ==
                  info->parameter_defaults[static_cast<std::size_t>(i)],
              "Activation::parse: defaults");
  }
  require(Activation::parse(f.to_string()) == f, "Activation::to_string is what parse() takes");
}

template <class Parse>
void parse_name(Input& in, std::initializer_list<std::string_view> names, const Parse& parse) {
  const std::string s = near_name(in, names.begin()[in.below(names.size())]);
  bool known = false;
  for (const std::string_view name : names) known |= s == name;
  returns(
      known, {ErrorKind::kUnknownName}, [&] { require(parse(s) == s, "parse: another name"); }, "parse");
}

std::int64_t some_size(Input& in) {
  constexpr std::int64_t kSizes[] = {1,
                                     2,
                                     3,
                                     100,
                                     0,
                                     -1,
                                     std::numeric_limits<std::int64_t>::max(),
                                     std::numeric_limits<std::int64_t>::min()};
  return in.one_in(4) ? in.integer<std::int64_t>() : in.pick(kSizes);
}

void deviation(Input& in) {
  const double gain = in.number();
  const std::int64_t fan_in = some_size(in), fan_out = some_size(in);
  const bool he = in.flag();
  const Initializer initializer{he ? InitializerKind::kHe : InitializerKind::kXavier, Distribution::kNormal,
                                gain};
  returns(
      std::isfinite(gain) && gain > 0 && fan_in >= 1 && fan_out >= 1, {ErrorKind::kInvalidArgument},
      [&] {
        const double got = initializer.deviation(fan_in, fan_out);
        const double fans = static_cast<double>(fan_in) + (he ? 0 : static_cast<double>(fan_out));
        const double want = gain * std::sqrt(2 / fans);
        require(got == want || std::fabs(got - want) <= 1e-15 * want, "Initializer::deviation: its formula");
      },
      "Initializer::deviation");
}

void reshape(Input& in) {
  float memory[64];
  const std::int64_t a = static_cast<std::int64_t>(in.below(9)), b = static_cast<std::int64_t>(in.below(8)),
                     c = static_cast<std::int64_t>(in.below(16)), d = static_cast<std::int64_t>(in.below(16));
  const bool strided = in.one_in(4);
  const std::int64_t strides[] = {b + 1, 1};
  const TensorView view =
      strided ? TensorView(memory, DType::kF32, {a, b}, strides) : TensorView(memory, DType::kF32, {a, b});
  const bool contiguous = !strided || a <= 1 || b == 0;
  returns(
      contiguous && c * d == a * b, {ErrorKind::kInvalidArgument},
      [&] {
        require(view.reshaped({c, d}).shape() == Shape{c, d}, "reshaped: its shape");
      },
      "reshaped");
  // A shape's own arithmetic.
  const Shape shape{a, b};
  require(shape.count() == a * b && shape.back() == b && shape.without_last() == Shape{a} &&
              shape.with(c) == Shape{a, b, c},
          "Shape");
}

void cpu_context(Input& in) {
  const int threads = in.one_in(3) ? in.integer<int>() : static_cast<int>(in.below(1100)) - 20;
  returns(
      threads >= 0 && threads <= 1024, {ErrorKind::kInvalidArgument},
      [&] {
        const Context ctx = Context::cpu(threads);
        require(!ctx.is_cuda() && ctx.device() == -1 && ctx.threads() == threads && ctx.name() == "cpu" &&
                    ctx.stream() == nullptr,
                "Context::cpu");
        ctx.synchronize();
      },
      "Context::cpu");
}

void cuda_context(Input& in) {
  const int device = in.one_in(4) ? in.integer<int>() : static_cast<int>(in.below(4)) - 2;
  returns(
      device == -1 || device == 0, {ErrorKind::kInvalidArgument},
      [&] {
        const Context ctx = Context::cuda(nullptr, device);
        require(ctx.is_cuda() && ctx.device() == 0 && ctx.threads() == 0 && ctx.name() == "cuda:0 (emulated)",
                "Context::cuda");
        ctx.synchronize();
      },
      "Context::cuda");
  require(Context::best().is_cuda(), "Context::best");
}

/// "Makes `bytes` of scratch ready now, so that later calls allocate nothing."
void reserve(Input& in) {
  constexpr std::size_t kSome[] = {0, 1, 4096, 70000, 1 << 20},
                        kTooMuch[] = {std::size_t{1} << 45, std::size_t{1} << 62, ~std::size_t{0},
                                      ~std::size_t{0} - 255};
  const bool cuda = in.flag();
  const Context ctx = cuda ? Context::cuda() : Context::cpu(1);
  const std::size_t some = in.pick(kSome);
  ctx.reserve(some);
  if (in.one_in(4))
    returns(
        false, {ErrorKind::kOutOfMemory}, [&] { ctx.reserve(in.pick(kTooMuch)); }, "Context::reserve");
  const auto before = emulator::counters();
  ctx.reserve(some / 2);
  ctx.reserve(some);
  require(emulator::counters().allocation_calls == before.allocation_calls,
          "Context::reserve: what is there is not allocated again");
}

}  // namespace

void plain_call(std::size_t which, Input& in) {
  switch (which) {
    case 0:
      return parse_activation(in);
    case 1:
      return parse_name(in, {"glu", "geglu", "swiglu", "bilinear"},
                        [](const std::string& s) { return std::string(GatedUnit::parse(s).name()); });
    case 2:
      return parse_name(in, {"xavier_normal", "xavier_uniform", "he_normal", "he_uniform"},
                        [](const std::string& s) { return Initializer::parse(s).to_string(); });
    case 3:
      return parse_name(in, {"f64", "f32", "f16", "bf16"},
                        [](const std::string& s) { return std::string(to_string(parse_dtype(s))); });
    case 4:
      return deviation(in);
    case 5:
      return reshape(in);
    case 6:
      return cpu_context(in);
    case 7:
      return cuda_context(in);
    default:
      return reserve(in);
  }
}

}  // namespace actium_fuzz

#include <actium/activation.hpp>
#include <charconv>
#include <cmath>
#include <vector>

#include "dispatch.hpp"
#include "kernels/launch.hpp"
#include "reference/reference.hpp"
#include "validate.hpp"

namespace actium {

namespace {

#define ACTIUM_COUNT_P0() 0
#define ACTIUM_COUNT_P1(a, x) 1
#define ACTIUM_COUNT_P2(a, x, b, y) 2
#define ACTIUM_NAMES_P0()
#define ACTIUM_NAMES_P1(a, x) #a
#define ACTIUM_NAMES_P2(a, x, b, y) #a, #b
#define ACTIUM_DEFAULTS_P0()
#define ACTIUM_DEFAULTS_P1(a, x) x
#define ACTIUM_DEFAULTS_P2(a, x, b, y) x, y
constexpr ActivationInfo kActivations[] = {
#define ACTIUM_ACTIVATION(name, parameters, f32_value, f32_slope, f64_value, f64_slope, formula) \
  {ActivationKind::name,                                                                         \
   #name,                                                                                        \
   ACTIUM_COUNT_##parameters,                                                                    \
   {ACTIUM_NAMES_##parameters},                                                                  \
   {ACTIUM_DEFAULTS_##parameters},                                                               \
   f32_value,                                                                                    \
   f32_slope,                                                                                    \
   f64_value,                                                                                    \
   f64_slope,                                                                                    \
   formula},
#include <actium/activations.def>
};

[[maybe_unused]] kernels::ActivationArguments arguments(const Activation& f) {
  return {f.kind(), {f.parameters()[0], f.parameters()[1]}};
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

[[noreturn]] void bad_parameter(std::string_view text, const std::string& why) {
  throw Error(ErrorKind::kInvalidArgument, "activation '" + std::string(text) + "': " + why);
}

void check_activation(const Activation& f) {
  if (static_cast<std::size_t>(f.kind()) >= std::size(kActivations))
    throw Error(ErrorKind::kUnknownName,
                "no activation of kind " + std::to_string(static_cast<int>(f.kind())));
}

void check_parameters(const Activation& f, std::string_view text) {
  for (const double p : f.parameters())
    if (!std::isfinite(p)) bad_parameter(text, "parameters: want finite numbers, got " + number(p));
}

}  // namespace

std::span<const ActivationInfo> activations() { return kActivations; }

Activation Activation::parse(std::string_view text) {
  const auto open = text.find('(');
  const std::string_view name = trimmed(text.substr(0, open));
  const ActivationInfo* info = nullptr;
  std::vector<std::string_view> names;
  for (const ActivationInfo& candidate : kActivations) {
    names.push_back(candidate.name);
    if (candidate.name == name) info = &candidate;
  }
  if (info == nullptr) throw_unknown_name("activation", name, names);
  Activation f(info->kind, info->parameter_defaults);
  if (open == std::string_view::npos) return f;

  const std::string_view tail = trimmed(text.substr(open + 1));
  if (tail.empty() || tail.back() != ')') bad_parameter(text, "want a closing ')' at the end");
  std::string_view list = trimmed(tail.substr(0, tail.size() - 1));
  for (std::size_t position = 0; !list.empty(); ++position) {
    const auto comma = list.find(',');
    std::string_view item = trimmed(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    if (comma != std::string_view::npos && trimmed(list).empty())
      bad_parameter(text, "want a parameter after ','");
    if (position >= static_cast<std::size_t>(info->parameter_count))
      bad_parameter(text, "want at most " + std::to_string(info->parameter_count) + " parameters");
    std::size_t index = position;
    if (const auto equals = item.find('='); equals != std::string_view::npos) {
      const std::string_view key = trimmed(item.substr(0, equals));
      for (index = 0; index < 2 && (info->parameter_names[index] != key || key.empty()); ++index) {
      }
      if (index == 2) bad_parameter(text, "no parameter '" + std::string(key) + "'");
      item = trimmed(item.substr(equals + 1));
    }
    const bool plus = item.starts_with('+');  // which from_chars does not take
    const auto [end, error] =
        std::from_chars(item.data() + plus, item.data() + item.size(), f.parameters_[index]);
    if (error != std::errc{} || end != item.data() + item.size())
      bad_parameter(text, "want a number, got '" + std::string(item) + "'");
  }
  check_parameters(f, text);
  return f;
}

std::string Activation::to_string() const {
  std::string text(name());
  for (int i = 0; i < info().parameter_count; ++i) {
    char digits[40];  // the shortest text that reads back as the same number
    const auto end =
        std::to_chars(digits, digits + sizeof digits, parameters_[static_cast<std::size_t>(i)]).ptr;
    text += (i == 0 ? "(" : ", ") + std::string(digits, end);
  }
  return info().parameter_count > 0 ? text + ")" : text;
}

void forward(const Context& ctx, const Activation& f, ConstTensorView x, TensorView y) {
  const Validator check("forward", ctx);
  check_activation(f);
  check_parameters(f, f.name());
  check.tensor("x", x);
  check.tensor("y", y, x.dtype(), x.shape());
  check.same_or_disjoint("y", y, "x", x);
  if (x.count() == 0) return;
  if (run_on_cuda("forward", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_forward(arguments(f), x.data_as<T>(), y.data_as<T>(), x.count(), ctx.stream());
      }))
    return;
  reference::forward(f, x, y, ctx.threads());
}

void backward(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView dy, TensorView dx) {
  const Validator check("backward", ctx);
  check_activation(f);
  check_parameters(f, f.name());
  check.tensor("x", x);
  check.tensor("dy", dy, x.dtype(), x.shape());
  check.tensor("dx", dx, x.dtype(), x.shape());
  check.same_or_disjoint("dx", dx, "x", x);
  check.same_or_disjoint("dx", dx, "dy", dy);
  if (x.count() == 0) return;
  if (run_on_cuda("backward", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_backward(arguments(f), x.data_as<T>(), dy.data_as<T>(), dx.data_as<T>(),
                                        x.count(), ctx.stream());
      }))
    return;
  reference::backward(f, x, dy, dx, ctx.threads());
}

void jvp(const Context& ctx, const Activation& f, ConstTensorView x, ConstTensorView tx, TensorView y,
         TensorView ty) {
  const Validator check("jvp", ctx);
  check_activation(f);
  check_parameters(f, f.name());
  check.tensor("x", x);
  check.tensor("tx", tx, x.dtype(), x.shape());
  check.tensor("y", y, x.dtype(), x.shape());
  check.tensor("ty", ty, x.dtype(), x.shape());
  check.same_or_disjoint("y", y, "x", x);
  check.same_or_disjoint("y", y, "tx", tx);
  check.same_or_disjoint("ty", ty, "x", x);
  check.same_or_disjoint("ty", ty, "tx", tx);
  check.disjoint("y", y, "ty", ty);
  if (x.count() == 0) return;
  if (run_on_cuda("jvp", ctx, x.dtype(), [&]<class T>(std::type_identity<T>) {
        return kernels::launch_jvp(arguments(f), x.data_as<T>(), tx.data_as<T>(), y.data_as<T>(),
                                   ty.data_as<T>(), x.count(), ctx.stream());
      }))
    return;
  reference::jvp(f, x, tx, y, ty, ctx.threads());
}

}  // namespace actium

#include <actium/activation.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "activation_checks.hpp"

namespace actium {

namespace {

#define ACTIUM_COUNT_P0() 0
#define ACTIUM_COUNT_P1(...) 1
#define ACTIUM_COUNT_P2(...) 2
#define ACTIUM_COUNT_P3(...) 3
#define ACTIUM_NAMES_P0()
#define ACTIUM_NAMES_P1(a, ...) #a
#define ACTIUM_NAMES_P2(a, x, u, b, ...) #a, #b
#define ACTIUM_NAMES_P3(a, x, u, b, y, v, c, ...) #a, #b, #c
#define ACTIUM_DEFAULTS_P0()
#define ACTIUM_DEFAULTS_P1(a, x, ...) x
#define ACTIUM_DEFAULTS_P2(a, x, u, b, y, ...) x, y
#define ACTIUM_DEFAULTS_P3(a, x, u, b, y, v, c, z, ...) x, y, z
#define ACTIUM_DOMAINS_P0()
#define ACTIUM_DOMAINS_P1(a, x, u) ParameterDomain::u
#define ACTIUM_DOMAINS_P2(a, x, u, b, y, v) ParameterDomain::u, ParameterDomain::v
#define ACTIUM_DOMAINS_P3(a, x, u, b, y, v, c, z, w) \
  ParameterDomain::u, ParameterDomain::v, ParameterDomain::w
constexpr ActivationInfo kActivations[] = {
#define ACTIUM_ACTIVATION(name, parameters, value32, slope32, curvature32, value64, slope64, curvature64, \
                          backward, formula)                                                              \
  {ActivationKind::name,                                                                                  \
   #name,                                                                                                 \
   ACTIUM_COUNT_##parameters,                                                                             \
   {ACTIUM_NAMES_##parameters},                                                                           \
   {ACTIUM_DEFAULTS_##parameters},                                                                        \
   {ACTIUM_DOMAINS_##parameters},                                                                         \
   {value32, slope32, curvature32},                                                                       \
   {value64, slope64, curvature64},                                                                       \
   BackwardFrom::backward,                                                                                \
   formula},
#include <actium/activations.def>
};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

[[noreturn]] void bad_parameter(std::string_view text, const std::string& why) {
  throw Error(ErrorKind::kInvalidArgument, "activation '" + std::string(text) + "': " + why);
}

constexpr ActivationAlias kAliases[] = {
    {"linear", "identity"},
    {"logistic", "sigmoid"},
    {"logsigmoid", "log_sigmoid"},
    {"swish", "silu"},
    {"gelu_erf", "gelu"},
    {"gelu_new", "gelu_tanh"},
    {"gelu_pytorch_tanh", "gelu_tanh"},
    {"hard_sigmoid", "hardsigmoid"},
    {"hard_swish", "hardswish"},
    {"h_swish", "hardswish"},
    {"hard_tanh", "hardtanh"},
    {"hard_shrink", "hardshrink"},
    {"soft_shrink", "softshrink"},
    {"soft_sign", "softsign"},
    {"relu2", "relu_squared"},
    {"squared_relu", "relu_squared"},
    {"tanh_shrink", "tanhshrink"},
    {"sin", "sine"},
};

/// Empty where a parameter is in its domain, else what it should be.
std::string outside(const ActivationInfo& info, std::span<const double> parameters, std::size_t i) {
  const double p = parameters[i];
  if (!std::isfinite(p)) return "a finite number";
  switch (info.parameter_domains[i]) {
    case ParameterDomain::finite:
      break;
    case ParameterDomain::positive:
      return p > 0 ? "" : "> 0";
    case ParameterDomain::nonnegative:
      return p >= 0 ? "" : ">= 0";
    case ParameterDomain::not_below_first:
      return p >= parameters[0] ? "" : "at least " + std::string(info.parameter_names[0]);
  }
  return "";
}

/// A number, with a sign or not, and nothing else.
double parse_number(std::string_view text, std::string_view item) {
  std::string_view digits = item;
  if (digits.starts_with('+')) digits.remove_prefix(1);  // which from_chars does not take
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() ||
      (digits.size() < item.size() && digits.starts_with('-')))
    bad_parameter(text, "want a number, got '" + std::string(item) + "'");
  return value;
}

std::size_t parameter_index(std::string_view text, const ActivationInfo& info, std::string_view name) {
  const auto names = std::span(info.parameter_names).first(static_cast<std::size_t>(info.parameter_count));
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string list;
  for (const std::string_view known : names) list += (list.empty() ? "" : ", ") + std::string(known);
  bad_parameter(text, "no parameter '" + std::string(name) + "'; there is " + list);
}

/// "0.1", "-1, hi=2": by place, then by name, none twice.
void parse_parameters(std::string_view text, std::string_view list, const ActivationInfo& info,
                      std::span<double> parameters) {
  bool named = false, there[kMaxParameters] = {};
  for (std::size_t position = 0; !list.empty(); ++position) {
    const auto comma = list.find(',');
    std::string_view item = trimmed(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    if (comma != std::string_view::npos && trimmed(list).empty())
      bad_parameter(text, "want a parameter after ','");
    const int count = info.parameter_count;
    if (count == 0) bad_parameter(text, std::string(info.name) + " has no parameters");
    if (position >= static_cast<std::size_t>(count) && !named)
      bad_parameter(text,
                    "want at most " + std::to_string(count) + (count == 1 ? " parameter" : " parameters"));
    std::size_t index = position;
    if (const auto equals = item.find('='); equals != std::string_view::npos) {
      named = true;
      index = parameter_index(text, info, trimmed(item.substr(0, equals)));
      item = trimmed(item.substr(equals + 1));
    } else if (named) {
      bad_parameter(text, "want '" + std::string(item) + "' before the named parameters");
    }
    if (there[index]) bad_parameter(text, std::string(info.parameter_names[index]) + " is there twice");
    there[index] = true;
    parameters[index] = parse_number(text, item);
  }
}

}  // namespace

void check_activation(const Activation& f, std::string_view text) {
  if (static_cast<std::size_t>(f.kind()) >= std::size(kActivations))
    throw Error(ErrorKind::kUnknownName,
                "no activation of kind " + std::to_string(static_cast<int>(f.kind())));
  const ActivationInfo& info = f.info();
  for (std::size_t i = 0; i < static_cast<std::size_t>(info.parameter_count); ++i)
    if (const std::string want = outside(info, f.parameters(), i); !want.empty())
      bad_parameter(
          text.empty() ? std::string_view(info.name) : text,
          std::string(info.parameter_names[i]) + ": want " + want + ", got " + number(f.parameters()[i]));
}

void check_activation(const Activation& f, DType dtype) {
  check_activation(f);
  if (dtype == DType::kF64) return;
  using Limits = std::numeric_limits<float>;
  for (std::size_t i = 0; i < static_cast<std::size_t>(f.info().parameter_count); ++i)
    if (const double size = std::fabs(f.parameters()[i]);
        size > Limits::max() || (size > 0 && size < Limits::min()))
      bad_parameter(f.name(), std::string(f.info().parameter_names[i]) +
                                  ": want 0 or a size from 1.18e-38 to 3.4e+38, got " +
                                  number(f.parameters()[i]));
}

bool takes_slope_per_channel(ActivationKind kind) {
  const std::string_view name = kActivations[static_cast<std::size_t>(kind)].name;
  return name == "leaky_relu" || name == "prelu";
}

std::span<const ActivationInfo> activations() { return kActivations; }

std::span<const ActivationAlias> activation_aliases() { return kAliases; }

Activation Activation::parse(std::string_view text) {
  const auto open = text.find('(');
  const std::string_view name = trimmed(text.substr(0, open));
  const ActivationInfo* info = nullptr;
  std::vector<std::string_view> names, aliases;
  for (const ActivationInfo& candidate : kActivations) {
    names.push_back(candidate.name);
    if (candidate.name == name) info = &candidate;
  }
  for (const auto& [alias, meant] : kAliases) {
    aliases.push_back(alias);
    // Without parameters "swish" is silu; with one it is the activation of that name.
    if (alias == name && (info == nullptr || open == std::string_view::npos))
      info = &*std::ranges::find(kActivations, meant, &ActivationInfo::name);
  }
  if (info == nullptr) throw_unknown_name("activation", name, names, aliases);
  Activation f(info->kind, info->parameter_defaults);
  if (open == std::string_view::npos) return f;

  const std::string_view tail = trimmed(text.substr(open + 1));
  if (tail.empty() || tail.back() != ')') bad_parameter(text, "want a closing ')' at the end");
  parse_parameters(text, trimmed(tail.substr(0, tail.size() - 1)), *info, f.parameters_);
  check_activation(f, text);
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

}  // namespace actium

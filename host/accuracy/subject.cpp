#include <accuracy/subject.hpp>
#include <cmath>
#include <random>

namespace actium::accuracy {

template <ActivationKind K>
std::unique_ptr<Subject> make_subject_of(const ParameterValues& parameters);
#define ACTIUM_ACTIVATION(name, ...) \
  template <>                        \
  std::unique_ptr<Subject> make_subject_of<ActivationKind::name>(const ParameterValues& parameters);
#include <actium/activations.def>

std::unique_ptr<Subject> make_subject(ActivationKind kind, const ParameterValues& parameters) {
  switch (kind) {
#define ACTIUM_ACTIVATION(name, ...) \
  case ActivationKind::name:         \
    return make_subject_of<ActivationKind::name>(parameters);
#include <actium/activations.def>
  }
  return nullptr;
}

std::unique_ptr<Subject> make_subject(ActivationKind kind) {
  return make_subject(kind, activations()[static_cast<std::size_t>(kind)].parameter_defaults);
}

std::vector<ParameterValues> more_parameters(const ActivationInfo& info) {
  constexpr std::size_t kSets = 5;
  const auto candidates = [](ParameterDomain domain) -> std::array<double, kSets> {
    switch (domain) {
      case ParameterDomain::finite:
        return {0, 0.3, 1, -2.5, 1e10};
      case ParameterDomain::positive:
        return {0.3, 1, 2.5, 0x1p-10, 100};
      case ParameterDomain::nonnegative:
        return {0, 0.3, 1.0199999214410782, 2.051757931470871, 1e4};
      case ParameterDomain::not_below_first:  // added to the first
        return {0, 0.3, 1, 2.5, 1e4};
    }
    return {};
  };
  std::vector<ParameterValues> sets;
  if (info.parameter_count == 0) return sets;
  for (std::size_t set = 0; set < kSets; ++set) {
    ParameterValues values{};
    for (std::size_t i = 0; i < static_cast<std::size_t>(info.parameter_count); ++i) {
      const ParameterDomain domain = info.parameter_domains[i];
      values[i] = candidates(domain)[set] + (domain == ParameterDomain::not_below_first ? values[0] : 0);
    }
    sets.push_back(values);
  }

  // Ordinary ones, each parameter by itself, all but half way between two floats: what a bound should hold
  // for is not only round numbers. The same in every run.
  constexpr std::size_t kDrawn = 3;
  std::mt19937_64 random(20261122);
  const auto drawn = [&](ParameterDomain domain) {
    const double exponent = static_cast<double>(random() >> 11) * 0x1p-53 * 12 - 7;
    const bool negative = (random() & 1) != 0;
    const bool may_be_negative = domain == ParameterDomain::finite;
    const auto p = static_cast<float>(std::exp2(exponent));
    const double between = static_cast<double>(p) + 0.499 * static_cast<double>(std::nextafter(p, 2 * p) - p);
    return may_be_negative && negative ? -between : between;
  };
  for (std::size_t set = 0; set < kDrawn; ++set) {
    ParameterValues values{};
    for (std::size_t i = 0; i < static_cast<std::size_t>(info.parameter_count); ++i) {
      const ParameterDomain domain = info.parameter_domains[i];
      values[i] = drawn(domain) + (domain == ParameterDomain::not_below_first ? values[0] : 0);
    }
    sets.push_back(values);
  }
  return sets;
}

}  // namespace actium::accuracy

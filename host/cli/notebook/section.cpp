#include "section.hpp"

#include <algorithm>
#include <cmath>

#include "../arrays.hpp"

namespace actium::cli::notebook {

void Section::check(std::string name, bool pass, std::string detail) {
  checks_.push_back({std::move(name), pass, std::move(detail)});
}

void Section::check_at_most(std::string name, double value, double bound) {
  check(std::move(name), value <= bound, fmt::format("{:.6g}, at most {:.6g}", value, bound));
}

void Section::check_close(std::string name, double value, double expected, double tolerance) {
  check(std::move(name), std::abs(value - expected) <= tolerance,
        fmt::format("{:.10g}, expected {:.10g} within {:.2g}", value, expected, tolerance));
}

void Section::check_close(std::string name, std::span<const double> got, std::span<const double> expected,
                          double tolerance) {
  if (got.size() != expected.size())
    return check(std::move(name), false, fmt::format("{} values, expected {}", got.size(), expected.size()));
  const double difference = largest_difference(got, expected);
  check(std::move(name), difference <= tolerance,
        fmt::format("largest difference {:.2g}, at most {:.2g}", difference, tolerance));
}

void Section::check_sampled(std::string name, double value, double expected, double standard_error) {
  check(std::move(name), std::abs(value - expected) <= kSigmas * standard_error,
        fmt::format("{:.6g}, expected {:.6g} within {} standard errors = {:.2g}", value, expected, kSigmas,
                    kSigmas * standard_error));
}

bool Section::pass() const {
  return !checks_.empty() && std::ranges::all_of(checks_, [](const Check& c) { return c.pass; });
}

Json Section::to_json() const {
  Json checks = Json::array();
  for (const Check& c : checks_) checks.push_back({{"name", c.name}, {"pass", c.pass}, {"detail", c.detail}});
  return {{"section", number_}, {"title", title_}, {"pass", pass()}, {"values", values}, {"checks", checks}};
}

Vector evaluate(const Context& ctx, const Activation& f, std::span<const double> x, int order) {
  return cli::evaluate(ctx, f, to_tensor(ctx, DType::kF64, x), order).to_doubles(ctx);
}

Vector central_difference(const Context& ctx, const Activation& f, std::span<const double> x, double eps) {
  Vector above(x.begin(), x.end()), below = above;
  for (double& v : above) v += eps;
  for (double& v : below) v -= eps;
  Vector result = evaluate(ctx, f, above);
  const Vector lower = evaluate(ctx, f, below);
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = (result[i] - lower[i]) / (above[i] - below[i]);
  return result;
}

Tensor normal_sample(const Context& ctx, const Shape& shape, std::uint64_t sequence, double mean,
                     double deviation) {
  Tensor sample(ctx, DType::kF64, shape);
  fill_normal(ctx, sample, {.seed = kSeed, .sequence = sequence}, mean, deviation);
  return sample;
}

Vector linspace(double first, double last, int count) {
  Vector x;
  for (int i = 0; i < count; ++i) x.push_back(first + (last - first) * i / (count - 1));
  return x;
}

double largest_difference(std::span<const double> a, std::span<const double> b) {
  double largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (std::isnan(difference)) return difference;
    largest = std::max(largest, difference);
  }
  return largest;
}

std::string rounded(std::span<const double> values, int decimals) {
  std::string text;
  for (const double v : values) text += fmt::format("{}{:.{}f}", text.empty() ? "" : ", ", v, decimals);
  return "[" + text + "]";
}

}  // namespace actium::cli::notebook

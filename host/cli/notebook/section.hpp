#pragma once
/// One section of the notebook: what it prints, the values behind it, and its checks.
#include <fmt/format.h>
#include <actium/activation.hpp>
#include <actium/initializer.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace actium::cli::notebook {

using Json = nlohmann::ordered_json;
using Vector = std::vector<double>;

/// The seed of every random number of the notebook; each draw has its own sequence.
inline constexpr std::uint64_t kSeed = 42;

/// A statistic of random draws is accepted within this many standard errors.
inline constexpr double kSigmas = 4.5;

struct Check {
  std::string name;
  bool pass;
  std::string detail;
};

/// Filled by the section's function. A check with a NaN in it fails.
class Section {
 public:
  Section(int number, std::string title) : number_(number), title_(std::move(title)) {}

  template <class... T>
  void print(fmt::format_string<T...> format, T&&... arguments) {
    lines_.push_back(fmt::format(format, std::forward<T>(arguments)...));
  }
  void check(std::string name, bool pass, std::string detail = {});
  void check_at_most(std::string name, double value, double bound);
  /// |value - expected| <= tolerance.
  void check_close(std::string name, double value, double expected, double tolerance);
  /// The same for each element; lists of different lengths fail.
  void check_close(std::string name, std::span<const double> got, std::span<const double> expected,
                   double tolerance);
  /// |value - expected| <= kSigmas * standard_error.
  void check_sampled(std::string name, double value, double expected, double standard_error);

  int number() const { return number_; }
  const std::string& title() const { return title_; }
  const std::vector<Check>& checks() const { return checks_; }
  const std::vector<std::string>& lines() const { return lines_; }
  bool pass() const;  ///< there are checks, and all of them pass
  Json to_json() const;

  Json values = Json::object();

 private:
  int number_;
  std::string title_;
  std::vector<Check> checks_;
  std::vector<std::string> lines_;
};

/// f(x) for order 0 and f'(x) for order 1, in f64 on the context's device.
Vector evaluate(const Context& ctx, const Activation& f, std::span<const double> x, int order = 0);
inline Vector slope(const Context& ctx, const Activation& f, std::span<const double> x) {
  return evaluate(ctx, f, x, 1);
}
/// (f(x + eps) - f(x - eps)) / (2 eps), as in the notebook.
Vector central_difference(const Context& ctx, const Activation& f, std::span<const double> x,
                          double eps = 1e-5);

/// Standard normal f64 numbers of the given shape, scaled and shifted.
Tensor normal_sample(const Context& ctx, const Shape& shape, std::uint64_t sequence, double mean = 0,
                     double deviation = 1);

Vector linspace(double first, double last, int count);
double largest_difference(std::span<const double> a, std::span<const double> b);  ///< NaN if there is one
std::string rounded(std::span<const double> values, int decimals);                ///< "[0.1192, -1.0000]"

}  // namespace actium::cli::notebook

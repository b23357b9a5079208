/// actium accuracy: measures how far the functors are from exact results, against the bounds of the registry.
#include <accuracy/page.hpp>
#include <iterator>

#include "commands.hpp"
#include "fail.hpp"
#include "number_list.hpp"
#include "output.hpp"
#include "page_file.hpp"
#include "progress_bar.hpp"

namespace actium::cli {
namespace {

using accuracy::Figure;
using accuracy::PageRow;

constexpr const char* kFunctionNames[] = {"value", "slope", "curvature"};

/// What is to be measured.
struct Plan {
  std::vector<Activation> activations;
  std::vector<DType> dtypes{std::begin(kDTypes), std::end(kDTypes)};
  std::vector<int> orders{0, 1, 2};
};

Plan plan_of(const AccuracyOptions& options) {
  Plan plan;
  if (options.name) {
    plan.activations.push_back(Activation::parse(*options.name));
  } else {
    for (const ActivationInfo& info : activations())
      plan.activations.emplace_back(info.kind, info.parameter_defaults);
  }
  if (options.dtype) plan.dtypes = {parse_dtype(*options.dtype)};
  if (options.order)
    plan.orders = {
        parse_integer("--order", *options.order, 0, 2, "0 (the value), 1 (the slope) or 2 (the curvature)")};
  if (options.exhaustive && std::ranges::find(plan.dtypes, DType::kF32) == plan.dtypes.end())
    fail("--exhaustive: want f32 among the dtypes; f16 and bf16 always take every input, f64 never can");
  if (options.write) {
    if (options.name || options.dtype || options.order)
      fail("--write: the page has every activation, dtype and order: want no name, --dtype or --order");
    if (!accuracy::judges_exactly())
      throw Error(ErrorKind::kNotBuilt, "--write: this build has no MPFR to judge the worst errors by",
                  "apt-get install libmpfr-dev and build again");
  }
  return plan;
}

Json to_json(const Activation& f, const Figure& figure, const std::optional<Figure>& naive) {
  Json json = {{"activation", f.to_string()},
               {"dtype", to_string(figure.dtype)},
               {"order", figure.order},
               {"max_ulp", figure.ulp},
               {"at", figure.x},
               {"reciprocal_ulp", figure.corner.reciprocal},
               {"exp2_ulp", figure.corner.exp2},
               {"reciprocal_sqrt_ulp", figure.corner.reciprocal_sqrt},
               {"inputs", figure.inputs},
               {"misrounded", figure.misrounded},
               {"bound", figure.bound},
               {"within_bound", figure.within_bound()}};
  if (naive) {
    json["naive_max_ulp"] = naive->ulp;
    json["naive_at"] = naive->x;
  }
  return json;
}

void print(const Output& out, const Activation& f, const Figure& figure, const std::optional<Figure>& naive) {
  out.print("{:<20} {:<5} {:<9} {:>10.5g} {:>16.9g} {:>9.3g} % {:>8g} {:>10} {}\n", f.to_string(),
            to_string(figure.dtype), kFunctionNames[figure.order], figure.ulp, figure.x,
            100 * figure.misrounded_share(), figure.bound, naive ? fmt::format("{:.3g}", naive->ulp) : "",
            figure.within_bound() ? "" : "BEYOND ITS BOUND");
}

}  // namespace

int run_accuracy(const AccuracyOptions& options) {
  if (options.name == "softmax") return run_softmax_accuracy(options);
  if (options.device != "auto")
    fail(
        "--device: want it with softmax alone: activations are measured by the kernels' functors on the CPU");
  const Plan plan = plan_of(options);
  const std::string page = options.write ? read_page(*options.write) : "";
  Output out(options.json);
  if (!accuracy::judges_exactly())
    out.print("built without MPFR: compared with the reference in double and long double only\n");
  out.print("{:<20} {:<5} {:<9} {:>10} {:>16} {:>11} {:>8} {:>10}\n", "activation", "dtype", "function",
            "max ULP", "at x", "misrounded", "bound", "naive ULP");
  out.flush();

  ProgressBar bar(plan.activations.size() * (plan.dtypes.size() + 1));
  Json list = Json::array();
  std::vector<PageRow> rows;
  int beyond = 0;
  for (const Activation& f : plan.activations) {
    const auto measuring = [&](std::string_view what) {
      const std::string text = fmt::format("{} {}", f.name(), what);
      return accuracy::Options{.effort = 4,
                               .exhaustive = options.exhaustive,
                               .progress = [&bar, text](double share) { bar.show(text, share); }};
    };
    accuracy::ParameterValues parameters;
    std::ranges::copy(f.parameters(), parameters.begin());
    const auto subject = accuracy::make_subject(f.kind(), parameters);
    PageRow row{.name = f.name(), .figures = {}, .naive = {}};
    // The naive formulas have the default parameters.
    if (std::ranges::find(plan.dtypes, DType::kF32) != plan.dtypes.end() &&
        parameters == f.info().parameter_defaults) {
      accuracy::Options sampled = measuring("naive");
      sampled.exhaustive = false;
      row.naive = accuracy::measure_naive(*subject, sampled);
    }
    bar.next();
    for (std::size_t i = 0; i < plan.dtypes.size(); ++i) {
      const DType dtype = plan.dtypes[i];
      row.figures[i] = accuracy::measure(*subject, dtype, measuring(to_string(dtype)));
      bar.next();
      bar.clear();
      for (const int order : plan.orders) {
        const Figure& figure = row.figures[i][static_cast<std::size_t>(order)];
        const bool has_naive = dtype == DType::kF32 && order < 2;
        const auto naive = has_naive ? row.naive[static_cast<std::size_t>(order)] : std::nullopt;
        print(out, f, figure, naive);
        list.push_back(to_json(f, figure, naive));
        beyond += !figure.within_bound();
      }
      out.flush();
    }
    rows.push_back(row);
  }
  bar.clear();
  if (options.write) write_page(*options.write, accuracy::with_tables(page, accuracy::page_tables(rows)));
  out.write_json({{"exact", accuracy::judges_exactly()},
                  {"measured_on", "cpu model"},
                  {"exhaustive", options.exhaustive},
                  {"figures", std::move(list)}});
  if (beyond > 0) out.print("{} {} beyond the bound\n", beyond, beyond == 1 ? "is" : "are");
  return beyond == 0 ? 0 : 1;
}

}  // namespace actium::cli

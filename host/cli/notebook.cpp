/// actium notebook: the 25 sections, computed, printed and checked.
#include <actium/error.hpp>
#include <algorithm>
#include <filesystem>
#include <iterator>

#include "commands.hpp"
#include "notebook/sections.hpp"
#include "number_list.hpp"
#include "output.hpp"
#include "plots.hpp"

namespace actium::cli {
namespace {

using notebook::Section;

struct Entry {
  const char* title;
  void (*fill)(const Context&, Section&);
};

/// In the notebook's order: section 1 first.
constexpr Entry kSections[] = {
    {"Curves", notebook::curves},
    {"Sigmoid derivative", notebook::sigmoid_derivative},
    {"Tanh derivative", notebook::tanh_derivative},
    {"Derivative comparison plot", notebook::derivative_comparison},
    {"Saturation", notebook::saturation},
    {"Affine collapse", notebook::affine_collapse},
    {"ReLU sparsity", notebook::relu_sparsity},
    {"Leaky ReLU keeps negative gradient", notebook::leaky_relu_gradient},
    {"Softplus approximates ReLU", notebook::softplus_approximates_relu},
    {"GELU and SiLU negative tails", notebook::negative_tails},
    {"Smooth activation derivatives", notebook::smooth_derivatives},
    {"GLU", notebook::glu_unit},
    {"GEGLU and SwiGLU", notebook::geglu_and_swiglu},
    {"Bilinear gate gradients", notebook::bilinear_gradients},
    {"Softmax probabilities", notebook::softmax_probabilities},
    {"Stable softmax shift invariance", notebook::softmax_shift_invariance},
    {"Temperature softmax", notebook::softmax_temperature},
    {"Softmax Jacobian", notebook::softmax_jacobian_matrix},
    {"Softmax saturation", notebook::softmax_saturation},
    {"Activation variance", notebook::activation_variance},
    {"Xavier vs He scale", notebook::xavier_and_he_scale},
    {"One-layer signal propagation", notebook::one_layer_propagation},
    {"Vanishing gradient toy product", notebook::vanishing_gradient},
    {"ReLU active path product", notebook::relu_active_path},
    {"Dead neuron diagnostic", notebook::dead_neurons},
};
constexpr int kCount = static_cast<int>(std::size(kSections));

/// The sections asked for, in the notebook's order.
std::vector<int> chosen(const NotebookOptions& options) {
  std::vector<int> numbers;
  for (const std::string& list : options.sections)
    std::ranges::copy(parse_integer_list("--section", list, 1, kCount, fmt::format("1 to {}", kCount)),
                      std::back_inserter(numbers));
  if (options.sections.empty())
    for (int number = 1; number <= kCount; ++number) numbers.push_back(number);
  std::ranges::sort(numbers);
  numbers.erase(std::ranges::unique(numbers).begin(), numbers.end());
  return numbers;
}

void print(const Output& out, const Section& section) {
  out.print("\n{:>2}  {:<36} {}\n", section.number(), section.title(), section.pass() ? "PASS" : "FAIL");
  for (const std::string& line : section.lines()) out.print("      {}\n", line);
  for (const notebook::Check& check : section.checks())
    out.print("      {} - {}{}\n", check.pass ? "PASS" : "FAIL", check.name,
              check.detail.empty() ? "" : ": " + check.detail);
}

/// Makes the folder for the figures and opens notebook.json in it.
JsonFile open_plots(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("--plots: cannot make the folder '{}': {}", folder, error.message()));
  return JsonFile(folder + "/notebook.json");
}

}  // namespace

int run_notebook(const NotebookOptions& options) {
  const std::vector<int> numbers = chosen(options);
  const Context ctx = open_context(options);
  Output out(options.json);
  std::optional<JsonFile> plots_json;
  if (options.plots) plots_json = open_plots(*options.plots);
  const std::string version = build_info().version;
  out.print("actium {}: activation-functions notebook on {}, seed {}\n", version, ctx.name(),
            notebook::kSeed);

  Json sections = Json::array();
  int passed = 0;
  for (const int number : numbers) {
    const Entry& entry = kSections[number - 1];
    Section section(number, entry.title);
    entry.fill(ctx, section);
    print(out, section);
    out.flush();
    passed += section.pass();
    sections.push_back(section.to_json());
  }
  const int run = static_cast<int>(sections.size());
  out.print("\n{} of {} {} on {}\n", passed, run, run == 1 ? "section passes" : "sections pass", ctx.name());

  const Json document = {{"device", ctx.name()},
                         {"version", version},
                         {"seed", notebook::kSeed},
                         {"sections", std::move(sections)}};
  out.write_json(document);
  if (plots_json) {
    plots_json->write(document);
    out.flush();
    draw_plots(plots_json->path(), *options.plots);
    out.print("figures in {}\n", *options.plots);
  }
  return passed == run ? 0 : 1;
}

}  // namespace actium::cli

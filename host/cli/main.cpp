/// The `actium` program: its words, and what its exit status means.
#include <fcntl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <actium/error.hpp>
#include <algorithm>
#include <functional>
#include <new>
#include <span>
#include <sstream>

#include "commands.hpp"
#include "output.hpp"

namespace actium::cli {
namespace {

// Exit statuses; 0 is success and 1 says that a section of the notebook failed (notebook.cpp)
// or that an error is beyond its bound (accuracy.cpp).
constexpr int kUsageError = 2;
constexpr int kInternalError = 3;

constexpr const char* kListHelp = "numbers separated by commas, or @FILE, or @- for stdin";
constexpr const char* kDtypeHelp = "f64, f32, f16 or bf16";

void add_common(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "auto, cpu or cuda")->type_name("DEVICE");
  command.add_option("--json", options.json, "write JSON to a file, or to stdout for -")->type_name("FILE");
}

/// Adds the subcommands to the program; parsing fills `options` and sets `chosen`.
struct Subcommands {
  EvalOptions eval;
  SoftmaxCommandOptions softmax;
  CommonOptions doctor;
  AccuracyOptions accuracy;
  NotebookOptions notebook;
  std::function<int()> chosen;

  void add_eval(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("eval", "evaluate an activation or its derivatives");
    command.add_option("name", eval.name, "an activation, as gelu or leaky_relu(0.1)")->required();
    command.add_option("--x", eval.x, kListHelp)->required()->type_name("LIST");
    command.add_option("--order", eval.order, "0: the value, 1: the slope, 2: the curvature")->type_name("N");
    command.add_option("--dtype", eval.dtype, kDtypeHelp)->type_name("DTYPE");
    add_common(command, eval);
    command.callback([this] { chosen = [this] { return run_eval(eval); }; });
  }

  void add_softmax(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("softmax", "softmax of rows, its statistics and derivatives");
    CLI::App& input = *command.add_option_group("logits");
    input.add_option("--logits", softmax.logits, std::string("one row: ") + kListHelp)->type_name("LIST");
    input.add_option("--rows", softmax.rows, "many rows, of any lengths: a list a line (-: stdin)")
        ->type_name("FILE");
    input.require_option(1);
    command.add_option("--mask", softmax.mask, "1 for each logit that takes part, 0 for the others")
        ->type_name("LIST");
    command
        .add_option("--label", softmax.label, "the right class, from 0, of each row: adds the cross-entropy")
        ->type_name("LIST");
    command.add_option("--temperature", softmax.temperature, "finite and > 0")->type_name("T");
    command.add_option("--tangent", softmax.tangent, "a direction: adds the Jacobian-vector products")
        ->type_name("LIST");
    command.add_flag("--jacobian", softmax.jacobian, "adds the dense Jacobian");
    command.add_option("--dtype", softmax.dtype, kDtypeHelp)->type_name("DTYPE");
    add_common(command, softmax);
    command.callback([this] { chosen = [this] { return run_softmax(softmax); }; });
  }

  void add_doctor(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("doctor", "what was built, what was found, what will be used");
    add_common(command, doctor);
    command.callback([this] { chosen = [this] { return run_doctor(doctor); }; });
  }

  void add_accuracy(CLI::App& app) {
    CLI::App& command =
        *app.add_subcommand("accuracy", "measure errors in ULP against the bounds of the registry");
    command.add_option("name", accuracy.name,
                       "an activation, as gelu or leaky_relu(0.1), or softmax; default: all activations");
    command.add_option("--order", accuracy.order, "0: the value, 1: the slope, 2: the curvature")
        ->type_name("N");
    command.add_option("--dtype", accuracy.dtype, kDtypeHelp)->type_name("DTYPE");
    command.add_flag("--exhaustive", accuracy.exhaustive, "take every float for f32 (hours)");
    command
        .add_option("--write", accuracy.write,
                    "rewrite the tables of this page: docs/accuracy.md, or docs/softmax.md")
        ->type_name("FILE");
    add_common(command, accuracy);
    command.callback([this] { chosen = [this] { return run_accuracy(accuracy); }; });
  }

  void add_notebook(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("notebook", "recompute and check the activation notebook");
    command.add_option("--section", notebook.sections, "1 to 25; may be repeated; default: all")
        ->type_name("N")
        ->allow_extra_args(false);
    command.add_option("--plots", notebook.plots, "draw figures into this folder")->type_name("DIR");
    add_common(command, notebook);
    command.callback([this] { chosen = [this] { return run_notebook(notebook); }; });
  }
};

/// Takes the numbers 0, 1 and 2 where the caller has closed them, so that no file opened later gets them and
/// is mistaken for a standard stream. To use the stream still fails.
void hold_standard_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(number, F_GETFD) < 0) open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int fail(int status, const std::string& message) {
  write_stderr("actium: " + one_line(message) + "\n");
  return status;
}

int fail_out_of_memory() {
  write_stderr("actium: out of memory\n");  // allocates nothing
  return kUsageError;
}

/// The words after the program's name; "--x=" becomes "--x" and an empty word, which CLI11 would lose.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words;
  for (const std::string word : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    const bool empty_value = word.starts_with("--") && word.ends_with('=');
    words.push_back(empty_value ? word.substr(0, word.size() - 1) : word);
    if (empty_value) words.emplace_back();
  }
  return words;
}

/// Throws if the first word is neither a subcommand nor an option of the program itself.
void check_subcommand(const CLI::App& app, const std::vector<std::string>& words) {
  if (!words.empty() && words[0].starts_with('-')) return;
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!words.empty() && words[0] == command->get_name()) return;
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  const std::string given = words.empty() ? "want a subcommand" : "no subcommand '" + words[0] + "'";
  throw Error(ErrorKind::kUnknownName, given + "; there are: " + names, "see actium --help");
}

/// What CLI11 has against the words. It names a missing option before an unknown one, and unknown ones last
/// first; here those come first, as they were given.
std::string complaint(const CLI::App& app, const CLI::ParseError& error) {
  std::string unknown;
  for (const std::string& word : app.remaining(/*recurse=*/true)) unknown += " " + word;
  return unknown.empty() ? error.what() : "not expected:" + unknown;
}

int run(int argc, char** argv) {
  CLI::App app("Activation functions, gated units and softmax, on a GPU or a CPU", "actium");
  app.set_version_flag("--version", "actium " + build_info().version);
  app.require_subcommand(1);
  Subcommands subcommands;
  subcommands.add_notebook(app);
  subcommands.add_eval(app);
  subcommands.add_softmax(app);
  subcommands.add_accuracy(app);
  subcommands.add_doctor(app);
  try {
    std::vector<std::string> words = words_of(argc, argv);
    check_subcommand(app, words);
    std::ranges::reverse(words);  // as CLI11 wants them
    try {
      app.parse(words);
    } catch (const CLI::Success& help_or_version) {
      std::ostringstream text;
      const int status = app.exit(help_or_version, text, text);
      write_stdout(text.str());
      flush_stdout();
      return status;
    }
    const int status = subcommands.chosen();
    flush_stdout();
    return status;
  } catch (const CLI::ParseError& error) {
    return fail(kUsageError, complaint(app, error) + " (see actium --help)");
  } catch (const Error& error) {
    return fail(kUsageError, error.what());
  }
}

}  // namespace
}  // namespace actium::cli

int main(int argc, char** argv) {
  actium::cli::hold_standard_streams();
  try {
    return actium::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return actium::cli::fail_out_of_memory();
  } catch (const std::exception& error) {
    return actium::cli::fail(actium::cli::kInternalError, std::string("internal error: ") + error.what());
  }
}

#pragma once
/// The subcommands: what each is given, and the function that runs it and returns the exit status.
#include <optional>
#include <string>
#include <vector>

#include "options.hpp"

namespace actium::cli {

struct EvalOptions : CommonOptions {
  std::string name;
  std::string x;
  std::string order = "0";
  std::string dtype = "f64";
};
int run_eval(const EvalOptions& options);

struct SoftmaxCommandOptions : CommonOptions {
  std::optional<std::string> logits, rows;  ///< one of them
  std::string temperature = "1";
  std::optional<std::string> mask, label, tangent;
  bool jacobian = false;
  std::string dtype = "f64";
};
int run_softmax(const SoftmaxCommandOptions& options);

int run_doctor(const CommonOptions& options);

struct AccuracyOptions : CommonOptions {
  std::optional<std::string> name, order, dtype;  ///< none: all
  bool exhaustive = false;
  std::optional<std::string> write;  ///< a page whose tables are to be rewritten
};
int run_accuracy(const AccuracyOptions& options);
int run_softmax_accuracy(const AccuracyOptions& options);

struct NotebookOptions : CommonOptions {
  std::vector<std::string> sections;  ///< numbers, or numbers and commas; empty: all
  std::optional<std::string> plots;
};
int run_notebook(const NotebookOptions& options);

}  // namespace actium::cli

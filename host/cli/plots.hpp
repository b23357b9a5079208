#pragma once
/// Figures, drawn by a Python script from the program's JSON.
#include <string>

namespace actium::cli {

/// Runs plot_notebook.py on `json_file`, figures into `folder`. Throws Error that names what is missing where
/// there is no script, no python3 or no matplotlib.
void draw_plots(const std::string& json_file, const std::string& folder);

}  // namespace actium::cli

#include "plots.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <actium/error.hpp>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

namespace actium::cli {
namespace {

constexpr int kNoMatplotlib = 3;  // the script's own exit status for it

[[noreturn]] void no_plots(const std::string& message, const std::string& json_file) {
  throw Error(ErrorKind::kNotBuilt, "--plots: " + message, "the JSON is in " + json_file);
}

/// The script installed beside this program, or where this build installs it, or in the source tree that it
/// was built from; empty for none.
std::string script() {
  std::vector<std::filesystem::path> paths = {ACTIUM_DATA_DIR "/plot_notebook.py",
                                              ACTIUM_SOURCE_DIR "/scripts/plot_notebook.py"};
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error)
    paths.insert(paths.begin(), program.parent_path().parent_path() / "share/actium/plot_notebook.py");
  for (const std::filesystem::path& path : paths)
    if (std::filesystem::exists(path, error)) return path;
  return {};
}

/// Runs a program found on PATH, its stdout joined to our stderr, and returns its exit status; -1 if it was
/// killed. Throws std::system_error if there is no such program.
int run(std::string program, std::string first, std::string second, std::string third) {
  char* const words[] = {program.data(), first.data(), second.data(), third.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), &actions, nullptr, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), program);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

void draw_plots(const std::string& json_file, const std::string& folder) {
  const std::string path = script();
  if (path.empty()) no_plots("plot_notebook.py is neither installed nor in the source tree", json_file);
  int status = 0;
  try {
    status = run("python3", path, json_file, folder);
  } catch (const std::system_error&) {
    no_plots("python3 is missing: apt-get install python3-matplotlib", json_file);
  }
  if (status == kNoMatplotlib)
    no_plots(
        "python3 has no matplotlib: python3 -m pip install matplotlib, or apt-get install python3-matplotlib",
        json_file);
  if (status != 0) no_plots(fmt::format("{} failed with exit status {}", path, status), json_file);
}

}  // namespace actium::cli

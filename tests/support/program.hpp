#pragma once
/// Runs the `actium` program as a user would and keeps what it says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace actium_test {

using Json = nlohmann::ordered_json;

struct ProgramRun {
  int status = -1;  ///< exit status; -1 if it was killed
  std::string out, err;
};

inline std::string program_path() {
  if (const char* path = std::getenv("ACTIUM_PROGRAM")) return path;
#ifdef ACTIUM_PROGRAM_PATH
  return ACTIUM_PROGRAM_PATH;
#else
  return "actium";
#endif
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// An empty folder of this process's own, removed at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = testing::TempDir() + "/actium-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::string string() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Runs a command of the words given; `input` is its stdin, `search_path` its PATH unless empty.
inline ProgramRun run_command(std::vector<std::string> words, const std::string& input = "",
                              const std::string& search_path = "") {
  const TemporaryFolder folder;
  const std::string in = folder / "in", out = folder / "out", err = folder / "err";
  std::ofstream(in) << input;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
    dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    if (!search_path.empty()) setenv("PATH", search_path.c_str(), 1);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

/// Runs the program with the words given.
inline ProgramRun run_program(std::vector<std::string> words, const std::string& input = "",
                              const std::string& search_path = "") {
  words.insert(words.begin(), program_path());
  return run_command(std::move(words), input, search_path);
}

/// Runs a line of shell in which "$0" is the program.
inline ProgramRun run_shell(const std::string& line) {
  return run_command({"sh", "-c", line, program_path()});
}

/// Makes the folder, for PATH, one in which python3 is a shell script.
inline void fake_python(const TemporaryFolder& folder, const std::string& script) {
  const auto path = folder / "python3";
  std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
}

/// The JSON of a run that must succeed and print nothing else: `--json -` is appended.
inline Json run_for_json(std::vector<std::string> words, const std::string& input = "") {
  words.insert(words.end(), {"--json", "-"});
  const ProgramRun run = run_program(words, input);
  EXPECT_EQ(run.status, 0) << run.err;
  Json document = Json::parse(run.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(document.is_discarded()) << "stdout is not one JSON document: " << run.out.substr(0, 200);
  return document;
}

/// Expects one line on stderr, "actium: ..." with each of the texts in it, nothing on stdout, and status 2.
inline void expect_usage_error(const std::vector<std::string>& words, const std::vector<std::string>& texts,
                               const std::string& input = "") {
  const ProgramRun run = run_program(words, input);
  std::string command;
  for (const std::string& word : words) command += word.substr(0, 60) + " ";
  EXPECT_EQ(run.status, 2) << command << run.err;
  EXPECT_EQ(run.out, "") << command;
  EXPECT_TRUE(run.err.starts_with("actium: ")) << command << run.err;
  EXPECT_EQ(run.err.find('\n'), run.err.size() - 1) << command << run.err;
  EXPECT_LT(run.err.size(), 520u) << command << "floods the screen";
  for (const std::string& text : texts)
    EXPECT_NE(run.err.find(text), std::string::npos) << command << "says " << run.err << "without " << text;
}

}  // namespace actium_test

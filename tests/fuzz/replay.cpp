// Runs the files of a folder as cases, without a fuzzer: the corpus as an ordinary test. Every input that
// ever found something is there, under a name that says what.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "input.hpp"

int main(int count, char** words) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < count; ++i) {
    if (!std::filesystem::is_directory(words[i]))
      files.emplace_back(words[i]);
    else
      for (const auto& entry : std::filesystem::directory_iterator(words[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    if (!stream.is_open()) return std::fprintf(stderr, "cannot read %s\n", file.c_str()), 2;
    // The name, for the case that this is the last line.
    std::printf("%s\n", file.filename().c_str());
    std::fflush(stdout);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%zu cases\n", files.size());
  return files.empty() ? 1 : 0;  // an empty folder tests nothing
}

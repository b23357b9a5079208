// The README tells the truth: its example prints what it says, its table is the registry.
#include <gtest/gtest.h>
#include <actium/actium.hpp>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

namespace {

std::string readme() {
  std::ifstream file(ACTIUM_README);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string output_of(const std::string& command) {
  std::string output;
  std::FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 256> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) output += line.data();
  EXPECT_EQ(pclose(pipe), 0);
  return output;
}

TEST(Readme, ExamplePrintsWhatTheReadmeSays) {
  // The example is the first ```cpp block (CMake compiled it as readme_example); its output is the ```text
  // block after it.
  const std::string text = readme();
  const std::size_t example = text.find("```cpp\n"), block = text.find("```text\n", example);
  ASSERT_NE(example, std::string::npos);
  ASSERT_NE(block, std::string::npos);
  const std::size_t begin = block + 8;
  EXPECT_EQ(output_of(ACTIUM_README_EXAMPLE), text.substr(begin, text.find("```", begin) - begin));
}

TEST(Readme, TableIsTheRegistry) {
  const std::string text = readme();
  for (const actium::ActivationInfo& info : actium::activations()) {
    char row[200];
    std::snprintf(row, sizeof row, "| `%s` | `%s` | %g / %g | %g / %g |",
                  actium::Activation(info.kind, info.parameter_defaults).to_string().c_str(),
                  std::string(info.formula).c_str(), info.f32_ulp[0], info.f32_ulp[1], info.f64_ulp[0],
                  info.f64_ulp[1]);
    EXPECT_NE(text.find(row), std::string::npos) << "README.md wants this row:\n" << row;
  }
}

}  // namespace

/// actium notebook: all 25 sections, their JSON and text, and the figures.
#include <cmath>

#include "support/devices.hpp"
#include "support/program.hpp"

namespace actium_test {
namespace {

using Vector = std::vector<double>;

const char* const kTitles[] = {"Curves",
                               "Sigmoid derivative",
                               "Tanh derivative",
                               "Derivative comparison plot",
                               "Saturation",
                               "Affine collapse",
                               "ReLU sparsity",
                               "Leaky ReLU keeps negative gradient",
                               "Softplus approximates ReLU",
                               "GELU and SiLU negative tails",
                               "Smooth activation derivatives",
                               "GLU",
                               "GEGLU and SwiGLU",
                               "Bilinear gate gradients",
                               "Softmax probabilities",
                               "Stable softmax shift invariance",
                               "Temperature softmax",
                               "Softmax Jacobian",
                               "Softmax saturation",
                               "Activation variance",
                               "Xavier vs He scale",
                               "One-layer signal propagation",
                               "Vanishing gradient toy product",
                               "ReLU active path product",
                               "Dead neuron diagnostic"};

/// The whole notebook on the CPU, run once for the tests below.
const Json& notebook() {
  static const Json document = run_for_json({"notebook", "--device", "cpu"});
  return document;
}
const Json& values(std::size_t section) { return notebook()["sections"][section - 1]["values"]; }

/// Expects every section there, in order, passing, with checks and values.
void expect_complete(const Json& document) {
  ASSERT_EQ(document["sections"].size(), 25u);
  for (std::size_t i = 0; i < 25; ++i) {
    const Json& section = document["sections"][i];
    SCOPED_TRACE(kTitles[i]);
    EXPECT_EQ(section["section"], i + 1);
    EXPECT_EQ(section["title"], kTitles[i]);
    EXPECT_EQ(section["pass"], true);
    EXPECT_FALSE(section["values"].empty());
    EXPECT_FALSE(section["checks"].empty());
    for (const Json& check : section["checks"]) EXPECT_EQ(check["pass"], true) << check;
  }
}

class NotebookOn : public DeviceTest {};
ACTIUM_INSTANTIATE_DEVICES(NotebookOn);

TEST_P(NotebookOn, AllSectionsPass) {
  const Json document = on_cuda() ? run_for_json({"notebook", "--device", "cuda"}) : notebook();
  // "cpu", "cuda:0 (its name)" or "cuda:0 (emulated)"
  EXPECT_NE(document["device"].get<std::string>().find(GetParam()), std::string::npos);
  expect_complete(document);
}

#ifdef ACTIUM_FAULTY_PROGRAM_PATH  // the program with faulty_library.cpp linked in
TEST(Notebook, AFailedCheckIsReportedAndIsStatus1) {
  setenv("ACTIUM_PROGRAM", ACTIUM_FAULTY_PROGRAM_PATH, 1);
  const ProgramRun run = run_program({"notebook", "--section=17,18", "--device", "cpu", "--json", "-"});
  const ProgramRun passing = run_program({"notebook", "--section=17", "--device", "cpu"});
  unsetenv("ACTIUM_PROGRAM");
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(passing.status, 0);
  const Json sections = Json::parse(run.out)["sections"];
  EXPECT_EQ(sections[0]["pass"], true);
  EXPECT_EQ(sections[1]["pass"], false);
  for (const char* text : {"18  Softmax Jacobian                     FAIL", "FAIL - Jacobian row sums zero",
                           "PASS - Jacobian symmetric", "1 of 2 sections pass on cpu"})
    EXPECT_NE(run.err.find(text), std::string::npos) << text << "\n" << run.err;
}
#endif

TEST(Notebook, CurvesEqualClosedForms) {
  const Vector x = values(1)["x"], gelu = values(1)["GELU"], tanh = values(1)["tanh"];
  const Vector slope_x = values(4)["x"], sigmoid_slope = values(4)["sigmoid'"];
  ASSERT_EQ(x.size(), 500u);
  ASSERT_EQ(slope_x.size(), 500u);
  EXPECT_EQ(x.front(), -6);
  EXPECT_EQ(slope_x.back(), 8);
  for (std::size_t i = 0; i < 500; ++i) {
    const double inner = std::sqrt(2 / std::acos(-1.0)) * (x[i] + 0.044715 * std::pow(x[i], 3));
    EXPECT_NEAR(gelu[i], x[i] / 2 * (1 + std::tanh(inner)), 1e-14);
    EXPECT_NEAR(tanh[i], std::tanh(x[i]), 1e-15);
    const double e = std::exp(-slope_x[i]);
    EXPECT_NEAR(sigmoid_slope[i], e / ((1 + e) * (1 + e)), 1e-15);
  }
  EXPECT_EQ(values(4).size(), 5u);
}

TEST(Notebook, KnownValues) {
  EXPECT_EQ(values(6)["stacked"].get<Vector>(), (Vector{3, 0}));
  EXPECT_NEAR(values(11)["Mish"]["analytic"].get<double>(), 0.6, 1e-15);
  EXPECT_NEAR(values(11)["Mish"]["central_difference"].get<double>(), 0.6, 1e-9);
  EXPECT_NEAR(values(12)["GLU"][0].get<double>(), 1 / (1 + std::exp(2)), 1e-15);
  EXPECT_NEAR(values(15)["logsumexp"].get<double>(), std::log(std::exp(2) + std::exp(1) + std::exp(-1)),
              1e-14);
  EXPECT_NEAR(values(20)["ReLU"]["expected_var"].get<double>(), 0.5 - 0.5 / std::acos(-1.0), 1e-7);
  EXPECT_NEAR(values(20)["ReLU"]["var"].get<double>(), 0.3408, 0.005);
  EXPECT_NEAR(values(21)["var_he"].get<double>(), 2.0 / 256, 1e-17);
  EXPECT_NEAR(values(22)["ReLU with He"]["var"].get<double>(), 1 - 1 / std::acos(-1.0), 0.04);
  EXPECT_NEAR(values(23)["f64"].get<double>(), std::exp2(-80), 1e-37);
  EXPECT_EQ(values(25)["dead_units"], 32);
}

TEST(Notebook, JacobianIsSingularAndPositiveSemidefinite) {
  const Vector eigenvalues = values(18)["eigenvalues"];
  const auto matrix = values(18)["jacobian"].get<std::vector<Vector>>();
  ASSERT_EQ(eigenvalues.size(), 3u);
  EXPECT_NEAR(eigenvalues[0], 0, 1e-15);
  // The other two are the roots of l^2 - trace l + (sum of principal 2 x 2 minors).
  const double trace = matrix[0][0] + matrix[1][1] + matrix[2][2];
  const auto minor = [&](std::size_t i, std::size_t j) {
    return matrix[i][i] * matrix[j][j] - matrix[i][j] * matrix[j][i];
  };
  const double minors = minor(0, 1) + minor(0, 2) + minor(1, 2);
  const double root = std::sqrt(trace * trace - 4 * minors);
  EXPECT_NEAR(eigenvalues[1], (trace - root) / 2, 1e-14);
  EXPECT_NEAR(eigenvalues[2], (trace + root) / 2, 1e-14);
}

TEST(Notebook, SameSeedSameNumbers) {
  const std::vector<std::string> words = {"notebook", "--section", "7", "--device", "cpu"};
  EXPECT_EQ(run_for_json(words)["sections"][0], notebook()["sections"][6]);
  EXPECT_TRUE(notebook()["seed"].is_number_integer());
}

TEST(Notebook, SectionsAreChosenByNumber) {
  const auto numbers = [](const std::vector<std::string>& words) {
    std::vector<int> result;
    const Json document = run_for_json(words);
    for (const Json& section : document["sections"]) result.push_back(section["section"]);
    return result;
  };
  EXPECT_EQ(numbers({"notebook", "--section", "3", "--section", "1", "--section", "3"}),
            (std::vector<int>{1, 3}));
  EXPECT_EQ(numbers({"notebook", "--section=25"}), (std::vector<int>{25}));
  for (const char* number : {"0", "26", "99", "-1"})
    expect_usage_error({"notebook", "--section", number}, {"--section: want 1 to 25", number});
  expect_usage_error({"notebook", "--section", "two"}, {"--section", "two"});
}

TEST(Notebook, TextGoesToStdoutAndToStderrBesideJson) {
  const std::string first = " 1  Curves", last = "1 of 1 section passes on cpu";
  const ProgramRun text = run_program({"notebook", "--section", "1", "--device", "cpu"});
  EXPECT_EQ(text.status, 0);
  EXPECT_NE(text.out.find(first), std::string::npos) << text.out;
  EXPECT_NE(text.out.find(last), std::string::npos) << text.out;
  EXPECT_EQ(text.err, "");
  const ProgramRun json = run_program({"notebook", "--section", "1", "--device", "cpu", "--json", "-"});
  EXPECT_NE(json.err.find(last), std::string::npos) << json.err;
  EXPECT_TRUE(Json::accept(json.out));
}

TEST(Notebook, PlotsAreDrawnByTheScript) {
  const TemporaryFolder bin, work;
  fake_python(bin, "echo from the script; echo \"$1\" > \"$3/arguments\"; [ -s \"$2\" ]");
  const std::string plots = work / "new/plots";
  const ProgramRun run =
      run_program({"notebook", "--section", "1", "--plots", plots, "--json", "-"}, "", bin.string());
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(Json::accept(run.out)) << "the script's words are not for stdout";
  EXPECT_EQ(read_file(plots + "/notebook.json"), run.out);
  EXPECT_NE(read_file(plots + "/arguments").find("plot_notebook.py"), std::string::npos);
}

TEST(Notebook, PlotsSayWhatIsMissing) {
  const TemporaryFolder empty, no_matplotlib, broken, work;
  fake_python(no_matplotlib, "exit 3");
  fake_python(broken, "exit 7");
  const auto message = [&work](const TemporaryFolder& bin, const std::string& folder) {
    const std::string plots = work / folder;
    const ProgramRun run = run_program({"notebook", "--section", "1", "--plots", plots}, "", bin.string());
    EXPECT_EQ(run.status, 2);
    EXPECT_TRUE(Json::accept(read_file(plots + "/notebook.json"))) << "the JSON is written first";
    EXPECT_EQ(run.err.find('\n'), run.err.size() - 1) << run.err;
    return run.err;
  };
  EXPECT_NE(message(empty, "a").find("python3 is missing: apt-get install python3-matplotlib"),
            std::string::npos);
  EXPECT_NE(message(no_matplotlib, "b")
                .find("python3 has no matplotlib: python3 -m pip install matplotlib, or apt-get install "
                      "python3-matplotlib"),
            std::string::npos);
  EXPECT_NE(message(broken, "c").find("exit status 7"), std::string::npos);
  for (const char* folder : {"/dev/null/plots", ""}) {
    const ProgramRun run = run_program({"notebook", "--section", "1", "--plots", folder});
    EXPECT_EQ(run.status, 2) << folder;
    EXPECT_NE(run.err.find("actium: --plots: "), std::string::npos) << run.err;
  }
}

}  // namespace
}  // namespace actium_test

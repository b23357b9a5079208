/// The program's words: eval, softmax, doctor, their JSON, and what it says about bad input. Values are held
/// to closed forms of the standard library, never to actium itself.
#include <sys/resource.h>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "support/devices.hpp"
#include "support/program.hpp"

namespace actium_test {
namespace {

using Vector = std::vector<double>;
using Real = long double;

struct ClosedForm {
  const char* name;
  Real (*value)(Real);
  Real (*slope)(Real);
};

Real sigmoid(Real x) { return 1 / (1 + std::exp(-x)); }
Real normal_density(Real x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(Real{-1})); }
Real normal_cdf(Real x) { return std::erfc(-x / std::sqrt(Real{2})) / 2; }

const ClosedForm kClosedForms[] = {
    {"sigmoid", sigmoid, [](Real x) { return sigmoid(x) * sigmoid(-x); }},
    {"tanh", [](Real x) { return std::tanh(x); }, [](Real x) { return 1 / (std::cosh(x) * std::cosh(x)); }},
    {"relu", [](Real x) { return x > 0 ? x : 0; }, [](Real x) { return Real{x > 0 ? 1.0L : 0.0L}; }},
    {"leaky_relu(0.25)", [](Real x) { return x > 0 ? x : x / 4; },
     [](Real x) { return x > 0 ? Real{1} : Real{0.25}; }},
    {"softplus(1)", [](Real x) { return std::log1p(std::exp(x)); }, sigmoid},
    {"gelu", [](Real x) { return x * normal_cdf(x); },
     [](Real x) { return normal_cdf(x) + x * normal_density(x); }},
    {"silu", [](Real x) { return x * sigmoid(x); },
     [](Real x) { return sigmoid(x) * (1 + x * sigmoid(-x)); }},
};

void expect_close(const Json& got, const Vector& expected, double relative) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i].get<double>(), expected[i], relative * std::abs(expected[i])) << "at " << i;
}

TEST(CliEval, EqualsClosedForms) {
  const Vector x = {-8, -2.5, -1, -0.125, 0, 0.5, 1, 3, 8};
  for (const ClosedForm& form : kClosedForms) {
    SCOPED_TRACE(form.name);
    for (const int order : {0, 1}) {
      const Json got = run_for_json({"eval", form.name, "--x", "-8,-2.5,-1,-0.125,0,0.5,1,3,8", "--order",
                                     std::to_string(order), "--device", "cpu"});
      Vector expected;
      for (const double v : x)
        expected.push_back(static_cast<double>((order == 0 ? form.value : form.slope)(v)));
      EXPECT_EQ(got["activation"], form.name);
      EXPECT_EQ(got["order"], order);
      EXPECT_EQ(got["dtype"], "f64");
      EXPECT_EQ(got["x"].get<Vector>(), x);
      expect_close(got["y"], expected, 2e-15);
    }
  }
}

TEST(CliEval, OrderTwoIsTheCurvature) {
  const Vector x = {-8, -2.5, -1, -0.125, 0, 0.5, 1, 3, 8};
  const std::pair<const char*, Real (*)(Real)> forms[] = {
      {"tanh", [](Real v) { return -2 * std::tanh(v) / (std::cosh(v) * std::cosh(v)); }},
      {"gelu", [](Real v) { return normal_density(v) * (2 - v * v); }},
      {"relu", [](Real) { return Real{0}; }}};
  for (const auto& [name, curvature] : forms) {
    const Json got = run_for_json(
        {"eval", name, "--x", "-8,-2.5,-1,-0.125,0,0.5,1,3,8", "--order", "2", "--device", "cpu"});
    Vector expected;
    for (const double v : x) expected.push_back(static_cast<double>(curvature(v)));
    EXPECT_EQ(got["order"], 2);
    expect_close(got["y"], expected, 1e-14);
  }
}

TEST(CliEval, ShowsInputsAsRoundedToTheDtype) {
  const std::pair<const char*, double> rounded[] = {
      {"f64", 0.1}, {"f32", 0.1f}, {"f16", 0.0999755859375}, {"bf16", 0.10009765625}};
  for (const auto& [dtype, x] : rounded) {
    const Json got = run_for_json({"eval", "identity", "--x", "0.1", "--dtype", dtype});
    EXPECT_EQ(got["dtype"], dtype);
    EXPECT_EQ(got["x"], Json::array({x}));
    EXPECT_EQ(got["y"], Json::array({x}));
  }
}

// What would silently become infinite is an error; infinity itself, and what rounds to the largest number, is
// none.
TEST(CliEval, NumbersBeyondTheDtype) {
  const auto expect_error = [](const std::string& dtype, const std::string& list,
                               const std::vector<std::string>& texts) {
    expect_usage_error({"eval", "identity", "--x=" + list, "--dtype", dtype}, texts);
    expect_usage_error({"softmax", "--logits=" + list, "--dtype", dtype}, texts);
    expect_usage_error({"softmax", "--logits=1,2", "--tangent=" + list, "--dtype", dtype}, texts);
  };
  expect_error("f32", "1,1e39", {"item 2: 1e+39 is beyond the largest f32, 3.4e38; write inf for infinity"});
  expect_error("f16", "-70000,1",
               {"item 1: -70000 is beyond the largest f16, 65504; write -inf for infinity"});
  expect_error("bf16", "3.4e38,3.3961775292304957e38", {"item 1: 3.4e+38 is beyond the largest bf16"});
  const auto x_of = [](const char* dtype, const char* x) {
    return run_for_json({"eval", "identity", "--x", x, "--dtype", dtype})["x"];
  };
  EXPECT_EQ(x_of("f16", "65519"), Json::array({65504.0}));
  EXPECT_EQ(x_of("f16", "inf"), Json::array({"inf"}));
  EXPECT_EQ(x_of("f32", "-inf"), Json::array({"-inf"}));
  EXPECT_EQ(x_of("f64", "1e39"), Json::array({1e39}));
}

TEST(CliEval, ListsThatBeginWithAMinusSign) {
  const std::vector<std::vector<std::string>> spellings = {
      {"--x", "-3,-1"}, {"--x=-3,-1"}, {"--x", "-3, -1 "}, {"--x", " -3 ,\t-1"}};
  for (std::vector<std::string> words : spellings) {
    words.insert(words.begin(), {"eval", "identity"});
    EXPECT_EQ(run_for_json(words)["x"].get<Vector>(), (Vector{-3, -1})) << words.back();
  }
  EXPECT_EQ(run_for_json({"eval", "identity", "--x", "-.5,1"})["x"].get<Vector>(), (Vector{-0.5, 1}));
  EXPECT_EQ(run_for_json({"eval", "identity", "--x", "-inf"})["x"], Json::array({"-inf"}));
  EXPECT_EQ(run_for_json({"softmax", "--logits", "-1,-1"})["probabilities"].get<Vector>(),
            (Vector{0.5, 0.5}));
}

TEST(CliEval, NumbersInEverySpelling) {
  const Json got = run_for_json({"eval", "identity", "--x=1e-3,0x1p-3,+2,.5,-0,nan,inf,-INF,5e-324"});
  EXPECT_EQ(got["x"], Json::parse(R"([1e-3, 0.125, 2.0, 0.5, -0.0, "nan", "inf", "-inf", 5e-324])"));
  EXPECT_TRUE(std::signbit(got["y"][4].get<double>()));
  EXPECT_EQ(run_for_json({"eval", "sigmoid", "--x=-inf,inf,nan"})["y"], Json::array({0.0, 1.0, "nan"}));
}

TEST(CliEval, LongLists) {
  const TemporaryFolder folder;
  const std::string file = folder / "list";
  std::string list = "-1";
  for (int i = 1; i < 1'000'000; ++i) list += ",\n" + std::to_string(i % 7);
  std::ofstream(file) << list << "\n";
  const Json from_file = run_for_json({"eval", "relu", "--x", "@" + file});
  ASSERT_EQ(from_file["y"].size(), 1'000'000u);
  EXPECT_EQ(from_file["y"][0], 0.0);
  EXPECT_EQ(from_file["y"][999'999], 999'999 % 7);
  EXPECT_EQ(run_for_json({"eval", "relu", "--x", "@-"}, "-1, 2\n")["y"].get<Vector>(), (Vector{0, 2}));
  expect_usage_error({"eval", "relu", "--x", "@" + file + "-missing"}, {"--x: ", "cannot read"});
  expect_usage_error({"eval", "relu", "--x", "@" + folder.string()}, {"--x: ", "cannot read"});
  expect_usage_error({"eval", "relu", "--x", "@-"}, {"--x: ", "empty list"}, " \n");
}

TEST(CliEval, MalformedLists) {
  const auto expect_error = [](const std::string& list, const std::vector<std::string>& texts) {
    expect_usage_error({"eval", "relu", "--x", list}, texts);
    expect_usage_error({"softmax", "--logits=" + list}, texts);
  };
  expect_error("1,,2", {"item 2", "want a number, got nothing"});
  expect_error("1;2", {"item 1", "'1;2'"});
  expect_error("1 2", {"item 1", "'1 2'"});
  expect_error("abc", {"item 1", "'abc'"});
  expect_error("1,2,0.5x", {"item 3", "'0.5x'"});
  expect_error("1,", {"item 2", "nothing"});
  expect_error(",1", {"item 1", "nothing"});
  expect_error("", {"empty list"});
  expect_error("  ", {"empty list"});
  expect_error("1,1e999", {"item 2", "'1e999'", "beyond the largest double"});
  expect_error("-1e999", {"item 1", "'-1e999'"});
  expect_error("--order", {"item 1", "'--order'"});
  expect_usage_error({"eval", "relu", "--x", std::string(100'000, 'z')}, {"item 1", "zzz..."});
  expect_usage_error({"eval", "relu"}, {"--x is required"});
}

TEST(CliEval, UnknownWords) {
  expect_usage_error({"eval", "gleu", "--x", "1"}, {"no activation 'gleu'", "did you mean 'gelu'?", "mish"});
  expect_usage_error({"eval", "ge\nlu", "--x", "1"}, {"no activation 'ge lu'"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--dtype", "f8"}, {"f8", "bf16"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--order", "3"}, {"--order: want 0", "got '3'"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--order", "one"}, {"--order", "one"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--device", "gpu"},
                     {"--device: want auto, cpu or cuda", "gpu"});
  expect_usage_error({"eval", "leaky_relu(x)", "--x", "1"}, {"leaky_relu"});
  expect_usage_error({"evaluate", "gelu", "--x", "1"}, {"no subcommand 'evaluate'", "eval, softmax"});
  expect_usage_error({"doctor", "--frobnicate"}, {"--frobnicate"});
  expect_usage_error({}, {"want a subcommand", "notebook", "actium --help"});
}

TEST(CliEval, PrintsATableWithoutJson) {
  const ProgramRun run = run_program({"eval", "gelu", "--x", "-1,inf", "--order", "1"});
  EXPECT_EQ(run.status, 0);
  EXPECT_NE(run.out.find("gelu'"), std::string::npos);
  EXPECT_NE(run.out.find("-0.0833154705"), std::string::npos) << run.out;  // Phi(-1) - phi(1)
  EXPECT_EQ(run.err, "");
}

TEST(CliSoftmax, EqualsItsFormulas) {
  const double tau = 0.5;
  const Vector z = {2, 1, -1}, t = {-1, 0.5, 2};
  Vector p, log_p, jvp;
  double total = 0, entropy = 0, mean = 0, entropy_jvp = 0;
  for (const double v : z) total += std::exp(v / tau);
  for (std::size_t i = 0; i < 3; ++i) {
    p.push_back(std::exp(z[i] / tau) / total);
    log_p.push_back(z[i] / tau - std::log(total));
    entropy -= p[i] * log_p[i];
    mean += p[i] * t[i];
  }
  for (std::size_t i = 0; i < 3; ++i) {
    jvp.push_back(p[i] * (t[i] - mean) / tau);
    entropy_jvp -= p[i] * (log_p[i] + entropy) * t[i] / tau;
  }

  const Json got = run_for_json({"softmax", "--logits", "2,1,-1", "--temperature", "0.5", "--tangent",
                                 "-1,0.5,2", "--jacobian", "--device", "cpu"});
  EXPECT_EQ(got["logits"].get<Vector>(), z);
  EXPECT_EQ(got["temperature"], tau);
  expect_close(got["probabilities"], p, 1e-14);
  expect_close(got["log_probabilities"], log_p, 1e-13);
  expect_close(got["jvp"], jvp, 1e-12);
  expect_close(Json::array({got["logsumexp"], got["entropy"]}), {std::log(total), entropy}, 1e-13);
  expect_close(Json::array({got["logsumexp_jvp"], got["entropy_jvp"]}), {mean / tau, entropy_jvp}, 1e-12);
  ASSERT_EQ(got["jacobian"].size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    Vector row;
    for (std::size_t j = 0; j < 3; ++j) row.push_back(p[i] * ((i == j) - p[j]) / tau);
    expect_close(got["jacobian"][i], row, 1e-12);
  }
}

TEST(CliSoftmax, RowsOfAnyLengthsFromAFile) {
  const TemporaryFolder folder;
  const std::string file = folder / "rows.txt";
  std::ofstream(file) << "0,0\n\n 1, 1, 1,1 \n5\n";
  const Json got = run_for_json({"softmax", "--rows", file, "--label", "1,0,0"});
  ASSERT_EQ(got["rows"].size(), 3u);
  EXPECT_EQ(got["rows"][0]["probabilities"].get<Vector>(), (Vector{0.5, 0.5}));
  EXPECT_EQ(got["rows"][1]["probabilities"].get<Vector>(), (Vector{0.25, 0.25, 0.25, 0.25}));
  EXPECT_EQ(got["rows"][2]["probabilities"].get<Vector>(), Vector{1});
  for (const auto& [row, n] : {std::pair{0, 2.0}, {1, 4.0}, {2, 1.0}})
    expect_close(Json::array({got["rows"][static_cast<std::size_t>(row)]["cross_entropy"],
                              got["rows"][static_cast<std::size_t>(row)]["logsumexp"]}),
                 {std::log(n), std::log(n) + (row == 0   ? 0
                                              : row == 1 ? 1
                                                         : 5)},
                 1e-14);
  EXPECT_EQ(got["rows"][0]["cross_entropy_gradient"].get<Vector>(), (Vector{0.5, -0.5}));
  EXPECT_EQ(got["rows"][2]["cross_entropy_gradient"].get<Vector>(), Vector{0});

  std::ofstream(file) << "1,2\n3,x\n";
  expect_usage_error({"softmax", "--rows", file}, {"--rows: line 2: item 2", "'x'"});
  std::ofstream(file) << "\n";
  expect_usage_error({"softmax", "--rows", file}, {"--rows: want rows of numbers"});
  std::ofstream(file) << "1,2\n3\n";
  expect_usage_error({"softmax", "--rows", file, "--mask", "1,1"}, {"--mask: want rows of one length"});
  expect_usage_error({"softmax", "--rows", file, "--label", "1,1"},
                     {"--label: item 2: want a class from 0 to 0"});
  expect_usage_error({"softmax", "--rows", file, "--label", "1"}, {"--label: want 2", "got 1"});
  expect_usage_error({"softmax", "--rows", file + ".none"}, {"--rows: cannot read"});
  expect_usage_error({"softmax", "--rows", file, "--logits", "1"}, {});
  expect_usage_error({"softmax"}, {});
}

TEST(CliSoftmax, Masks) {
  for (const char* dtype : {"f64", "f32", "f16", "bf16"}) {
    const Json got =
        run_for_json({"softmax", "--logits", "2,9,2", "--mask", "1,0,1", "--label", "1", "--dtype", dtype});
    EXPECT_EQ(got["probabilities"].get<Vector>(), (Vector{0.5, 0, 0.5})) << dtype;
    EXPECT_EQ(got["log_probabilities"][1], "-inf");
    EXPECT_EQ(got["cross_entropy"], "inf");
  }
  EXPECT_EQ(run_for_json({"softmax", "--logits", "2,9", "--mask", "0,0"})["probabilities"].get<Vector>(),
            (Vector{0, 0}));
  expect_usage_error({"softmax", "--logits", "2,9", "--mask", "1"}, {"--mask: want 2 numbers", "got 1"});
  expect_usage_error({"softmax", "--logits", "2,9", "--mask", "1,2"}, {"--mask: item 2: want 0 or 1"});
  expect_usage_error({"softmax", "--logits", "2,9", "--label", "2"}, {"--label: want a class from 0 to 1"});
  expect_usage_error({"softmax", "--logits", "2,9", "--label", "0", "--temperature", "2"},
                     {"--label", "--temperature"});
}

TEST(CliSoftmax, AccuracyIsMeasured) {
  const Json got = run_for_json({"accuracy", "softmax", "--dtype", "bf16"});
  ASSERT_EQ(got["figures"].size(), 7u);
  for (const Json& figure : got["figures"]) {
    EXPECT_GT(figure["max_ulp"].get<double>(), 0.4) << figure;
    EXPECT_LT(figure["max_ulp"].get<double>(), 0.51) << figure;
  }
  expect_usage_error({"accuracy", "softmax", "--order", "1"}, {"--order"});
  expect_usage_error({"accuracy", "gelu", "--device", "cpu"}, {"--device"});
}

TEST(CliSoftmax, LeavesOutWhatWasNotAskedFor) {
  const Json got = run_for_json({"softmax", "--logits", "1e4,1e4"});
  EXPECT_EQ(got["probabilities"].get<Vector>(), (Vector{0.5, 0.5}));
  EXPECT_FALSE(got.contains("jvp"));
  EXPECT_FALSE(got.contains("jacobian"));
  EXPECT_EQ(run_for_json({"softmax", "--logits", "0,-inf"})["log_probabilities"], Json::array({0.0, "-inf"}));
  EXPECT_EQ(run_for_json({"softmax", "--logits", "0.1", "--dtype", "f16"})["logits"][0], 0.0999755859375);
}

TEST(CliSoftmax, BadInput) {
  for (const char* temperature : {"0", "-1", "nan", "inf"})
    expect_usage_error({"softmax", "--logits", "1,2", "--temperature", temperature}, {"temperature"});
  expect_usage_error({"softmax", "--logits", "1,2", "--temperature", "warm"}, {"--temperature", "'warm'"});
  expect_usage_error({"softmax", "--logits", "1,2", "--tangent", "1"},
                     {"--tangent: want 2 numbers", "got 1"});
  std::string many = "0";
  for (int i = 0; i < 5000; ++i) many += ",0";
  expect_usage_error({"softmax", "--logits", many, "--jacobian"},
                     {"--jacobian: want at most 4096", "got 5001"});
}

TEST(CliSoftmax, PrintsEverythingWithoutJson) {
  const ProgramRun run = run_program({"softmax", "--logits", "0,0", "--tangent", "1,0", "--jacobian"});
  EXPECT_EQ(run.status, 0);
  for (const char* text :
       {"probability", "log probability", "jvp", "logsumexp 0.693147181", "entropy   0.693147181",
        "logsumexp jvp 0.5", "entropy jvp", "jacobian", "0.25", "-0.25"})
    EXPECT_NE(run.out.find(text), std::string::npos) << text << "\n" << run.out;
}

TEST(CliAccuracy, MeasuresOneFunction) {
  const Json got = run_for_json({"accuracy", "sigmoid", "--order", "0", "--dtype", "bf16"});
  EXPECT_EQ(got["exhaustive"], false);
  EXPECT_EQ(got["measured_on"], "cpu model");
  ASSERT_EQ(got["figures"].size(), 1u);
  const Json& figure = got["figures"][0];
  EXPECT_EQ(figure["activation"], "sigmoid");
  EXPECT_EQ(figure["dtype"], "bf16");
  EXPECT_EQ(figure["order"], 0);
  EXPECT_EQ(figure["inputs"], 65536 - 2 * 127);  // all but NaN
  EXPECT_GE(figure["max_ulp"].get<double>(), 0.49);
  EXPECT_LE(figure["max_ulp"].get<double>(), figure["bound"].get<double>());
  EXPECT_EQ(figure["within_bound"], true);
  EXPECT_FALSE(figure.contains("naive_max_ulp"));
  const Json f32 = run_for_json({"accuracy", "silu", "--order", "0", "--dtype", "f32"})["figures"][0];
  EXPECT_GT(f32["naive_max_ulp"].get<double>(), 1e6);
  EXPECT_LE(f32["max_ulp"].get<double>(), f32["bound"].get<double>());
  EXPECT_GT(f32["inputs"].get<double>(), 1e6);
}

TEST(CliAccuracy, PrintsATable) {
  const ProgramRun run = run_program({"accuracy", "leaky_relu(0.1)", "--dtype", "f16"});
  EXPECT_EQ(run.status, 0) << run.out;
  for (const char* text : {"activation", "max ULP", "misrounded", "bound", "naive ULP", "leaky_relu(0.1)",
                           "value", "slope", "curvature"})
    EXPECT_NE(run.out.find(text), std::string::npos) << text << "\n" << run.out;
  EXPECT_EQ(run.err, "") << "the progress bar is for terminals";
}

TEST(CliAccuracy, BadInput) {
  expect_usage_error({"accuracy", "nosuch"}, {"no activation 'nosuch'"});
  for (const char* order : {"3", "-1", "one", "1.0"})
    expect_usage_error({"accuracy", "relu", "--order", order},
                       {"--order: want 0 (the value), 1 (the slope) or 2 (the curvature), got '"});
  expect_usage_error({"accuracy", "relu", "--dtype", "f8"}, {"no dtype 'f8'"});
  expect_usage_error({"accuracy", "relu", "--dtype", "f16", "--exhaustive"}, {"--exhaustive: want f32"});
  const TemporaryFolder folder;
  const std::string page = folder / "page.md";
  std::ofstream(page) << "no markers\n";
  expect_usage_error({"accuracy", "relu", "--write", page}, {"--write: ", "want no name"});
  if (run_for_json({"accuracy", "relu", "--dtype", "bf16"})["exact"] == true) {
    expect_usage_error({"accuracy", "--write", page}, {"--write: ", page, "has no tables to replace"});
    expect_usage_error({"accuracy", "--write", folder / "none.md"}, {"--write: cannot read", "No such file"});
  }
  EXPECT_EQ(read_file(page), "no markers\n");
}

TEST(CliDoctor, SaysWhatWasBuiltFoundAndUsed) {
  const Json got = run_for_json({"doctor"});
  EXPECT_TRUE(got["version"].is_string());
  EXPECT_TRUE(got["built"]["cuda"].is_boolean());
  for (const char* key : {"cuda_toolkit", "architectures"}) EXPECT_TRUE(got["built"][key].is_string());
  for (const char* key : {"blas", "compiler"}) EXPECT_NE(got["built"][key].get<std::string>(), "");
  EXPECT_TRUE(got["found"]["driver"].is_string());
  EXPECT_TRUE(got["found"]["devices"].is_array());
  EXPECT_GT(got["found"]["cpu_threads"].get<int>(), 0);
  EXPECT_NE(got["found"]["cuda_status"].get<std::string>(), "");
  EXPECT_NE(got["used"]["reason"].get<std::string>(), "");
  EXPECT_EQ(got["found"]["devices"].empty(), !has_cuda());
  EXPECT_EQ(got["used"]["device"].get<std::string>().starts_with("cuda"), has_cuda());
  EXPECT_EQ(run_for_json({"doctor", "--device", "cpu"})["used"]["device"], "cpu");
  const ProgramRun text = run_program({"doctor"});
  EXPECT_EQ(text.status, 0);
  for (const char* word : {"built", "found", "used", "BLAS"})
    EXPECT_NE(text.out.find(word), std::string::npos) << word;
}

TEST(CliDevice, CudaWithoutAGpuIsAnError) {
  if (has_cuda()) GTEST_SKIP() << "this machine has a CUDA device";
  for (const char* command : {"doctor", "notebook"})
    expect_usage_error({command, "--device", "cuda"}, {"--device cuda: ", "--device auto"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--device", "cuda"}, {"--device cuda: "});
}

TEST(CliJson, GoesToAFileOrFails) {
  const TemporaryFolder folder;
  const std::string file = folder / "eval.json";
  EXPECT_EQ(run_program({"eval", "relu", "--x", "1", "--json", file}).status, 0);
  EXPECT_EQ(Json::parse(read_file(file))["y"], Json::array({1.0}));
  for (const std::string& unwritable :
       {folder.string() + "/no/such/folder", folder.string(), std::string("/dev/full")})
    expect_usage_error({"eval", "relu", "--x", "1", "--json", unwritable}, {"cannot write", unwritable});
}

TEST(CliJson, HasTheTextBesideIt) {
  const TemporaryFolder folder;
  const std::pair<std::vector<std::string>, const char*> commands[] = {
      {{"eval", "gelu", "--x", "1"}, "gelu"},
      {{"softmax", "--logits", "0,0"}, "logsumexp"},
      {{"doctor"}, "used by"},
      {{"notebook", "--section", "1"}, "1 of 1 section passes"}};
  for (auto [words, text] : commands) {
    SCOPED_TRACE(words[0]);
    const std::string file = folder / words[0];
    words.insert(words.end(), {"--device", "cpu", "--json", file});
    const ProgramRun to_file = run_program(words);
    EXPECT_EQ(to_file.status, 0);
    EXPECT_NE(to_file.out.find(text), std::string::npos) << to_file.out;
    EXPECT_EQ(to_file.err, "");
    words.back() = "-";
    const ProgramRun to_stdout = run_program(words);
    EXPECT_EQ(to_stdout.status, 0);
    EXPECT_EQ(to_stdout.err, to_file.out);
    EXPECT_EQ(to_stdout.out, read_file(file));
    EXPECT_TRUE(Json::accept(to_stdout.out)) << to_stdout.out;
  }
}

TEST(CliJson, ReplacesAnEarlierFileOnlyByAResult) {
  const TemporaryFolder folder;
  const std::string file = folder / "result.json", earlier(10'000, '1');
  std::ofstream(file) << earlier;
  expect_usage_error({"softmax", "--logits", "1", "--temperature", "0", "--json", file}, {"temperature"});
  EXPECT_EQ(read_file(file), earlier);
  EXPECT_EQ(run_program({"softmax", "--logits", "1", "--json", file}).status, 0);
  EXPECT_EQ(Json::parse(read_file(file))["probabilities"], Json::array({1.0}));
}

TEST(CliJson, APathThatCannotBeWrittenIsAnErrorBeforeTheWork) {
  // The work would be shown on stderr beside `--json -`, and on stdout without it; expect_usage_error takes
  // neither.
  expect_usage_error({"notebook", "--json", "/nonexistent/x"},
                     {"cannot write '/nonexistent/x': No such file"});
  for (const char* folder : {"/etc/passwd", "/dev/null/plots", ""})
    for (const std::vector<std::string>& json : {std::vector<std::string>{}, {"--json", "-"}}) {
      std::vector<std::string> words = {"notebook", "--plots", folder};
      words.insert(words.end(), json.begin(), json.end());
      expect_usage_error(words, {"--plots: cannot make the folder '" + std::string(folder) + "': "});
    }
}

TEST(CliStreams, AStdoutThatCannotBeWrittenIsAnError) {
  for (const std::string command :
       {"eval gelu --x 1", "eval gelu --x 1 --json -", "softmax --logits 1,2", "doctor", "doctor --json -",
        "notebook --section 1", "--version", "--help", "eval --help"})
    for (const auto& [redirection, reason] :
         {std::pair{" >/dev/full", "No space left"}, std::pair{" >&-", "Bad file descriptor"}}) {
      const ProgramRun run = run_shell("\"$0\" " + command + redirection);
      EXPECT_EQ(run.status, 2) << command << redirection;
      EXPECT_NE(run.err.find("actium: cannot write to stdout: " + std::string(reason)), std::string::npos)
          << command << redirection << run.err;
    }
}

TEST(CliStreams, AStderrThatCannotBeWrittenIsNoError) {
  for (const std::string redirection : {" 2>/dev/full", " 2>&-"}) {
    EXPECT_EQ(run_shell("\"$0\" eval nosuch --x 1" + redirection).status, 2) << redirection;
    EXPECT_EQ(run_shell("\"$0\" eval --nosuch" + redirection).status, 2) << redirection;
    const ProgramRun run = run_shell("\"$0\" notebook --section 18 --device cpu --json -" + redirection);
    EXPECT_EQ(run.status, 0) << redirection;
    EXPECT_TRUE(Json::accept(run.out)) << redirection << run.out;
  }
}

TEST(CliStreams, AFileIsNotMistakenForAClosedStream) {
  const TemporaryFolder folder;
  const std::string file = folder / "result.json",
                    command = "\"$0\" notebook --section 1 --json '" + file + "'";
  EXPECT_EQ(run_shell(command + " 2>&-").status, 0);
  EXPECT_TRUE(Json::accept(read_file(file)));
  std::ofstream(file).close();
  EXPECT_EQ(run_shell(command + " >&-").status, 2);
  EXPECT_EQ(read_file(file), "");
}

TEST(CliStreams, TooMuchInputIsOutOfMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the memory for itself";
#endif
  const TemporaryFolder folder;
  const std::string program = program_path(), err = folder / "err";
  int input[2];
  ASSERT_EQ(pipe2(input, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(input[0], STDIN_FILENO);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    execlp(program.c_str(), "actium", "eval", "relu", "--x", "@-", "--device", "cpu", nullptr);
    _exit(127);
  }
  close(input[0]);
  const auto previous = std::signal(SIGPIPE, SIG_IGN);
  const std::string block(2 << 20, '1');  // more than a pipe holds: once it is written, the program reads
  ssize_t written = write(input[1], block.data(), block.size());
  const rlimit no_more{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};  // libraries may start up without it
  EXPECT_EQ(prlimit(child, RLIMIT_DATA, &no_more, nullptr), 0);
  for (int i = 0; i < 128 && written > 0; ++i) written = write(input[1], block.data(), block.size());
  close(input[1]);
  std::signal(SIGPIPE, previous);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_EQ(read_file(err), "actium: out of memory\n");
}

TEST(CliNumbers, WholeNumbersAreDecimal) {
  const auto sections = [](const std::string& list) {
    std::vector<int> numbers;
    const Json document = run_for_json({"notebook", "--device", "cpu", "--section", list});
    for (const Json& section : document["sections"]) numbers.push_back(section["section"]);
    return numbers;
  };
  EXPECT_EQ(sections("010"), (std::vector<int>{10}));
  EXPECT_EQ(sections("3, 1,3"), (std::vector<int>{1, 3}));
  const auto expect_error = [](const std::string& list, const std::vector<std::string>& texts) {
    expect_usage_error({"notebook", "--section", list}, texts);
    expect_usage_error({"notebook", "--section=" + list}, texts);
  };
  for (const char* number : {"0x12", "+3", "1.0", "1e1", "99999999999", "-1", "26", "2 3"})
    expect_error(number, {"--section: want 1 to 25, got '" + std::string(number) + "'"});
  expect_error("", {"--section: want 1 to 25, got nothing"});
  expect_error("1,,2", {"--section: item 2: want 1 to 25, got nothing"});
  expect_error("1,", {"--section: item 2: want 1 to 25, got nothing"});
  expect_error("1,2,x", {"--section: item 3: want 1 to 25, got 'x'"});
  for (const char* order : {"3", "0x1", "-1", "one"})
    expect_usage_error({"eval", "gelu", "--x", "1", "--order", order},
                       {"--order: want 0 (the value), 1 (the slope) or 2 (the curvature), got '" +
                        std::string(order) + "'"});
  expect_usage_error({"eval", "gelu", "--x", "1", "--order", ""}, {"--order: want 0", "got nothing"});
}

TEST(CliComplaints, NameUnknownWordsInOrder) {
  expect_usage_error({"--nosuch"}, {"not expected: --nosuch"});
  expect_usage_error({"--x", "1"}, {"not expected: --x 1"});
  expect_usage_error({"doctor", "--foo", "bar", "--baz"}, {"not expected: --foo bar --baz (see"});
  expect_usage_error({"eval", "gelu", "--X", "1"}, {"not expected: --X 1"});
  expect_usage_error({"--first", "eval", "gelu", "--x", "1", "second"}, {"not expected: --first second"});
  expect_usage_error({"eval", "gelu"}, {"--x is required"});
}

TEST(CliComplaints, FitATerminal) {
  expect_usage_error({"eval", "ge\033[31mlu\x7f", "--x", "1"}, {"'ge?[31mlu?'"});
  expect_usage_error({"eval", "ge\xC2\x9Blu\xC3\xA9", "--x", "1"}, {"'ge?lu\xC3\xA9'"});
  for (const std::string letter : {"z", "\xC3\xA9", "\xE2\x82\xAC"})
    for (int extra = 0; extra < 3; ++extra) {
      std::string name(static_cast<std::size_t>(extra), 'a');
      for (int i = 0; i < 2000; ++i) name += letter;
      const ProgramRun run = run_program({"eval", "gelu", name, "--x", "1"});
      EXPECT_EQ(run.status, 2);
      EXPECT_LT(run.err.size(), 520u);
      EXPECT_NE(run.err.find(letter + "…" + letter), std::string::npos) << "whole characters: " << run.err;
      EXPECT_TRUE(run.err.ends_with("(see actium --help)\n")) << run.err;
    }
  expect_usage_error({"eval", std::string(100'000, 'z'), "--x", "1"}, {"zzz", "…"});
}

TEST(CliPlots, SayHowToGetMatplotlib) {
  const TemporaryFolder bin, work;
  fake_python(bin, "exit 3");
  const ProgramRun run =
      run_program({"notebook", "--section", "1", "--plots", work.string()}, "", bin.string());
  EXPECT_EQ(run.status, 2);
  EXPECT_NE(run.err.find("python3 has no matplotlib: python3 -m pip install matplotlib, or apt-get install "
                         "python3-matplotlib"),
            std::string::npos)
      << run.err;
}

TEST(CliPlots, AreDrawnByTheScriptBesideTheProgram) {
  const TemporaryFolder bin, prefix, work;
  fake_python(bin, "echo \"$1\" > \"$3/script\"");
  std::filesystem::create_directories(prefix / "bin");
  std::filesystem::create_directories(prefix / "share/actium");
  const std::string program = prefix / "bin/actium", script = prefix / "share/actium/plot_notebook.py";
  std::filesystem::copy_file(program_path(), program);
  std::ofstream(script) << "\n";
  const ProgramRun run =
      run_command({program, "notebook", "--section", "1", "--plots", work.string()}, "", bin.string());
  EXPECT_EQ(run.status, 0) << run.err;
  const std::string used = read_file(work / "script");
  ASSERT_NE(used, "");
  EXPECT_TRUE(std::filesystem::equivalent(used.substr(0, used.size() - 1), script)) << used;
}

TEST(CliHelp, GoesToStdoutAndSucceeds) {
  const ProgramRun help = run_program({"--help"}), version = run_program({"--version"});
  EXPECT_EQ(help.status, 0);
  for (const char* command : {"notebook", "eval", "softmax", "accuracy", "doctor"})
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
  EXPECT_EQ(version.status, 0);
  EXPECT_TRUE(version.out.starts_with("actium ")) << version.out;
}

}  // namespace
}  // namespace actium_test

/// actium softmax: one row of logits, its probabilities, statistics and derivatives.
#include <actium/softmax.hpp>

#include "arrays.hpp"
#include "commands.hpp"
#include "number_list.hpp"
#include "output.hpp"

namespace actium::cli {
namespace {

constexpr std::size_t kLargestJacobian = 4096;

struct Row {
  std::vector<double> logits, probabilities, log_probabilities;
  double logsumexp = 0, entropy = 0;
  std::optional<std::vector<double>> jvp;
  std::optional<std::vector<std::vector<double>>> jacobian;
};

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kInvalidArgument, message); }

std::vector<std::vector<double>> rows_of(const std::vector<double>& matrix, std::size_t columns) {
  std::vector<std::vector<double>> rows;
  for (auto row = matrix.begin(); row != matrix.end(); row += static_cast<std::ptrdiff_t>(columns))
    rows.emplace_back(row, row + static_cast<std::ptrdiff_t>(columns));
  return rows;
}

Row compute(const Context& ctx, DType dtype, double temperature, const std::vector<double>& logits,
            const std::optional<std::vector<double>>& tangent, bool want_jacobian) {
  const SoftmaxOptions at{.temperature = temperature};
  const Tensor z = to_tensor(ctx, dtype, logits);
  const Shape row = z.shape(), one{1};
  Tensor p(ctx, dtype, row), log_p(ctx, dtype, row), lse(ctx, dtype, one), h(ctx, dtype, one);
  actium::softmax(ctx, z, p, at);
  log_softmax(ctx, z, log_p, at);
  logsumexp(ctx, z, lse, at);
  entropy(ctx, z, h, at);
  Row result{.logits = z.to_doubles(ctx),
             .probabilities = p.to_doubles(ctx),
             .log_probabilities = log_p.to_doubles(ctx),
             .logsumexp = lse.to_doubles(ctx)[0],
             .entropy = h.to_doubles(ctx)[0],
             .jvp = {},
             .jacobian = {}};
  if (tangent) {
    Tensor tp(ctx, dtype, row);
    softmax_jvp(ctx, p, to_tensor(ctx, dtype, *tangent), tp, at);
    result.jvp = tp.to_doubles(ctx);
  }
  if (want_jacobian) {
    Tensor jacobian(ctx, dtype, row.with(row[0]));
    softmax_jacobian(ctx, p, jacobian, at);
    result.jacobian = rows_of(jacobian.to_doubles(ctx), logits.size());
  }
  return result;
}

void print(const Output& out, const Row& row) {
  out.print("{:>14} {:>14} {:>16}", "logit", "probability", "log probability");
  out.print("{}\n", row.jvp ? fmt::format(" {:>14}", "jvp") : "");
  for (std::size_t i = 0; i < row.logits.size(); ++i) {
    out.print("{:>14.6g} {:>14.6g} {:>16.6g}", row.logits[i], row.probabilities[i], row.log_probabilities[i]);
    out.print("{}\n", row.jvp ? fmt::format(" {:>14.6g}", (*row.jvp)[i]) : "");
  }
  out.print("logsumexp {:.9g}\nentropy   {:.9g} nats\n", row.logsumexp, row.entropy);
  if (!row.jacobian) return;
  out.print("jacobian\n");
  for (const auto& line : *row.jacobian) {
    for (const double entry : line) out.print(" {:>13.6g}", entry);
    out.print("\n");
  }
}

}  // namespace

int run_softmax(const SoftmaxCommandOptions& options) {
  const DType dtype = parse_dtype(options.dtype);
  const std::vector<double> logits = parse_number_list("--logits", options.logits, dtype);
  const double temperature = parse_number("--temperature", options.temperature);
  std::optional<std::vector<double>> tangent;
  if (options.tangent) tangent = parse_number_list("--tangent", *options.tangent, dtype);
  if (tangent && tangent->size() != logits.size())
    fail(fmt::format("--tangent: want {} numbers, one for each logit, got {}", logits.size(),
                     tangent->size()));
  if (options.jacobian && logits.size() > kLargestJacobian)
    fail(fmt::format("--jacobian: want at most {} logits for a dense matrix, got {}", kLargestJacobian,
                     logits.size()));

  const Context ctx = open_context(options);
  Output out(options.json);
  const Row row = compute(ctx, dtype, temperature, logits, tangent, options.jacobian);

  Json document = {{"logits", row.logits},
                   {"temperature", temperature},
                   {"dtype", to_string(dtype)},
                   {"device", ctx.name()},
                   {"probabilities", row.probabilities},
                   {"log_probabilities", row.log_probabilities},
                   {"logsumexp", row.logsumexp},
                   {"entropy", row.entropy}};
  if (row.jvp) document["jvp"] = *row.jvp;
  if (row.jacobian) document["jacobian"] = *row.jacobian;
  out.write_json(document);
  print(out, row);
  return 0;
}

}  // namespace actium::cli

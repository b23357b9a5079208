/// actium softmax: rows of logits, their probabilities, statistics and derivatives.
#include <actium/cross_entropy.hpp>
#include <actium/softmax.hpp>
#include <algorithm>

#include "arrays.hpp"
#include "commands.hpp"
#include "fail.hpp"
#include "number_list.hpp"
#include "output.hpp"

namespace actium::cli {
namespace {

constexpr std::size_t kLargestJacobian = 4096;

using Vector = std::vector<double>;

struct Row {
  Vector logits, probabilities, log_probabilities;
  double logsumexp = 0, entropy = 0;
  std::optional<Vector> jvp;
  std::optional<double> logsumexp_jvp, entropy_jvp;
  std::optional<double> cross_entropy;
  std::optional<Vector> cross_entropy_gradient;
  std::optional<std::vector<Vector>> jacobian;
};

/// What was asked for.
struct Question {
  std::vector<Vector> rows;
  double temperature = 1;
  std::vector<int> mask, labels;  // of each logit, of each row; or empty
  Vector tangent;                 // or empty
  bool jacobian = false;
};

/// The first `columns` elements of row `row` of a matrix.
Vector part(const Vector& matrix, std::size_t row, std::size_t stride, std::size_t columns) {
  const auto first = matrix.begin() + static_cast<std::ptrdiff_t>(row * stride);
  return {first, first + static_cast<std::ptrdiff_t>(columns)};
}

/// The cross-entropy of each row and its gradient. It takes no masks: what is masked is -inf.
void add_cross_entropy(const Context& ctx, DType dtype, const Question& question, const Shape& shape,
                       std::vector<Row>& rows) {
  const auto columns = static_cast<std::size_t>(shape.back());
  Vector logits(rows.size() * columns, -std::numeric_limits<double>::infinity());
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t c = 0; c < question.rows[r].size(); ++c)
      if (question.mask.empty() || question.mask[c] != 0) logits[r * columns + c] = question.rows[r][c];
  const std::vector<std::int64_t> labels(question.labels.begin(), question.labels.end());
  const DeviceIndices device_labels(ctx, labels);
  const DType loss_dtype = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  Tensor loss(ctx, loss_dtype, shape.without_last()), gradient(ctx, dtype, shape);
  cross_entropy_with_gradient(ctx, to_tensor(ctx, dtype, logits, shape), device_labels.view(), loss,
                              gradient);
  const Vector losses = loss.to_doubles(ctx), gradients = gradient.to_doubles(ctx);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    rows[r].cross_entropy = losses[r];
    rows[r].cross_entropy_gradient = part(gradients, r, columns, question.rows[r].size());
  }
}

std::vector<Row> compute(const Context& ctx, DType dtype, const Question& question) {
  std::vector<std::int64_t> lengths;
  for (const Vector& row : question.rows) lengths.push_back(std::ssize(row));
  const auto columns = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end()));
  const Shape shape{std::ssize(lengths), static_cast<std::int64_t>(columns)};
  Vector padded(question.rows.size() * columns);
  for (std::size_t r = 0; r < question.rows.size(); ++r)
    std::copy(question.rows[r].begin(), question.rows[r].end(),
              padded.begin() + static_cast<std::ptrdiff_t>(r * columns));

  const DeviceIndices device_lengths(ctx, lengths);
  const DeviceMask mask(ctx, question.mask);
  SoftmaxOptions options{.temperature = question.temperature, .lengths = device_lengths.view()};
  if (!question.mask.empty()) options.mask = mask.view();
  const Tensor z = to_tensor(ctx, dtype, padded, shape);
  Tensor p(ctx, dtype, shape), log_p(ctx, dtype, shape), lse(ctx, dtype, shape.without_last()),
      h(ctx, dtype, shape.without_last());
  actium::softmax(ctx, z, p, options);
  log_softmax(ctx, z, log_p, options);
  logsumexp(ctx, z, lse, options);
  entropy(ctx, z, h, options);

  const Vector zs = z.to_doubles(ctx), ps = p.to_doubles(ctx), log_ps = log_p.to_doubles(ctx),
               lses = lse.to_doubles(ctx), hs = h.to_doubles(ctx);
  std::vector<Row> rows;
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    const auto length = static_cast<std::size_t>(lengths[r]);
    rows.push_back({.logits = part(zs, r, columns, length),
                    .probabilities = part(ps, r, columns, length),
                    .log_probabilities = part(log_ps, r, columns, length),
                    .logsumexp = lses[r],
                    .entropy = hs[r],
                    .jvp = {},
                    .logsumexp_jvp = {},
                    .entropy_jvp = {},
                    .cross_entropy = {},
                    .cross_entropy_gradient = {},
                    .jacobian = {}});
  }
  if (!question.labels.empty()) add_cross_entropy(ctx, dtype, question, shape, rows);
  const SoftmaxOptions at{.temperature = question.temperature};
  if (!question.tangent.empty()) {
    Vector tangents;
    for (std::size_t r = 0; r < rows.size(); ++r)
      tangents.insert(tangents.end(), question.tangent.begin(), question.tangent.end());
    const Tensor tz = to_tensor(ctx, dtype, tangents, shape);
    Tensor tp(ctx, dtype, shape), tlse(ctx, dtype, shape.without_last()),
        th(ctx, dtype, shape.without_last());
    softmax_jvp(ctx, p, tz, tp, at);
    actium::logsumexp_jvp(ctx, z, tz, tlse, options);
    actium::entropy_jvp(ctx, z, tz, th, options);
    const Vector tps = tp.to_doubles(ctx), tlses = tlse.to_doubles(ctx), ths = th.to_doubles(ctx);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      rows[r].jvp = part(tps, r, columns, columns);
      rows[r].logsumexp_jvp = tlses[r];
      rows[r].entropy_jvp = ths[r];
    }
  }
  if (question.jacobian) {
    Tensor jacobian(ctx, dtype, shape.with(shape.back()));
    softmax_jacobian(ctx, p, jacobian, at);
    const Vector js = jacobian.to_doubles(ctx);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto length = static_cast<std::size_t>(lengths[r]);
      std::vector<Vector>& matrix = rows[r].jacobian.emplace();
      for (std::size_t i = 0; i < length; ++i) matrix.push_back(part(js, r * columns + i, columns, length));
    }
  }
  return rows;
}

void print(const Output& out, const Row& row) {
  out.print("{:>14} {:>14} {:>16}", "logit", "probability", "log probability");
  out.print("{}{}\n", row.jvp ? fmt::format(" {:>14}", "jvp") : "",
            row.cross_entropy ? fmt::format(" {:>14}", "gradient") : "");
  for (std::size_t i = 0; i < row.logits.size(); ++i) {
    out.print("{:>14.6g} {:>14.6g} {:>16.6g}", row.logits[i], row.probabilities[i], row.log_probabilities[i]);
    out.print("{}{}\n", row.jvp ? fmt::format(" {:>14.6g}", (*row.jvp)[i]) : "",
              row.cross_entropy ? fmt::format(" {:>14.6g}", (*row.cross_entropy_gradient)[i]) : "");
  }
  out.print("logsumexp {:.9g}\nentropy   {:.9g} nats\n", row.logsumexp, row.entropy);
  if (row.jvp)
    out.print("logsumexp jvp {:.9g}\nentropy jvp   {:.9g}\n", *row.logsumexp_jvp, *row.entropy_jvp);
  if (row.cross_entropy) out.print("cross-entropy {:.9g} nats\n", *row.cross_entropy);
  if (!row.jacobian) return;
  out.print("jacobian\n");
  for (const auto& line : *row.jacobian) {
    for (const double entry : line) out.print(" {:>13.6g}", entry);
    out.print("\n");
  }
}

Json json_of(const Row& row) {
  Json document = {{"logits", row.logits},
                   {"probabilities", row.probabilities},
                   {"log_probabilities", row.log_probabilities},
                   {"logsumexp", row.logsumexp},
                   {"entropy", row.entropy}};
  if (row.cross_entropy) {
    document["cross_entropy"] = *row.cross_entropy;
    document["cross_entropy_gradient"] = *row.cross_entropy_gradient;
  }
  if (row.jvp) {
    document["jvp"] = *row.jvp;
    document["logsumexp_jvp"] = *row.logsumexp_jvp;
    document["entropy_jvp"] = *row.entropy_jvp;
  }
  if (row.jacobian) document["jacobian"] = *row.jacobian;
  return document;
}

/// The question, checked.
Question question_of(const SoftmaxCommandOptions& options, DType dtype) {
  Question question;
  question.rows = options.rows ? parse_number_rows("--rows", *options.rows, dtype)
                               : std::vector<Vector>{parse_number_list("--logits", *options.logits, dtype)};
  question.temperature = parse_number("--temperature", options.temperature);
  question.jacobian = options.jacobian;
  std::size_t longest = 0, shortest = question.rows.front().size();
  for (const Vector& row : question.rows) {
    longest = std::max(longest, row.size());
    shortest = std::min(shortest, row.size());
  }
  const auto one_for_each_logit = [&](const char* option, std::size_t count) {
    if (shortest != longest)
      fail(fmt::format("{}: want rows of one length, got {} to {}", option, shortest, longest));
    if (count != longest)
      fail(fmt::format("{}: want {} numbers, one for each logit, got {}", option, longest, count));
  };
  if (options.mask) {
    question.mask = parse_integer_list("--mask", *options.mask, 0, 1, "0 or 1");
    one_for_each_logit("--mask", question.mask.size());
  }
  if (options.tangent) {
    question.tangent = parse_number_list("--tangent", *options.tangent, dtype);
    one_for_each_logit("--tangent", question.tangent.size());
  }
  if (options.label) {
    if (question.temperature != 1) fail("--label: want a --temperature of 1: cross-entropy takes no other");
    const int last = static_cast<int>(std::min<std::size_t>(longest, std::numeric_limits<int>::max())) - 1;
    question.labels =
        parse_integer_list("--label", *options.label, 0, last, fmt::format("a class from 0 to {}", last));
    if (question.labels.size() != question.rows.size())
      fail(fmt::format("--label: want {}, one for each row, got {}", question.rows.size(),
                       question.labels.size()));
    for (std::size_t r = 0; r < question.rows.size(); ++r)
      if (static_cast<std::size_t>(question.labels[r]) >= question.rows[r].size())
        fail(fmt::format("--label: item {}: want a class from 0 to {}, got {}", r + 1,
                         question.rows[r].size() - 1, question.labels[r]));
  }
  if (options.jacobian && longest > kLargestJacobian)
    fail(fmt::format("--jacobian: want at most {} logits for a dense matrix, got {}", kLargestJacobian,
                     longest));
  return question;
}

}  // namespace

int run_softmax(const SoftmaxCommandOptions& options) {
  const DType dtype = parse_dtype(options.dtype);
  const Question question = question_of(options, dtype);
  const Context ctx = open_context(options);
  Output out(options.json);
  const std::vector<Row> rows = compute(ctx, dtype, question);

  // One row's fields lie beside those of the call; many are a list.
  Json document = options.rows ? Json{{"rows", Json::array()}} : json_of(rows.front());
  if (options.rows)
    for (const Row& row : rows) document["rows"].push_back(json_of(row));
  document["temperature"] = question.temperature;
  document["dtype"] = to_string(dtype);
  document["device"] = ctx.name();
  out.write_json(document);
  for (const Row& row : rows) print(out, row);
  return 0;
}

}  // namespace actium::cli

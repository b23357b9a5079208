// Softmax and its relatives over rows of many lengths, at one total size: the largest of --sizes.
#include <bit>
#include <memory>

#include "harness.hpp"

using namespace actium;

namespace {

constexpr std::int64_t kColumns[] = {32,   100,   1000,   1001,   1024,    4096,
                                     8192, 32768, 128256, 262144, 1 << 19, 1 << 20};

/// Of copying the same bytes. An odd row does not begin at a packet boundary.
constexpr double forward_floor(std::int64_t columns) {
  if (columns % 8 != 0) return 0.85;
  return columns >= 8192 && columns <= 262144 ? 0.95 : 0.9;
}
constexpr double kJvpFloor = 0.92, kStatisticFloor = 0.9;

/// A class for each row, the same at every call.
std::shared_ptr<Tensor> make_labels(const bench::Settings& settings, std::int64_t rows,
                                    std::int64_t columns) {
  std::vector<double> words;  // whose bits are the numbers
  for (std::int64_t r = 0; r < rows; ++r) words.push_back(std::bit_cast<double>(r * 7919 % columns));
  return std::make_shared<Tensor>(settings.cuda ? Context::cuda() : Context::cpu(), words);
}

/// Forward, which reads the logits alone, and with the gradient, which reads and writes them.
void add_cross_entropy(std::vector<bench::Operation>& operations, const bench::Settings& settings,
                       const std::string& variant, DType dtype, std::int64_t rows, std::int64_t columns,
                       bool floors) {
  const Shape whole{rows, columns}, per_row{rows};
  const auto labels = make_labels(settings, rows, columns);
  const auto view = [=] {
    return IndexView(static_cast<const std::int64_t*>(labels->view().data()), {rows});
  };
  const std::int64_t bytes = whole.count() * static_cast<std::int64_t>(size_of(dtype)),
                     of_rows = rows * static_cast<std::int64_t>(8 + size_of(dtype));
  bench::Operation forward{.name = bench::operation_name("cross_entropy", variant, dtype, bytes),
                           .dtype = dtype,
                           .inputs = {whole},
                           .elements = rows * columns};
  bench::Operation both = forward;
  forward.outputs = {per_row};
  forward.bytes = bytes + of_rows;
  forward.floor = floors ? 0.9 : 0;
  forward.call = [=](const Context& ctx, auto in, auto out) { cross_entropy(ctx, in[0], view(), out[0]); };
  both.name = bench::operation_name("cross_entropy_with_gradient", variant, dtype, bytes);
  both.outputs = {whole, per_row};
  both.bytes = 2 * bytes + of_rows;
  both.floor = floors ? 1 / 1.1 : 0;
  both.call = [=](const Context& ctx, auto in, auto out) {
    cross_entropy_with_gradient(ctx, in[0], view(), out[1], out[0]);
  };
  operations.push_back(std::move(forward));
  operations.push_back(std::move(both));
}

std::vector<bench::Operation> list(const bench::Settings& settings) {
  std::vector<bench::Operation> operations;
  for (const DType dtype : kDTypes)
    for (const std::int64_t columns : kColumns) {
      const std::int64_t bytes = settings.tensor_bytes.back();
      const std::int64_t rows = std::max<std::int64_t>(settings.elements(bytes, dtype) / columns, 1);
      const Shape whole{rows, columns}, per_row{rows};
      const bool floors = dtype != DType::kF64 && bytes >= std::int64_t{1} << 28;
      const auto add = [&](const char* name, double floor, std::vector<Shape> inputs, const Shape& output,
                           auto call) {
        operations.push_back(
            {.name = bench::operation_name(name, "row" + std::to_string(columns), dtype, bytes),
             .dtype = dtype,
             .inputs = std::move(inputs),
             .outputs = {output},
             .elements = rows * columns,
             .floor = floors ? floor : 0,
             .call = call});
      };
      add("softmax", forward_floor(columns), {whole}, whole,
          [](const Context& ctx, auto in, auto out) { softmax(ctx, in[0], out[0]); });
      add("log_softmax", forward_floor(columns), {whole}, whole,
          [](const Context& ctx, auto in, auto out) { log_softmax(ctx, in[0], out[0]); });
      add("logsumexp", kStatisticFloor, {whole}, per_row,
          [](const Context& ctx, auto in, auto out) { logsumexp(ctx, in[0], out[0]); });
      add("entropy", kStatisticFloor, {whole}, per_row,
          [](const Context& ctx, auto in, auto out) { entropy(ctx, in[0], out[0]); });
      // p is random like the rest: the arithmetic is the same for any values.
      add("softmax_jvp", kJvpFloor, {whole, whole}, whole,
          [](const Context& ctx, auto in, auto out) { softmax_jvp(ctx, in[0], in[1], out[0]); });
      if (columns >= 1000)
        add_cross_entropy(operations, settings, "row" + std::to_string(columns), dtype, rows, columns,
                          floors);
    }
  // A few rows: launches and the row's own depth count, not the memory.
  struct Few {
    DType dtype;
    std::int64_t rows, columns;
    double most_us;
  };
  for (const Few& few :
       {Few{DType::kF32, 4, 1 << 20, 12}, {DType::kBF16, 4, 102400, 4.2}, {DType::kF32, 1, 32000, 3}}) {
    if (!settings.cuda || settings.quick) break;
    const Shape whole{few.rows, few.columns};
    operations.push_back(
        {.name =
             bench::operation_name("softmax", std::to_string(few.rows) + "x" + std::to_string(few.columns),
                                   few.dtype, whole.count() * static_cast<std::int64_t>(size_of(few.dtype))),
         .dtype = few.dtype,
         .inputs = {whole},
         .outputs = {whole},
         .elements = whole.count(),
         .most_us = few.most_us,
         .call = [](const Context& ctx, auto in, auto out) { softmax(ctx, in[0], out[0]); }});
  }
  // The output layer of a large language model.
  if (settings.cuda && !settings.quick)
    add_cross_entropy(operations, settings, "8192x128256", DType::kBF16, 8192, 128256, true);
  return operations;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

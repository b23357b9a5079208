// Softmax and its relatives over rows of many lengths, at one total size: the largest of --sizes.
#include "harness.hpp"

using namespace actium;

namespace {

constexpr std::int64_t kColumns[] = {32, 100, 1000, 1024, 4096, 32768, 128256};

std::vector<bench::Operation> list(const bench::Settings& settings) {
  std::vector<bench::Operation> operations;
  for (const DType dtype : kDTypes)
    for (const std::int64_t columns : kColumns) {
      const std::int64_t bytes = settings.tensor_bytes.back();
      const std::int64_t rows = std::max<std::int64_t>(settings.elements(bytes, dtype) / columns, 1);
      const Shape whole{rows, columns}, per_row{rows};
      const auto add = [&](const char* name, std::vector<Shape> inputs, const Shape& output, auto call) {
        operations.push_back(
            {.name = bench::operation_name(name, "row" + std::to_string(columns), dtype, bytes),
             .dtype = dtype,
             .inputs = std::move(inputs),
             .outputs = {output},
             .elements = rows * columns,
             .call = call});
      };
      add("softmax", {whole}, whole,
          [](const Context& ctx, auto in, auto out) { softmax(ctx, in[0], out[0]); });
      add("log_softmax", {whole}, whole,
          [](const Context& ctx, auto in, auto out) { log_softmax(ctx, in[0], out[0]); });
      add("logsumexp", {whole}, per_row,
          [](const Context& ctx, auto in, auto out) { logsumexp(ctx, in[0], out[0]); });
      add("entropy", {whole}, per_row,
          [](const Context& ctx, auto in, auto out) { entropy(ctx, in[0], out[0]); });
      // p is random like the rest: the arithmetic is the same for any values.
      add("softmax_jvp", {whole, whole}, whole,
          [](const Context& ctx, auto in, auto out) { softmax_jvp(ctx, in[0], in[1], out[0]); });
    }
  return operations;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

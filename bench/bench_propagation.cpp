// What a layer of signal propagation is made of: the product with its activation, the random weights, the
// statistics.
#include <actium/propagation.hpp>

#include "harness.hpp"

using namespace actium;

namespace {

std::vector<bench::Operation> list(const bench::Settings& settings) {
  std::vector<bench::Operation> operations;
  std::vector<std::int64_t> sides = {1024, 4096};
  if (!settings.cuda) sides = {settings.quick ? 32 : 512};
  if (settings.cuda && settings.quick) sides = {64};
  for (const DType dtype : kDTypes) {
    for (const std::int64_t side : sides) {
      const Shape square{side, side};
      const std::int64_t bytes = side * side * static_cast<std::int64_t>(size_of(dtype));
      const double flops =
          2.0 * static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);
      const auto add = [&](const char* name, auto call) {
        operations.push_back(
            {.name = bench::operation_name(name, "square" + std::to_string(side), dtype, bytes),
             .dtype = dtype,
             .inputs = {square, square},
             .outputs = {square},
             .elements = side * side,
             .flops = flops,
             .call = call});
      };
      add("matmul", [](const Context& ctx, auto in, auto out) { matmul(ctx, in[0], in[1], out[0]); });
      add("matmul_tanh", [](const Context& ctx, auto in, auto out) {
        matmul(ctx, in[0], in[1], out[0]);
        forward(ctx, tanh(), out[0], out[0]);
      });
    }
    for (const std::int64_t bytes : settings.tensor_bytes) {
      const std::int64_t elements = settings.elements(bytes, dtype);
      operations.push_back({.name = bench::operation_name("fill_normal", "philox", dtype, bytes),
                            .dtype = dtype,
                            .outputs = {Shape{elements}},
                            .elements = elements,
                            .call = [](const Context& ctx, auto, auto out) {
                              fill_normal(ctx, out[0], {.seed = 1, .sequence = 2});
                            }});
      const std::int64_t units = std::min<std::int64_t>(1024, elements), rows = elements / units;
      operations.push_back(
          {.name = bench::operation_name("signal_statistics", "units" + std::to_string(units), dtype, bytes),
           .dtype = dtype,
           .inputs = {Shape{rows, units}},
           .elements = rows * units,
           .capturable = false,
           .call = [](const Context& ctx, auto in, auto) { signal_statistics(ctx, in[0]); }});
    }
  }
  return operations;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

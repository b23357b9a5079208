// Every gated unit: forward and backward, in every dtype.
#include "harness.hpp"

using namespace actium;

namespace {

std::vector<bench::Operation> list(const bench::Settings& settings) {
  std::vector<bench::Operation> operations;
  for (const DType dtype : kDTypes)
    for (const GatedInfo& info : gated_units())
      for (const std::int64_t bytes : settings.tensor_bytes) {
        const GatedUnit unit = GatedUnit::parse(info.name);
        const std::int64_t elements = settings.elements(bytes, dtype);
        const Shape shape{elements};
        // What the speed of memory should leave (docs/benchmarks.md).
        const double floor = dtype != DType::kF64 && bytes >= std::int64_t{1} << 28 ? 0.95 : 0;
        operations.push_back({.name = bench::operation_name("gated_forward", info.name, dtype, bytes),
                              .dtype = dtype,
                              .inputs = {shape, shape},
                              .outputs = {shape},
                              .elements = elements,
                              .floor = floor,
                              .call = [unit](const Context& ctx, auto in, auto out) {
                                gated_forward(ctx, unit, {.gate = in[0], .content = in[1]}, out[0]);
                              }});
        operations.push_back({.name = bench::operation_name("gated_backward", info.name, dtype, bytes),
                              .dtype = dtype,
                              .inputs = {shape, shape, shape},
                              .outputs = {shape, shape},
                              .elements = elements,
                              .floor = floor,
                              .call = [unit](const Context& ctx, auto in, auto out) {
                                gated_backward(ctx, unit, {.gate = in[0], .content = in[1]}, in[2],
                                               {.gate = out[0], .content = out[1]});
                              }});
      }
  return operations;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

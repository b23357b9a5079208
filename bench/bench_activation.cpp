// Every activation of the registry: forward, backward and jvp, in every dtype.
#include "harness.hpp"

using namespace actium;

namespace {

std::vector<bench::Operation> list(const bench::Settings& settings) {
  std::vector<bench::Operation> operations;
  for (const DType dtype : kDTypes)
    for (const ActivationInfo& info : activations())
      for (const std::int64_t bytes : settings.tensor_bytes) {
        const Activation f = Activation::parse(info.name);
        const std::int64_t elements = settings.elements(bytes, dtype);
        const Shape shape{elements};
        const auto add = [&](const char* name, std::vector<Shape> inputs, std::vector<Shape> outputs,
                             auto call) {
          operations.push_back({.name = bench::operation_name(name, info.name, dtype, bytes),
                                .dtype = dtype,
                                .inputs = std::move(inputs),
                                .outputs = std::move(outputs),
                                .elements = elements,
                                .call = call});
        };
        add("forward", {shape}, {shape},
            [f](const Context& ctx, auto in, auto out) { forward(ctx, f, in[0], out[0]); });
        add("backward", {shape, shape}, {shape},
            [f](const Context& ctx, auto in, auto out) { backward(ctx, f, in[0], in[1], out[0]); });
        add("jvp", {shape, shape}, {shape, shape},
            [f](const Context& ctx, auto in, auto out) { jvp(ctx, f, in[0], in[1], out[0], out[1]); });
      }
  return operations;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, list); }

/// actium eval: an activation, its slope or its curvature at given points.
#include <actium/activation.hpp>

#include "arrays.hpp"
#include "commands.hpp"
#include "number_list.hpp"
#include "output.hpp"

namespace actium::cli {
namespace {

/// The shortest text that reads back as the same element of `dtype`.
std::string shortest(double value, DType dtype) {
  return dtype == DType::kF64 ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
}

}  // namespace

int run_eval(const EvalOptions& options) {
  const Activation f = Activation::parse(options.name);
  const DType dtype = parse_dtype(options.dtype);
  const std::vector<double> list = parse_number_list("--x", options.x, dtype);
  const int order =
      parse_integer("--order", options.order, 0, 2, "0 (the value), 1 (the slope) or 2 (the curvature)");

  const Context ctx = open_context(options);
  Output out(options.json);
  const Tensor x_tensor = to_tensor(ctx, dtype, list);
  const std::vector<double> x = x_tensor.to_doubles(ctx);
  const std::vector<double> y = evaluate(ctx, f, x_tensor, order).to_doubles(ctx);

  out.write_json({{"activation", f.to_string()},
                  {"order", order},
                  {"dtype", to_string(dtype)},
                  {"device", ctx.name()},
                  {"x", x},
                  {"y", y}});
  out.print("{:>24}  {:>24}\n", "x", f.to_string() + std::string(static_cast<std::size_t>(order), '\''));
  for (std::size_t i = 0; i < x.size(); ++i)
    out.print("{:>24}  {:>24}\n", shortest(x[i], dtype), shortest(y[i], dtype));
  return 0;
}

}  // namespace actium::cli

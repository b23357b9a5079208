#include "support/every_operation.hpp"

#include <cstring>
#include <memory>

#include "dispatch.hpp"
#include "support/samples.hpp"

namespace actium_test {

using namespace actium;

namespace {

/// Tensors of one operation that begin `offset` elements past an aligned address.
class Maker {
 public:
  Maker(const Context& ctx, DType dtype, std::int64_t offset, std::uint64_t seed)
      : ctx_(ctx), dtype_(dtype), offset_(offset), seed_(seed) {}

  TensorView filled(const Shape& shape) {
    return visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
      const auto all = normal_sample<T>(static_cast<std::size_t>(shape.count() + offset_), ++seed_, 0, 2);
      return keep(std::make_shared<Tensor>(ctx_, all), shape);
    });
  }
  /// Probabilities, more or less.
  TensorView positive(const Shape& shape) {
    const auto columns = static_cast<double>(shape.back());
    return mapped(shape, [columns](double v) { return std::abs(v) / columns; });
  }
  /// The map of normal numbers.
  template <class Map>
  TensorView mapped(const Shape& shape, const Map& map) {
    return visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
      auto all = normal_sample<T>(static_cast<std::size_t>(shape.count() + offset_), ++seed_, 0, 1);
      for (T& v : all) v = static_cast<T>(map(static_cast<double>(v)));
      return keep(std::make_shared<Tensor>(ctx_, all), shape);
    });
  }
  /// Parameters of rows or columns: f32 (f64 for f64), from 0.5 on.
  TensorView parameters(std::int64_t count) {
    const auto make = [&]<class T>(std::type_identity<T>) {
      std::vector<T> all = normal_sample<T>(static_cast<std::size_t>(count), ++seed_, 0, 1);
      for (T& v : all) v = T(0.5) + std::abs(v);
      memory_.push_back(std::make_shared<Tensor>(ctx_, all));
      return memory_.back()->view();
    };
    return dtype_ == DType::kF64 ? make(std::type_identity<double>{}) : make(std::type_identity<float>{});
  }
  /// Indices below `limit`.
  IndexView indices(std::int64_t count, std::int64_t limit) {
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < count; ++i) all.push_back(i * 31 % limit);
    return {static_cast<const std::int64_t*>(bytes(all.data(), all.size() * 8)), {count}};
  }
  BoolView flags(const Shape& shape) {
    std::vector<unsigned char> all;
    for (std::int64_t i = 0; i < shape.count(); ++i) all.push_back(i * 7 % 5 < 3);
    return {static_cast<const bool*>(bytes(all.data(), all.size())), shape};
  }
  TensorView output(const Shape& shape) {
    auto tensor = std::make_shared<Tensor>(ctx_, dtype_, Shape{shape.count() + offset_});
    const TensorView view = keep(tensor, shape);
    outputs_.push_back(view);
    return view;
  }

  /// An output in f32 (f64 for f64).
  TensorView sums(const Shape& shape) {
    return whole(dtype_ == DType::kF64 ? DType::kF64 : DType::kF32, shape);
  }
  /// What is there already and is read after the operation.
  void reads(const TensorView& view) { outputs_.push_back(view); }
  /// An output of words of 32 bits.
  TensorView words(std::int64_t count) { return whole(DType::kF32, {count}); }

  /// `run` with the tensors made so far.
  Operation operation(const std::string& what, bool capturable, std::function<void(const Context&)> run) {
    const auto read = [memory = memory_, outputs = outputs_](const Context& ctx) {
      std::vector<std::byte> bytes;
      for (const TensorView& view : outputs)
        visit_dtype(view.dtype(), [&]<class T>(std::type_identity<T>) {
          std::vector<T> host(static_cast<std::size_t>(view.count()));
          copy(ctx, view, TensorView(host.data(), view.shape()));
          const auto* begin = reinterpret_cast<const std::byte*>(host.data());
          bytes.insert(bytes.end(), begin, begin + view.bytes());
        });
      return bytes;
    };
    return {what + " " + std::string(to_string(dtype_)) + " offset " + std::to_string(offset_), dtype_,
            capturable, [memory = memory_, run = std::move(run)](const Context& ctx) { run(ctx); }, read};
  }

 private:
  /// A copy in the context's memory: as words of eight bytes.
  const void* bytes(const void* from, std::size_t size) {
    std::vector<double> words((size + 7) / 8);
    std::memcpy(words.data(), from, size);
    memory_.push_back(std::make_shared<Tensor>(ctx_, words));
    return memory_.back()->view().data();
  }
  TensorView whole(DType dtype, const Shape& shape) {
    auto tensor = std::make_shared<Tensor>(ctx_, dtype, shape);
    memory_.push_back(tensor);
    outputs_.push_back(tensor->view());
    return tensor->view();
  }
  TensorView keep(const std::shared_ptr<Tensor>& tensor, const Shape& shape) {
    memory_.push_back(tensor);
    return visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
      return TensorView(tensor->view().template data_as<T>() + offset_, shape);
    });
  }
  Context ctx_;
  DType dtype_;
  std::int64_t offset_;
  std::uint64_t seed_;
  std::vector<std::shared_ptr<Tensor>> memory_;
  std::vector<TensorView> outputs_;
};

/// The plain operations of one activation.
void plain(std::vector<Operation>& list, const Maker& maker, const Activation& f, const Shape& shape) {
  const std::string name = f.to_string();
  Maker a = maker, b = maker, c = maker, d = maker;
  const TensorView x = a.filled(shape), y = a.output(shape);
  list.push_back(a.operation("forward " + name, true, [=](const Context& ctx) { forward(ctx, f, x, y); }));
  const TensorView bx = b.filled(shape), dy = b.filled(shape), dx = b.output(shape);
  list.push_back(
      b.operation("backward " + name, true, [=](const Context& ctx) { backward(ctx, f, bx, dy, dx); }));
  const TensorView cx = c.filled(shape), tx = c.filled(shape), cy = c.output(shape), ty = c.output(shape);
  list.push_back(c.operation("jvp " + name, true, [=](const Context& ctx) { jvp(ctx, f, cx, tx, cy, ty); }));
  const TensorView ex = d.filled(shape), edy = d.filled(shape), ddx = d.filled(shape), ddy = d.output(shape),
                   dx2 = d.output(shape);
  list.push_back(d.operation("backward_of_backward " + name, true, [=](const Context& ctx) {
    backward_of_backward(ctx, f, ex, edy, ddx, ddy, dx2);
  }));
}

/// The same with rows at a distance.
void strided(std::vector<Operation>& list, const Maker& maker) {
  Maker m = maker;
  const Activation f = silu();
  const TensorView x = m.filled({70, 40}), y = m.filled({70, 40});
  m.reads(y);
  const auto part = [](const TensorView& whole) {
    const std::int64_t strides[] = {40, 1};
    return TensorView(whole.data(), whole.dtype(), Shape{70, 33}, strides);
  };
  list.push_back(m.operation("forward of rows at a distance", true,
                             [=](const Context& ctx) { forward(ctx, f, part(x), part(y)); }));
}

/// Options: one call with everything for one activation. The calls that need scratch allocate on a new
/// context.
void with_options(std::vector<Operation>& list, const Maker& maker, const Activation& f, const Shape& shape) {
  const std::string name = f.to_string();
  const Shape last{shape.back()};
  Maker a = maker, b = maker, c = maker;
  const TensorView x = a.filled(shape), bias = a.filled(last), residual = a.filled(shape),
                   y = a.output(shape);
  list.push_back(a.operation("forward with options " + name, true, [=](const Context& ctx) {
    forward(ctx, f, x, y,
            {.bias = bias, .residual = residual, .scale = 0.5, .dropout = {.p = 0.3, .key = {7, 1}}});
  }));
  const TensorView bx = b.filled(shape), b_bias = b.filled(last), dy = b.filled(shape), dx = b.output(shape),
                   dbias = b.output(last);
  list.push_back(b.operation("backward with options " + name, false, [=](const Context& ctx) {
    backward(ctx, f, bx, dy, dx,
             {.bias = b_bias, .scale = 0.5, .dropout = {.p = 0.3, .key = {7, 1}}, .dbias = dbias});
  }));
  if (f.info().parameter_count == 0) return;
  const TensorView px = c.filled(shape), pdy = c.filled(shape);
  const TensorView dp = c.sums({f.info().parameter_count, shape.back()});
  list.push_back(c.operation("parameter_gradient " + name, false, [=](const Context& ctx) {
    parameter_gradient(ctx, f, px, pdy, dp, shape.rank() - 1);
  }));
}

/// Backward from the output and from a mask; a list of tensors.
void without_the_input(std::vector<Operation>& list, const Maker& maker, const Shape& shape,
                       const Shape& matrix) {
  Maker k = maker, m = maker, n = maker, o = maker;
  const TensorView x = k.filled(shape), y = k.output(shape), written = k.words(mask_words(shape.count()));
  list.push_back(k.operation("forward with a mask", true, [=](const Context& ctx) {
    forward(ctx, relu(), x, y, {.mask = static_cast<std::uint32_t*>(written.data())});
  }));
  const TensorView dy = m.filled(shape), mask = m.filled(shape), dx = m.output(shape);  // any bits are a mask
  list.push_back(m.operation("backward_from_mask", true, [=](const Context& ctx) {
    const auto* const address = static_cast<const std::byte*>(mask.data());
    const auto past = reinterpret_cast<std::uintptr_t>(address) % 4;
    backward_from_mask(ctx, relu(), reinterpret_cast<const std::uint32_t*>(address + (4 - past) % 4), dy, dx);
  }));
  const TensorView ny = n.positive(matrix), ndy = n.filled(matrix), ndx = n.output(matrix);
  list.push_back(n.operation("backward_from_output", true, [=](const Context& ctx) {
    backward_from_output(ctx, softplus(), ny, ndy, ndx);
  }));
  const TensorView o1 = o.filled({100}), o2 = o.filled({9000}), p1 = o.output({100}), p2 = o.output({9000});
  list.push_back(o.operation("forward_many", true, [=](const Context& ctx) {
    const ForwardPair pairs[] = {{o1, p1}, {o2, p2}};
    forward_many(ctx, tanh(), pairs);
  }));
}

void elementwise(std::vector<Operation>& list, const Maker& maker, bool every_kind) {
  const Shape shape{2 * 4096 + 11}, matrix{37, 67};  // two tiles of the 16-bit types
  plain(list, maker, silu(), shape);
  with_options(list, maker, leaky_relu(0.2), matrix);
  strided(list, maker);
  if (every_kind)  // their kernels differ in arithmetic alone
    for (const ActivationInfo& info : activations()) {
      plain(list, maker, Activation(info.kind, info.parameter_defaults), Shape{70});
      with_options(list, maker, Activation(info.kind, info.parameter_defaults), Shape{3, 7});
    }
  without_the_input(list, maker, shape, matrix);
  for (const GatedInfo& info : gated_units()) {
    const GatedUnit unit(info.kind);
    const std::string name(info.name);
    Maker a = maker, b = maker;
    const GatedInput in{a.filled(shape), a.filled(shape)};
    const TensorView y = a.output(shape);
    list.push_back(a.operation("gated_forward " + name, true,
                               [=](const Context& ctx) { gated_forward(ctx, unit, in, y); }));
    const GatedInput b_in{b.filled(shape), b.filled(shape)};
    const TensorView dy = b.filled(shape);
    const GatedOutput dx{b.output(shape), b.output(shape)};
    list.push_back(b.operation("gated_backward " + name, true,
                               [=](const Context& ctx) { gated_backward(ctx, unit, b_in, dy, dx); }));
  }
}

void softmaxes(std::vector<Operation>& list, const Maker& maker) {
  const SoftmaxOptions options{.temperature = 0.7};
  for (const std::int64_t columns : {7, 100, 500, 1000, 1200}) {  // every size class
    const Shape shape{5, columns}, rows{5};
    const std::string size = " of " + std::to_string(columns);
    using Call = void (*)(const Context&, ConstTensorView, TensorView, const SoftmaxOptions&);
    for (const auto& [name, call, statistic] :
         std::initializer_list<std::tuple<const char*, Call, bool>>{{"softmax", &softmax, false},
                                                                    {"log_softmax", &log_softmax, false},
                                                                    {"logsumexp", &logsumexp, true},
                                                                    {"entropy", &entropy, true}}) {
      Maker m = maker;
      const TensorView z = m.filled(shape), out = m.output(statistic ? rows : shape);
      list.push_back(m.operation(name + size, true,
                                 [=, call = call](const Context& ctx) { call(ctx, z, out, options); }));
    }
    Maker m = maker;
    const TensorView p = m.positive(shape), tz = m.filled(shape), tp = m.output(shape);
    list.push_back(m.operation("softmax_jvp" + size, true,
                               [=](const Context& ctx) { softmax_jvp(ctx, p, tz, tp, options); }));
  }
  Maker m = maker;
  const TensorView p = m.positive({3, 40}), jacobian = m.output({3, 40, 40});
  list.push_back(m.operation("softmax_jacobian", true,
                             [=](const Context& ctx) { softmax_jacobian(ctx, p, jacobian, options); }));
}

/// The derivatives of softmax, and sparsemax.
void derivatives(std::vector<Operation>& list, const Maker& maker, const Shape& shape) {
  const SoftmaxOptions options{.temperature = 0.7};
  const Shape rows{shape[0]};
  const std::string size = " of " + std::to_string(shape.back());
  const auto add = [&](const char* name, Maker& m, std::function<void(const Context&)> run) {
    list.push_back(m.operation(name + size, true, std::move(run)));
  };
  const auto log_of = [](double v) { return -std::abs(v); };
  const auto or_0 = [](double v) { return std::max(v, 0.0); };

  Maker a = maker, b = maker, c = maker, d = maker, e = maker, f = maker, g = maker, h = maker, i = maker,
        j = maker, k = maker, l = maker;
  const TensorView az = a.filled(shape), at = a.filled(shape), ap = a.output(shape), atp = a.output(shape);
  add("softmax_value_and_jvp", a,
      [=](const Context& ctx) { softmax_value_and_jvp(ctx, az, at, ap, atp, options); });
  const TensorView bz = b.filled(shape), dh = b.filled(rows), bdz = b.output(shape);
  add("entropy_vjp", b, [=](const Context& ctx) { entropy_vjp(ctx, bz, dh, bdz, options); });
  const TensorView cz = c.filled(shape), dlse = c.filled(rows), cdz = c.output(shape);
  add("logsumexp_vjp", c, [=](const Context& ctx) { logsumexp_vjp(ctx, cz, dlse, cdz, options); });
  const TensorView kz = k.filled(shape), ktz = k.filled(shape), kth = k.output(rows);
  add("entropy_jvp", k, [=](const Context& ctx) { entropy_jvp(ctx, kz, ktz, kth, options); });
  const TensorView lz = l.filled(shape), ltz = l.filled(shape), ltlse = l.output(rows);
  add("logsumexp_jvp", l, [=](const Context& ctx) { logsumexp_jvp(ctx, lz, ltz, ltlse, options); });
  const TensorView dlog = d.mapped(shape, log_of), ddy = d.filled(shape), ddz = d.output(shape);
  add("log_softmax_vjp", d, [=](const Context& ctx) { log_softmax_vjp(ctx, dlog, ddy, ddz, options); });
  const TensorView elog = e.mapped(shape, log_of), etz = e.filled(shape), ety = e.output(shape);
  add("log_softmax_jvp", e, [=](const Context& ctx) { log_softmax_jvp(ctx, elog, etz, ety, options); });
  const TensorView fp = f.positive(shape), fdp = f.filled(shape), ftz = f.filled(shape),
                   fhvp = f.output(shape);
  add("softmax_hvp", f, [=](const Context& ctx) { softmax_hvp(ctx, fp, fdp, ftz, fhvp, options); });
  const TensorView gz = g.filled(shape), gp = g.positive(shape), gdp = g.filled(shape), dT = g.output(rows);
  add("softmax_temperature_gradient", g,
      [=](const Context& ctx) { softmax_temperature_gradient(ctx, gz, gp, gdp, dT, options); });
  const TensorView hz = h.filled(shape), hp = h.output(shape);
  add("sparsemax", h, [=](const Context& ctx) { sparsemax(ctx, hz, hp, options); });
  const TensorView ip = i.mapped(shape, or_0), idp = i.filled(shape), idz = i.output(shape);
  add("sparsemax_vjp", i, [=](const Context& ctx) { sparsemax_vjp(ctx, ip, idp, idz, options); });
  const TensorView jp = j.positive(shape), jdp = j.filled(shape), jdz = j.output(shape);
  add("softmax_vjp", j, [=](const Context& ctx) { softmax_vjp(ctx, jp, jdp, jdz, options); });
}

void cross_entropies(std::vector<Operation>& list, const Maker& maker, const Shape& shape) {
  for (const bool with_options : {false, true}) {
    const std::string size = " of " + std::to_string(shape.back()) + (with_options ? " with options" : "");
    const Shape rows{shape[0]};
    Maker a = maker, b = maker;
    const auto options = [&](Maker& m, bool gradient) {
      CrossEntropyOptions some;
      if (!with_options) return some;
      some.label_smoothing = 0.1;
      some.z_loss = 0.01;
      some.class_weights = m.parameters(shape.back());
      some.logsumexp = m.output(rows);
      if (gradient) some.dloss = m.parameters(rows[0]);
      return some;
    };
    const TensorView az = a.filled(shape), aloss = a.output(rows);
    list.push_back(a.operation("cross_entropy" + size, true,
                               [=, labels = a.indices(rows[0], shape.back()), some = options(a, false)](
                                   const Context& ctx) { cross_entropy(ctx, az, labels, aloss, some); }));
    const TensorView bz = b.filled(shape), bloss = b.output(rows), dz = b.output(shape);
    list.push_back(b.operation(
        "cross_entropy_with_gradient" + size, true,
        [=, labels = b.indices(rows[0], shape.back()), some = options(b, true)](const Context& ctx) {
          cross_entropy_with_gradient(ctx, bz, labels, bloss, dz, some);
        }));
  }
}

/// Along the first axis, and with every kind of mask and temperatures.
void rows_with_options(std::vector<Operation>& list, const Maker& maker, const Shape& shape) {
  using Call = void (*)(const Context&, ConstTensorView, TensorView, const SoftmaxOptions&);
  for (const auto& [name, call, statistic] :
       std::initializer_list<std::tuple<const char*, Call, bool>>{{"softmax", &softmax, false},
                                                                  {"log_softmax", &log_softmax, false},
                                                                  {"logsumexp", &logsumexp, true},
                                                                  {"entropy", &entropy, true},
                                                                  {"sparsemax", &sparsemax, false}}) {
    Maker along = maker, masked = maker;
    const TensorView z = along.filled(shape), out = along.output(statistic ? Shape{shape[1]} : shape);
    list.push_back(along.operation(name + std::string(" along the first axis"), true,
                                   [=, call = call](const Context& ctx) { call(ctx, z, out, {.axis = 0}); }));
    const TensorView mz = masked.filled(shape), m_out = masked.output(statistic ? Shape{shape[0]} : shape);
    SoftmaxOptions options;
    options.temperatures = masked.parameters(shape[0]);
    options.mask = masked.flags(shape);
    options.bias = masked.filled({shape[1]});
    options.lengths = masked.indices(shape[0], shape[1]);
    options.causal = true;
    options.causal_offset = shape[1] / 2;
    list.push_back(masked.operation(name + std::string(" with masks"), true,
                                    [=, call = call](const Context& ctx) { call(ctx, mz, m_out, options); }));
  }
}

void propagation(std::vector<Operation>& list, const Maker& maker, std::uint64_t seed) {
  Maker a = maker, b = maker, c = maker;
  const TensorView uniform = a.output({33, 67}), normal = b.output({33, 67});
  list.push_back(a.operation("fill_uniform", true,
                             [=](const Context& ctx) { fill_uniform(ctx, uniform, {.seed = seed}, -1, 2); }));
  list.push_back(b.operation("fill_normal", true,
                             [=](const Context& ctx) { fill_normal(ctx, normal, {.seed = seed}, 1, 2); }));
  const TensorView x = c.filled({2, 9, 13}), w = c.filled({2, 13, 7}), y = c.output({2, 9, 7});
  // The first product makes the context's handle and workspace.
  list.push_back(c.operation("matmul", false, [=](const Context& ctx) { matmul(ctx, x, w, y); }));
  for (const std::int64_t units : {64, 37}) {  // in packets and one by one
    Maker m = maker;
    const TensorView signal = m.filled({70, units});
    auto found = std::make_shared<std::vector<double>>();
    Operation statistics =
        m.operation("signal_statistics of " + std::to_string(units), false, [=](const Context& ctx) {
          const SignalStatistics s = signal_statistics(ctx, signal);
          *found = s.active_fraction;
          found->insert(found->end(), {s.mean, s.variance, s.second_moment, s.zero_fraction});
        });
    statistics.dtype = DType::kF64;
    statistics.read = [found](const Context&) {
      const auto* begin = reinterpret_cast<const std::byte*>(found->data());
      return std::vector<std::byte>(begin, begin + found->size() * sizeof(double));
    };
    list.push_back(std::move(statistics));
  }
}

}  // namespace

std::vector<Operation> every_operation(const Context& ctx, std::uint64_t seed) {
  std::vector<Operation> list;
  for (const DType dtype : kDTypes)
    for (const std::int64_t offset : {0, 1}) {
      const Maker maker(ctx, dtype, offset, seed);
      elementwise(list, maker, offset == 0);
      softmaxes(list, maker);
      rows_with_options(list, maker, {3, 70});
      derivatives(list, maker, {3, 70});
      cross_entropies(list, maker, {3, 70});
      // Slices of a row, where others have registers.
      if (offset == 1 && !quick()) derivatives(list, maker, {1, dtype == DType::kF64 ? 600 : 2100});
      propagation(list, maker, seed);
    }
  return list;
}

std::vector<std::byte> run_all(const Context& ctx, const std::vector<Operation>& operations) {
  std::vector<std::byte> bytes;
  for (const Operation& operation : operations) {
    operation.run(ctx);
    const std::vector<std::byte> wrote = operation.read(ctx);
    bytes.insert(bytes.end(), wrote.begin(), wrote.end());
  }
  return bytes;
}

}  // namespace actium_test

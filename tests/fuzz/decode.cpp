#include <algorithm>

#include "call.hpp"

namespace actium_fuzz {

namespace {

constexpr std::size_t kSizes[] = {8, 4, 2, 2, 1, 1};
constexpr std::int64_t kExtents[] = {1, 2, 3, 4, 5, 6};
constexpr std::int64_t kOddExtents[] = {0,
                                        1,
                                        2,
                                        3,
                                        7,
                                        8,
                                        33,
                                        -1,
                                        std::int64_t{1} << 31,
                                        std::int64_t{1} << 40,
                                        std::int64_t{1} << 59,
                                        (std::int64_t{1} << 60) - 1,
                                        std::int64_t{1} << 60,
                                        std::int64_t{1} << 62,
                                        std::numeric_limits<std::int64_t>::max(),
                                        std::numeric_limits<std::int64_t>::min()};
constexpr std::int64_t kStrides[] = {
    0, 1, 2, 3, -1, 6, 12, std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::min()};

void set_dtype(View& v, int dtype) {
  v.dtype = dtype;
  v.code = dtype == 3 ? 4 : 2;
  v.bits = dtype == 0 ? 64 : dtype == 1 ? 32 : 16;
}

std::size_t size_of(const View& v) { return v.dtype >= 0 && v.dtype < 6 ? kSizes[v.dtype] : 2; }
std::int64_t count(const View& v) {  // wraps where it is not constructible
  std::uint64_t n = 1;
  for (const std::int64_t e : v.extents) n *= static_cast<std::uint64_t>(e);
  return static_cast<std::int64_t>(n);
}

Extents some_extents(Input& in) {
  Extents e(1 + in.below(3));
  for (std::int64_t& n : e) n = in.pick(kExtents);
  return e;
}

/// Shapes as the function wants them.
void give_shapes(Input& in, Call& call) {
  const auto set = [&](std::size_t i, const Extents& e) { call.views[i].extents = e; };
  if (call.op == Op::kMatmul) {
    const Extents batch(in.below(3), in.pick(kExtents));
    const std::int64_t m = in.pick(kExtents), k = in.pick(kExtents), n = in.pick(kExtents);
    const auto shape = [&](bool one, std::int64_t rows, std::int64_t columns) {
      Extents e = one ? Extents{} : batch;
      e.insert(e.end(), {rows, columns});
      return e;
    };
    set(0, shape(false, m, k));
    set(1, shape(in.flag(), k, n));
    set(2, shape(false, m, n));
    return;
  }
  Extents first = some_extents(in);
  if (call.op == Op::kInitialize && first.size() < 2) first.push_back(3);
  for (std::size_t i = 0; i < call.views.size(); ++i) set(i, first);
  Extents& last = call.views.back().extents;
  if (call.op == Op::kLogSumExp || call.op == Op::kEntropy) last.pop_back();
  if (call.op == Op::kParameterGradient) last = {1};
  if (call.op == Op::kJacobian) last.push_back(first.back());
  if (call.op == Op::kPropagateLayer) {
    call.fan_in = first.back();
    call.fan_out = last.back() = in.one_in(3) ? first.back() : in.pick(kExtents);
  }
}

void place(Call& call, const Arenas& arenas, std::size_t i, bool on_device, std::size_t elements) {
  View& v = call.views[i];
  v.side = on_device ? Side::kDevice : Side::kHost;
  v.address =
      (on_device ? arenas.device : arenas.host) + i * kSlotBytes + kSlotBytes / 4 + elements * size_of(v);
}

void mistake_in_dlpack(Input& in, View& v) {
  v.dlpack = true;
  switch (in.below(5)) {
    case 0:
      v.code = in.byte();
      break;
    case 1:
      v.bits = in.byte();
      break;
    case 2:
      v.lanes = in.integer<std::uint16_t>();
      break;
    case 3:
      v.ndim = in.flag() ? std::numeric_limits<int>::min() : -1 - static_cast<int>(in.byte());
      break;
    default:
      v.ndim = 1 + static_cast<int>(in.byte());  // without extents
  }
}

/// Something that is mostly wrong. The model decides.
void mistake(Input& in, Call& call, const Arenas& arenas) {
  const std::size_t i = in.below(call.views.size()), other = in.below(call.views.size());
  View& v = call.views[i];
  const std::size_t axis = v.extents.empty() ? 0 : in.below(v.extents.size());
  switch (in.below(20)) {
    case 0:
      v.side = Side::kNowhere;
      v.address = 0;
      return;
    case 1:
      v.address += 1 + in.below(8);
      return;
    case 2:
      return place(call, arenas, i, v.side != Side::kDevice, 0);
    case 3:
      return set_dtype(v, in.one_in(4) ? in.byte() : static_cast<int>(in.below(4)));
    case 4:
      if (!v.extents.empty())
        v.extents[axis] = in.one_in(4) ? in.integer<std::int64_t>() : in.pick(kOddExtents);
      return;
    case 5:
      return v.extents.insert(v.extents.begin() + static_cast<std::ptrdiff_t>(axis), 1 + in.below(9), 1),
             void();
    case 6:
      if (!v.extents.empty()) v.extents.erase(v.extents.begin() + static_cast<std::ptrdiff_t>(axis));
      return;
    case 7:
    case 8: {
      v.strides.emplace(v.extents.size(), 1);
      for (std::size_t a = v.extents.size(); a-- > 1;)
        (*v.strides)[a - 1] = static_cast<std::int64_t>(static_cast<std::uint64_t>((*v.strides)[a]) *
                                                        static_cast<std::uint64_t>(v.extents[a]));
      if (in.flag() && !v.extents.empty()) (*v.strides)[axis] = in.pick(kStrides);
      if (in.one_in(8)) v.strides->resize(in.below(10), 1);
      return;
    }
    case 9:
    case 10: {  // near another tensor: its first or its last elements, or just outside
      const View& near = call.views[other];
      const auto here = static_cast<std::uint64_t>(count(v)), there = static_cast<std::uint64_t>(count(near));
      const std::uint64_t distances[] = {0, 1, ~std::uint64_t{0}, there, there - 1, 0 - here, 1 - here, 0};
      v.side = near.side;
      v.address = near.address + in.pick(distances) * size_of(v);
      return;
    }
    case 11:
      v.side = call.views[other].side;
      v.address = call.views[other].address;
      return;
    case 12:
      v.side = Side::kNowhere;
      v.address = in.integer<std::uint64_t>() & 0xffffff;  // where nothing is mapped
      return;
    case 13:
      return mistake_in_dlpack(in, v);
    case 14: {  // the same axes of all of them exchanged, or rows apart
      if (in.flag()) {
        const std::int64_t gap = static_cast<std::int64_t>(in.below(4));
        for (View& each : call.views) {
          each.strides.emplace(each.extents.size(), 1);
          for (std::size_t a = each.extents.size(); a-- > 1;)
            (*each.strides)[a - 1] = static_cast<std::int64_t>(
                static_cast<std::uint64_t>((*each.strides)[a]) * static_cast<std::uint64_t>(each.extents[a]) +
                (a + 1 == each.extents.size() ? static_cast<std::uint64_t>(gap) : 0));
        }
        const std::size_t first = in.below(3);
        if (in.flag())
          for (View& each : call.views)
            if (first + 1 < each.extents.size()) {
              std::swap(each.extents[first], each.extents[first + 1]);
              std::swap((*each.strides)[first], (*each.strides)[first + 1]);
            }
        return;
      }
      for (View& each : call.views) each.dlpack = each.dtype < 4;
      return;
    }
    case 15: {  // one odd shape for all
      Extents e(in.below(10));
      for (std::int64_t& n : e) n = in.pick(kOddExtents);
      for (View& each : call.views) each.extents = e;
      return;
    }
    case 16: {
      const auto n = in.pick(kOddExtents);  // the same axis of all of them
      for (View& each : call.views)
        if (axis < each.extents.size()) each.extents[axis] = n;
      return;
    }
    case 17: {
      const int dtype = in.one_in(4) ? in.byte() : static_cast<int>(in.below(4));
      for (View& each : call.views) set_dtype(each, dtype);
      call.layer_dtype = dtype;
      return;
    }
    case 18:
      for (View& each : call.views) {
        each.side = Side::kNowhere;
        each.address = 0;
      }
      return;
    default:
      (in.flag() ? call.fan_in : call.fan_out) = in.pick(kOddExtents);
  }
}

}  // namespace

Call decode(Input& in, const Arenas& arenas) {
  Call call;
  call.op = static_cast<Op>(in.below(static_cast<std::size_t>(Op::kCount)));
  const std::uint8_t how = in.byte();
  call.cuda = (how & 1) != 0;
  call.second_stream = (how & 2) != 0;
  const int dtype = how >> 2 & 3;
  std::size_t mistakes = how >> 4 & 3;
  call.launch_fails = call.cuda && (how >> 6) == 3 && (call.op < Op::kCopy || call.op > Op::kTensor);
  call.layer_dtype = dtype;
  call.views.resize(kSignatures[static_cast<std::size_t>(call.op)].inputs +
                    kSignatures[static_cast<std::size_t>(call.op)].outputs);
  give_shapes(in, call);
  for (std::size_t i = 0; i < call.views.size(); ++i) {
    set_dtype(call.views[i], dtype);
    place(call, arenas, i, call.cuda, in.below(4));
  }
  if (call.op == Op::kParameterGradient) set_dtype(call.views[2], in.flag() ? 1 : 0);
  const std::uint8_t parameters = in.byte();
  call.kind = (parameters & 15) == 15 ? in.byte() : parameters & 3;
  call.he = (parameters & 16) != 0;
  call.uniform = (parameters & 32) != 0;
  if ((parameters & 64) != 0) {
    for (double& p : call.parameters) p = in.number();
    call.numbers[0] = in.number();
    call.numbers[1] = in.number();
    call.temperature = in.number();
  } else if (call.op == Op::kInitialize || call.op == Op::kPropagateLayer) {
    call.numbers[0] = 1;
  }
  for (; mistakes > 0; --mistakes) mistake(in, call, arenas);
  for (View& v : call.views)
    if (v.dlpack && v.strides) v.strides->resize(v.extents.size(), 1);  // a DLTensor does not say how many
  return call;
}

}  // namespace actium_fuzz

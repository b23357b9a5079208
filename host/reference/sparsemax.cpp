#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "dispatch.hpp"
#include "reference.hpp"
#include "rows.hpp"

namespace actium::reference {

void sparsemax(const ConstTensorView& z, const TensorView& p, const SoftmaxOptions& options, int threads) {
  const RowWalk walk(z.shape(), options.axis);
  visit_dtype(z.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      constexpr S kInf = std::numeric_limits<S>::infinity(), kNaN = std::numeric_limits<S>::quiet_NaN();
      std::vector<S> u = logits_of<T>(walk, z, options, r);
      S max = -kInf;
      for (const S v : u)
        if (v > max || std::isnan(v)) max = v;
      for (const S v : u)
        if (std::isnan(v)) max = v;
      const auto temperature = static_cast<S>(temperature_of(options, r));
      for (S& v : u) v = (v - max) / temperature;
      // The k largest are the support for the largest k with 1 + k u_k > u_1 + ... + u_k.
      S tau = kNaN;
      if (std::isfinite(max) && !std::isnan(temperature)) {
        std::vector<S> sorted = u;
        std::sort(sorted.begin(), sorted.end(), std::greater<S>());
        S sum = 0;
        for (std::size_t k = 0; k < sorted.size() && std::isfinite(sorted[k]); ++k) {
          sum += sorted[k];
          const auto count = static_cast<S>(k + 1);
          if (1 + count * sorted[k] > sum) tau = (sum - 1) / count;
        }
      }
      const bool empty = max == -kInf;
      const S nothing = options.empty_row == EmptyRow::kZeros ? 0
                        : options.empty_row == EmptyRow::kNaN ? kNaN
                                                              : 1 / static_cast<S>(walk.cols());
      const RowPlace place = walk.place(r, p);
      for (std::size_t i = 0; i < u.size(); ++i)
        store_as<T>(p, place(static_cast<std::int64_t>(i)),
                    empty             ? nothing
                    : std::isnan(tau) ? kNaN
                                      : std::max(u[i] - tau, S{0}));
    });
  });
}

void sparsemax_vjp(const ConstTensorView& p, const ConstTensorView& dp, const TensorView& dz,
                   const SoftmaxOptions& options, int threads) {
  const RowWalk walk(p.shape(), options.axis);
  visit_dtype(p.dtype(), [&]<class T>(std::type_identity<T>) {
    using S = Wide<T>;
    parallel_for(walk.rows(), threads, walk.cols(), [&](std::int64_t r) {
      const RowPlace ps = walk.place(r, p), ds = walk.place(r, dp), out = walk.place(r, dz);
      const auto temperature = static_cast<S>(temperature_of(options, r));
      S sum = 0, count = 0;
      for (std::int64_t i = 0; i < walk.cols(); ++i)
        if (load(p.data_as<T>()[ps(i)]) != 0) {
          sum += load(dp.data_as<T>()[ds(i)]);
          count += 1;
        }
      for (std::int64_t i = 0; i < walk.cols(); ++i) {
        const S pi = load(p.data_as<T>()[ps(i)]);
        store_as<T>(dz, out(i),
                    pi == 0          ? S{0}
                    : std::isnan(pi) ? pi
                                     : (load(dp.data_as<T>()[ds(i)]) - sum / count) / temperature);
      }
    });
  });
}

}  // namespace actium::reference

#pragma once
// Checks of arguments. Every public function runs its checks before it writes, launches or allocates
// anything; the messages read "function: argument.property: want X, got Y".
#include <actium/context.hpp>
#include <actium/error.hpp>
#include <actium/tensor.hpp>
#include <span>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // actium::propagation links to it, nobody else
namespace actium {

/// From now on a pointer may be device memory, so the CPU path asks before it follows one. (Before the first
/// CUDA context the question is not asked: asking would start CUDA in processes that only use the CPU.)
void note_cuda_in_use();

/// The checks of one call: `Validator check("softmax", ctx);` then one line for each rule.
class Validator {
 public:
  Validator(std::string_view function, const Context& ctx) : function_(function), ctx_(ctx) {}

  /// Contiguous, non-null unless empty, and aligned to its element.
  void memory(std::string_view name, const ConstTensorView& t) const;
  /// memory(), which may also be of the 8-bit types.
  void storage(std::string_view name, const ConstTensorView& t) const;
  /// memory(), on the context's device.
  void tensor(std::string_view name, const ConstTensorView& t) const;
  void contiguous(std::string_view name, const ConstTensorView& t) const;
  /// tensor(), and of this dtype and shape.
  void tensor(std::string_view name, const ConstTensorView& t, DType dtype, const Shape& shape) const;
  /// As tensor(), with any strides and any dtype: non-null unless empty, aligned to its element, on the
  /// context's device.
  void elements(std::string_view name, const ConstTensorView& t) const;
  void dtype(std::string_view name, const ConstTensorView& t, std::span<const DType> wanted) const;
  void shape(std::string_view name, const ConstTensorView& t, const Shape& wanted) const;
  /// Rank at least `minimum`.
  void rank(std::string_view name, const ConstTensorView& t, int minimum) const;
  /// An output that may be exactly an input, but not overlap it otherwise.
  void same_or_disjoint(std::string_view out_name, const ConstTensorView& out, std::string_view in_name,
                        const ConstTensorView& in) const;
  /// An output that may not overlap another tensor at all.
  void disjoint(std::string_view out_name, const ConstTensorView& out, std::string_view other_name,
                const ConstTensorView& other) const;
  /// A number that must be finite and > 0.
  void positive(std::string_view name, double value) const;
  void finite(std::string_view name, double value) const;

  std::string_view function() const { return function_; }
  [[noreturn]] void fail(const std::string& what, const std::string& want, const std::string& got,
                         const std::string& hint = {}) const;

 private:
  void pointer(std::string_view name, const ConstTensorView& t) const;
  void device(std::string_view name, const ConstTensorView& t) const;
  std::string_view function_;
  [[maybe_unused]] const Context& ctx_;
};

/// A number as a message shows it: "0.7", "nan", "1e+300".
std::string number(double value);

/// A dtype as a message shows it: a view's may be any number.
std::string dtype_name(DType dtype);

/// Strides as a message shows them: "[5, 1]".
std::string stride_list(const ConstTensorView& t);

/// "no activation 'gleu'; did you mean 'gelu'? there are: identity, ..." as Error(kUnknownName). An alias may
/// be what was meant, but is not in the list.
[[noreturn]] void throw_unknown_name(std::string_view what, std::string_view given,
                                     std::span<const std::string_view> known,
                                     std::span<const std::string_view> aliases = {});

}  // namespace actium
#pragma GCC visibility pop

#pragma once
/// Gated linear units (Dauphin et al. 2017; Shazeer 2020, "GLU Variants Improve Transformer"): the product of
/// a content tensor and an activated gate tensor. The matrix products before and after are the caller's.
#include <actium/activation.hpp>

#pragma GCC visibility push(default)
namespace actium {

struct GatedInfo {
  GatedKind kind;
  std::string_view name;
  ActivationKind gate_activation;
  std::string_view formula;
};
std::span<const GatedInfo> gated_units();

/// A gated unit is a value, made by its factory (actium::swiglu()) or by its name.
class GatedUnit {
 public:
  constexpr explicit GatedUnit(GatedKind kind) : kind_(kind) {}
  /// "swiglu"; throws Error(kUnknownName) with the nearest name and the list.
  static GatedUnit parse(std::string_view name);
  constexpr GatedKind kind() const { return kind_; }
  const GatedInfo& info() const { return gated_units()[static_cast<std::size_t>(kind_)]; }
  std::string_view name() const { return info().name; }

 private:
  GatedKind kind_;
};

#define ACTIUM_GATED_UNIT(name, ...) \
  constexpr GatedUnit name() { return GatedUnit(GatedKind::name); }
#include <actium/gated_units.def>

/// The two inputs of a gated unit, or their two gradients.
struct GatedInput {
  ConstTensorView gate, content;
};
struct GatedOutput {
  TensorView gate, content;
};

// Shapes, dtypes, device, overlap, capture and errors: as for the activations (actium/activation.hpp). All
// tensors of a call have one shape and one dtype. f16 and bf16 compute in f32 and round once: the activated
// gate is not rounded before the product.

/// y = content * act(gate). y may be gate or content itself. Bytes moved: two reads, one write.
void gated_forward(const Context& ctx, const GatedUnit& unit, const GatedInput& x, TensorView y);

/// dx.gate = (dy * content) * act'(gate), dx.content = dy * act(gate). Each output may be exactly any one
/// input; the two outputs may not overlap. Bytes moved: three reads, two writes.
void gated_backward(const Context& ctx, const GatedUnit& unit, const GatedInput& x, ConstTensorView dy,
                    const GatedOutput& dx);

}  // namespace actium
#pragma GCC visibility pop

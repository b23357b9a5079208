#pragma once
// A valid call of forward or backward with options, of backward from the output or the mask, or of
// parameter_gradient, as the fuzzer chooses it.
#include "kernels_case.hpp"

namespace actium_fuzz {

enum class OptionOp : std::uint8_t { kForward, kBackward, kFromOutput, kFromMask, kParameterGradient };

/// The tensors that a call may have.
enum : std::size_t {
  kX,         // the input; of kFromOutput the output
  kDy,        //
  kResult,    // y or dx
  kBias,      //
  kResidual,  //
  kSlope,     //
  kMask,      // words, as elements of 4 bytes
  kSum,       // amax, dbias or dp
  kParts
};

struct Part {
  bool there = false, output = false;
  actium::DType dtype = actium::DType::kF32;
  actium::Shape shape{0};
  std::int64_t gap = 0;  // elements between the rows
  unsigned offset = 0;   // in elements, past an aligned address
  int alias = -1;        // the part whose memory this is

  std::int64_t columns() const { return shape.rank() == 0 ? 1 : shape.back(); }
  std::int64_t rows() const { return shape.count() == 0 ? 0 : shape.count() / columns(); }
  /// Where element i is, in elements.
  std::size_t at(std::int64_t i) const {
    return static_cast<std::size_t>(gap == 0 ? i : i / columns() * (columns() + gap) + i % columns());
  }
  std::size_t bytes() const {
    return shape.count() == 0 ? 0 : (at(shape.count() - 1) + 1) * actium::size_of(dtype);
  }
  actium::TensorView view(void* data) const;
};

struct OptionCase {
  OptionOp op = OptionOp::kForward;
  actium::Activation f = actium::relu();
  actium::Shape shape{0};
  Part parts[kParts];
  int channel_axis = 1;
  double scale = 1, quantization_scale = 1;
  actium::Dropout dropout;
  emulator::Options options[2];
  bool twice = true;
  std::uint64_t seed = 0;
  Values values[2] = {};  // of x and of the others
  unsigned specials = 0;

  bool f64() const { return parts[op == OptionOp::kFromMask ? kDy : kX].dtype == actium::DType::kF64; }
};

OptionCase decode_option_case(Input& input);

/// What the parts hold before the call.
void make_values(const OptionCase& c, std::size_t part, unsigned char* bytes);

}  // namespace actium_fuzz

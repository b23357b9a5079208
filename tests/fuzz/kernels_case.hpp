#pragma once
// A valid call of a kernel, as the fuzzer chooses it: operation, dtype, sizes round the boundaries of the
// kernels' size classes, alignments, in place or not, values, and under which two schedules and poisons it
// runs.
#include <actium/actium.hpp>
#include <actium/initializer.hpp>

#include "call.hpp"
#include "emulator.hpp"

namespace actium_fuzz {

inline constexpr std::size_t kTensors = 5, kMostElements = 5120, kMostBytes = 8 * kMostElements;

/// How the values of a tensor are made.
enum class Values : std::uint8_t {
  kSixtyFourths,  // of [-8, 8]: sums are exact
  kUniform,       // [-4, 4]
  kConstant,
  kExponents,  // 2^-12 to 2^12, both signs
  kShifted,    // close together, far from 0
  kBits,       // any bits: NaN, infinities, subnormals
};

struct KernelCase {
  Op op = Op::kForward;
  actium::DType dtype = actium::DType::kF64;
  std::int64_t rows = 1, columns = 1;
  std::int64_t inner = 1;  // of a product; columns of its result are `columns`
  bool shared = false;     // of a product: one b for the whole batch
  std::int64_t batch = 1;
  unsigned offsets[kTensors] = {};  // in elements, past an aligned address
  int alias[2] = {-1, -1};          // the input that an output is
  actium::Activation activation = actium::relu();
  actium::GatedUnit unit = actium::glu();
  double temperature = 1, low = 0, high = 1;
  actium::Initializer initializer;
  actium::RandomKey key;
  Values values[3] = {};
  std::uint64_t seed = 0;
  unsigned specials = 0;  // values of the first input that are NaN, infinite, zero, huge or tiny
  emulator::Options options[2];
  bool twice = true;  // compare the two runs bit by bit; if not, there is only the first

  std::size_t inputs() const { return kSignatures[static_cast<std::size_t>(op)].inputs; }
  std::size_t outputs() const { return kSignatures[static_cast<std::size_t>(op)].outputs; }
  actium::Shape shape(std::size_t tensor) const;
};

KernelCase decode_kernel(Input& input);

/// A schedule and a poison.
emulator::Options some_options(Input& input);
/// Parameters of their domains, chosen by `choice`.
actium::Activation some_activation(const actium::ActivationInfo& info, unsigned choice);
std::uint64_t next(std::uint64_t& state);  // splitmix64
/// NaN, infinite, zero, huge, tiny, at a kink: chosen by `which`.
double special(actium::DType dtype, std::uint64_t which);

/// Input `i` of the case, as its elements' bytes.
void make_values(const KernelCase& c, std::size_t i, unsigned char* bytes);

/// Of any dtype.
double load(actium::DType dtype, const unsigned char* bytes, std::size_t index);
void store(actium::DType dtype, unsigned char* bytes, std::size_t index, double value);

}  // namespace actium_fuzz

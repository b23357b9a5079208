// What kernels call where they go wrong, when compiled with -fsanitize=alignment,bounds and linked without
// that sanitizer's own runtime: a violation with the place in the source. The layouts are the compilers'
// interface (g++ and clang++ share it).
#include <cstdint>

#include "engine.hpp"

namespace {

struct SourceLocation {
  const char* file;
  std::uint32_t line, column;
  emulator::Location where() const { return {file, line}; }
};
struct TypeDescriptor {
  std::uint16_t kind, info;
  char name[1];
};
struct TypeMismatch {
  SourceLocation location;
  const TypeDescriptor& type;
  unsigned char log_alignment, access;
};
struct OutOfBounds {
  SourceLocation location;
  const TypeDescriptor &array, &index;
};

}  // namespace

extern "C" {
void __ubsan_handle_type_mismatch_v1(const TypeMismatch* data, const void* pointer) {
  const unsigned long alignment = 1ul << data->log_alignment;
  emulator::fail(
      data->location.where(),
      "misaligned access: %s wants an address that is a multiple of %lu, and this one is %lu past one",
      data->type.name, alignment, reinterpret_cast<std::uintptr_t>(pointer) % alignment);
}
void __ubsan_handle_out_of_bounds(const OutOfBounds* data, std::uintptr_t index) {
  emulator::fail(data->location.where(), "index %ld out of bounds of %s", static_cast<long>(index),
                 data->array.name);
}
// The same where -fno-sanitize-recover is given too.
void __ubsan_handle_type_mismatch_v1_abort(const TypeMismatch* data, const void* pointer) {
  __ubsan_handle_type_mismatch_v1(data, pointer);
}
void __ubsan_handle_out_of_bounds_abort(const OutOfBounds* data, std::uintptr_t index) {
  __ubsan_handle_out_of_bounds(data, index);
}
}

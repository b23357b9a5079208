// What kernels call where they go wrong, when compiled with -fsanitize=alignment,bounds and linked without
// that sanitizer's own runtime: a violation with the place in the source. The layouts are the compilers'
// interface (g++ and clang++ share it).
#include <cstdint>
#include <string>

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
  const std::uintptr_t alignment = std::uintptr_t{1} << data->log_alignment;
  emulator::fail("misaligned access: " + std::string(data->type.name) +
                     " wants an address that is a multiple of " + std::to_string(alignment) +
                     ", and this one is " +
                     std::to_string(reinterpret_cast<std::uintptr_t>(pointer) % alignment) + " past one",
                 data->location.where());
}
void __ubsan_handle_out_of_bounds(const OutOfBounds* data, std::uintptr_t index) {
  emulator::fail("index " + std::to_string(static_cast<std::intptr_t>(index)) + " out of bounds of " +
                     std::string(data->array.name),
                 data->location.where());
}
}

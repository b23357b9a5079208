// AddressSanitizer's options, where it is linked in. Memory that is not there is an error of the library, not
// of the process; a small quarantine and short stacks keep a case's many small allocations cheap.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:quarantine_size_mb=4:malloc_context_size=4";
}

# How every target of the project is compiled.

# Warnings, exact arithmetic and sanitizers: for all of our own targets.
function(actium_compile_options target)
  set(werror "")
  if(ACTIUM_WERROR)
    set(werror -Werror)
  endif()
  # g++ 12 sees overlaps in std::string concatenation that are not there (GCC bug 105651), and under sanitizers
  # uninitialised reads in <regex>.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    list(APPEND werror -Wno-restrict)
    if(ACTIUM_SANITIZE)
      list(APPEND werror -Wno-maybe-uninitialized)
    endif()
  endif()
  # Contraction of a*b+c would change results from one machine to the next. Where a fused multiply-add is meant, it is
  # written.
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion;-Wshadow;-ffp-contract=off;${werror}>")
  if(ACTIUM_SANITIZE)
    target_compile_options(${target} PRIVATE
      "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ACTIUM_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
    target_link_options(${target} PRIVATE -fsanitize=${ACTIUM_SANITIZE})
  endif()
endfunction()

# actium_add_library(name HEADERS ... [TEXTUAL_HEADERS ...] SOURCES ... [CUDA_SOURCES ...] [KERNELS ...])
# A shared library from the public headers (relative to include/actium), the host sources, the host sources
# that need the CUDA runtime's headers to make sense at all, and the kernels.
# `name` is actium or actium_<part>, known outside as actium::actium and actium::<part>.
function(actium_add_library name)
  cmake_parse_arguments(arg "" "" "HEADERS;TEXTUAL_HEADERS;SOURCES;CUDA_SOURCES;KERNELS" ${ARGN})
  list(TRANSFORM arg_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/include/actium/)
  list(TRANSFORM arg_TEXTUAL_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/include/actium/)
  add_library(${name} SHARED ${arg_SOURCES})
  # For tests/emulator, which builds the same sources another way.
  set_target_properties(${name} PROPERTIES
    ACTIUM_HOST_SOURCES "${arg_SOURCES};${arg_CUDA_SOURCES}" ACTIUM_KERNEL_SOURCES "${arg_KERNELS}")
  string(REGEX REPLACE "^actium_" "" exported ${name})
  add_library(actium::${exported} ALIAS ${name})
  target_sources(${name}
    PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${arg_HEADERS}
    PUBLIC FILE_SET textual TYPE HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${arg_TEXTUAL_HEADERS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/host ${PROJECT_SOURCE_DIR})
  target_compile_features(${name} PUBLIC cxx_std_20)
  actium_compile_options(${name})
  target_link_libraries(${name} PRIVATE OpenMP::OpenMP_CXX)
  string(REPLACE ";" ", " architectures "${CMAKE_CUDA_ARCHITECTURES}")
  target_compile_definitions(${name} PRIVATE
    ACTIUM_CUDA=$<BOOL:${ACTIUM_WITH_CUDA}> ACTIUM_VERSION="${PROJECT_VERSION}"
    ACTIUM_ARCHITECTURES="${architectures}")
  if(ACTIUM_WITH_CUDA)
    target_sources(${name} PRIVATE ${arg_CUDA_SOURCES} ${arg_KERNELS})
    target_include_directories(${name} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${PROJECT_SOURCE_DIR}/kernels>")
    # ptxas must find nothing to spill and no local memory. Double precision is for the f64 files alone. On the host a
    # kernel's file has launchers only.
    target_compile_options(${name} PRIVATE
      "$<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=--warn-on-spills,--warn-on-local-memory-usage;-Xcompiler=-O1>"
      "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${ACTIUM_WERROR}>>:--Werror=all-warnings;-Xptxas=--warning-as-error>")
    foreach(kernel IN LISTS arg_KERNELS)
      if(NOT kernel MATCHES "_f64\\.cu$")
        set_source_files_properties(${kernel} PROPERTIES COMPILE_OPTIONS "-Xptxas=--warn-on-double-precision-use")
      endif()
    endforeach()
    target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:CUDA::cudart_static>)
  endif()
  if(NOT ACTIUM_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,-z,defs)  # nothing undefined reaches a user's link
  endif()
  set_target_properties(${name} PROPERTIES
    EXPORT_NAME ${exported}
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
    VERIFY_INTERFACE_HEADER_SETS ON INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
endfunction()

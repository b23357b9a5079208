#!/usr/bin/env bash
# include_layers_selftest.sh ROOT: plants one violation of each rule in a copy of the tree and requires that
# include_layers.sh finds it, at its file and line, and nothing else.
set -euo pipefail
root=$(realpath "${1:?usage: include_layers_selftest.sh ROOT}")
check=$root/tests/include_layers.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

cd "$root"
cp -r --parents include host kernels cmake tests/CMakeLists.txt CMakeLists.txt CMakePresets.json run .ci "$tree"
mkdir "$tree/bench"
cd "$tree"
"$check" "$tree" || { echo "the tree itself has violations" >&2; exit 1; }

planted=0 failures=0
# plant FILE LINE_OF_TEXT [WORDS]: appended to the file (made if need be), found there, and removed again.
plant() {
  local file=$1 text=$2 words=${3-} line output
  planted=$((planted + 1))
  mkdir -p "$(dirname "$file")"
  [ ! -e "$file" ] || cp "$file" "$tree/.saved"
  printf '%s\n' "$text" >>"$file"
  line=$(wc -l <"$file")
  if output=$("$check" "$tree" 2>/dev/null); then
    echo "not found: $file: $text" >&2
    failures=$((failures + 1))
  elif [[ $output != "$file:$line: "*"$words"* || $output == *$'\n'* ]]; then
    echo "found wrongly: $file:$line: $text: $output" >&2
    failures=$((failures + 1))
  fi
  rm "$file"
  [ ! -e .saved ] || mv .saved "$file"
}
# allowed FILE LINE_OF_TEXT: no violation.
allowed() {
  local file=$1 text=$2 output
  planted=$((planted + 1))
  mkdir -p "$(dirname "$file")"
  [ ! -e "$file" ] || cp "$file" "$tree/.saved"
  printf '%s\n' "$text" >>"$file"
  if ! output=$("$check" "$tree" 2>/dev/null); then
    echo "found, but allowed: $file: $text: $output" >&2
    failures=$((failures + 1))
  fi
  rm "$file"
  [ ! -e .saved ] || mv .saved "$file"
}

# include/ sees the standard library and itself
plant include/actium/tensor.hpp '#include <cuda_runtime.h>' 'CUDA header'
plant include/actium/tensor.hpp '#  include <cuda/std/span>' 'CUDA header'
plant include/actium/device/math.cuh '#include <cuda_fp16.h>' 'CUDA header'
plant include/actium/tensor.hpp '#include "dtype.hpp"' 'a public header includes'
plant include/actium/tensor.hpp '#include <fmt/format.h>' 'include/ sees'
plant include/actium/tensor.hpp '#include <validate.hpp>' 'include/ sees'
plant include/actium/tensor.hpp '#include <launch.hpp>' 'include/ sees'
plant include/actium/tensor.hpp '#include <actium/nothing.hpp>' 'include/ sees'
plant include/actium/tensor.hpp '#include ACTIUM_SOMETHING' 'no name'
# host/ sees include/, itself and the bridge
plant host/tensor.cpp '#include "kernels/simt.cuh"' 'host/ sees kernels/launch'
plant host/tensor.cpp '#include "../kernels/simt.cuh"' 'host/ sees kernels/launch'
plant host/tensor.cpp '#include "kernels/softmax/softmax.cuh"' 'host/ sees kernels/launch'
plant host/tensor.cpp '#include "tests/CMakeLists.txt"' 'host/ sees include/'
plant host/tensor.cpp '#include <cuda_runtime.h>' 'not a library'
plant host/tensor.cpp '#include <fmt/format.h>' 'not a library'
plant host/cli/main.cpp '#include <thrust/sort.h>' 'not a library'
plant host/cli/main.cpp '#include <mpfr.h>' 'not a library'
plant host/accuracy/measure.cpp '#include <fmt/format.h>' 'not a library'
allowed host/tensor.cpp '#include "kernels/plan.hpp"'
allowed host/tensor.cpp '#include "kernels/launch.hpp"'
allowed host/cli/main.cpp '#include <fmt/format.h>'
allowed host/accuracy/measure.cpp '#include <actium/device/math.cuh>'
# host/reference/ never sees the kernels' side
plant host/reference/softmax.cpp '#include "kernels/launch.hpp"' 'host/reference/ never sees kernels/'
plant host/reference/softmax.cpp '#include "../../kernels/plan.hpp"' 'host/reference/ never sees kernels/'
plant host/reference/softmax.cpp '#include <actium/device/math.cuh>' 'arithmetic'
# kernels/ never sees host/
plant kernels/softmax/softmax.cuh '#include "host/validate.hpp"' 'never sees host/'
plant kernels/softmax/softmax.cuh '#include "../../host/dispatch.hpp"' 'never sees host/'
plant kernels/softmax/softmax_f32.cu '#include <cub/cub.cuh>' 'not a library'
plant kernels/simt.cuh '#include <cooperative_groups/reduce.h>' 'not a library'
allowed kernels/softmax/softmax.cuh '#include <cooperative_groups.h>'
allowed kernels/softmax/softmax.cuh '#include <cuda/atomic>'
# words
plant kernels/softmax/softmax.cuh 'asm("trap;");' 'PTX'
plant host/tensor.cpp '__asm__("nop");' 'PTX'
plant include/actium/device/math.cuh '#ifdef __CUDA_ARCH__' '__CUDA_ARCH__'
plant kernels/elementwise/elementwise.cuh 'kernel<<<1, 32>>>(x);' 'launch()'
plant tests/some_test.cpp 'kernel<<<1, 32>>>(x);' 'launch()'
plant kernels/softmax/softmax.cuh 'extern __shared__ float row[];' 'ACTIUM_SHARED'
plant kernels/softmax/softmax.cuh 'cudaLaunchKernelEx(&config, kernel);' 'launch() in simt.cuh'
plant kernels/softmax/softmax.cuh 'v = __shfl_xor_sync(0xffffffffu, v, 1);' 'intrinsics stand in'
plant kernels/softmax/softmax.cuh 'e = __expf(x);' 'intrinsics stand in'
plant include/actium/device/math.cuh 'y = __fmaf_rn(a, b, c);' 'intrinsics stand in'
plant kernels/gated/gated.cuh 'y = __hmul(a, b);' 'intrinsics stand in'
plant kernels/softmax/softmax.cuh 'y = hadd(__float2half(a), b);' 'intrinsics stand in'
plant kernels/softmax/softmax.cuh '__threadfence();' 'never spin'
plant kernels/softmax/softmax.cuh 'while (*(volatile int*)flag == 0);' 'never spin'
plant kernels/softmax/softmax.cuh 'atomicAdd(total, x);' 'fixed order'
plant kernels/softmax/softmax.cuh '__launch_bounds__(128) __shared__ float x;' 'ACTIUM_SHARED'
allowed kernels/softmax/softmax.cuh '__syncthreads();'
allowed kernels/softmax/softmax.cuh '// neither asm nor __shared__ nor <<<'
allowed kernels/simt.cuh 'asm("" ::: "memory");'
# twins
planted=$((planted + 1))
cp kernels/simt.cuh .saved
printf '#ifdef __CUDA_ARCH__\n#endif\n' >>kernels/simt.cuh
if output=$("$check" "$tree" 2>/dev/null) || [[ $output != "kernels/simt.cuh:"*"without an #else"* ]]; then
  echo "not found: an instruction without a twin: $output" >&2
  failures=$((failures + 1))
fi
mv .saved kernels/simt.cuh
# build files
plant CMakeLists.txt 'add_compile_options(-ffast-math)' 'not exact'
plant cmake/actium_cuda.cmake 'set(CMAKE_CUDA_FLAGS "--use_fast_math")' 'not exact'
plant .ci/run 'export CXXFLAGS=-Ofast' 'not exact'
allowed CMakeLists.txt '# never -ffast-math'

[ "$failures" -eq 0 ] || { echo "$failures of $planted checks of include_layers.sh fail" >&2; exit 1; }
echo "include_layers.sh: $planted checks pass"

#!/usr/bin/env bash
# include_layers.sh ROOT: the layers of the house, read from its #include lines, and what may be written where.
# Prints each violation as file:line: what is wrong, and fails if there is any.
#
#   include/         the standard library and <actium/...>
#   host/            include/, itself, kernels/launch*.hpp and kernels/plan*.hpp; the libraries listed below
#   host/reference/  never kernels/ nor <actium/device/...>
#   host/accuracy/   MPFR too
#   kernels/         include/, itself, CUDA's headers; never host/
set -euo pipefail
cd "${1:?usage: include_layers.sh ROOT}"

standard='^[a-z_0-9]+$'                                              # <vector>
system='^(fcntl|spawn|unistd|sys/[a-z]+)\.h$'                        # POSIX, for the program
host_libraries='^(omp|cuda_runtime_api|cublas_v2|cublasLt|cblas|lapacke)\.h$|^Random123/|^boost/math/'
program_libraries='^(CLI|fmt|nlohmann)/'
accuracy_libraries='^mpfr\.h$'
cuda='^(cuda|cublas|curand|cudnn|cub|thrust|nv|cooperative_groups|device_launch|vector_types|driver_types)'
kernel_libraries='^(cuda_runtime|cuda_fp16|cuda_bf16|cuda_fp8|cooperative_groups|curand_[a-z0-9_]+)\.h$|^cuda/(std/)?[a-z_]+$'
bridge='^kernels/([a-z_]+/)*(launch|plan)(_[a-z_]+)?\.hpp$'          # what host/ may see of kernels/

violations=0
violation() { # file:line, what is wrong
  echo "$1: $2"
  violations=$((violations + 1))
}

resolve() { # FROM NAME: sets target to the file of the house that an #include means, or to nothing
  local folder
  target=
  for folder in "${1%/*}" include host kernels .; do
    [ -e "$folder/$2" ] || continue
    target=$folder/$2
    case $target in *./*) target=$(realpath --relative-to=. "$target") ;; esac
    return
  done
}

# ---------------------------------------------------------------- includes
check_include() { # file, line number, " or <, name
  local file=$1 at=$1:$2 mark=$3 name=$4 target
  resolve "$file" "$name"
  case $file in
    include/*)
      if [[ $name =~ $cuda ]]; then
        violation "$at" "a public header includes a CUDA header: $name"
      elif [[ $mark == '"' ]]; then
        violation "$at" "a public header includes <actium/...> or the standard library, not \"$name\""
      elif [[ $target != include/actium/* && ! $name =~ $standard ]]; then
        violation "$at" "include/ sees the standard library and itself, not $name"
      fi
      ;;
    host/*)
      case $target in
        include/*)
          [[ $file == host/reference/* && $target == include/actium/device/* ]] &&
            violation "$at" "host/reference/ never sees the kernels' arithmetic: $name"
          ;;
        host/*) ;;
        kernels/*)
          if [[ $file == host/reference/* ]]; then
            violation "$at" "host/reference/ never sees kernels/: $name"
          elif [[ ! $target =~ $bridge ]]; then
            violation "$at" "host/ sees kernels/launch*.hpp and kernels/plan*.hpp only, not $name"
          fi
          ;;
        '')
          [[ $name =~ $standard || $name =~ $host_libraries ]] ||
            [[ $file == host/cli/* && ($name =~ $program_libraries || $name =~ $system) ]] ||
            [[ $file == host/accuracy/* && $name =~ $accuracy_libraries ]] ||
            violation "$at" "not a library of this part of host/: $name"
          ;;
        *) violation "$at" "host/ sees include/, itself and the bridge, not $name" ;;
      esac
      ;;
    kernels/*)
      case $target in
        include/* | kernels/*) ;;
        '')
          [[ $name =~ $standard || $name =~ $kernel_libraries ]] ||
            violation "$at" "not a library of kernels/: $name"
          ;;
        host/*) violation "$at" "kernels/ never sees host/: $name" ;;
        *) violation "$at" "kernels/ sees include/ and itself, not $name" ;;
      esac
      ;;
  esac
  return 0
}

name_of_include='include[[:space:]]*(["<])([^">]+)[">]'
while IFS=: read -r file line text; do
  if [[ $text =~ $name_of_include ]]; then
    check_include "$file" "$line" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  else
    violation "$file:$line" "an #include of something that is no name"
  fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include' include host kernels)

# ---------------------------------------------------------------- words
# words WHAT PATTERN ALLOWED PLACES...: a pattern outside comments, in the files that ALLOWED does not match
words() {
  local what=$1 pattern=$2 allowed=$3 file line text
  shift 3
  while IFS=: read -r file line text; do
    [[ $file =~ $allowed ]] || violation "$file:$line" "$what"
  done < <(grep -rnE --include=*.hpp --include=*.cpp --include=*.cuh --include=*.cu --include=*.def "$pattern" "$@" |
    grep -vE '^[^:]+:[0-9]+:[[:space:]]*//' | sed -E 's://.*$::' | grep -E "^[^:]+:[0-9]+:.*($pattern)")
}
instructions='^(include/actium/device/intrinsics\.cuh|kernels/simt\.cuh)$'
nowhere='^$'
words "PTX stands in device/intrinsics.cuh and simt.cuh only" '\b(asm|__asm__)\b' "$instructions" include host kernels
words "__CUDA_ARCH__ stands in device/intrinsics.cuh and simt.cuh only" '__CUDA_ARCH__' "$instructions" include host kernels
words "__shared__ stands in simt.cuh only: use ACTIUM_SHARED" '__shared__' '^kernels/simt\.cuh$' include host kernels
words "kernels are launched by launch(), never by <<<>>>" '<<<' "$nowhere" include host kernels tests bench
words "kernels are launched by launch() in simt.cuh" 'cudaLaunch(Kernel|Cooperative|Device)|cuLaunch' '^kernels/simt\.cuh$' include host kernels
# The barriers of a block, a cluster and a grid may stand in kernels; everything else that a host compiler lacks has a name
# of ours and a twin.
words "intrinsics stand in device/intrinsics.cuh and simt.cuh only" \
  '\b(__(shfl|ballot|any|all|match|reduce|activemask|syncwarp|ld[a-z]{2}|st[a-z]{2}|[a-z]+_r[nzud]|expf|logf|exp10f|sinf|cosf|powf|fdividef|tanhf|saturatef|(u?mul|u?mul64)hi|h[a-z0-9_]+|float2[a-z0-9_]+|bfloat16[a-z0-9_]*|[a-z]+_as_[a-z0-9]+|nanosleep|cvta[a-z_]*)\w*|h(add|sub|mul|div|fma)2?)\(' \
  "$instructions" include/actium/device kernels
words "blocks hand over by cuda::atomic_ref, and never spin: no fences, no volatile" \
  '\b(__threadfence\w*|volatile)\b' "$instructions" include/actium/device kernels
words "reductions have a fixed order: no atomic arithmetic" '\batomic(Add|Sub|Inc|Dec)\w*\(' "$nowhere" include/actium/device kernels

# Each stretch for the device alone has a twin: its #else.
while read -r at; do
  violation "$at" "__CUDA_ARCH__ without an #else: a host compiler needs the twin"
done < <(awk '
  /^[[:space:]]*#[[:space:]]*if/ { ++depth; line[depth] = FNR; device[depth] = /__CUDA_ARCH__/; twin[depth] = 0 }
  /^[[:space:]]*#[[:space:]]*(else|elif)/ { twin[depth] = 1 }
  /^[[:space:]]*#[[:space:]]*endif/ { if (device[depth] && !twin[depth]) print FILENAME ":" line[depth]; --depth }
' include/actium/device/intrinsics.cuh kernels/simt.cuh)

while IFS=: read -r file line text; do
  violation "$file:$line" "arithmetic that is not exact:$text"
done < <(grep -rnE -e '-ffast-math|-Ofast|-funsafe-math|use_fast_math|-ftz=true|-prec-div=false' \
  --include=CMakeLists.txt --include=*.cmake --include=*.cmake.in --include=CMakePresets.json --include=*.sh \
  --include=run --exclude='include_layers*.sh' --exclude-dir='build*' --exclude-dir=.git --exclude-dir=.venv \
  --exclude-dir=.cuda --exclude-dir=.whl . | grep -vE '^[^:]+:[0-9]+:[[:space:]]*#' | sed 's:^\./::')

if [ "$violations" -gt 0 ]; then
  echo "$violations violations of the layers" >&2
  exit 1
fi

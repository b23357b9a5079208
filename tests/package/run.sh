#!/usr/bin/env bash
# run.sh CMAKE BUILD_DIR WORK_DIR CXX: installs a build and uses it from a separate project, as a reader of the README
# would; then uses the sources by add_subdirectory. Fails with the reason.
set -euo pipefail
usage='usage: run.sh CMAKE BUILD_DIR WORK_DIR CXX'
cmake=${1:?$usage} build=$(realpath "${2:?$usage}") work=${3:?$usage} cxx=${4:?$usage}
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
source=$(realpath "$here/../..")

fail() {
  echo "package: $*" >&2
  exit 1
}
quietly() { # prints what a command says only when it fails
  local output
  output=$("$@" 2>&1) || { echo "$output" >&2; fail "failed: $*"; }
}
configure() { # SOURCE BUILD OPTIONS...
  local from=$1 to=$2
  shift 2
  quietly "$cmake" -S "$from" -B "$to" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Release "$@"
}

rm -rf "$work"
mkdir -p "$work"
work=$(realpath "$work")
prefix=$work/prefix

# ---------------------------------------------------------------- install
quietly "$cmake" --install "$build" --prefix "$prefix"

# Every public header is there, byte for byte, and nothing else.
diff -r "$source/include/actium" "$prefix/include/actium" >"$work/headers" || {
  # Headers of actium::propagation are installed where it was built.
  grep -vE '^Only in .*/include/actium: (initializer|propagation)\.hpp$' "$work/headers" >&2 &&
    fail "the installed headers are not those of include/actium"
}
for header in actium.hpp activations.def gated_units.def device/activation_ops.cuh device/coefficients.cuh \
  device/intrinsics.cuh device/math.cuh; do
  [ -f "$prefix/include/actium/$header" ] || fail "not installed: include/actium/$header"
done

# The package may be moved: it names no folder of this machine.
package=$(dirname "$(find "$prefix" -name actiumConfig.cmake)")
[ -f "$package/actiumTargets.cmake" ] || fail "not installed: actiumTargets.cmake"
if grep -nF -e "$source" -e "$build" -e "$prefix" "$package"/*.cmake >&2; then
  fail "an installed .cmake file names a folder of this machine"
fi
libraries=$(dirname "$(find "$prefix" -name libactium.so)")
for library in "$libraries"/*.so; do
  if readelf -d "$library" | grep -E 'R(UN)?PATH' | grep -F -e "$source" -e "$build" >&2; then
    fail "$library looks for libraries in the build tree"
  fi
done
# Who wants activations alone does not load a BLAS.
if readelf -d "$libraries/libactium.so" | grep -E 'NEEDED.*(blas|curand)' >&2; then
  fail "libactium.so needs a BLAS"
fi

# ---------------------------------------------------------------- use it, from another place
moved=$work/moved
mv "$prefix" "$moved"
configure "$here" "$work/consumer" -DCMAKE_PREFIX_PATH="$moved"
quietly "$cmake" --build "$work/consumer"
"$work/consumer/consumer" || fail "the consumer of actium::actium got a wrong result"
if [ -f "$moved/include/actium/propagation.hpp" ]; then
  [ -x "$work/consumer/propagation_consumer" ] || fail "propagation is installed, but actium_propagation_FOUND is false"
  "$work/consumer/propagation_consumer" || fail "the consumer of actium::propagation got a wrong result"
fi

if output=$("$cmake" -S "$here/component" -B "$work/component" -G Ninja -DCMAKE_PREFIX_PATH="$moved" 2>&1); then
  fail "find_package accepts a component that there is not"
fi
# CMake wraps and indents what it prints.
grep -qF "this build of actium has no component 'teleportation'" <<<"$(tr -s ' \n' '  ' <<<"$output")" ||
  fail "no reason given for a component that there is not: $output"

# ---------------------------------------------------------------- or its sources
configure "$here/subdirectory" "$work/subdirectory" -DACTIUM_SOURCE_DIR="$source" -DCMAKE_BUILD_TYPE=Debug
quietly "$cmake" --build "$work/subdirectory" --target consumer
"$work/subdirectory/consumer" || fail "the consumer by add_subdirectory got a wrong result"
echo "package: install, find_package and add_subdirectory work"

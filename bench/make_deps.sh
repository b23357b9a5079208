#!/usr/bin/env bash
# bench/make_deps.sh DIR: fills DIR, on a Debian machine, with what actium's tests, benches and program need from other
# projects, for a build on a machine without a network: cmake -DACTIUM_DEPS=DIR, or ACTIUM_DEPS=DIR bench/gpu_suite.sh.
# GoogleTest goes in as sources, header-only libraries as headers, the rest as shared libraries of this machine (which
# run where the C library is as new as here).
set -euo pipefail

if [ $# -ne 1 ] || [ "$1" = --help ]; then
  sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
deps=$1
libraries=/usr/lib/$(gcc -print-multiarch)
packages=(googletest libbenchmark-dev libcli11-dev nlohmann-json3-dev libfmt-dev librandom123-dev
  libopenblas-openmp-dev libmpfr-dev libgmp-dev)

absent=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || absent+=("$package")
done
if [ "${#absent[@]}" -gt 0 ]; then
  echo "make_deps: please run: apt-get install ${absent[*]}" >&2
  exit 2
fi

mkdir -p "$deps/include" "$deps/lib" "$deps/googletest"

# ---------------------------------------------------------------- GoogleTest: sources without its own tests
cp -r /usr/src/googletest/. "$deps/googletest"
rm -rf "$deps"/googletest/google*/{docs,samples,test}

# ---------------------------------------------------------------- headers
for folder in benchmark CLI nlohmann fmt Random123; do
  cp -rL "/usr/include/$folder" "$deps/include"
done

# ---------------------------------------------------------------- shared libraries, under the names that programs ask for
for library in "$libraries"/lib{benchmark.so.1*,fmt.so.?}; do
  case $library in *'*'* | *'?'* | *.so.*.*) continue ;; esac # a pattern without a match, or a full version
  cp -L "$library" "$deps/lib"
done

cp "$libraries"/lib{mpfr,gmp}.a "$deps/lib"
cp /usr/include/mpfr.h "/usr/include/$(gcc -print-multiarch)/gmp.h" "$deps/include"

# OpenBLAS with the Fortran runtime it needs, compressed: it holds kernels for every processor.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/lib" "$work/include"
cp -L "$libraries"/openblas-openmp/libopenblas.so.0 "$libraries"/lib{gfortran.so.5,quadmath.so.0} "$work/lib"
include=/usr/include/$(gcc -print-multiarch)
cp -L "$include"/openblas-openmp/*.h "$work/include"
tar -czf "$deps/openblas.tar.gz" -C "$work" include lib

du -sh "$deps"

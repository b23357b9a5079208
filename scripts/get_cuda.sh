#!/usr/bin/env bash
# scripts/get_cuda.sh DIR: puts a CUDA 13.0 toolkit from PyPI into DIR (about 1 GB): nvcc, runtime, CCCL, cuBLAS, cuRAND. It
# compiles everything in actium; running kernels needs an NVIDIA driver >= 580 besides. Prints the toolkit's root.
# Does nothing where DIR has one already. Needs python3 with venv (Debian: python3-venv).
set -euo pipefail
dir=${1:?usage: scripts/get_cuda.sh DIR}
toolkit() { find "$dir" -type d -path '*/nvidia/cu13' -print -quit 2>/dev/null; }

if [ ! -e "$dir/complete" ]; then
  echo "fetching a CUDA toolkit from PyPI into $dir (about 1 GB)" >&2
  mkdir -p "$(dirname "$dir")"
  python3 -m venv "$dir" >&2
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
    'cuda-toolkit[nvcc,cudart,cccl,cublas,curand]==13.0.*' >&2
  root=$(toolkit)
  # The wheels lack what linkers and CMake look for: lib64, and libX.so beside libX.so.N.
  ln -sfn lib "$root/lib64"
  for library in "$root"/lib/lib*.so.[0-9]*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
  done
  touch "$dir/complete"
fi
toolkit

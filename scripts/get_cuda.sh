#!/usr/bin/env bash
# scripts/get_cuda.sh [--headers | --disassembler] DIR: puts a CUDA 13.0 toolkit from PyPI into DIR (about 1 GB): nvcc, runtime, CCCL, cuBLAS,
# cuRAND. It compiles everything in actium; running kernels needs an NVIDIA driver >= 580 besides. Prints the toolkit's root.
# With --headers only the headers that the emulated tests need (80 MB to fetch, 20 MB kept); prints their folder.
# With --disassembler only cuobjdump and nvdisasm (5 MB), for scripts/instruction_count.py; prints their folder.
# Does nothing where DIR has them already. Needs python3 with venv (Debian: python3-venv).
set -euo pipefail
headers=0
if [ "${1-}" = --headers ]; then
  headers=1
  shift
fi
if [ "${1-}" = --disassembler ]; then
  dir=${2:?usage: scripts/get_cuda.sh --disassembler DIR}
  if [ ! -e "$dir/complete" ]; then
    echo "fetching cuobjdump and nvdisasm from PyPI into $dir (5 MB)" >&2
    mkdir -p "$(dirname "$dir")"
    python3 -m venv "$dir" >&2
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check 'nvidia-cuda-cuobjdump==13.*' 'nvidia-cuda-nvdisasm==13.*' >&2
    touch "$dir/complete"
  fi
  dirname "$(find "$dir" -path '*/nvidia/*/bin/cuobjdump' -print -quit)"
  exit
fi
dir=${1:?usage: scripts/get_cuda.sh [--headers | --disassembler] DIR}
toolkit() { find "$dir" -type d -path '*/nvidia/cu13' -print -quit 2>/dev/null; }

if [ ! -e "$dir/complete" ]; then
  if [ "$headers" = 1 ]; then
    what='CUDA headers' size='80 MB' parts=cudart,crt,cccl,curand
  else
    what='a CUDA toolkit' size='1 GB' parts=nvcc,cudart,cccl,cublas,curand
  fi
  echo "fetching $what from PyPI into $dir (about $size)" >&2
  mkdir -p "$(dirname "$dir")"
  python3 -m venv "$dir" >&2
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check "cuda-toolkit[$parts]==13.0.*" >&2
  root=$(toolkit)
  if [ "$headers" = 1 ]; then
    rm -rf "${root:?}/lib"
  else
    # The wheels lack what linkers and CMake look for: lib64, and libX.so beside libX.so.N.
    ln -sfn lib "$root/lib64"
    for library in "$root"/lib/lib*.so.[0-9]*; do
      ln -sf "$(basename "$library")" "${library%%.so.*}.so"
    done
  fi
  touch "$dir/complete"
fi
if [ "$headers" = 1 ]; then echo "$(toolkit)/include"; else toolkit; fi

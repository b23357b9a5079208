#!/usr/bin/env bash
# bench/gpu_suite.sh OUT_DIR [--build]: on a machine with a GPU, runs every test (a skipped CUDA test is a failure), the
# CUDA tests under compute-sanitizer (memcheck, racecheck, initcheck, synccheck), and the benches. Prints a table of
# under 60 lines last; leaves in OUT_DIR: summary.json, environment.json, steps.tsv, tests/*.xml, bench/*.json, logs/.
# Exit status: 0 = every step ran and passed; 1 = not; 2 = bad arguments.
#
# What it runs: the tree ACTIUM_BUILD, or build/release or build/dev where its executables are there, as it is
# (needs neither cmake nor ninja; the tree may have been built in another place); else, or with --build, it configures
# and builds build/gpu-suite with nvcc, CMake and ninja.
#
#   ACTIUM_DEPS=DIR            GoogleTest, Google Benchmark, OpenBLAS ... where the system lacks them (make_deps.sh)
#   ACTIUM_SUITE_SECONDS=540   all of it; every step is cut to what is left
#   ACTIUM_BUILD_SECONDS=200   configure and build
#   ACTIUM_TEST_SECONDS=100    all tests
#   ACTIUM_SANITIZER_SECONDS=90   each sanitizer; the four run at the same time
#   ACTIUM_BENCH_SECONDS=140   all benches, no program more than two thirds of it
#   ACTIUM_SANITIZER_FILTER='*/cuda*'   the tests that the sanitizers run, with ACTIUM_QUICK=1 in the environment
#   ACTIUM_SUITE_DRY_RUN=1     exercises this script where there is no GPU: CPU tests, smoke benches; proves nothing
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=${ACTIUM_SUITE_DRY_RUN:-0}
deps=${ACTIUM_DEPS:+$(realpath "$ACTIUM_DEPS")}
out='' rebuild=0
for argument in "$@"; do
  case $argument in
    --help | -h)
      sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --build) rebuild=1 ;;
    -*)
      echo "gpu_suite: no option '$argument' (see --help)" >&2
      exit 2
      ;;
    *) out=$argument ;;
  esac
done
if [ -z "$out" ]; then
  echo "gpu_suite: want a folder for the results (see --help)" >&2
  exit 2
fi
mkdir -p "$out" && out=$(realpath "$out") && rm -rf "$out"/{tests,bench,logs} && mkdir "$out"/{tests,bench,logs} ||
  exit 2

PATH=$PATH:/usr/local/cuda/bin
deadline=$((SECONDS + ${ACTIUM_SUITE_SECONDS:-540}))
if [ "$dry_run" = 1 ]; then
  cuda_filter='*/cpu' bench_options=(--quick)
else
  cuda_filter='*/cuda*' bench_options=(--device=cuda)
  export ACTIUM_REQUIRE_GPU=1
fi

# ---------------------------------------------------------------- steps: one line each in steps.tsv
printf 'kind\tname\tstatus\tseconds\tlimit\tlog\tnote\n' >"$out/steps.tsv"
record() { # kind, name, status, seconds, limit, log, note
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$out/steps.tsv"
}
missing() { # kind, name, what: a step that cannot run is a failure
  echo "gpu_suite: $2: $3" >&2
  record "$1" "$2" missing 0 0 - "$3"
}
step() { # kind, name, seconds, command...: runs it with its output in a log; its status
  local kind=$1 name=$2 limit=$3 log started=$SECONDS status
  shift 3
  log=${kind#*:}-$name.log
  log=logs/${log/#"$kind-$kind"/"$kind"}
  local left=$((deadline - SECONDS - 3))
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 1 ]; then
    missing "$kind" "$name" "no time left to run it"
    return 1
  fi
  timeout -k 5 "$limit" "$@" >"$out/$log" 2>&1 </dev/null
  status=$?
  record "$kind" "$name" "$status" $((SECONDS - started)) "$limit" "$log" ''
  [ "$status" -eq 0 ] || echo "gpu_suite: $kind $name: exit status $status ($out/$log)" >&2
  return "$status"
}
until_time() { # seconds: the moment, in SECONDS, when that much will have passed
  echo $((SECONDS + $1))
}

# ---------------------------------------------------------------- the tree
built() { [ -d "$1/tests" ] && compgen -G "$1/tests/*_test" >/dev/null; }
tree=''
if [ "$rebuild" = 0 ]; then
  if [ -n "${ACTIUM_BUILD:-}" ]; then
    tree=$(realpath "$ACTIUM_BUILD")
    built "$tree" || missing build tree "no test executables in ACTIUM_BUILD=$ACTIUM_BUILD"
  else
    for preset in release dev; do
      if built "$root/build/$preset"; then
        tree=$root/build/$preset
        break
      fi
    done
  fi
fi

build() {
  local limit capability cuda=ON
  limit=$(until_time "${ACTIUM_BUILD_SECONDS:-200}")
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -cd 0-9)
  [ "$dry_run" = 0 ] || cuda=AUTO
  local tool
  for tool in cmake ninja nvcc; do
    command -v "$tool" >/dev/null || [ "$dry_run$tool" = 1nvcc ] || missing build "$tool" "not found"
  done
  step build configure 60 cmake -S "$root" -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=Release -DACTIUM_CUDA=$cuda \
    -DCMAKE_CUDA_ARCHITECTURES="${capability:-90}" -DACTIUM_DEPS="$deps" -DACTIUM_INSTALL=OFF \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 || return
  grep -E '^-- [^:]*: (.*: )?off' "$out/logs/build-configure.log" >&2 # what this build does without
  step build compile $((limit - SECONDS)) cmake --build "$tree" -j "$(nproc)" -- -k 0
}
if [ -z "$tree" ]; then
  mode=build tree=$root/build/gpu-suite
  build
else
  mode=tree
fi
echo "gpu_suite: tree $tree ($mode)" >&2

# A tree built elsewhere has that place's paths in it: these come first.
libraries=$tree/lib:$tree/deps/openblas/lib
if [ -n "$deps" ]; then
  libraries+=:$deps/lib
  if [ "$mode" = tree ] && [ -f "$deps/openblas.tar.gz" ]; then
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    tar -xzf "$deps/openblas.tar.gz" -C "$unpacked" && libraries+=:$unpacked/lib
  fi
fi
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export ACTIUM_PROGRAM=$tree/bin/actium ACTIUM_SOURCE_DIR=$root

# ---------------------------------------------------------------- environment
{
  echo "dry_run=$dry_run"
  echo "mode=$mode"
  echo "tree=${tree#"$root"/}"
  commit=${ACTIUM_GIT_COMMIT:-$(git -C "$root" describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)}
  echo "commit=${commit:-unknown}"
  echo "nvcc=$(nvcc --version 2>/dev/null | sed -n 's/.*release \(.*\)/\1/p')"
  echo "cxx=$(g++ --version 2>/dev/null | head -n 1)"
  echo "kernel=$(uname -sr)"
  echo "cores=$(nproc)"
} >"$out/environment.txt"
if command -v nvidia-smi >/dev/null; then
  step environment nvidia-smi 20 nvidia-smi -q
  mv "$out/logs/environment-nvidia-smi.log" "$out/nvidia-smi.txt"
else
  missing environment nvidia-smi "nvidia-smi not found"
fi

# ---------------------------------------------------------------- tests
# What the emulated kernels gave, for the agreement test: its log says how far the GPU's are from them, in ULP.
export ACTIUM_AGREEMENT_FILE=$tree/tests/emulated.results
tests=() cuda_tests=()
for program in "$tree"/tests/*_test; do
  [ -x "$program" ] || continue
  tests+=("$program")
  if timeout 20 "$program" --gtest_list_tests --gtest_filter="$cuda_filter" 2>/dev/null | grep -q '^  '; then
    cuda_tests+=("$program")
  fi
done
cd "$root" || exit 2
end=$(until_time "${ACTIUM_TEST_SECONDS:-100}")
gtest() { # kind, filter, program
  local name
  name=$1-$(basename "$3")
  step "$1" "$name" $((end - SECONDS)) "$3" "--gtest_filter=$2" "--gtest_output=xml:$out/tests/$name.xml"
}
[ "${#cuda_tests[@]}" -gt 0 ] || missing cuda-tests cuda-tests "no test program with a test named $cuda_filter"
for program in "${cuda_tests[@]}"; do gtest cuda-tests "$cuda_filter" "$program"; done
if [ "$mode" = build ]; then
  step tests tests-ctest $((end - SECONDS)) ctest --test-dir "$tree" -LE '^(cuda|bench)$' -j "$(nproc)" \
    --no-tests=error --output-on-failure --output-junit "$out/tests/tests-ctest.xml"
else
  [ "${#tests[@]}" -gt 0 ] || missing tests tests "no test program in $tree/tests"
  for program in "${tests[@]}"; do gtest tests "-$cuda_filter" "$program"; done
fi

# ---------------------------------------------------------------- compute-sanitizer
sanitize() { # tool
  local program options=()
  # Tests of error paths make the runtime fail on purpose (out of memory, no such device).
  [ "$1" = memcheck ] && options=(--report-api-errors no)
  for program in "${cuda_tests[@]}"; do
    ACTIUM_QUICK=1 step "sanitizer:$1" "$(basename "$program")" $((end - SECONDS)) \
      compute-sanitizer --tool "$1" "${options[@]}" --error-exitcode 9 --print-limit 20 \
      "$program" --gtest_filter="${ACTIUM_SANITIZER_FILTER:-$cuda_filter}"
  done
}
end=$(until_time "${ACTIUM_SANITIZER_SECONDS:-90}")
sanitizers=()
for tool in memcheck racecheck initcheck synccheck; do
  if ! command -v compute-sanitizer >/dev/null; then
    missing "sanitizer:$tool" all "compute-sanitizer not found"
  elif [ "${#cuda_tests[@]}" -eq 0 ]; then
    missing "sanitizer:$tool" all "no test program to run it on"
  else
    sanitize "$tool" &
    sanitizers+=($!)
  fi
done
[ "${#sanitizers[@]}" -eq 0 ] || wait "${sanitizers[@]}"

# ---------------------------------------------------------------- benches
budget=${ACTIUM_BENCH_SECONDS:-140}
end=$(until_time "$budget")
for name in activation gated softmax propagation; do
  program=$tree/bench/bench_$name
  if [ -x "$program" ]; then
    limit=$((end - SECONDS < budget * 2 / 3 ? end - SECONDS : budget * 2 / 3))
    step bench "$name" "$limit" "$program" "${bench_options[@]}" "--benchmark_out=$out/bench/$name.json"
  else
    missing bench "$name" "no executable bench_$name in $tree/bench"
  fi
done

# ---------------------------------------------------------------- summary
echo "seconds=$SECONDS" >>"$out/environment.txt"
if ! command -v python3 >/dev/null; then
  cat "$out/steps.tsv"
  echo "gpu_suite: FAIL: python3 not found, so nothing was checked"
  exit 1
fi
python3 "$root/bench/summarize.py" "$out"

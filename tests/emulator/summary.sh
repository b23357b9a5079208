#!/usr/bin/env bash
# summary.sh LIBRARY FOLDER OUT: which of the kernels in the emulated LIBRARY did the suites launch? Reads FOLDER/*.launches
# (lines "count <tab> kernel", written by ACTIUM_EMULATOR_LOG), prints one line, also to OUT, and fails with the names of
# kernels that never ran.
set -euo pipefail
library=${1:?usage: summary.sh LIBRARY FOLDER OUT} folder=$2 out=$3
# Never launched by design: cudaFuncGetAttributes asks for it (kernels/device_support.cu).
exception='probe_kernel()'

compiled=$(nm --defined-only "$library" | awk '$2 ~ /^[tTwW]$/ && $3 ~ /_kernel/ { print $3 }' | c++filt |
  grep -E '^(void )?[^<( ]*_kernel[<(]' | grep -vE '\)::|\[clone' | sort -u)
mapfile -d '' fresh < <(find "$folder" -maxdepth 1 -name '*.launches' -newer "$library" -print0)
launched=$(awk -F'\t' '{ n[$2] += $1 } END { for (k in n) printf "%s\t%d\n", k, n[k] }' /dev/null "${fresh[@]}" | sort)

awk -F'\t' -v exception="$exception" -v out="$out" '
  NR == FNR { launches[$1] = $2; next }
  {
    root = $1
    sub(/^void /, "", root)
    sub(/[<(].*/, "", root)
    sub(/.*::/, "", root)
    if (index($1, exception)) next
    ++instantiations
    if (!(root in kernels)) { kernels[root] = 1; ++names }
    if ($1 in launches) { ++run; total += launches[$1] } else missing = missing "\n  never launched: " $1
  }
  END {
    line = sprintf("emulated: %d kernels, %d of %d instantiations executed, %d launches", names, run, instantiations, total)
    print line
    print line > out
    if (missing != "" || instantiations == 0) { print missing; exit 1 }
  }' <(printf '%s\n' "$launched") <(printf '%s\n' "$compiled")

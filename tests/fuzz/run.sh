#!/usr/bin/env bash
# run.sh PROGRAM CASES WORK CORPUS: fuzzes from the corpus, with a fixed seed. What is new stays in the folder WORK, and
# so does the input of a failure (crash-...). Fails, too, if fewer cases ran: then nothing was fuzzed.
set -euo pipefail
program=$1 cases=$2 work=$3 corpus=$4
rm -rf "$work"
mkdir -p "$work/new"
status=0
"$program" "$work/new" "$corpus" -runs="$cases" -seed=1 -max_len=200 -len_control=0 -entropic=0 -detect_leaks=0 -timeout=60 \
  -rss_limit_mb=4096 -artifact_prefix="$work/" -print_final_stats=1 >"$work/log" 2>&1 || status=$?
ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
if [ "$status" -ne 0 ] || [ "${ran:-0}" -lt "$cases" ]; then
  grep -avE '^#[0-9]+' "$work/log" | tail -n 80
  echo "$(basename "$program"): failed after ${ran:-no} cases of $cases; the input is in $work"
  exit 1
fi
echo "$(basename "$program"): $ran cases"

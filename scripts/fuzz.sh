#!/usr/bin/env bash
# Builds the libFuzzer targets of tests/fuzz and runs each for some seconds, two at a time, from
# the seeds in tests/fuzz/corpus. Fails on any crash, leak, hang or undefined behaviour; the input
# that did it is left in build-fuzz/found.
#
#   scripts/fuzz.sh [SECONDS=60] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
case "$seconds" in
  '' | *[!0-9]*) echo "usage: scripts/fuzz.sh [SECONDS] [TARGET...]" >&2; exit 2 ;;
esac
shift || true
build=${QUAVER_FUZZ_BUILD:-build-fuzz}
compiler=${QUAVER_FUZZ_CXX:-clang++-19}
command -v "$compiler" >/dev/null || { echo "fuzz: $compiler is not installed" >&2; exit 1; }

if [ $# -eq 0 ]; then
  for source in tests/fuzz/*_fuzz.cpp; do set -- "$@" "$(basename "$source" .cpp)"; done
fi
cmake --preset fuzz -B "$build" -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
cmake --build "$build" --parallel 2 --target "$@"

mkdir -p "$build/found" "$build/logs"
# Undefined behaviour and leaks must end the run with an error like a crash does.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
run() {
  local target=$1 status=0 corpus="$build/corpus/$1"
  mkdir -p "$corpus"
  local seeds=()
  [ ! -d "tests/fuzz/corpus/$target" ] || seeds=("tests/fuzz/corpus/$target")
  "$build/tests/fuzz/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=5 \
    -max_len=16384 -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
    "$corpus" "${seeds[@]}" >"$build/logs/$target.log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    echo "ok      $target: $(sed -n 's/^stat::number_of_executed_units: *//p' \
      "$build/logs/$target.log") runs in $seconds s"
  else
    echo "FAILED  $target, $build/logs/$target.log ends:"
    tail -n 40 "$build/logs/$target.log"
  fi
  return "$status"
}

failed=0
while [ $# -gt 0 ]; do
  run "$1" & first=$!
  second=
  [ $# -lt 2 ] || { run "$2" & second=$!; }
  wait "$first" || failed=1
  [ -z "$second" ] || wait "$second" || failed=1
  shift
  [ $# -eq 0 ] || shift
done
exit "$failed"

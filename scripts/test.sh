#!/usr/bin/env bash
# Everything that must pass before a change goes in, from a fresh clone: set-up, build with
# warnings as errors, unit and end-to-end tests, format, sanitizers, fuzzing.
#
#   scripts/test.sh           all of it (at most 15 minutes on two cores)
#   scripts/test.sh --quick   without sanitizers and fuzzing
set -uo pipefail
cd "$(dirname "$0")/.."
quick=0
case "${1:-}" in
  --quick) quick=1 ;;
  "") ;;
  *) echo "usage: scripts/test.sh [--quick]" >&2; exit 2 ;;
esac
logs=build-test-logs
mkdir -p "$logs"
passed=0
failed=0
names=()
started=$SECONDS

# step NAME COMMAND...: runs the command with its output in a file, shows the end of it on failure.
step() {
  local name=$1 begin=$SECONDS
  shift
  if "$@" >"$logs/$name.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $name  ($((SECONDS - begin)) s)"
  else
    failed=$((failed + 1))
    names+=("$name")
    echo "FAILED  $name  ($((SECONDS - begin)) s), $logs/$name.log ends:"
    tail -n 40 "$logs/$name.log"
    return 1
  fi
}

# Counts the tests of a ctest run one by one.
tests() {
  local name=$1 begin=$SECONDS line
  shift
  "$@" >"$logs/$name.log" 2>&1
  local good bad
  good=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed ' "$logs/$name.log")
  bad=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*' "$logs/$name.log")
  if [ "$((good + bad))" -eq 0 ]; then
    bad=1
    tail -n 20 "$logs/$name.log"
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  echo "$name: $good passed, $bad failed  ($((SECONDS - begin)) s)"
  if [ "$bad" -gt 0 ]; then
    names+=("$name")
    grep -E '^ *[0-9]+/[0-9]+ Test .*\*\*\*' "$logs/$name.log"
    grep -E '(: Failure|FAILED|Error|error:|assert)' "$logs/$name.log" | head -n 40
  fi
}

finish() {
  echo
  [ "$failed" -eq 0 ] || echo "failed: ${names[*]}"
  echo "$((SECONDS - started)) s in all"
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

format_check() {
  git ls-files -co --exclude-standard -- '*.h' '*.cpp' | xargs clang-format --dry-run --Werror
}

step setup scripts/setup.sh || finish
# GCC 12 sees overlapping copies in std::string's own operator+ (its bug 105651).
step configure cmake --preset release -DQUAVER_WERROR=ON || finish
step build cmake --build build-release --parallel "$(nproc)" || finish
tests unit_and_e2e ctest --test-dir build-release --output-on-failure --parallel "$(nproc)"
step format format_check
plain_build() {  # the line of the README, with its own generator and no GoogleTest to be found
  cmake -S . -B build-plain -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
    -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON && cmake --build build-plain --target quaver_core
}
step plain_build plain_build
if [ "$quick" -eq 0 ]; then
  # One instrumented build for both: what reads foreign bytes is tested in it, then fuzzed.
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  sanitized=(core formats io)
  targets=(fuzzers)
  for layer in "${sanitized[@]}"; do targets+=("quaver_${layer}_test"); done
  if step sanitized_configure cmake --preset fuzz -DBUILD_TESTING=ON &&
     step sanitized_build cmake --build build-fuzz --parallel "$(nproc)" --target "${targets[@]}"; then
    tests sanitized ctest --test-dir build-fuzz --output-on-failure -R "^($(IFS='|'; echo "${sanitized[*]}"))$"
    step fuzz scripts/fuzz.sh 40  # each of them, two at a time; 60 by itself
  fi
fi
finish

#!/bin/sh
# Builds the tests and the benchmark of the CUDA kernels and runs them on this machine's GPU: what says
# whether results are right, then how fast they come, then what takes long. Takes nvcc, CMake, make or
# Ninja, and a driver; no Node and no network.
#
#   scripts/gpu-check.sh [build folder]
#   scripts/gpu-check.sh --prebuilt FOLDER   # what such a build made elsewhere, for the same kind of GPU
#   scripts/gpu-check.sh --package           # the package's own tests as well, which takes long and Node
#
# All that is printed is in FOLDER/gpu-check.log as well, should the terminal lose it.
set -u
cd "$(dirname "$0")/.."
PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"
prebuilt="" package=""
case "${1:-}" in
  --prebuilt) prebuilt=yes; shift ;;
  --package) package=yes; shift ;;
esac
build=${1:-build/gpu}
log=$build/gpu-check.log
failed=""
mkdir -p "$build" || exit 1
: > "$log"

say() { echo "$@" | tee -a "$log"; }

# step SECONDS NAME COMMAND...: line by line, so that a run that is cut off has said what it did.
step() {
  limit=$1
  name=$2
  shift 2
  say "== $name"
  status=$build/status
  { timeout "$limit" stdbuf -oL "$@" 2>&1; echo $? > "$status"; } | tee -a "$log"
  if [ "$(cat "$status")" != 0 ]; then
    say "== $name: exit code $(cat "$status")"
    failed="$failed
  $name"
  fi
}

query=name,driver_version,compute_cap,clocks.max.sm,clocks.max.mem,memory.total,memory.used
nvidia-smi --query-gpu=$query --format=csv,noheader 2>&1 | tee -a "$log"

if [ -z "$prebuilt" ]; then
  nvcc --version | tail -2 | tee -a "$log"
  generator=""
  command -v make > /dev/null || generator="-G Ninja"
  # shellcheck disable=SC2086
  cmake -B "$build" $generator -D OPENELM_TESTS=ON > "$build/build.log" 2>&1 &&
    cmake --build "$build" --parallel "$(nproc)" >> "$build/build.log" 2>&1 ||
    { tail -50 "$build/build.log"; exit 1; }
fi

for suite in load ops draws models oracle; do
  step 120 "$suite" "$build/kernel-tests" --backend=cuda "$suite"
done
step 120 "benchmark" "$build/test/kernels/gpu/gpu_bench"
step 120 "presets" "$build/kernel-tests" --backend=cuda presets
if command -v compute-sanitizer > /dev/null; then
  for suite in ops models draws; do
    for tool in memcheck racecheck; do
      step 60 "$tool of $suite" compute-sanitizer --tool "$tool" --error-exitcode 1 \
        "$build/kernel-tests" --backend=cuda "$suite"
    done
  done
else
  say "== compute-sanitizer is not here"
fi
if [ -n "$package" ]; then
  step 600 "the addon" npm run build:native
  step 60 "the addon finds the GPU" node -e "
    const cuda = require('./build/Release/openelm.node').backends().find(({ name }) => name === 'cuda')
    if (!cuda.available) throw new Error(cuda.reason)"
  step 1800 "the package's tests" env OPENELM_TEST_BACKEND=cuda npm test
fi

# The tables once more: what is left of a long output is its end.
sed -n '/^== benchmark/,/^== presets/p' "$log" | grep -v '^== presets'
if [ -n "$failed" ]; then
  say "FAILED:$failed"
  exit 1
fi
say "all passed"

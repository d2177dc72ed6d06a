#!/bin/sh
# Builds the tests and the benchmark of the CUDA kernels and runs them on this machine's GPU. Takes
# nvcc, CMake and a driver; no Node and no network. Where Node and the package's dependencies are there
# too, the package's own tests run on the GPU as well.
#
#   scripts/gpu-check.sh [build folder]
set -u
cd "$(dirname "$0")/.."
PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"
build=${1:-build/gpu}
failed=""

step() {
  name=$1
  shift
  echo "== $name"
  "$@" || failed="$failed
  $name"
}

nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader || true
nvcc --version | tail -2

set -e
mkdir -p "$build"
cmake -B "$build" -D OPENELM_TESTS=ON > "$build/build.log" 2>&1 ||
  { cat "$build/build.log"; exit 1; }
cmake --build "$build" --parallel "$(nproc)" > "$build/build.log" 2>&1 || { tail -50 "$build/build.log"; exit 1; }
set +e

for suite in load ops presets models oracle draws; do
  step "$suite" "$build/kernel-tests" --backend=cuda "$suite"
done
if command -v compute-sanitizer > /dev/null; then
  for suite in ops models draws; do
    for tool in memcheck racecheck; do
      step "$tool of $suite" compute-sanitizer --tool "$tool" --error-exitcode 1 \
        "$build/kernel-tests" --backend=cuda "$suite"
    done
  done
else
  echo "== compute-sanitizer is not here"
fi
step "benchmark" "$build/test/kernels/gpu/gpu_bench"
if command -v node > /dev/null && [ -d node_modules/tap ]; then
  step "the addon" npm run build:native
  step "the addon finds the GPU" node -e "
    const cuda = require('./build/Release/openelm.node').backends().find(({ name }) => name === 'cuda')
    if (!cuda.available) throw new Error(cuda.reason)"
  step "the package's tests" env OPENELM_TEST_BACKEND=cuda npm test
fi

if [ -n "$failed" ]; then
  echo "FAILED:$failed"
  exit 1
fi
echo "all passed"

#!/bin/sh
# Runs the tests of the GPU kernels, emulated, with AddressSanitizer and UndefinedBehaviorSanitizer:
# reads and writes out of bounds, unaligned loads, overflows. Takes clang 19, CMake, Node and NVIDIA's
# headers.
#
#   scripts/test-sanitized.sh [arguments of ctest, for example -R sample]
set -eu
cd "$(dirname "$0")/.."
build=build/sanitized
cmake -B "$build" -D CMAKE_CXX_COMPILER="${CXX:-clang++-19}" -D CMAKE_BUILD_TYPE=RelWithDebInfo \
  -D OPENELM_EMULATE=ON -D OPENELM_TESTS=ON -D OPENELM_SANITIZE=address,undefined
cmake --build "$build" --parallel "$(nproc)"
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" "$@"

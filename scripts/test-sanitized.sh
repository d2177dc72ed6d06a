#!/bin/sh
# Runs the tests that need no Node with a compiler's sanitizers. Takes CMake and
#   threads  g++: what shares memory among threads, with ThreadSanitizer
#   cpu      g++: with AddressSanitizer and UndefinedBehaviorSanitizer all but the presets' shapes and the
#            differences of gradients, which are no other code than the rest
#   gpu      clang 19, Node and NVIDIA's headers: the GPU kernels, emulated, with the same two; takes long
#
#   scripts/test-sanitized.sh threads|cpu|gpu [arguments of kernel-tests, or of ctest for gpu]
set -eu
cd "$(dirname "$0")/.."
what=$1
shift
folder=build/sanitized/$what

# build TARGET OPTION...
build() {
  target=$1
  shift
  cmake -B "$folder" -D OPENELM_TESTS=ON -D OPENELM_UNITY=ON "$@" >&2
  cmake --build "$folder" --target "$target" --parallel "$(nproc)" >&2
}

case $what in
threads)
  build kernel-tests -D NVCC=OFF -D CMAKE_BUILD_TYPE=None -D CMAKE_CXX_FLAGS=-O1 -D OPENELM_SANITIZE=thread
  [ $# -gt 0 ] || set -- thread-pool scheduler stream drafts scores constraints
  "$folder/kernel-tests" "$@"
  ;;
cpu)
  build kernel-tests -D NVCC=OFF -D CMAKE_BUILD_TYPE=None -D CMAKE_CXX_FLAGS=-O1 \
    -D OPENELM_SANITIZE=address,undefined
  [ $# -gt 0 ] || set -- --without=presets --without=differences
  "$folder/kernel-tests" "$@"
  ;;
gpu)
  build all -D CMAKE_CXX_COMPILER=clang++-19 -D CMAKE_BUILD_TYPE=RelWithDebInfo \
    -D OPENELM_EMULATE=ON -D OPENELM_SANITIZE=address,undefined
  ctest --test-dir "$folder" --output-on-failure --parallel "$(nproc)" "$@"
  ;;
esac

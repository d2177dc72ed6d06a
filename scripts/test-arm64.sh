#!/usr/bin/env bash
# Runs the native tests (see test/kernels) of what has code of its own for ARM on an emulated ARM
# processor: cross-compiled, linked statically, under qemu. Arguments name other suites. For x86-64
# machines with Debian or Ubuntu.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v cmake >/dev/null || packages+=(cmake)
command -v aarch64-linux-gnu-g++ >/dev/null || packages+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 >/dev/null || packages+=(qemu-user)
if ((${#packages[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get -q update >&2
  $sudo apt-get -qy install --no-install-recommends "${packages[@]}" >&2
fi

cmake -S . -B build/tests-arm64 \
  -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_SYSTEM_PROCESSOR=aarch64 \
  -D CMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -D CMAKE_EXE_LINKER_FLAGS=-static \
  -D CMAKE_BUILD_TYPE=Release -D OPENELM_WERROR=ON -D OPENELM_TESTS=ON -D NVCC=OFF \
  -D OPENELM_UNITY=ON >&2
cmake --build build/tests-arm64 --target kernel-tests --parallel 2 >&2
[ $# -gt 0 ] || set -- half elementwise matmul attention quantize load ops oracle invariance gradients \
  training
qemu-aarch64 build/tests-arm64/kernel-tests "$@"

#!/usr/bin/env bash
# Compiles for all platforms, and runs what this machine can run of it, before a release: the package's smoke
# test and the suites of kernel-tests here, on an older glibc, on musl, on ARM by QEMU and on Windows by
# Wine. For Debian 12 on x64.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc libc6-arm64-cross libgcc-s1-arm64-cross libstdc++6-arm64-cross musl qemu-user wine64)
missing=()
for package in "${packages[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get -q update >&2
  $sudo apt-get -qy install --no-install-recommends "${missing[@]}" >&2
fi
npm ci --force --prefix test/platforms
test/platforms/prepare.sh

npm run prebuilds -- "$@"
npx tap --disable-coverage --reporter=tap test/prebuilds.test.ts test/platforms.test.ts
node scripts/test-systems.mjs

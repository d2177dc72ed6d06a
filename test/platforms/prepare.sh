#!/usr/bin/env bash
# Makes in build/systems what systems.mjs runs programs by: an older glibc, of Debian 11, and Node for musl,
# which npm has in pnpm's package. For Debian 12 on x64, after `npm ci --force --prefix test/platforms`.
set -euo pipefail
cd "$(dirname "$0")/../.."
systems=$PWD/build/systems
mkdir -p "$systems"

if [ ! -x "$systems/glibc-2.31/ld-2.31.so" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  touch "$work/status"
  echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main' \
    >"$work/sources"
  apt=(apt-get -q -o "Dir::State=$work" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status"
    -o "Dir::Cache=$work" -o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=-
    -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$work" && "${apt[@]}" download libc6 libstdc++6 libgcc-s1)
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
  rm -rf "$systems/glibc-2.31"
  mkdir "$systems/glibc-2.31"
  cp -P "$work"/root/lib/x86_64-linux-gnu/*.so* "$work"/root/usr/lib/x86_64-linux-gnu/*.so* "$systems/glibc-2.31"
fi

# The file of pnpm is Node with a program behind it. With that switched off it is Node and nothing else.
musl=$systems/musl
mkdir -p "$musl"
gcc -O2 -shared -fPIC -nostdlib -fno-builtin test/platforms/musl/glibc-functions.c -o "$musl/ld-linux-x86-64.so.2"
ln -sf /usr/lib/x86_64-linux-gnu/libstdc++.so.6 /lib/x86_64-linux-gnu/libgcc_s.so.1 "$musl"
sed 's/\(NODE_SEA_FUSE_[0-9a-f]*\):1/\1:0/' test/platforms/node_modules/@pnpm/linuxstatic-x64/pnpm >"$musl/node"
chmod +x "$musl/node"

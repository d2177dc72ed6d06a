import { readGyp } from './gyp.mjs'

/** The systems that the prebuilds still run on. */
export const oldest = { glibc: '2.28', macos: readGyp('darwin').macVersion }

/**
 * What the package is compiled for: Zig's name for it, and the file in `prebuilds` that `addonPaths` of
 * lib/native.ts looks for. The oldest glibc is the one that Node's own binaries want.
 */
export const targets = [
  target('linux-x64', `x86_64-linux-gnu.${oldest.glibc}`, 'linux-x64/node.napi.node'),
  target('linux-x64-musl', 'x86_64-linux-musl', 'linux-x64/node.napi.musl.node'),
  target('linux-arm64', `aarch64-linux-gnu.${oldest.glibc}`, 'linux-arm64/node.napi.armv8.node'),
  target('linux-arm64-musl', 'aarch64-linux-musl', 'linux-arm64/node.napi.armv8.musl.node'),
  target('win32-x64', 'x86_64-windows-gnu', 'win32-x64/node.napi.node'),
  target('win32-arm64', 'aarch64-windows-gnu', 'win32-arm64/node.napi.armv8.node'),
  target('darwin-arm64', `aarch64-macos.${oldest.macos}`, 'darwin-arm64/node.napi.armv8.node'),
  target('darwin-x64', `x86_64-macos.${oldest.macos}`, 'darwin-x64/node.napi.node'),
]

function target(name, zig, file) {
  const [os, arch] = name.split('-')
  return { name, os, arch, zig, file }
}

// Compiles the addon for every platform on one Linux machine, by Zig, into the folder build/prebuilds, or
// for those platforms that the arguments name, and checks what the files want of a system:
//   node scripts/prebuilds.mjs [--twice] [linux-x64 win32-arm64 ...]
// --twice compiles all once more, from nothing, and fails where a bit differs.
// A release ships them in `prebuilds` where scripts/prebuild.mjs has made none: that of linux-x64 has CUDA.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildAddon } from './zig/build-addon.mjs'
import { prebuildFaults } from './zig/prebuild-faults.mjs'
import { targets } from './zig/targets.mjs'
import { compileAnew } from './zig/zig.mjs'

process.chdir(join(import.meta.dirname, '..'))
const isTwice = process.argv.includes('--twice')
const names = process.argv.slice(2).filter(argument => argument !== '--twice')
const unknown = names.filter(name => !targets.some(target => target.name === name))
if (unknown.length > 0) {
  throw new Error(`unknown: ${unknown}; the platforms are ${targets.map(({ name }) => name)}`)
}

const chosen = names.length > 0 ? targets.filter(({ name }) => names.includes(name)) : targets
const digests = new Map()
for (const target of chosen) await make(target, join('build/prebuilds', target.file))
if (isTwice) {
  compileAnew()
  for (const target of chosen) await make(target, join('build/zig/again', target.file))
}

async function make(target, out) {
  const start = performance.now()
  await buildAddon(target, out)
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  const bytes = readFileSync(out)
  const digest = createHash('sha256').update(bytes).digest('hex')
  console.log(`${out}: ${bytes.length} bytes, sha256 ${digest}, in ${seconds} s`)
  const faults = prebuildFaults(target, bytes)
  const { name } = target
  if (digests.has(name) && digests.get(name) !== digest) faults.push('its second build differs')
  digests.set(name, digest)
  for (const fault of faults) console.error(`${out}: ${fault}`)
  if (faults.length > 0) process.exitCode = 1
}

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { compiledSources } from '../../native/sources.mjs'
import { entryPoints } from './entry-points.mjs'
import { readGyp } from './gyp.mjs'
import { writeMacLibraries } from './mac-libraries.mjs'
import { writeNodeApi } from './node-api-windows.mjs'
import { parallel, zig } from './zig.mjs'

const require = createRequire(import.meta.url)

/** Compiles the addon for a target of targets.mjs, and writes it to `out`. */
export async function buildAddon(target, out) {
  const { os, arch } = target
  const folder = `build/zig/${target.name}`
  mkdirSync(folder, { recursive: true })
  const objects = await compileAddon(target, folder)
  if (os === 'win32') {
    const functions = join(folder, 'node_api.S')
    writeNodeApi(functions, arch)
    objects.push(functions, 'scripts/zig/find_node_api.c')
  }
  const link = { linux: exportList, win32: () => [], darwin: macLibraries }[os](folder)
  // For Windows the linker leaves more beside it.
  const linked = join(folder, 'openelm.node')
  await zig('c++', '-target', target.zig, '-shared', '-O3', '-s', '-o', linked, ...objects, ...link)
  mkdirSync(dirname(out), { recursive: true })
  copyFileSync(linked, out)
}

/** Without it, the C++ library that is inside would be there for others, and theirs for the addon. */
function exportList(folder) {
  const file = join(folder, 'exports.txt')
  writeFileSync(file, `{ global: ${entryPoints.map(name => `${name};`).join(' ')} local: *; };\n`)
  return [`-Wl,--version-script=${file}`]
}

function macLibraries(folder) {
  return [
    ...writeMacLibraries(folder),
    ...readGyp('darwin').libraries,
    '-Wl,-undefined,dynamic_lookup', // Node-API, of the program that loads the addon
  ]
}

/** The object files of the addon. */
async function compileAddon(target, folder) {
  const includes = [dirname(require.resolve('node-api-headers/include/node_api.h'))]
  includes.push(dirname(require.resolve('node-addon-api/napi.h')))
  const flags = includes.flatMap(include => ['-isystem', include])
  const addon = compiledSources(['addon'], `${folder}/units`)
  return [
    ...(await compileEngine(target, folder)),
    ...(await compile(target, addon, folder, flags)),
  ]
}

/** The object files of the engine, with what stands in for the GPUs that the target has none of. */
export async function compileEngine(target, folder) {
  const isMac = target.os === 'darwin'
  if (isMac) {
    execFileSync(process.execPath, ['native/metal/embed_shaders.mjs', `${folder}/metal_source.h`])
  }
  const gpu = isMac ? ['no_cuda', 'metal'] : ['no_cuda', 'no_metal']
  const sources = compiledSources(['engine', ...gpu], `${folder}/units`)
  return await compile(target, sources, folder, isMac ? ['-isystem', folder] : [])
}

/** Compiles each of `sources` alone, with `flags` beside those of binding.gyp; returns the object files. */
export async function compile(target, sources, folder, flags) {
  const common = ['-target', target.zig, '-O3', '-fPIC', '-g0', ...readGyp(target.os).flags]
  return await parallel(sources, async source => {
    const object = join(folder, `${dirname(source).replaceAll('/', '_')}_${basename(source)}.o`)
    await zig('c++', ...common, ...flags, '-c', source, '-o', object)
    return object
  })
}

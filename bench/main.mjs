// npm run bench: measures openelm beside node-llama-cpp and writes results/results.json, the tables of
// README.md and the charts. See --help.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { ownInstallSize, rivalInstallSize } from './install-size.mjs'
import { dtypes, prepareGguf, prepareModel, readThrough } from './models.mjs'
import { measureQuality } from './quality.mjs'
import { writeReport } from './report.mjs'
import { runCase } from './run-case.mjs'

const list = text => text.split(',')
const options = new Command('bench')
  .option('--models <dir>', 'where checkpoints are, and are made', '/tmp/models')
  .option('--sizes <size,...>', 'released shapes to measure', list, ['270M', '1.1B'])
  .option('--dtypes <dtype,...>', 'of bf16, q8 and q4', list, dtypes)
  .option('--threads <n,...>', 'for the smallest size; the others use the last', list, ['1', '2'])
  .option('--growth <size,...>', 'shapes for load time and memory', list, [
    '270M',
    '450M',
    '1.1B',
    '3B',
  ])
  .option('--stories <dir>', 'stories260K, for the speed of small models and for quality')
  .option('--rounds <n>', 'interleaved rounds; one less of the larger sizes', Number, 3)
  .option('--only <part,...>', 'speed, start, depth, growth, stories, install, quality', list)
  .option('--results <folder>', 'beside this file, for results.json and charts', 'results')
  .option('--prefix <command>', 'before each measured process, e.g. "taskset -c 0,1"', '')
  .option('--quick', 'one round, 270M, q8, short: to see whether it runs')
  .parse()
  .opts()
if (options.quick) {
  Object.assign(options, { sizes: ['270M'], dtypes: ['q8'], threads: ['2'], rounds: 1 })
  options.growth = ['270M']
}
const prefix = options.prefix.split(' ').filter(Boolean)
const threads = options.threads.map(Number)
const mostThreads = threads.at(-1)
const engines = ['openelm', 'node-llama-cpp']
const folder = fileURLToPath(new URL(options.results, import.meta.url))
const file = join(folder, 'results.json')
mkdirSync(options.models, { recursive: true })
mkdirSync(folder, { recursive: true })

const results = { ...readResults(), machine: describeMachine(), command: commandLine() }
const machineSpeeds = []

/**
 * Runs one case for both engines, who goes first taking turns. What the machine can do is measured
 * before, between and after (`machine`, beside the engines in their `order`), for on a shared one it
 * changes.
 */
async function compare(round, kind, spec) {
  const order = round % 2 === 0 ? engines : engines.toReversed()
  const { threads } = spec
  const measured = { order, machine: [] }
  const measureMachine = async () => {
    const speed = await runCase(prefix, 'openelm', 'machine', { threads })
    machineSpeeds.push({ threads, ...speed })
    measured.machine.push(speed)
  }
  await measureMachine()
  for (const engine of order) {
    const { size, dtype } = spec.model
    process.stderr.write(`round ${round + 1}: ${engine} ${kind} ${size} ${dtype ?? ''}\n`)
    await readThrough(spec.model, engine)
    measured[engine] = await runCase(prefix, engine, kind, spec)
    await measureMachine()
  }
  return measured
}

/** Interleaved rounds over all specs: a list of { ...spec, rounds: [{ openelm, 'node-llama-cpp' }] }. */
async function compareAll(kind, specs, rounds = options.rounds) {
  const cases = specs.map(spec => ({ ...spec, rounds: [] }))
  for (let round = 0; round < rounds; round++) {
    for (const one of cases) {
      const { rounds: done, ...spec } = one
      // A minute each, and their runs are so long that they differ less.
      if (spec.model.size !== options.sizes[0] && done.length > 0 && round === rounds - 1) continue
      one.rounds.push(await compare(round, kind, spec))
    }
  }
  return cases
}

const plan = { prompts: [32, 128, 512], generated: 128, depths: [], repetitions: 1 }
const shortPlan = { ...plan, prompts: [128] }
const parts = {
  speed: () =>
    compareAll(
      'speed',
      options.sizes.flatMap((size, i) =>
        options.dtypes.flatMap(dtype => {
          const model = prepareModel(options.models, size, dtype)
          return (i === 0 ? threads : [mostThreads]).map(count => {
            return { model, threads: count, plan: count === mostThreads ? plan : shortPlan }
          })
        }),
      ),
    ),
  start: () =>
    compareAll(
      'firstToken',
      options.dtypes.map(dtype => ({
        model: prepareModel(options.models, options.sizes[0], dtype),
        threads: mostThreads,
        prompt: 'Once upon a time there was',
      })),
      Math.max(options.rounds, 3),
    ),
  depth: () => {
    const depths = options.quick ? [16, 256] : [16, 128, 512, 1024, 2048]
    const depthPlan = { prompts: [], generated: 0, depths, repetitions: 1 }
    const models = options.dtypes.map(dtype =>
      prepareModel(options.models, options.sizes[0], dtype),
    )
    const specs = models.map(model => ({ model, threads: mostThreads, plan: depthPlan }))
    return compareAll('speed', specs)
  },
  growth: () => {
    const growthPlan = { prompts: [32], generated: 0, depths: [], repetitions: 1 }
    const models = options.growth.map(size => prepareModel(options.models, size, 'bf16'))
    const specs = models.map(model => ({ model, threads: mostThreads, plan: growthPlan }))
    return compareAll('speed', specs, Math.min(options.rounds, 2))
  },
  stories: () => {
    if (!options.stories) return undefined
    const gguf = prepareGguf(options.models, 'stories260K', options.stories)
    const model = { size: '260K', directory: options.stories, file: gguf, vocabSize: 512 }
    const storiesPlan = { prompts: [], generated: 256, depths: [], repetitions: 3 }
    return compareAll('speed', [{ model, threads: 1, plan: storiesPlan }])
  },
  install: () => ({ openelm: ownInstallSize(), 'node-llama-cpp': rivalInstallSize() }),
  quality: () => measureQuality(options.stories),
}

for (const name of options.only ?? Object.keys(parts)) {
  const result = await parts[name]()
  if (result === undefined) continue
  results[name] = result
  if (machineSpeeds.length > 0) results.machineSpeeds = machineSpeeds
  writeFileSync(file, `${JSON.stringify(results, rounded)}\n`)
}
await writeReport(results, options.results)

/** Six digits are more than any measurement is worth, and where files are is nobody's business. */
function rounded(key, value) {
  if (key === 'directory' || key === 'file') return undefined
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value
}

/** What earlier runs measured of the parts that this one leaves out. */
function readResults() {
  if (!options.only) return {}
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return {}
  }
}

/** How to run it again; where things are, others know better. */
function commandLine() {
  const places = ['--models', '--stories']
  const args = process.argv.slice(2)
  return args.map((arg, i) => (places.includes(args[i - 1]) ? 'DIR' : arg)).join(' ')
}

function describeMachine() {
  const [{ model }] = cpus()
  return {
    processor: model.trim(),
    cores: availableParallelism(),
    memory: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  }
}

// How soon a model answers, and what several processes of it take:
//   node bench/start.mjs MODEL... [--folder /tmp/packed] [--rounds 5] [--processes 4] [--repeats 20]
// MODEL is a directory; --folder gets a packed checkpoint of each, and with --rival a GGUF file, which
// node-llama-cpp runs. Prints milliseconds from the start of a process to the first token, with the
// file in the page cache, in rounds by turns; what one process and several at a time take of the
// machine's memory (Linux: their Pss); and of several loads and decodes in a row, a process each, the
// slowest and the fastest.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readThrough, run } from './models.mjs'
import { runCase } from './run-case.mjs'

const number = fallback => ({ type: 'string', default: String(fallback) })
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string', default: '/tmp/packed' },
    rounds: number(5),
    processes: number(4),
    repeats: number(20),
    threads: number(2),
    rival: { type: 'boolean', default: false },
    child: { type: 'boolean', default: false },
  },
})
const threads = Number(values.threads)

if (values.child) {
  await serve(positionals[0])
} else {
  mkdirSync(values.folder, { recursive: true })
  for (const model of positionals) await measure(resolve(model))
}

async function measure(stored) {
  const name = basename(stored)
  const packed = join(resolve(values.folder), name)
  const gguf = `${packed}.gguf`
  if (!existsSync(join(packed, 'config.json'))) run('convert', '--pack', stored, packed)
  if (values.rival && !existsSync(gguf)) run('convert', stored, gguf)
  const engines = {
    'as stored': ['openelm', { directory: stored }],
    packed: ['openelm', { directory: packed }],
    ...(values.rival && { rival: ['node-llama-cpp', { directory: stored, file: gguf }] }),
  }
  await compareStarts(name, engines)
  for (const [kind, directory] of Object.entries({ 'as stored': stored, packed })) {
    if (process.platform === 'linux') await compareMemory(`${name} ${kind}`, directory)
    await repeatLoads(`${name} ${kind}`, { directory })
  }
}

async function compareStarts(name, engines) {
  const times = new Map(Object.keys(engines).map(kind => [kind, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [kind, [engine, model]] of Object.entries(engines)) {
      await readThrough(model, engine)
      const spec = { model, threads, prompt: 'Once upon a time there was' }
      times.get(kind).push(await runCase([], engine, 'firstToken', spec))
    }
  }
  for (const [kind, all] of times)
    console.log(`${name} ${kind}: first token after ${range(all)} ms`)
}

/** Starts processes until there are as many as asked for, each with an answer behind it. */
async function compareMemory(name, directory) {
  const children = []
  const shares = () => children.map(({ pid }) => bytesOf('Pss', pid)).reduce((a, b) => a + b)
  while (children.length < Number(values.processes)) {
    const child = fork(import.meta.filename, ['--child', directory, '--threads', values.threads])
    await once(child, 'message')
    children.push(child)
    console.log(`${name}: ${children.length} processes take ${Math.round(shares() / 1e6)} MB`)
  }
  for (const child of children) child.disconnect()
}

function bytesOf(name, pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return 1024 * Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)[1])
}

async function repeatLoads(name, model) {
  const plan = { prompts: [], generated: 64, depths: [], repetitions: 1 }
  const [loads, speeds] = [[], []]
  for (let i = 0; i < Number(values.repeats); i++) {
    const { loadMs, tests } = await runCase([], 'openelm', 'speed', { model, threads, plan })
    loads.push(loadMs)
    speeds.push(tests[0].tokensPerSecond[0])
  }
  if (loads.length === 0) return
  console.log(`${name}: ${loads.length} loads of ${range(loads)} ms`)
  console.log(`${name}: ${speeds.length} decodes at ${range(speeds)} tokens a second`)
}

/** Loads the model, answers, and stays until the parent goes. */
async function serve(directory) {
  const { OpenELM } = await import('../dist/index.js')
  const model = await OpenELM.load(directory, { backend: 'cpu', threads })
  await model.generate('Once upon a time there was', { maxTokens: 8, ignoreEos: true })
  process.send('ready')
}

/** The median, and from where to where. */
function range(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const digits = number => number.toPrecision(3).replace(/e.*/, '')
  const whole = number => (number < 100 ? digits(number) : String(Math.round(number)))
  return `${whole(sorted[sorted.length >> 1])} [${whole(sorted[0])}–${whole(sorted.at(-1))}]`
}

// Documents a second of `evaluate`, beside the same requests scored one by one:
//   node bench/evaluate.mjs MODEL DATA TASK[:SHOTS]... [--dtype q8] [--limit n] [--threads 2] [--rounds 5]
// The two take turns, so that a machine whose speed changes is as fast for one as for the other. Prints
// the medians of the rounds and of their ratios, those of processor time as well, which other programs
// change less (with `--threads 1`, for threads that wait for each other spend it, too); and the longest
// time that the event loop was held during `evaluate`.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { evaluate } from '../dist/evaluate/index.js'
import { OpenELM } from '../dist/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string' },
    limit: { type: 'string' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
  },
})
const [directory, data, ...tasks] = positionals
const load = { backend: 'cpu', dtype: values.dtype, threads: Number(values.threads) }
const model = await OpenELM.load(directory, load)
for (const task of tasks) await measure(...task.split(':'))
await model.dispose()

async function measure(task, shots = '0') {
  const limit = values.limit && Number(values.limit)
  const options = { tasks: [task], data, numFewshot: Number(shots), limit }
  const rounds = []
  for (let round = 0; round < Number(values.rounds); round++) {
    const samples = []
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const together = await timesOf(async () => {
      for await (const { sample } of evaluate(model, options)) samples.push(sample)
    })
    delay.disable()
    const alone = await timesOf(() => scoreAlone(samples))
    const speeds = [together, alone].map(({ seconds }) => samples.length / seconds)
    const ratios = ['seconds', 'processorSeconds'].map(name => alone[name] / together[name])
    rounds.push({ speeds, ratios, held: delay.max / 1e6 })
  }
  const of = (figures, digits) => {
    const all = figures.map(figure => figure.toFixed(digits)).join(', ')
    return `${median(figures).toFixed(digits)} (${all})`
  }
  const column = (name, i) => rounds.map(round => round[name][i])
  console.log(`${task} ${shots}-shot, documents a second: ${of(column('speeds', 0), 2)}`)
  console.log(`  one by one ${of(column('speeds', 1), 2)}`)
  console.log(
    `  ratio ${of(column('ratios', 0), 2)}, of processor time ${of(column('ratios', 1), 2)}`,
  )
  const held = rounds.map(round => round.held)
  console.log(`  event loop held at most ${of(held, 1)} ms`)
}

/** Every request by itself, whose answers must be the same. */
async function scoreAlone(samples) {
  for (const sample of samples) {
    for (const [i, [context, continuation]] of sample.arguments.entries()) {
      const { logprob } = await model.score(context, continuation)
      if (logprob !== sample.filtered_resps[i][0]) throw new Error(`another answer: ${logprob}`)
    }
  }
}

async function timesOf(work) {
  const before = process.cpuUsage()
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  return { seconds, processorSeconds: (user + system) / 1e6 }
}

function median(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]
}

// Documents a second of `evaluate`, beside the same requests scored one by one:
//   node bench/evaluate.mjs MODEL DATA TASK[:SHOTS]... [--dtype q8] [--threads 2] [--rounds 5]
// The two take turns, so that a machine whose speed changes is as fast for one as for the other. Prints
// the medians of the rounds, the median of their ratios, and the longest time that the event loop was
// held during `evaluate`.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { evaluate } from '../dist/evaluate/index.js'
import { OpenELM } from '../dist/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string' },
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
  const options = { tasks: [task], data, numFewshot: Number(shots) }
  const rounds = []
  for (let round = 0; round < Number(values.rounds); round++) {
    const samples = []
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const together = await secondsOf(async () => {
      for await (const { sample } of evaluate(model, options)) samples.push(sample)
    })
    delay.disable()
    const alone = await secondsOf(() => scoreAlone(samples))
    const speeds = [together, alone].map(seconds => samples.length / seconds)
    rounds.push({ speeds, ratio: alone / together, held: delay.max / 1e6 })
  }
  const [together, alone] = [0, 1].map(i => median(rounds.map(({ speeds }) => speeds[i])))
  const held = rounds.map(({ held }) => held.toFixed(1)).join(', ')
  console.log(
    `${task} ${shots}-shot: ${together.toFixed(2)} documents a second, one by one ` +
      `${alone.toFixed(2)}: ${median(rounds.map(({ ratio }) => ratio)).toFixed(2)} times as many ` +
      `(${rounds.map(({ ratio }) => ratio.toFixed(2)).join(', ')}); event loop held ${held} ms`,
  )
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

async function secondsOf(work) {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

function median(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]
}

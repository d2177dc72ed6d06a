// What a batch of a few tokens costs beside one token: node bench/batch.mjs MODEL[:DTYPE]... [--threads 2]
// [--rounds 15] [--position 32]. These are the batches that check drafts. MODEL is a directory. The sizes
// take turns, so that a machine whose speed changes is as fast for each; printed are the median time of one
// token and the medians of the rounds' ratios to it. All logits of a batch are computed, as for a check.
import { parseArgs } from 'node:util'
import { OpenELM } from '../dist/index.js'

const sizes = [1, 2, 4, 8]
const calls = 12 // of each size in a round

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '15' },
    position: { type: 'string', default: '32' },
  },
})

for (const argument of positionals) {
  const [source, dtype] = argument.split(':')
  const model = await OpenELM.load(source, {
    backend: 'cpu',
    threads: Number(values.threads),
    ...(dtype && { dtype }),
  })
  const rounds = await measure(model)
  const single = median(rounds.map(times => times[0])).toFixed(2)
  const ratios = sizes.slice(1).map((_, i) => median(rounds.map(times => times[i + 1] / times[0])))
  const formatted = ratios.map(ratio => ratio.toFixed(2)).join(' / ')
  console.log(
    `${source} ${model.dtype}: ${single} ms for 1 token; for 2 / 4 / 8 ${formatted} times that`,
  )
  await model.dispose()
}

/** Of each round, the median milliseconds of each size. */
async function measure(model) {
  const { native } = model.createSession()
  const tokens = count => Int32Array.from({ length: count }, (_, i) => 3 + i * 1009)
  const position = Number(values.position)
  await native.logits(tokens(position), false)
  const rounds = []
  for (let round = -1; round < Number(values.rounds); round++) {
    const times = []
    for (const size of sizes) {
      const ofCalls = []
      for (let call = 0; call < calls; call++) {
        const start = performance.now()
        await native.logits(tokens(size), true)
        ofCalls.push(performance.now() - start)
        await native.whenIdle()
        native.rewind(position)
      }
      times.push(median(ofCalls))
    }
    if (round >= 0) rounds.push(times) // the round before warms up
  }
  native.dispose()
  return rounds
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}

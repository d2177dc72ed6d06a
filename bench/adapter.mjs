// Decoding with a LoRA adapter of all matrices beside decoding without, by turns:
//   node bench/adapter.mjs [MODEL] [--dtype q8] [--rank 16] [--tokens 64] [--rounds 7]
// Prints the medians of tokens a second, and of the rounds' ratios.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writeAdapter } from '../dist/adapters/write-adapter.js'
import { tensorSpecs } from '../dist/config.js'
import { OpenELM } from '../dist/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string' },
    rank: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '7' },
  },
})
const rank = Number(values.rank)
const maxTokens = Number(values.tokens)
const directory = await mkdtemp(join(tmpdir(), 'openelm-adapter-'))
const source = positionals[0] ?? 'openelm-nano'
const options = { backend: 'cpu', dtype: values.dtype }
const plain = await OpenELM.load(source, options)
const random = length => Float32Array.from({ length }, () => 0.02 * (Math.random() - 0.5))
const matrices = tensorSpecs(plain.config).filter(({ name }) =>
  /(proj|proj_\d)\.weight$/.test(name),
)
const targets = matrices.map(({ name, shape: [rows, columns] }) => {
  return [name, { rank, scale: 1, a: random(rank * columns), b: random(rank * rows) }]
})
await plain.dispose()
await writeAdapter(directory, { method: 'lora', targets: new Map(targets), adaptsHead: false })
const model = await OpenELM.load(source, {
  ...options,
  adapters: [{ path: directory, name: 'lora' }],
})

const speedOf = async adapter => {
  const { timings } = await model.generate([5, 6, 7], { maxTokens, ignoreEos: true, adapter })
  return timings.decodeTokensPerSecond
}
const median = list => list.toSorted((a, b) => a - b)[list.length >> 1]
const rounds = []
for (let round = -1; round < Number(values.rounds); round++) {
  const speeds = [await speedOf(null), await speedOf('lora')]
  if (round >= 0) rounds.push(speeds) // the first one warms up
}
const [without, adapted] = [0, 1].map(i => median(rounds.map(speeds => speeds[i])).toFixed(1))
const ratio = median(rounds.map(([a, b]) => b / a)).toFixed(3)
console.log(
  `${targets.length} matrices, rank ${rank}: ${adapted} of ${without} tokens a second, ${ratio}`,
)
await model.dispose()
await rm(directory, { recursive: true })

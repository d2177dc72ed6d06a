// What a JSON schema costs: node bench/constraint.mjs [MODEL] [--dtype q8] [--tokens 200] [--rounds 5]
// First masks alone, on the vocabulary of LLaMA: what a draw takes with one more than without, where the
// state is known and where it is new, in processor time. Then decoding by 1, 2, 4 and 8 streams with a
// schema, in parts of the speed without; the two take turns.
import { parseArgs } from 'node:util'
import { constraintSource } from '../dist/constraint/constraint-source.js'
import { Constraints } from '../dist/constraint/constraints.js'
import { OpenELM } from '../dist/index.js'
import { loadNative } from '../dist/native.js'
import { readSamplerOptions } from '../dist/sampler-options.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: 'string' },
    tokens: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '5' },
  },
})
const model = await OpenELM.load(positionals[0] ?? 'openelm-nano', {
  backend: 'cpu',
  dtype: values.dtype,
})
const { vocabSize } = model.config
const person = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 40 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    mail: { type: 'string', pattern: '^[a-z]+@[a-z]+\\.(com|org)$' },
    kind: { enum: ['cat', 'dog', 'bird'] },
    tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
    weight: { type: 'number', minimum: 0.5, exclusiveMaximum: 99.75 },
  },
  required: ['name', 'age', 'mail', 'kind', 'tags', 'weight'],
}
const schemas = {
  person,
  people: { type: 'array', items: person },
  anything: {},
  words: /([a-z]+ ){3,30}[a-z]+\./,
}

await measureMasks()
for (const streams of [1, 2, 4, 8]) await measureDecoding(streams)
await model.dispose()

async function measureMasks() {
  const bytesOf = token => model.tokenizer.bytesOf(token)
  const constraints = new Constraints({ vocabSize, bytesOf })
  const sampler = new (loadNative().Sampler)(
    vocabSize,
    readSamplerOptions({ temperature: 0 }, vocabSize),
  )
  const scores = Float32Array.from({ length: 2 * vocabSize }, () => Math.random())
  const timeOf = (text, at) => {
    const logits = scores.subarray(at, at + vocabSize)
    const start = process.cpuUsage()
    const sample = sampler.sample(logits, text)
    const { user, system } = process.cpuUsage(start)
    return [user + system, sample]
  }
  const without = median(Array.from({ length: 500 }, (_, i) => timeOf(undefined, i)[0]))
  for (const [name, schema] of Object.entries(schemas)) {
    const constraint = await constraints.get(constraintSource('schema', schema), undefined)
    const rounds = [0, 1, 2].map(() => {
      const times = []
      for (let seed = 0; seed < 20; seed++) {
        const text = constraint.begin([2], false)
        for (let i = 0; i < 60; i++) {
          const [time, { token, isLast }] = timeOf(text, (seed * 7919 + i * 104_729) % vocabSize)
          times.push(time)
          if (isLast || token === 2) break
        }
      }
      return times
    })
    const known = median(rounds.at(-1)) - without
    console.log(
      `${name}: a mask ${known.toFixed(1)} µs, slowest draw ${(Math.max(...rounds[0]) / 1000).toFixed(1)} ms`,
    )
  }
}

async function measureDecoding(streams) {
  const maxTokens = Number(values.tokens)
  const speedOf = async options => {
    const start = performance.now()
    const results = await Promise.all(
      Array.from({ length: streams }, (_, seed) =>
        model.generate('A list:', { maxTokens, temperature: 1, seed, ignoreEos: true, ...options }),
      ),
    )
    const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0)
    return tokens / ((performance.now() - start) / 1000)
  }
  const endless = { type: 'array', items: person, minItems: 1000 }
  const ratios = []
  await speedOf({ responseConstraint: endless })
  for (let round = 0; round < Number(values.rounds); round++) {
    const free = await speedOf({})
    ratios.push((await speedOf({ responseConstraint: endless })) / free)
  }
  console.log(`${streams} streams with a schema: ${median(ratios).toFixed(2)} of the speed without`)
}

function median(figures) {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)]
}

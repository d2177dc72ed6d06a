import t from 'tap'
import { readSamplerOptions, type SamplerOptions } from '../lib/sampler-options.js'

const invalid = { name: 'OpenELMError', code: 'INVALID_ARGUMENT' }

t.test('options have the documented defaults', async t => {
  const read = (options: SamplerOptions) => readSamplerOptions(options, 100)
  const { seed, ...rest } = read({ temperature: undefined })
  t.same(rest, {
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    repetitionContextSize: 64,
    presencePenalty: 0,
    frequencyPenalty: 0,
    biasedTokens: new Int32Array(),
    biases: new Float32Array(),
    logprobs: 0,
  })
  t.type(seed, 'bigint')
  t.not(read({}).seed, seed, 'the default seed is random')
  t.equal(read({ seed: 2 ** 53 - 1 }).seed, 2n ** 53n - 1n)
  t.equal(read({ seed: 2n ** 64n - 1n }).seed, 2n ** 64n - 1n)
})

t.test('a bad option is named, with what it should be and what it is', async t => {
  const notNumbers = ['1', null, NaN, true, 1n, [1], {}]
  const bad: Record<Exclude<keyof SamplerOptions, 'logitBias'>, unknown[]> = {
    presencePenalty: [-2.1, 2.1, ...notNumbers],
    frequencyPenalty: [-2.1, 2.1, ...notNumbers],
    temperature: [-0.1, Infinity, ...notNumbers],
    topK: [-1, 1.5, Infinity, 2 ** 53, ...notNumbers],
    topP: [0, -1, 1.1, ...notNumbers],
    minP: [-0.1, 1, 2, ...notNumbers],
    repetitionPenalty: [0, -1, Infinity, ...notNumbers],
    repetitionContextSize: [-1, 0.5, Infinity, ...notNumbers],
    seed: [-1, -1n, 0.5, 2 ** 53, 2n ** 64n, NaN, '1', null, true],
    logprobs: [-1, 21, 0.5, ...notNumbers],
  }
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      t.throws(() => readSamplerOptions({ [name]: value }, 100), {
        ...invalid,
        message: new RegExp(`^expected options\\.${name} to be an? .+, received `),
      })
    }
  }
  for (const options of [null, 1, 'topK', () => 0]) {
    t.throws(() => readSamplerOptions(options, 100), {
      ...invalid,
      message: /^expected options to be/,
    })
  }
})

import { join } from 'node:path'
import t, { type Test } from 'tap'
import { quantize } from '../lib/cli/quantize.js'
import { OpenELM } from '../lib/index.js'
import {
  dequantizeCheckpoint,
  relativeError,
  testConfigs,
  writeTestCheckpoint,
} from './helpers/checkpoints.js'
import { referenceLogits } from './reference.js'

/**
 * The relative error of the whole matrix of logits that each dtype may have against the float64 oracle on
 * the same weights. q8 and q4 also quantise what they multiply the weights with.
 */
const tolerances = { float32: 1e-5, float16: 1e-5, bfloat16: 1e-5, q8: 1e-3, q4: 1e-3 } as const

const storedAs = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const

function someTokens(vocabSize: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * i * 31 + i * 7 + 1) % vocabSize)
}

for (const [name, config] of Object.entries(testConfigs)) {
  const tokens = someTokens(config.vocab_size, 24)

  const check = async (
    t: Test,
    directory: string,
    dtype: keyof typeof tolerances,
    weights: Map<string, Float64Array>,
  ) => {
    await using model = await OpenELM.load(directory)
    t.equal(model.dtype, dtype)
    const logits = await model.logits(tokens)
    const error = relativeError(logits, referenceLogits(config, weights, tokens))
    t.ok(error <= tolerances[dtype], `${dtype}: relative error ${error.toExponential(2)}`)
    return logits
  }

  for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
    t.test(`${name}, ${dtype}`, async t => {
      const directory = t.testdir()
      const shards = name === '450M' ? 3 : 1
      const options = { dtype: storedAs[dtype], seed: 1, shards }
      const { weights } = writeTestCheckpoint(directory, config, options)
      await check(t, directory, dtype, weights)
    })
  }

  for (const dtype of ['q8', 'q4'] as const) {
    t.test(`${name}, ${dtype}`, async t => {
      const directory = t.testdir({ float: {} })
      const float = join(directory, 'float')
      const quantized = join(directory, dtype)
      writeTestCheckpoint(float, config, { dtype: 'F32', seed: 1 })
      await quantize.parseAsync([float, quantized, '--dtype', dtype], { from: 'user' })
      const weights = dequantizeCheckpoint(join(quantized, 'model.safetensors'))
      const logits = await check(t, quantized, dtype, weights)

      await using model = await OpenELM.load(float, { dtype })
      t.equal(relativeError(await model.logits(tokens), logits), 0, 'quantised while loading')
    })
  }
}

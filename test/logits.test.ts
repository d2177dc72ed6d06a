import { join } from 'node:path'
import t, { type Test } from 'tap'
import { quantize } from '../lib/convert/quantize.js'
import { OpenELM } from '../lib/index.js'
import { testBackend, tolerances, volume } from './helpers/backend.js'
import {
  dequantizeCheckpoint,
  relativeError,
  testConfigs,
  writeTestCheckpoint,
} from './helpers/checkpoints.js'
import { type ConfigJson, referenceLogits, tensorShapes } from './reference.js'

const storedAs = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const

function someTokens(vocabSize: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * i * 31 + i * 7 + 1) % vocabSize)
}

/** An emulated GPU takes a second for some millions of multiply-adds. */
function numTokens(config: ConfigJson): number {
  const weights = [...tensorShapes(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((product, length) => product * length),
    0,
  )
  return volume(24, Math.max(3, Math.min(24, Math.floor(4e6 / weights))))
}

for (const [name, config] of Object.entries(testConfigs)) {
  const tokens = someTokens(config.vocab_size, numTokens(config))

  const check = async (
    t: Test,
    directory: string,
    dtype: keyof typeof tolerances,
    weights: Map<string, Float64Array>,
  ) => {
    await using model = await OpenELM.load(directory, { backend: testBackend })
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
      if (testBackend !== 'cpu' && dtype !== 'bfloat16') return

      const run = async (kvCacheDtype: 'float32' | 'float16') => {
        await using model = await OpenELM.load(directory, { backend: testBackend, kvCacheDtype })
        const session = model.createSession({ contextLength: 256 })
        const bytes = model.memory.kvCache
        session.dispose()
        return { bytes, logits: await model.logits(tokens) }
      }
      const exact = await run('float32')
      const rounded = await run('float16')
      t.equal(rounded.bytes * 2, exact.bytes)
      // Keys and values are rounded to 11 bits: one element by up to 2^-11. On GPUs other kernels,
      // which multiply in 16 bits, may go with them.
      const error = relativeError(rounded.logits, exact.logits)
      const limit = testBackend === 'cpu' ? 1e-3 : Math.max(1e-3, tolerances[dtype])
      t.ok(
        error > 1e-5 && error <= limit,
        `float16 cache: relative error ${error.toExponential(2)}`,
      )
    })
  }

  for (const dtype of ['q8', 'q4'] as const) {
    t.test(`${name}, ${dtype}`, async t => {
      const directory = t.testdir({ float: {} })
      const float = join(directory, 'float')
      const quantized = join(directory, dtype)
      writeTestCheckpoint(float, config, { dtype: 'F32', seed: 1 })
      await quantize(float, quantized, { dtype })
      const weights = dequantizeCheckpoint(join(quantized, 'model.safetensors'))
      const logits = await check(t, quantized, dtype, weights)

      await using model = await OpenELM.load(float, { dtype, backend: testBackend })
      t.equal(relativeError(await model.logits(tokens), logits), 0, 'quantised while loading')
    })
  }
}

import t from 'tap'
import { parseConfig } from '../../lib/config.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import { trainingMemory } from '../../lib/train/training-memory.js'
import { gradientOptions, randomBatch, wholeBatch } from '../helpers/native-trainer.js'
import { tinyJson } from '../helpers/training.js'

const json = { ...tinyJson, vocab_size: 4000, model_dim: 256, head_dim: 32, ffn_multipliers: 4 }
const config = parseConfig({ ...json, num_transformer_layers: 8 }, 'test')
/** Else the second measurement would find the memory that the first has freed. */
const alive: unknown[] = []
const step = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, step: 1 }

for (const recompute of [true, false]) {
  t.test(`the memory of training ${recompute ? 'with' : 'without'} recomputing`, async t => {
    const shape = { microBatchSize: 4, sequenceLength: 256, recompute }
    const before = process.memoryUsage().rss
    const trainer = new (loadNative().Trainer)({
      config: nativeConfig(config),
      threads: 1,
      maxTokens: shape.microBatchSize * shape.sequenceLength,
      recompute,
      float64: false,
    })
    alive.push(trainer)
    trainer.write('weights', 0, new Uint8Array(new Float32Array(1e6).fill(0.01).buffer))
    const batch = wholeBatch(randomBatch(config.vocabSize, 1024, 1), shape.sequenceLength)
    await trainer.accumulate(batch, gradientOptions(4, 1, 0))
    await trainer.step({ ...step, maxGradNorm: 1 })
    const used = process.memoryUsage().rss - before
    const predicted = trainingMemory(config, shape)
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`
    const what = `${megabytes(used)}, predicted ${megabytes(predicted)}`
    t.ok(Math.abs(used / predicted - 1) < 0.15, what)
    t.comment(what)
  })
}

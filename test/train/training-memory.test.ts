import t from 'tap'
import { openCheckpoint, writeCheckpoint } from '../../lib/checkpoint.js'
import { parseConfig } from '../../lib/config.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import { nativeTensors } from '../../lib/native-tensors.js'
import { randomWeights } from '../../lib/random-weights.js'
import { finetuningMemory } from '../../lib/train/finetuning-memory.js'
import { LocalTrainer } from '../../lib/train/local-trainer.js'
import { planAdapter, TrainedAdapter } from '../../lib/train/trained-adapter.js'
import { trainingMemory } from '../../lib/train/training-memory.js'
import { gradientOptions, randomBatch, wholeBatch } from '../helpers/native-trainer.js'
import { tinyJson } from '../helpers/training.js'

const json = { ...tinyJson, vocab_size: 4000, model_dim: 256, head_dim: 32, ffn_multipliers: 4 }
const config = parseConfig({ ...json, num_transformer_layers: 8 }, 'test')
/** Else the second measurement would find the memory that the first has freed. */
const alive: unknown[] = []
const stored = t.testdir()
await writeCheckpoint(stored, config, 'bfloat16', randomWeights(config, 1n))
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
    t.ok(Math.abs(used / predicted - 1) < 0.1, what)
    t.comment(what)
  })
}

for (const [method, dtype] of [
  ['lora', 'float32'],
  ['lora', 'q4'],
  ['dora', 'bfloat16'],
] as const) {
  t.test(`the memory of ${method} beside ${dtype} weights`, async t => {
    const tokens = 1024
    const shape = { rank: 8, alpha: 8, rslora: false, targets: ['all'], layers: 8 }
    const adapter = new TrainedAdapter(config, method, planAdapter(config, shape), 0)
    const base = nativeTensors(await openCheckpoint(stored))
    const before = process.memoryUsage().rss
    const trainer = new LocalTrainer({
      config: nativeConfig(config),
      adapter: adapter.native,
      frozenDtype: dtype,
      threads: 1,
      maxTokens: tokens,
      recompute: false,
      float64: false,
    })
    alive.push(trainer)
    await trainer.load(base)
    await adapter.initialize(trainer, 1)
    const batch = wholeBatch(randomBatch(config.vocabSize, tokens, 1), 256)
    await trainer.lanes[0]!.accumulate(batch, gradientOptions(4, 1, 0))
    await trainer.step({ ...step, maxGradNorm: 1 })
    const used = process.memoryUsage().rss - before
    const predicted = finetuningMemory(config, { method, rank: 8, dtype, tokens, recompute: false })
    const what = `${(used / 1e6).toFixed(0)} MB, predicted ${(predicted / 1e6).toFixed(0)} MB`
    t.ok(Math.abs(used / predicted - 1) < 0.1, what)
    t.comment(what)
  })
}

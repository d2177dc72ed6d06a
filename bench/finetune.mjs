// The speed and memory of fine-tuning a model by each method, against what the machine can do at most:
// node bench/finetune.mjs MODEL [--methods full,lora,dora] [--dtype q8] [--tokens 1024] [--threads 2]
// [--steps 3] [--recompute], after npm run build. The methods take turns, so that other processes slow
// all of them; memory is exact with one method alone.
import { parseArgs } from 'node:util'
import { openCheckpoint } from '../dist/checkpoint.js'
import { countParameters } from '../dist/config.js'
import { loadNative } from '../dist/native.js'
import { nativeConfig } from '../dist/native-config.js'
import { nativeTensors } from '../dist/native-tensors.js'
import { finetuningMemory } from '../dist/train/finetuning-memory.js'
import { planAdapter, TrainedAdapter } from '../dist/train/trained-adapter.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    methods: { type: 'string', default: 'full,lora' },
    dtype: { type: 'string', default: 'float32' },
    tokens: { type: 'string', default: '1024' },
    threads: { type: 'string', default: '2' },
    steps: { type: 'string', default: '3' },
    recompute: { type: 'boolean', default: false },
  },
})
const { dtype, recompute } = values
const [rows, threads, steps] = [values.tokens, values.threads, values.steps].map(Number)
const rank = 16
const length = Math.min(512, rows)
const checkpoint = await openCheckpoint(positionals[0])
const { config } = checkpoint
const addon = loadNative()

const tokens = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % config.vocabSize)
const lengths = new Int32Array(rows / length).fill(length)
const batch = { tokens, targets: tokens, lengths }
const scales = new Float64Array(lengths.length).fill(1 / rows)
const gradient = { scales, zLoss: 0, seed: 0, step: 0, firstExample: 0 }
const adamw = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }

async function start(method) {
  const shape = { rank, alpha: rank, rslora: false, targets: ['all'], layers: config.numLayers }
  const adapter =
    method === 'full'
      ? undefined
      : new TrainedAdapter(config, method, planAdapter(config, shape), 0)
  const before = process.memoryUsage().rss
  const trainer = new addon.Trainer({
    config: nativeConfig(config),
    ...(adapter && { adapter: adapter.native, frozenDtype: dtype }),
    threads,
    maxTokens: rows,
    recompute,
    float64: false,
  })
  await trainer.load(nativeTensors(checkpoint))
  await adapter?.initialize(trainer, 0)
  let number = 0
  const step = async () => {
    const begin = performance.now()
    await trainer.accumulate(batch, gradient)
    await trainer.step({ ...adamw, learningRate: 1e-4, step: ++number })
    return (performance.now() - begin) / 1000
  }
  await step()
  const memory = process.memoryUsage().rss - before
  return { method, adapter, step, memory, seconds: [] }
}

const runs = []
for (const method of values.methods.split(',')) runs.push(await start(method))
const peaks = []
for (let i = 0; i < steps; i++) {
  peaks.push((await addon.measureMachine(threads)).floatPeak)
  for (const run of runs) run.seconds.push(await run.step())
}
const median = list => list.toSorted((a, b) => a - b)[list.length >> 1]

// Two operations for each weight and token in each product: all weights have one forward and one for the
// gradient by the input; those that are trained a third. A causal query sees half of the keys, and
// attention has two products forward and five backward.
const qDims = config.numQueryHeads.reduce((sum, heads) => sum + heads * config.headDim, 0)
const attention = (2 + 5) * 2 * qDims * (length / 2)
const parameters = countParameters(config)
const peak = median(peaks)
const mb = bytes => `${(bytes / 1e6).toFixed(0)} MB`
const rates = new Map()
for (const { method, adapter, memory, seconds } of runs) {
  const rate = rows / median(seconds)
  rates.set(method, rate)
  const products = adapter ? 4 * parameters + 6 * adapter.size : 6 * parameters
  const again = recompute ? 2 * parameters : 0
  const share = (rate * (products + again + attention)) / peak
  const predicted = finetuningMemory(config, { method, rank, dtype, tokens: rows, recompute })
  const speed = `${rate.toFixed(1)} tokens/s, ${(100 * share).toFixed(0)}% of the FMA peak`
  console.log(`${method}: ${speed}; ${mb(memory)} of memory, predicted ${mb(predicted)}`)
}
console.log(`peak of ${threads} threads: ${(peak / 1e9).toFixed(1)} GFLOP/s`)
const [full, lora] = ['full', 'lora'].map(method => rates.get(method))
if (full && lora) console.log(`lora is ${(lora / full).toFixed(2)} times as fast as full`)

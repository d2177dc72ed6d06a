// The speed of training a model of 20 million parameters on one core, against what that core can do at
// most: node bench/train.mjs [STEPS], after npm run build. Counts processor time, not time of day, so
// that other processes matter little.
import { countParameters, parseConfig } from '../dist/config.js'
import { loadNative } from '../dist/native.js'
import { nativeConfig } from '../dist/native-config.js'
import { trainingMemory } from '../dist/train/training-memory.js'

const steps = Number(process.argv[2] ?? 5)
const config = parseConfig(
  {
    vocab_size: 8192,
    max_context_length: 512,
    num_transformer_layers: 10,
    model_dim: 448,
    head_dim: 64,
    num_gqa_groups: 4,
    qkv_multipliers: [0.5, 1.0],
    ffn_multipliers: [0.5, 4.0],
    ffn_dim_divisor: 64,
    normalize_qk_projections: true,
    share_input_output_layers: true,
  },
  'bench',
)
const shape = { microBatchSize: 4, sequenceLength: 512, recompute: false }
const rows = shape.microBatchSize * shape.sequenceLength
const adamw = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 }

const addon = loadNative()
const before = process.memoryUsage().rss
const trainer = new addon.Trainer({
  config: nativeConfig(config),
  maxTokens: rows,
  recompute: shape.recompute,
  threads: 1,
  float64: false,
})
const parameters = countParameters(config)
for (let begin = 0; begin < parameters; begin += 2 ** 20) {
  const size = Math.min(2 ** 20, parameters - begin)
  const weights = Float32Array.from({ length: size }, () => 0.04 * (Math.random() - 0.5))
  trainer.write('weights', begin, new Uint8Array(weights.buffer))
}
const tokens = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % config.vocabSize)
const lengths = new Int32Array(shape.microBatchSize).fill(shape.sequenceLength)
const batch = { tokens, targets: tokens, lengths }
const scales = new Float64Array(shape.microBatchSize).fill(1 / rows)
const options = { scales, zLoss: 1e-4, seed: 0, step: 0, firstExample: 0 }

async function step(number) {
  await trainer.accumulate(batch, options)
  await trainer.step({ ...adamw, learningRate: 1e-4, step: number })
}

await step(1)
const begin = process.cpuUsage()
for (let i = 0; i < steps; i++) await step(i + 2)
const { user, system } = process.cpuUsage(begin)
const seconds = (user + system) / 1e6 / steps
const memory = process.memoryUsage().rss - before

// Forward 2 operations for each parameter of a matrix and token, backward 4; a causal query sees half
// of the keys, and attention has two products forward and five backward.
const qDims = config.numQueryHeads.reduce((sum, heads) => sum + heads * config.headDim, 0)
const attention = (2 + 5) * 2 * qDims * (shape.sequenceLength / 2)
const flops = (rows * (6 * parameters + attention)) / seconds
const { floatPeak: peak } = await addon.measureMachine(1)
const giga = value => `${(value / 1e9).toFixed(1)} GFLOP/s`
console.log(`${(parameters / 1e6).toFixed(1)}M parameters, ${rows} tokens a step`)
console.log(`${(rows / seconds).toFixed(0)} tokens/s on one core`)
console.log(
  `${giga(flops)} of ${giga(peak)}: ${((100 * flops) / peak).toFixed(0)}% of the FMA peak`,
)
const mb = bytes => `${(bytes / 1e6).toFixed(0)} MB`
console.log(`${mb(memory)} of memory, predicted ${mb(trainingMemory(config, shape))}`)

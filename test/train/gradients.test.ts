import t from 'tap'
import { testConfigs } from '../helpers/configs.js'
import {
  gradientOptions,
  randomBatch,
  randomNumbers,
  TestTrainer,
  wholeBatch,
} from '../helpers/native-trainer.js'
import { type ConfigJson, logSumExp, referenceLogits, rowsOf } from '../reference.js'

const scale = 0.25
const zLoss = 0.01

/** Between them: layer-wise, one and many KV heads, odd widths, tied and untied, all of the options. */
const configs: Record<string, ConfigJson> = {
  'layer-wise': { ...testConfigs.golden, model_dim: 64, head_dim: 16, vocab_size: 61 },
  'multi-query': { ...testConfigs['multi-query'], num_transformer_layers: 1, vocab_size: 40 },
  'multi-head': { ...testConfigs['multi-head'], num_transformer_layers: 1, vocab_size: 40 },
  'odd widths': testConfigs['odd-widths'],
  'odder widths, untied': { ...testConfigs['odder-widths'], vocab_size: 33 },
  'no q/k norm': { ...testConfigs['no-qk-norm'], vocab_size: 40 },
  'plain FFN, untied, no q/k norm': testConfigs['plain-ffn-untied'],
}

type Batch = ReturnType<typeof wholeBatch>

function sum(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0)
}

async function loss(trainer: TestTrainer, batch: Batch) {
  const { crossEntropy, squaredLse } = await trainer.native.evaluate(batch, true)
  return scale * (sum(crossEntropy) + zLoss * sum(squaredLse))
}

/**
 * Along a random direction in one tensor, the slope of the loss by central differences and the one that
 * the gradient predicts.
 */
async function slopes(
  trainer: TestTrainer,
  batch: Batch,
  [begin, end]: [number, number],
  gradients: Float64Array,
  seed: number,
) {
  const random = randomNumbers(seed)
  const weights = trainer.read('weights')
  const direction = new Float64Array(weights.length)
  for (let i = begin; i < end; i++) direction[i] = random() / Math.sqrt(end - begin)
  const at = async (distance: number) => {
    trainer.write(
      'weights',
      weights.map((weight, i) => weight + distance * direction[i]!),
    )
    return loss(trainer, batch)
  }
  // Richardson's extrapolation: the error of the fourth order remains.
  const h = 1e-3
  const wide = ((await at(h)) - (await at(-h))) / (2 * h)
  const narrow = ((await at(h / 2)) - (await at(-h / 2))) / h
  trainer.write('weights', weights)
  const predicted = direction.reduce((sum, value, i) => sum + value * gradients[i]!, 0)
  return { measured: (4 * narrow - wide) / 3, predicted }
}

for (const [name, config] of Object.entries(configs)) {
  for (const recompute of [false, true]) {
    t.test(`gradients of every tensor: ${name}${recompute ? ', recomputed' : ''}`, async t => {
      const trainer = new TestTrainer(config, { recompute })
      const batch = wholeBatch(randomBatch(config.vocab_size, 18, 3), 9)
      await trainer.native.accumulate(batch, gradientOptions(2, scale, zLoss))
      const gradients = trainer.read('gradients')
      for (const { name, begin, end } of trainer.tensors) {
        const { measured, predicted } = await slopes(trainer, batch, [begin, end], gradients, 7)
        const error = Math.abs(measured - predicted) / Math.max(Math.abs(measured), 1e-4)
        t.ok(error < 1e-6, `${name}: ${measured}, predicted ${predicted}`)
      }
    })
  }
}

t.test('gradients across blocks of queries, of depth and of logits', async t => {
  const config = { ...testConfigs.golden, model_dim: 32, head_dim: 8, num_transformer_layers: 1 }
  const trainer = new TestTrainer(config, { maxTokens: 600 })
  const batch = wholeBatch(randomBatch(config.vocab_size, 600, 4), 300)
  await trainer.native.accumulate(batch, gradientOptions(2, scale / 100, zLoss))
  const gradients = trainer.read('gradients').map(gradient => gradient * 100)
  const whole: [number, number] = [0, trainer.numParameters]
  const { measured, predicted } = await slopes(trainer, batch, whole, gradients, 8)
  t.ok(Math.abs(measured / predicted - 1) < 1e-6, `${measured}, predicted ${predicted}`)
})

for (const [name, config] of Object.entries(configs)) {
  t.test(`the loss of the reference model: ${name}`, async t => {
    const trainer = new TestTrainer(config)
    const { tokens, targets } = randomBatch(config.vocab_size, 9, 5)
    const all = trainer.read('weights')
    const weights = new Map(
      trainer.tensors.map(({ name, begin, end }) => [name, all.subarray(begin, end)]),
    )
    let crossEntropy = 0
    let squaredLse = 0
    const logits = rowsOf(referenceLogits(config, weights, tokens), config.vocab_size)
    for (const [i, row] of logits.entries()) {
      if (targets[i] === -1) continue
      crossEntropy += logSumExp(row) - row[targets[i]!]!
      squaredLse += logSumExp(row) ** 2
    }
    const losses = await trainer.native.evaluate(wholeBatch({ tokens, targets }, 9), true)
    t.ok(Math.abs(losses.crossEntropy[0]! / crossEntropy - 1) < 1e-9)
    t.ok(Math.abs(losses.squaredLse[0]! / squaredLse - 1) < 1e-9)
  })
}

t.test('float32 gradients are those of float64, for any number of threads', async t => {
  const config = configs['layer-wise']!
  const batch = wholeBatch(randomBatch(config.vocab_size, 400, 6), 200)
  const gradientsOf = async (options: { float64: boolean; threads: number }) => {
    const trainer = new TestTrainer(config, { ...options, maxTokens: 400 })
    await trainer.native.accumulate(batch, gradientOptions(2, scale / 100, zLoss))
    return trainer.read('gradients')
  }
  const exact = await gradientsOf({ float64: true, threads: 1 })
  const single = await gradientsOf({ float64: false, threads: 1 })
  const norm = Math.hypot(...exact)
  const difference = Math.hypot(...exact.map((gradient, i) => gradient - single[i]!))
  t.ok(difference / norm < 1e-4, `relative error ${difference / norm}`)
  for (const threads of [2, 3, 7]) {
    t.same(await gradientsOf({ float64: false, threads }), single, `${threads} threads`)
  }
})

import t, { type Test } from 'tap'
import { testConfigs } from '../helpers/configs.js'
import {
  gradientOptions,
  randomBatch,
  TestTrainer,
  type TestTrainerOptions,
  wholeBatch,
} from '../helpers/native-trainer.js'

const options = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 }

interface State {
  weights: Float64Array
  firstMoments: Float64Array
  secondMoments: Float64Array
}

/** AdamW as in the paper of Loshchilov and Hutter, in the plainest words. Returns the norm. */
function referenceStep(
  { tensors }: TestTrainer,
  { weights, firstMoments, secondMoments }: State,
  gradients: Float64Array,
  step: number,
  learningRate: number,
): number {
  let sumOfSquares = 0
  for (const gradient of gradients) sumOfSquares += gradient ** 2
  const norm = Math.sqrt(sumOfSquares)
  const clip = norm > options.maxGradNorm ? options.maxGradNorm / norm : 1
  for (const { begin, end, isMatrix } of tensors) {
    for (let i = begin; i < end; i++) {
      const gradient = gradients[i]! * clip
      firstMoments[i] = options.beta1 * firstMoments[i]! + (1 - options.beta1) * gradient
      secondMoments[i] = options.beta2 * secondMoments[i]! + (1 - options.beta2) * gradient ** 2
      const mean = firstMoments[i]! / (1 - options.beta1 ** step)
      const variance = secondMoments[i]! / (1 - options.beta2 ** step)
      if (isMatrix) weights[i]! -= learningRate * options.weightDecay * weights[i]!
      weights[i]! -= (learningRate * mean) / (Math.sqrt(variance) + options.eps)
    }
  }
  return norm
}

async function compare(t: Test, name: keyof typeof testConfigs, given: TestTrainerOptions) {
  const trainer = new TestTrainer(testConfigs[name], given)
  const zeros = () => new Float64Array(trainer.numParameters)
  const state = { weights: trainer.read('weights'), firstMoments: zeros(), secondMoments: zeros() }
  for (let step = 1; step <= 4; step++) {
    const batch = wholeBatch(randomBatch(testConfigs[name].vocab_size, 18, step), 9)
    // The first steps are clipped, the last ones are not.
    await trainer.native.accumulate(batch, gradientOptions(2, step < 3 ? 1 : 1e-3, 1e-4))
    const gradients = trainer.read('gradients')
    const learningRate = 0.01 / step
    const norm = referenceStep(trainer, state, gradients, step, learningRate)
    const nativeNorm = await trainer.native.step({ ...options, learningRate, step })
    t.ok(Math.abs(nativeNorm / norm - 1) < 1e-6, `step ${step}: norm ${norm}`)
    t.equal(norm > 1, step < 3, 'clipping is tested, and its absence')

    const weights = trainer.read('weights')
    const worst = weights.reduce((worst, weight, i) => {
      return Math.max(worst, Math.abs(weight - state.weights[i]!))
    }, 0)
    t.ok(worst < 1e-6, `step ${step}: weights differ by ${worst}`)
    t.ok(
      trainer.read('gradients').every(gradient => gradient === 0),
      'gradients begin anew',
    )
  }
}

for (const float64 of [true, false]) {
  t.test(`AdamW, ${float64 ? 'float64' : 'float32'}, agrees with its definition`, async t => {
    await compare(t, 'odd-widths', { float64 })
    await compare(t, 'plain-ffn-untied', { float64, threads: 3 })
  })
}

t.test('a gradient that is not finite leaves the weights alone', async t => {
  const trainer = new TestTrainer(testConfigs['odd-widths'])
  const weights = trainer.read('weights')
  const gradients = new Float64Array(trainer.numParameters)
  gradients[5] = Number.NaN
  trainer.write('gradients', gradients)
  t.ok(Number.isNaN(await trainer.native.step({ ...options, learningRate: 1, step: 1 })))
  t.same(trainer.read('weights'), weights)
  t.ok(trainer.read('gradients').every(gradient => gradient === 0))
})

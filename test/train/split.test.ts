import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { chooseSplit } from '../../lib/train/split.js'
import { testConfigs } from '../helpers/configs.js'
import { gradientOptions, randomBatch, TestTrainer, wholeBatch } from '../helpers/native-trainer.js'
import { checkpointBytes, runAll, tinyRun } from '../helpers/training.js'

const adamw = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  step: 1,
}

/** Comparing the numbers themselves takes minutes. */
const hash = (values: Uint8Array | Float64Array) => {
  return createHash('sha256').update(values).digest('hex')
}

const add = (a: Float64Array, b: Float64Array) => a.map((value, i) => Math.fround(value + b[i]!))

/** Each leaf has two calls of three sequences. */
function leafOf(trainer: TestTrainer, leaf: number) {
  const batches = [2 * leaf, 2 * leaf + 1].map(seed =>
    wholeBatch(randomBatch(testConfigs.golden.vocab_size!, 18, seed + 1), 6),
  )
  return async () => {
    for (const batch of batches) {
      await trainer.native.accumulate(batch, gradientOptions(3, 0.01, 1e-4))
    }
  }
}

t.test('the gradients of leaves are summed as a tree', async t => {
  const create = () => new TestTrainer(testConfigs.golden, { float64: false })
  const leaves: Float64Array[] = []
  for (let leaf = 0; leaf < 5; leaf++) {
    const trainer = create()
    await leafOf(trainer, leaf)()
    leaves.push(trainer.read('gradients'))
  }
  const [a, b, c, d, e] = leaves as [Float64Array, ...Float64Array[]]
  const byHand = create()
  byHand.write('gradients', add(add(add(a, b!), add(c!, d!)), e!))
  const norm = await byHand.native.step(adamw)

  const trainer = create()
  for (let leaf = 0; leaf < 5; leaf++) {
    if (leaf > 0) await trainer.native.nextLeaf()
    await leafOf(trainer, leaf)()
  }
  t.equal(await trainer.native.step(adamw), norm)
  t.equal(hash(trainer.read('weights')), hash(byHand.read('weights')))
  t.ok(trainer.read('gradients').every(value => value === 0))

  const inARow = create()
  inARow.write('gradients', [b!, c!, d!, e!].reduce(add, a))
  await inARow.native.step(adamw)
  t.not(
    hash(inARow.read('weights')),
    hash(byHand.read('weights')),
    'another order gives other bits',
  )
})

t.test('a run keeps its split', async t => {
  const dir = t.testdir()
  const bytesOf = async (name: string, split: number | undefined) => {
    const steps = await runAll(tinyRun(join(dir, name), { split, microBatchSize: 1, steps: 4 }))
    const [weights, moments, state] = checkpointBytes(steps.at(-1)!.checkpoint!)
    return [hash(weights!), hash(moments!), state!.toString()]
  }
  const whole = await bytesOf('whole', undefined)
  t.same(await bytesOf('one', 1), whole, 'a split of 1 is none')
  t.notMatch(whole[2], /split/, 'and is not told')
  const four = await bytesOf('four', 4)
  t.not(four[0], whole[0], 'another order of the sum gives other bits')

  const parts = tinyRun(join(dir, 'parts'), { microBatchSize: 1, steps: 2, warmupSteps: 4 })
  await runAll({ ...parts, split: 4 })
  const resumed = await runAll({ ...parts, steps: 4, resume: true })
  const [weights] = checkpointBytes(resumed.at(-1)!.checkpoint!)
  t.equal(hash(weights!), four[0], 'it is that of the checkpoint')
  for (const split of [1, 2]) {
    await t.rejects(runAll({ ...parts, steps: 5, split, resume: true }), {
      code: 'INVALID_CHECKPOINT',
      message: new RegExp(`started with split 4, not ${split === 1 ? 'unset' : split}`),
    })
  }
  await t.rejects(runAll(tinyRun(join(dir, 'three'), { split: 3 })), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.split',
    message: 'expected options.split to be a divisor of the batch size, 4, received 3',
  })
})

t.test('how many ranks a split allows', async t => {
  const choose = (split: number | undefined, ranks: number, newest?: string) =>
    chooseSplit({ split, newest, batchSize: 24, ranks })
  t.equal(await choose(undefined, 3), 3, 'by default one for each')
  for (const ranks of [1, 2, 4, 8]) t.equal(await choose(8, ranks), 8)
  for (const ranks of [1, 3, 6, 12]) t.equal(await choose(12, ranks), 12)
  await t.rejects(choose(12, 4), {
    code: 'INVALID_ARGUMENT',
    message: 'with a split of 12, expected 12, 6, 3, 1 ranks, received 4',
  })
  const dir = t.testdir()
  const state = (recipe: object) =>
    writeFileSync(join(dir, 'training.json'), JSON.stringify({ recipe }))
  state({})
  t.equal(await choose(undefined, 1, dir), 1, 'a checkpoint without one has 1')
  await t.rejects(choose(undefined, 2, dir), { message: /expected 1 ranks, received 2/ })
  state({ split: 4 })
  t.equal(await choose(undefined, 2, dir), 4)
  state({ split: 'two' })
  await t.rejects(choose(undefined, 2, dir), { code: 'INVALID_CHECKPOINT' })
})

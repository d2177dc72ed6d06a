import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Checkpoint, openCheckpoint, writeCheckpoint } from '../../lib/checkpoint.js'
import { parseConfig, tensorSpecs } from '../../lib/config.js'
import { quantize } from '../../lib/convert/quantize.js'
import { encodeFloats } from '../../lib/floats.js'
import { nativeTensors } from '../../lib/native-tensors.js'
import type { NativeTrainerOptions } from '../../lib/native-trainer.js'
import { readFloat32 } from '../../lib/read-float32.js'
import { readRows } from '../../lib/read-rows.js'
import { floatTypes } from '../../lib/tensor-headers.js'
import type { Kind } from '../adapters/golden-adapter.js'
import { testConfigs } from '../helpers/configs.js'
import { GoldenTrainer } from '../helpers/golden-trainer.js'
import { goldenWeights } from '../helpers/golden-weights.js'
import { gradientOptions } from '../helpers/native-trainer.js'

const config = parseConfig(testConfigs.golden, 'golden')
const dtypes = ['float16', 'bfloat16', 'q8', 'q4'] as const

/** The golden model, stored in float32 and in a dtype. */
async function stored(t: Test, dtype: (typeof dtypes)[number]) {
  const dir = t.testdir()
  const weights = goldenWeights()
  const write = (to: string, type: 'float32' | 'float16' | 'bfloat16') =>
    writeCheckpoint(to, config, type, ({ name }) => [
      encodeFloats(Float32Array.from(weights.get(name)!), floatTypes[type]),
    ])
  const [exact, coded] = [join(dir, 'exact'), join(dir, 'coded')]
  await write(exact, 'float32')
  if (dtype === 'q8' || dtype === 'q4') await quantize(exact, coded, { dtype })
  else await write(coded, dtype)
  return { exact: await openCheckpoint(exact), coded: await openCheckpoint(coded) }
}

/** The numbers that a checkpoint means, with the norms of the float32 one. */
async function valuesOf(checkpoint: Checkpoint, norms: Checkpoint): Promise<Float64Array> {
  const values: number[] = []
  for (const { name, shape } of tensorSpecs(config)) {
    const [count, columns] = shape as [number, number?]
    const tensor = columns
      ? await readRows(checkpoint, name, { first: 0, count, columns })
      : await readFloat32(norms.tensors.get(name)!)
    for (const value of tensor) values.push(value)
  }
  return Float64Array.from(values)
}

/** The two supervised rows of the golden values. */
const batch = {
  tokens: Int32Array.of(1, 5, 42, 96, 7, 7, 3, 1, 33, 12, 80),
  targets: Int32Array.of(-1, -1, -1, 7, 7, 3, 2, -1, 12, 80, 2),
  lengths: Int32Array.of(7, 4),
}

async function outcomeOf(trainer: GoldenTrainer) {
  const base = await trainer.native.evaluate(batch, false)
  const losses = await trainer.native.accumulate(batch, gradientOptions(2, 1 / 7, 1e-4))
  const gradients = trainer.read('gradients')
  await trainer.native.resetMagnitudes()
  return { base, losses, gradients, magnitudes: trainer.read('weights') }
}

const kinds: Record<string, Kind> = {
  LoRA: { embedding: true },
  DoRA: { dora: true },
}

for (const dtype of dtypes) {
  for (const [name, kind] of Object.entries(kinds)) {
    t.test(`${name} beside ${dtype}: exactly as beside the numbers that it means`, async t => {
      const { exact, coded } = await stored(t, dtype)
      const expected = new GoldenTrainer(kind)
      expected.write('frozen', await valuesOf(coded, exact))
      const outcome = await outcomeOf(expected)
      const load = async (checkpoint: Checkpoint, more: Partial<NativeTrainerOptions> = {}) => {
        const trainer = new GoldenTrainer(kind, { frozenDtype: dtype, ...more })
        await trainer.native.load(nativeTensors(checkpoint))
        return trainer
      }
      t.same(await outcomeOf(await load(exact, { threads: 3 })), outcome, 'made when loaded')
      if (dtype.startsWith('q')) t.same(await outcomeOf(await load(coded)), outcome, 'as stored')

      const rounded = await outcomeOf(await load(exact, { float64: false, recompute: true }))
      const norm = (values: Float64Array) => Math.hypot(...values)
      const difference = outcome.gradients.map((value, i) => value - rounded.gradients[i]!)
      const error = norm(difference) / norm(outcome.gradients)
      t.ok(error > 0 && error < 1e-4, `gradients in float32: relative error ${error}`)

      const whole = new GoldenTrainer(kind, { frozenDtype: 'float32' })
      await whole.native.load(nativeTensors(exact))
      t.notSame((await outcomeOf(whole)).losses, outcome.losses, 'the dtype tells')
    })
  }
}

t.test('weights of another model, or that are not there, are refused', async t => {
  const { coded } = await stored(t, 'q8')
  const trainer = new GoldenTrainer({}, { frozenDtype: 'q8' })
  const tensors = nativeTensors(coded)
  await t.rejects(trainer.native.load(tensors.slice(1)), { code: 'INVALID_ARGUMENT' })
  const missing = tensors.map(tensor => ({ ...tensor, file: join(t.testdirName, 'nowhere') }))
  await t.rejects(trainer.native.load(missing), { code: 'IO_ERROR' })
  t.throws(() => trainer.read('frozen', 1), { code: 'INVALID_ARGUMENT' })
})

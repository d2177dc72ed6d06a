import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { NativeTrainingBatch } from '../../lib/native-trainer.js'
import type { Kind } from '../adapters/golden-adapter.js'
import { GoldenTrainer, type Pin, pinError } from '../helpers/golden-trainer.js'
import { gradientOptions } from '../helpers/native-trainer.js'

const golden = JSON.parse(
  readFileSync(new URL('../data/fine-tuning-golden.json', import.meta.url), 'utf8'),
)

/** The two supervised rows, end to end, of 7 and 4 inputs: prompts are not trained. */
const batch = {
  tokens: Int32Array.of(1, 5, 42, 96, 7, 7, 3, 1, 33, 12, 80),
  targets: Int32Array.of(-1, -1, -1, 7, 7, 3, 2, -1, 12, 80, 2),
  lengths: Int32Array.of(7, 4),
}
const whole = { ...batch, targets: Int32Array.of(5, 42, 96, 7, 7, 3, 2, 33, 12, 80, 2) }

const kinds: Record<string, Kind> = {
  lora: {},
  dora: { dora: true },
  'lora-embedding': { embedding: true },
  'dora-embedding': { dora: true, embedding: true },
}

function checkPins(t: Test, trainer: GoldenTrainer, array: 'gradients' | 'weights', pins: Pin[]) {
  const tensors = trainer.tensors(array)
  t.equal(tensors.length, pins.length)
  // PEFT's first factor of an embedding is our second one.
  const isEmbedding = tensors[0]!.part && tensors[0]!.name.endsWith('token_embeddings')
  const order = isEmbedding ? [tensors[1]!, tensors[0]!, ...tensors.slice(2)] : tensors
  for (const [i, tensor] of order.entries()) {
    const error = pinError(tensor.values, pins[i]!)
    t.ok(error < 1e-9, `${array} of ${tensor.name}: relative error ${error}`)
  }
}

const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0))

/** The same calls in float32 and in float64, which the golden values are held against. */
async function checkFloat32(
  t: Test,
  kind: Kind | 'full',
  run: (trainer: GoldenTrainer) => Promise<unknown>,
) {
  const trainers = [true, false].map(float64 => new GoldenTrainer(kind, { float64 }))
  for (const trainer of trainers) await run(trainer)
  const [exact, rounded] = trainers.map(trainer => trainer.tensors('gradients'))
  for (const [i, { name, values }] of exact!.entries()) {
    const difference = values.map((value, k) => value - rounded![i]!.values[k]!)
    const error = norm(difference) / norm(values)
    t.ok(error < 1e-4, `gradient of ${name} in float32: relative error ${error}`)
  }
}

/** One call for each row, or one for both. */
function parts(together: boolean): NativeTrainingBatch[] {
  if (together) return [batch]
  return [
    [0, 7],
    [7, 11],
  ].map(([begin, end]) => ({
    tokens: batch.tokens.slice(begin, end),
    targets: batch.targets.slice(begin, end),
    lengths: Int32Array.of(end! - begin!),
  }))
}

const adamw = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }

for (const [name, kind] of Object.entries(kinds)) {
  t.test(`${name}: losses, gradients and steps`, async t => {
    const trainer = new GoldenTrainer(kind)
    for (const step of [1, 2]) {
      const { crossEntropy } = await trainer.native.accumulate(batch, gradientOptions(2, 1 / 7, 0))
      const mean = (crossEntropy[0]! + crossEntropy[1]!) / 7
      t.ok(Math.abs(mean / golden[name].adamw.losses[step - 1] - 1) < 1e-9, `loss ${mean}`)
      if (step === 1) {
        t.ok(Math.abs(crossEntropy[0]! / golden[name].lossByRow[0] - 1) < 1e-9)
        checkPins(t, trainer, 'gradients', golden[name].gradients)
      }
      const norm = await trainer.native.step({ ...adamw, learningRate: 3e-4, step })
      if (step === 1) t.ok(Math.abs(norm / golden[name].gradientNorm - 1) < 1e-9, `norm ${norm}`)
    }
    checkPins(t, trainer, 'weights', golden[name].adamw.weights)
    const { crossEntropy } = await trainer.native.evaluate(batch, true)
    const mean = (crossEntropy[0]! + crossEntropy[1]!) / 7
    t.ok(Math.abs(mean / golden[name].adamw.losses[2] - 1) < 1e-9, `loss ${mean} after two steps`)
    await checkFloat32(t, kind, ({ native }) =>
      native.accumulate(batch, gradientOptions(2, 1 / 7, 0)),
    )
  })

  t.test(`${name}: the same bits for all threads, micro-batches, and recomputed`, async t => {
    const gradientsOf = async (threads: number, together: boolean, recompute: boolean) => {
      const trainer = new GoldenTrainer(kind, { threads, recompute, float64: false })
      for (const part of parts(together)) {
        await trainer.native.accumulate(part, gradientOptions(part.lengths.length, 1 / 7, 1e-4))
      }
      return trainer.read('gradients')
    }
    const expected = await gradientsOf(1, true, false)
    t.same(await gradientsOf(3, true, false), expected, 'three threads')
    t.same(await gradientsOf(1, false, false), expected, 'row by row')
    t.same(await gradientsOf(2, false, true), expected, 'recomputed')
  })

  t.test(`${name}: a fresh adapter changes no bit, and the base stays as it was`, async t => {
    const trainer = new GoldenTrainer(kind, { float64: false })
    const base = await trainer.native.evaluate(batch, false)
    const adapted = await trainer.native.evaluate(batch, true)
    t.notSame(adapted, base)
    const frozen = trainer.read('frozen', 1000)
    trainer.clearB()
    await trainer.native.resetMagnitudes()
    t.same(await trainer.native.evaluate(batch, true), base)
    await trainer.native.accumulate(batch, gradientOptions(2, 1, 0))
    await trainer.native.step({ ...adamw, learningRate: 1e-2, step: 1 })
    t.notSame(await trainer.native.evaluate(batch, true), base)
    t.same(await trainer.native.evaluate(batch, false), base)
    t.same(trainer.read('frozen', 1000), frozen)
  })
}

for (const [name, rows, zLoss] of [
  ['masked', batch, 0],
  ['masked_z', batch, 1e-4],
  ['whole', whole, 0],
] as const) {
  t.test(`full training, ${name}`, async t => {
    const { gradients, gradientNorm, lossByRow } = golden.sft[name]
    const trainer = new GoldenTrainer('full')
    const targets = rows.targets.filter(target => target >= 0).length
    const options = gradientOptions(2, 1 / targets, zLoss)
    const { crossEntropy } = await trainer.native.accumulate(rows, options)
    for (const [i, loss] of crossEntropy.entries()) {
      t.ok(Math.abs(loss / lossByRow[i] - 1) < 1e-9, `row ${i}: loss ${loss}`)
    }
    checkPins(t, trainer, 'gradients', gradients)
    const found = norm(trainer.read('gradients'))
    t.ok(Math.abs(found / gradientNorm - 1) < 1e-9, `norm ${found}`)
    await checkFloat32(t, 'full', ({ native }) => native.accumulate(rows, options))
  })
}

for (const dora of [false, true]) {
  const name = dora ? 'DoRA' : 'LoRA'
  t.test(`${name}: dropout is on the path of the adapter alone`, async t => {
    const options = { ...gradientOptions(2, 1, 0), seed: 5, step: 1 }
    const trainer = new GoldenTrainer({ dora }, { dropout: 0.4 })
    const adapted = await trainer.native.evaluate(batch, true)
    const dropped = await trainer.native.accumulate(batch, options)
    t.notSame(dropped, adapted)
    t.same(await trainer.native.accumulate(batch, options), dropped, 'the same numbers')
    t.notSame(await trainer.native.accumulate(batch, { ...options, step: 2 }), dropped)
    t.same(await trainer.native.evaluate(batch, true), adapted, 'none where one measures')
    trainer.clearB()
    await trainer.native.resetMagnitudes()
    const base = await trainer.native.evaluate(batch, false)
    t.same(await trainer.native.accumulate(batch, options), base, 'no bit of the base is dropped')
  })

  t.test(`${name}: gradients under dropout are slopes of the loss`, async t => {
    const options = { ...gradientOptions(2, 1 / 7, 0), seed: 5, step: 1 }
    const trainer = new GoldenTrainer({ dora }, { dropout: 0.4 })
    const lossOf = async () => {
      const { crossEntropy } = await trainer.native.accumulate(batch, options)
      return crossEntropy.reduce((sum, x) => sum + x, 0) / 7
    }
    await lossOf()
    const tensors = trainer.tensors('gradients')
    const weights = trainer.read('weights')
    let begin = 0
    for (const { name, part, values } of tensors) {
      const first = begin
      const end = first + values.length
      begin = end
      // The norm of DoRA is a constant in the gradients of A and B.
      if (dora && part !== 'm') continue
      const along = (distance: number) =>
        weights.map((x, i) => x + (i >= first && i < end ? distance * Math.sin(i + 1) : 0))
      const h = 1e-4
      trainer.write('weights', along(h))
      const above = await lossOf()
      trainer.write('weights', along(-h))
      const slope = (above - (await lossOf())) / (2 * h)
      const predicted = values.reduce((sum, x, i) => sum + x * Math.sin(first + i + 1), 0)
      const error = Math.abs(slope - predicted) / Math.max(Math.abs(slope), 1e-3)
      t.ok(error < 1e-5, `${name}: ${slope}, predicted ${predicted}`)
    }
    trainer.write('weights', weights)
  })
}

import { readFileSync } from 'node:fs'
import t from 'tap'
import { microBatches } from '../../lib/train/examples/micro-batches.js'
import { preferenceLoss } from '../../lib/train/preference-loss.js'
import { GoldenTrainer, pinError } from '../helpers/golden-trainer.js'
import { gradientOptions } from '../helpers/native-trainer.js'

const { dpo: golden } = JSON.parse(
  readFileSync(new URL('../data/fine-tuning-golden.json', import.meta.url), 'utf8'),
)

type Pair = Record<'prompt' | 'chosen' | 'rejected', number[]>

/** The two pairs, as chosen, rejected, chosen, rejected. */
const [batch] = microBatches(
  golden.pairs.map(({ prompt, chosen, rejected }: Pair) =>
    [chosen, rejected].map(answer => ({
      tokens: Int32Array.of(...prompt, ...answer),
      targets: Uint8Array.of(...prompt.map(() => 0), ...answer.map(() => 1)),
    })),
  ),
  4096,
)

const isClose = (found: number, expected: number) =>
  Math.abs(found - expected) <= 1e-9 * Math.max(1, Math.abs(expected))

/** The losses of both pairs by the scores that a trainer gives, and the scales of their sequences. */
function compare(logprobs: Float64Array, options: Parameters<typeof preferenceLoss>[2]) {
  const references = [0, 1].flatMap(i => [golden.referenceChosen[i], golden.referenceRejected[i]])
  const answers = Array.from(logprobs, (logprob, i) => {
    const { targets } = batch!.rows[i >> 1]![i & 1]!
    return { logprob, reference: references[i]!, length: targets.filter(one => one === 1).length }
  })
  const pairs = [0, 2].map(i => preferenceLoss(answers[i]!, answers[i + 1]!, options))
  const scales = Float64Array.from(
    pairs.flatMap(({ slopes }) => slopes),
    slope => -slope / 2,
  )
  return { pairs, scales }
}

for (const [name, kind, losses] of [
  ['an adapter', {}, golden.losses],
  ['the whole model', 'full', golden.full.losses],
] as const) {
  for (const [i, loss] of losses.entries()) {
    const { type: dpoLoss, beta, labelSmoothing } = loss
    t.test(`${name}, ${dpoLoss} ${i} with beta ${beta}, smoothing ${labelSmoothing}`, async t => {
      const trainer = new GoldenTrainer(kind)
      if (kind === 'full') trainer.moveWeights()
      const { crossEntropy } = await trainer.native.evaluate(batch!, true)
      const logprobs = crossEntropy.map(sum => -sum)
      const { policyChosen } = kind === 'full' ? golden.full : golden
      t.ok(isClose(logprobs[0]!, policyChosen[0]) && isClose(logprobs[2]!, policyChosen[1]))
      const { pairs, scales } = compare(logprobs, { dpoLoss, beta, labelSmoothing })
      for (const [i, pair] of pairs.entries()) {
        t.ok(isClose(pair.loss, loss.losses[i]), `pair ${i}: loss ${pair.loss}`)
      }
      if (loss.metrics) {
        const chosen = (pairs[0]!.rewardChosen + pairs[1]!.rewardChosen) / 2
        const rejected = (pairs[0]!.rewardRejected + pairs[1]!.rewardRejected) / 2
        t.ok(isClose(chosen, loss.metrics.rewardChosen), `reward ${chosen}`)
        t.ok(isClose(rejected, loss.metrics.rewardRejected), `reward ${rejected}`)
      }
      await trainer.native.backward({ ...gradientOptions(4, 0, 0), scales })
      for (const [k, { name, values }] of trainer.tensors('gradients').entries()) {
        const error =
          loss.gradientNorm === 0 ? Math.max(...values) : pinError(values, loss.gradients[k])
        t.ok(error < 1e-9, `gradient of ${name}: relative error ${error}`)
      }
    })
  }
}

t.test('the loss at the start, and its slope on both sides', t => {
  const same = { logprob: -7, reference: -7, length: 3 }
  const lossOf = (dpoLoss: 'sigmoid' | 'hinge' | 'ipo', beta: number, moved = same) =>
    preferenceLoss(moved, same, { dpoLoss, beta, labelSmoothing: 0 })
  t.equal(lossOf('sigmoid', 0.1).loss, Math.LN2)
  t.equal(lossOf('hinge', 0.1).loss, 1)
  t.equal(lossOf('ipo', 0.1).loss, 25)
  // Half of the way from active to not: at equality the slope is zero, as in PyTorch.
  t.equal(lossOf('hinge', 1, { ...same, logprob: -6 }).slopes[0], 0)
  for (const logprob of [-1e4, 1e4]) {
    const { loss, slopes } = lossOf('sigmoid', 1, { ...same, logprob, reference: 0 })
    t.ok(Number.isFinite(loss) && slopes.every(Number.isFinite), `loss ${loss}`)
  }
  t.end()
})

import type { CancellableTrainer } from './cancellable-trainer.js'
import type { ExampleBatches } from './examples/example-batches.js'
import { microBatches } from './examples/micro-batches.js'
import type { FinetuneStep } from './finetune-step.js'
import {
  type Learning,
  type LearningOptions,
  leafOf,
  type StepMetrics,
  sumOf,
} from './objective.js'

/** Supervised tuning: the mean cross-entropy over all trained tokens of a step, whatever their rows. */
export class SupervisedLearning implements Learning {
  readonly #trainer: CancellableTrainer
  readonly #batches: ExampleBatches
  readonly #options: LearningOptions

  constructor(trainer: CancellableTrainer, batches: ExampleBatches, options: LearningOptions) {
    this.#trainer = trainer
    this.#batches = batches
    this.#options = options
  }

  async accumulate(step: number): Promise<StepMetrics> {
    const { split, microBatchTokens, zLoss, seed } = this.#options
    const rows = this.#batches.at(step)
    let firstExample = 0
    const leaves = Array.from({ length: split }, (_, leaf) => {
      return [...microBatches(leafOf(rows, split, leaf), microBatchTokens)].map(part => {
        firstExample += part.lengths.length
        return { part, firstExample: firstExample - part.lengths.length }
      })
    })
    const parts = leaves.flat().map(({ part }) => part)
    const targets = sumOf(parts.map(({ numTargets }) => numTargets))
    const losses = await this.#trainer.forLeaves(split, async (lane, leaf) => {
      const own: number[] = []
      for (const { part, firstExample } of leaves[leaf]!) {
        const scales = new Float64Array(part.lengths.length).fill(1 / targets)
        const options = { scales, zLoss, seed, step, firstExample }
        const { crossEntropy, squaredLse } = await lane.accumulate(part, options)
        own.push(sumOf(crossEntropy) + zLoss * sumOf(squaredLse))
      }
      return own
    })
    const positions = sumOf(parts.map(({ tokens }) => tokens.length))
    return { loss: sumOf(losses.flat()) / targets, targets, positions }
  }

  async validate(): Promise<Partial<FinetuneStep>> {
    const { validation, microBatchTokens } = this.#options
    const parts = microBatches(validation, microBatchTokens)
    const losses = await this.#trainer.forParts(parts, async (lane, part) => ({
      loss: sumOf((await lane.evaluate(part, true)).crossEntropy),
      targets: part.numTargets,
    }))
    const targets = sumOf(losses.map(({ targets }) => targets))
    return { validationLoss: sumOf(losses.map(({ loss }) => loss)) / targets }
  }
}

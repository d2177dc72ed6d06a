import type { CancellableTrainer } from './cancellable-trainer.js'
import type { ExampleBatches } from './examples/example-batches.js'
import { microBatches } from './examples/micro-batches.js'
import type { FinetuneStep } from './finetune-step.js'
import { type Learning, type LearningOptions, type StepMetrics, sumOf } from './objective.js'

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
    const { microBatchTokens, zLoss, seed } = this.#options
    const parts = [...microBatches(this.#batches.at(step), microBatchTokens)]
    const targets = sumOf(parts.map(({ numTargets }) => numTargets))
    let loss = 0
    let firstExample = 0
    for (const part of parts) {
      const scales = new Float64Array(part.lengths.length).fill(1 / targets)
      const options = { scales, zLoss, seed, step, firstExample }
      const { crossEntropy, squaredLse } = await this.#trainer.accumulate(part, options)
      loss += sumOf(crossEntropy) + zLoss * sumOf(squaredLse)
      firstExample += part.lengths.length
    }
    const positions = sumOf(parts.map(({ tokens }) => tokens.length))
    return { loss: loss / targets, targets, positions }
  }

  async validate(): Promise<Partial<FinetuneStep>> {
    const { validation, microBatchTokens } = this.#options
    let loss = 0
    let targets = 0
    for (const part of microBatches(validation, microBatchTokens)) {
      loss += sumOf((await this.#trainer.evaluate(part, true)).crossEntropy)
      targets += part.numTargets
    }
    return { validationLoss: loss / targets }
  }
}

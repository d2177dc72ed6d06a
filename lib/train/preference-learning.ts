import type { CancellableTrainer } from './cancellable-trainer.js'
import type { ExampleRow } from './examples/example.js'
import type { ExampleBatches } from './examples/example-batches.js'
import { type MicroBatch, microBatches } from './examples/micro-batches.js'
import type { FinetuneStep } from './finetune-step.js'
import { type Learning, type LearningOptions, type StepMetrics, sumOf } from './objective.js'
import { type PreferenceLoss, type PreferenceOptions, preferenceLoss } from './preference-loss.js'

/** The log-probabilities of answers before the run, of each pair the chosen and the rejected one. */
export interface References {
  readonly data: readonly number[]
  readonly validation: readonly number[]
}

/** Of rows in their order, by the model as it is before the first step. */
export async function referencesOf(
  trainer: CancellableTrainer,
  rows: Iterable<ExampleRow>,
  microBatchTokens: number,
): Promise<number[]> {
  const references: number[] = []
  for (const part of microBatches(rows, microBatchTokens)) {
    for (const sum of (await trainer.evaluate(part, true)).crossEntropy) references.push(-sum)
  }
  return references
}

/** Direct preference optimisation (Rafailov et al., 2023): the mean loss over the pairs of a step. */
export class PreferenceLearning implements Learning {
  readonly #trainer: CancellableTrainer
  readonly #batches: ExampleBatches
  readonly #references: References
  readonly #options: LearningOptions & PreferenceOptions

  constructor(
    trainer: CancellableTrainer,
    batches: ExampleBatches,
    references: References,
    options: LearningOptions & PreferenceOptions,
  ) {
    this.#trainer = trainer
    this.#batches = batches
    this.#references = references
    this.#options = options
  }

  async accumulate(step: number): Promise<StepMetrics> {
    const { microBatchTokens, zLoss, seed } = this.#options
    const references = Array.from(this.#batches.numbersAt(step), number => [
      this.#references.data[2 * number]!,
      this.#references.data[2 * number + 1]!,
    ]).flat()
    const numPairs = references.length / 2
    const tally = new Tally()
    for (const part of microBatches(this.#batches.at(step), microBatchTokens)) {
      const pairs = await this.#compare(part, references.splice(0, part.lengths.length))
      tally.add(part, pairs)
      // A loss goes up where -log p goes down.
      const slopes = pairs.flatMap(({ slopes }) => slopes)
      const scales = Float64Array.from(slopes, slope => -slope / numPairs)
      await this.#trainer.backward({ scales, zLoss, seed, step, firstExample: 0 })
    }
    return tally.metrics()
  }

  async validate(): Promise<Partial<FinetuneStep>> {
    const { validation, microBatchTokens } = this.#options
    const references = [...this.#references.validation]
    const tally = new Tally()
    for (const part of microBatches(validation, microBatchTokens)) {
      tally.add(part, await this.#compare(part, references.splice(0, part.lengths.length)))
    }
    const { loss, rewardAccuracy } = tally.metrics()
    return { validationLoss: loss, validationRewardAccuracy: rewardAccuracy! }
  }

  /** Evaluates the pairs of a micro-batch, whose sequences are chosen, rejected, chosen … */
  async #compare(part: MicroBatch, references: readonly number[]): Promise<ScoredPair[]> {
    const { crossEntropy } = await this.#trainer.evaluate(part, true)
    const answers = Array.from(crossEntropy, (sum, i) => ({
      logprob: -sum,
      reference: references[i]!,
      length: sumOf(part.rows[i >> 1]![i & 1]!.targets),
    }))
    return part.rows.map((_, i) => {
      const [chosen, rejected] = [answers[2 * i]!, answers[2 * i + 1]!]
      const logprobs = { logprobChosen: chosen.logprob, logprobRejected: rejected.logprob }
      return { ...preferenceLoss(chosen, rejected, this.#options), ...logprobs }
    })
  }
}

type ScoredPair = PreferenceLoss & { logprobChosen: number; logprobRejected: number }

/** Means over the pairs of a step. */
class Tally {
  readonly #pairs: ScoredPair[] = []
  #targets = 0
  #positions = 0

  add(part: MicroBatch, pairs: readonly ScoredPair[]): void {
    this.#pairs.push(...pairs)
    this.#targets += part.numTargets
    this.#positions += part.tokens.length
  }

  metrics(): StepMetrics {
    const mean = (of: (pair: ScoredPair) => number) =>
      sumOf(this.#pairs.map(of)) / this.#pairs.length
    return {
      loss: mean(({ loss }) => loss),
      targets: this.#targets,
      positions: this.#positions,
      rewardChosen: mean(({ rewardChosen }) => rewardChosen),
      rewardRejected: mean(({ rewardRejected }) => rewardRejected),
      rewardMargin: mean(({ rewardChosen, rewardRejected }) => rewardChosen - rewardRejected),
      rewardAccuracy: mean(({ rewardChosen, rewardRejected }) =>
        rewardChosen > rewardRejected ? 1 : 0,
      ),
      logprobChosen: mean(({ logprobChosen }) => logprobChosen),
      logprobRejected: mean(({ logprobRejected }) => logprobRejected),
    }
  }
}

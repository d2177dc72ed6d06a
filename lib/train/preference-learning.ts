import type { CancellableTrainer } from './cancellable-trainer.js'
import type { ExampleRow } from './examples/example.js'
import type { ExampleBatches } from './examples/example-batches.js'
import { type MicroBatch, microBatches } from './examples/micro-batches.js'
import type { FinetuneStep } from './finetune-step.js'
import {
  type Learning,
  type LearningOptions,
  leafOf,
  type StepMetrics,
  sumOf,
} from './objective.js'
import { type PreferenceLoss, type PreferenceOptions, preferenceLoss } from './preference-loss.js'
import type { Lane } from './trainer.js'

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
  const parts = microBatches(rows, microBatchTokens)
  const sums = await trainer.forParts(parts, async (lane, part) => {
    return [...(await lane.evaluate(part, true)).crossEntropy]
  })
  return sums.flat().map(sum => -sum)
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
    const { split, microBatchTokens, zLoss, seed } = this.#options
    const rows = this.#batches.at(step)
    const references = Array.from(this.#batches.numbersAt(step), number => [
      this.#references.data[2 * number]!,
      this.#references.data[2 * number + 1]!,
    ])
    const leaves = await this.#trainer.forLeaves(split, async (lane, leaf) => {
      const compared: Compared[] = []
      const parts = microBatches(leafOf(rows, split, leaf), microBatchTokens)
      for (const part of withReferences(parts, leafOf(references, split, leaf).flat())) {
        const pairs = await this.#compare(lane, part)
        // A loss goes up where -log p goes down.
        const slopes = pairs.flatMap(({ slopes }) => slopes)
        const scales = Float64Array.from(slopes, slope => -slope / rows.length)
        await lane.backward({ scales, zLoss, seed, step, firstExample: 0 })
        compared.push({ part, pairs })
      }
      return compared
    })
    return metricsOf(leaves.flat())
  }

  async validate(): Promise<Partial<FinetuneStep>> {
    const { validation, microBatchTokens } = this.#options
    const parts = withReferences(
      microBatches(validation, microBatchTokens),
      this.#references.validation,
    )
    const compared = await this.#trainer.forParts(parts, async (lane, part) => {
      return { part, pairs: await this.#compare(lane, part) }
    })
    const { loss, rewardAccuracy } = metricsOf(compared)
    return { validationLoss: loss, validationRewardAccuracy: rewardAccuracy! }
  }

  /** Evaluates the pairs of a micro-batch, whose sequences are chosen, rejected, chosen … */
  async #compare(lane: Lane, part: ReferredBatch): Promise<ScoredPair[]> {
    const { crossEntropy } = await lane.evaluate(part, true)
    const answers = Array.from(crossEntropy, (sum, i) => ({
      logprob: -sum,
      reference: part.references[i]!,
      length: sumOf(part.rows[i >> 1]![i & 1]!.targets),
    }))
    return part.rows.map((_, i) => {
      const [chosen, rejected] = [answers[2 * i]!, answers[2 * i + 1]!]
      const logprobs = { logprobChosen: chosen.logprob, logprobRejected: rejected.logprob }
      return { ...preferenceLoss(chosen, rejected, this.#options), ...logprobs }
    })
  }
}

type ReferredBatch = MicroBatch & { readonly references: readonly number[] }

/** Gives each micro-batch the references of its sequences. */
function* withReferences(
  parts: Iterable<MicroBatch>,
  references: readonly number[],
): Generator<ReferredBatch, void> {
  let begin = 0
  for (const part of parts) {
    const end = begin + part.lengths.length
    yield { ...part, references: references.slice(begin, end) }
    begin = end
  }
}

type ScoredPair = PreferenceLoss & { logprobChosen: number; logprobRejected: number }

interface Compared {
  readonly part: MicroBatch
  readonly pairs: readonly ScoredPair[]
}

/** Means over the pairs of a step. */
function metricsOf(compared: readonly Compared[]): StepMetrics {
  const all = compared.flatMap(({ pairs }) => pairs)
  const mean = (of: (pair: ScoredPair) => number) => sumOf(all.map(of)) / all.length
  return {
    loss: mean(({ loss }) => loss),
    targets: sumOf(compared.map(({ part }) => part.numTargets)),
    positions: sumOf(compared.map(({ part }) => part.tokens.length)),
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

import type { ExampleRow } from './examples/example.js'
import type { FinetuneStep } from './finetune-step.js'
import type { Told } from './training-loop.js'

/** What a step of fine-tuning measures. */
export type FinetuneMetrics = Omit<FinetuneStep, keyof Told | 'checkpoint'>

/** The same, as far as the objective knows it, with how many tokens the model has read. */
export type StepMetrics = Omit<FinetuneMetrics, 'epoch'> & { readonly positions: number }

/** What is learnt: how rows become a loss and its gradient. */
export interface Learning {
  /** Adds up the gradient of the mean loss of a step. */
  accumulate(step: number): Promise<StepMetrics>
  /** Of the validation rows. */
  validate(): Promise<Partial<FinetuneMetrics>>
}

/** What a step of rows takes, whichever way they are learnt. */
export interface LearningOptions {
  readonly split: number
  readonly microBatchTokens: number
  readonly zLoss: number
  readonly seed: number
  readonly validation: readonly ExampleRow[]
}

/** Which rows of a step the leaf of a split has: all have as many, up to one. */
export function leafOf<Row>(rows: readonly Row[], split: number, leaf: number): readonly Row[] {
  const borderOf = (index: number) => Math.floor((index * rows.length) / split)
  return rows.slice(borderOf(leaf), borderOf(leaf + 1))
}

export function sumOf(values: Iterable<number>): number {
  let sum = 0
  for (const value of values) sum += value
  return sum
}

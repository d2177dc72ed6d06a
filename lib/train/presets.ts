import type { presets } from '../config.js'

/** What all sizes were trained with; the fields are options of `train`. */
export const commonHyperparameters = {
  steps: 350_000,
  warmupSteps: 5_000,
  warmupLearningRate: 1e-6,
  /** 16 sequences on each of 128 GPUs. */
  batchSize: 2_048,
  sequenceLength: 2_048,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  zLoss: 1e-4,
  wordsPerPiece: 2_048,
  minCharacters: 200,
  minTokens: 256,
  packing: false,
  checkpointSteps: 5_000,
  seed: 0,
} as const

/** How the released models were trained: the configurations in CoreNet's projects/openelm. */
export const hyperparameters: Record<
  keyof typeof presets,
  typeof commonHyperparameters & {
    maxLearningRate: number
    minLearningRate: number
    recompute: boolean
  }
> = {
  '270M': {
    ...commonHyperparameters,
    maxLearningRate: 5.3e-3,
    minLearningRate: 5.3e-4,
    recompute: false,
  },
  '450M': {
    ...commonHyperparameters,
    maxLearningRate: 3.9e-3,
    minLearningRate: 3.9e-4,
    recompute: true,
  },
  '1.1B': {
    ...commonHyperparameters,
    maxLearningRate: 2.4e-3,
    minLearningRate: 2.4e-4,
    recompute: true,
  },
  '3B': {
    ...commonHyperparameters,
    maxLearningRate: 1.2e-3,
    minLearningRate: 1.2e-4,
    recompute: true,
  },
}

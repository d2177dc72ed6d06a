import type { OpenELMConfig } from '../config.js'
import { configRule } from '../config-rule.js'
import { defaultThreads } from '../cpu-quota.js'
import {
  abortSignal,
  arrayOf,
  boolean,
  callback,
  integer,
  number,
  optional,
  path,
  pathOrObject,
  type RulesOf,
  readOptions,
} from '../options.js'
import { type RankOptions, rankRules } from './on-ranks.js'
import { commonHyperparameters } from './presets.js'

/** Options of `train`: what to learn from, the recipe, and where the checkpoints go. */
export interface TrainOptions extends RankOptions {
  /** The shape of the model, e.g. of `parseConfig`. */
  config: OpenELMConfig
  /**
   * The path of a tokenizer.json, or what such a file holds. It is copied beside the weights. Default
   * that of the run that is resumed, or else one that `trainTokenizer` learns from the data, of as many
   * tokens as the model's vocabulary has.
   */
  tokenizer?: string | object | undefined
  /**
   * A model of this shape to start from rather than from random weights: its directory, the name of a
   * bundled model, or `owner/name` of one of the hub. Its weights alone count; give its tokenizer, too.
   */
  from?: string | undefined
  /** Files to learn from: text, or `.jsonl` with a string `text` or `content` in each line. */
  data: readonly string[]
  /** Files to measure the validation loss on. Default none. */
  validation?: readonly string[] | undefined
  /** The directory for checkpoints, `step-00001000` and so on. */
  out: string
  /**
   * Continue from the newest checkpoint in `out`. Options that the weights depend on must equal its own,
   * but for `steps`: the learning rate goes on as if the run had been started with the new number.
   * Default false.
   */
  resume?: boolean | undefined

  /** Steps of the optimiser, from 1. Default 350,000. */
  steps?: number | undefined
  /** Sequences of a step, from 1. Default 2048, as the released models had. */
  batchSize?: number | undefined
  /**
   * Sequences that are computed at a time, from 1: what memory goes by. Default as many as make 4,096
   * tokens.
   */
  microBatchSize?: number | undefined
  /**
   * In how many parts of equal size, from 1, the gradient of a step is summed before the parts are
   * summed; it divides `batchSize`. The bits of the weights depend on it, and not on the number of ranks,
   * of which there may be 1, or `split` divided by a power of 2. Default that of the run that is resumed,
   * or else the number of ranks.
   */
  split?: number | undefined
  /** Tokens of a sequence, from 1. Default the model's context length. */
  sequenceLength?: number | undefined
  /** Whether sequences are cut from the data end to end, rather than one from each piece. Default false. */
  packing?: boolean | undefined
  /** Words of a piece. Default 2048. */
  wordsPerPiece?: number | undefined
  /** Shorter pieces are left out. Default 200. */
  minCharacters?: number | undefined
  /** Pieces of fewer tokens are left out. Default 256. */
  minTokens?: number | undefined

  /** The highest learning rate, above 0. Default 1e-3. */
  maxLearningRate?: number | undefined
  /** The last one. Default a tenth of the highest. */
  minLearningRate?: number | undefined
  /** The first one. Default 1e-6. */
  warmupLearningRate?: number | undefined
  /** Steps from the first to the highest. Default 5000. */
  warmupSteps?: number | undefined
  /** How much of its mean of gradients AdamW keeps at each step, from 0 to below 1. Default 0.9. */
  beta1?: number | undefined
  /** The same of their squares. Default 0.95. */
  beta2?: number | undefined
  /** What AdamW adds to the root of that mean of squares, above 0. Default 1e-8. */
  eps?: number | undefined
  /** The decay of matrices, from 0. Default 0.1. */
  weightDecay?: number | undefined
  /** The norm that longer gradients are scaled down to, above 0. Default 1. */
  maxGradNorm?: number | undefined
  /** The weight of the squared logarithm of the softmax's denominator in the loss, from 0. Default 1e-4. */
  zLoss?: number | undefined

  /** Which random weights and which order of the data, from 0 to 2^32 - 1. Default 0. */
  seed?: number | undefined
  /** Compute activations twice rather than keep them. Default false. */
  recompute?: boolean | undefined
  /**
   * From 1 to 1024. Default the physical cores, or what a container's quota allows. The weights do not
   * depend on it.
   */
  threads?: number | undefined
  /** Steps from one checkpoint to the next, from 1. Default 5000. */
  checkpointSteps?: number | undefined
  /** How many checkpoints to keep, from 1. Default 5, which can be averaged. */
  keepCheckpoints?: number | undefined
  /** Steps from one validation to the next. Default those between checkpoints. */
  validationSteps?: number | undefined
  /** Aborting saves a checkpoint; then the generator throws the signal's reason. */
  signal?: AbortSignal | undefined
  /** Called now and then while a tokenizer is learned, as `onProgress` of `trainTokenizer`. */
  onTokenizerProgress?: ((tokens: number, vocabSize: number) => void) | undefined
}

const defaults = commonHyperparameters

const rules = {
  config: configRule,
  tokenizer: optional(pathOrObject),
  from: optional(path),
  data: arrayOf(path),
  validation: optional(arrayOf(path), []),
  out: path,
  resume: optional(boolean, false),
  steps: optional(integer(1), defaults.steps),
  batchSize: optional(integer(1), defaults.batchSize),
  microBatchSize: optional(integer(1)),
  ...rankRules,
  split: optional(integer(1)),
  sequenceLength: optional(integer(1)),
  packing: optional(boolean, false),
  wordsPerPiece: optional(integer(1), defaults.wordsPerPiece),
  minCharacters: optional(integer(0), defaults.minCharacters),
  minTokens: optional(integer(0), defaults.minTokens),
  maxLearningRate: optional(number({ above: 0 }), 1e-3),
  minLearningRate: optional(number({ min: 0 })),
  warmupLearningRate: optional(number({ min: 0 }), defaults.warmupLearningRate),
  warmupSteps: optional(integer(0), defaults.warmupSteps),
  beta1: optional(number({ min: 0, below: 1 }), defaults.beta1),
  beta2: optional(number({ min: 0, below: 1 }), defaults.beta2),
  eps: optional(number({ above: 0 }), defaults.eps),
  weightDecay: optional(number({ min: 0 }), defaults.weightDecay),
  maxGradNorm: optional(number({ above: 0 }), defaults.maxGradNorm),
  zLoss: optional(number({ min: 0 }), defaults.zLoss),
  seed: optional(integer(0, 2 ** 32 - 1), defaults.seed),
  recompute: optional(boolean, false),
  threads: optional(integer(1, 1024)),
  checkpointSteps: optional(integer(1), defaults.checkpointSteps),
  keepCheckpoints: optional(integer(1), 5),
  validationSteps: optional(integer(1)),
  signal: optional(abortSignal),
  onTokenizerProgress: optional(callback<NonNullable<TrainOptions['onTokenizerProgress']>>()),
} satisfies RulesOf<TrainOptions>

/** All options with their defaults. */
export type Recipe = ReturnType<typeof completeRecipe>

/** Whether a file of a recipe can hold an option of this name. */
export function isRecipeOption(name: string): boolean {
  const others = ['config', 'tokenizer', 'from', 'out', 'signal', 'onTokenizerProgress']
  return Object.hasOwn(rules, name) && ![...others, ...Object.keys(rankRules)].includes(name)
}

/** @throws OpenELMError INVALID_ARGUMENT */
export function readTrainOptions(options: TrainOptions) {
  return readOptions(options, rules)
}

/** Options that were checked, with the defaults that follow from others. */
export function completeRecipe(given: ReturnType<typeof readTrainOptions>, split: number) {
  const { config, batchSize, maxLearningRate, checkpointSteps } = given
  const sequenceLength = given.sequenceLength ?? config.maxContextLength
  const fits = Math.max(1, Math.floor(4096 / sequenceLength))
  return {
    ...given,
    split,
    sequenceLength,
    microBatchSize: Math.min(batchSize / split, given.microBatchSize ?? fits),
    minTokens: Math.max(2, given.minTokens),
    minLearningRate: given.minLearningRate ?? maxLearningRate / 10,
    threads: given.threads ?? defaultThreads(),
    validationSteps: given.validationSteps ?? checkpointSteps,
  }
}

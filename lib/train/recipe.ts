import type { OpenELMConfig } from '../config.js'
import { defaultThreads } from '../cpu-quota.js'
import { invalidArgument } from '../errors.js'
import {
  readBoolean,
  readFiles,
  readInteger,
  readNumber,
  readObject,
  readPath,
  readSignal,
} from '../validate.js'
import { commonHyperparameters } from './presets.js'

export interface TrainOptions {
  /** The shape of the model, e.g. of `parseConfig`. */
  config: OpenELMConfig
  /** The path of a tokenizer.json, or what such a file holds. It is copied beside the weights. */
  tokenizer: string | object
  /** Files to learn from: text, or `.jsonl` with a string `text` or `content` in each line. */
  data: readonly string[]
  /** Files to measure the validation loss on. Default none. */
  validation?: readonly string[] | undefined
  /** The directory for checkpoints, `step-00001000` and so on. */
  out: string
  /** Continue from the newest checkpoint in `out`, with options that equal its own. Default false. */
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
  /** Default 0.9 and 0.95. */
  beta1?: number | undefined
  beta2?: number | undefined
  /** Default 1e-8. */
  eps?: number | undefined
  /** Of matrices. Default 0.1. */
  weightDecay?: number | undefined
  /** Default 1. */
  maxGradNorm?: number | undefined
  /** Default 1e-4. */
  zLoss?: number | undefined

  /** Which random weights and which order of the data. Default 0. */
  seed?: number | undefined
  /** Compute activations twice rather than keep them. Default false. */
  recompute?: boolean | undefined
  /** Default the physical cores, or what a container's quota allows. The weights do not depend on it. */
  threads?: number | undefined
  /** Steps from one checkpoint to the next. Default 5000. */
  checkpointSteps?: number | undefined
  /** How many checkpoints to keep, from 1. Default 5, which can be averaged. */
  keepCheckpoints?: number | undefined
  /** Steps from one validation to the next. Default those between checkpoints. */
  validationSteps?: number | undefined
  /** Aborting saves a checkpoint; then the generator throws the signal's reason. */
  signal?: AbortSignal | undefined
}

const most = Number.MAX_SAFE_INTEGER

/** All options with their defaults. */
export type Recipe = ReturnType<typeof readRecipe>

/** @throws OpenELMError INVALID_ARGUMENT */
export function readRecipe(given: TrainOptions) {
  const options = readObject('options', given)
  const defaults = commonHyperparameters
  const integer = (name: string, fallback: number, min = 1) =>
    readInteger(`options.${name}`, options[name], { min, max: most, fallback })
  const number = (name: string, fallback: number, above = false) =>
    readNumber(`options.${name}`, options[name], { min: 0, above, fallback })
  const flag = (name: string) => readBoolean(`options.${name}`, options[name], false)

  const { config, tokenizer, out } = options as Partial<TrainOptions>
  if (typeof config?.modelDim !== 'number') {
    throw invalidArgument('options.config', 'an OpenELMConfig', config)
  }
  if (typeof tokenizer !== 'string' && (typeof tokenizer !== 'object' || tokenizer === null)) {
    throw invalidArgument('options.tokenizer', 'a path or an object', tokenizer)
  }
  const sequenceLength = integer('sequenceLength', config.maxContextLength)
  const batchSize = integer('batchSize', defaults.batchSize)
  const fits = Math.max(1, Math.floor(4096 / sequenceLength))
  const maxLearningRate = number('maxLearningRate', 1e-3, true)
  const checkpointSteps = integer('checkpointSteps', defaults.checkpointSteps)
  return {
    config,
    tokenizer,
    data: readFiles('options.data', options.data),
    validation: readFiles('options.validation', options.validation ?? []),
    out: readPath('options.out', out),
    resume: flag('resume'),
    steps: integer('steps', defaults.steps),
    batchSize,
    microBatchSize: Math.min(batchSize, integer('microBatchSize', fits)),
    sequenceLength,
    packing: flag('packing'),
    wordsPerPiece: integer('wordsPerPiece', defaults.wordsPerPiece),
    minCharacters: integer('minCharacters', defaults.minCharacters, 0),
    minTokens: Math.max(2, integer('minTokens', defaults.minTokens, 0)),
    maxLearningRate,
    minLearningRate: number('minLearningRate', maxLearningRate / 10),
    warmupLearningRate: number('warmupLearningRate', defaults.warmupLearningRate),
    warmupSteps: integer('warmupSteps', defaults.warmupSteps, 0),
    beta1: number('beta1', defaults.beta1),
    beta2: number('beta2', defaults.beta2),
    eps: number('eps', defaults.eps),
    weightDecay: number('weightDecay', defaults.weightDecay),
    maxGradNorm: number('maxGradNorm', defaults.maxGradNorm, true),
    zLoss: number('zLoss', defaults.zLoss),
    seed: readInteger('options.seed', options.seed, { min: 0, max: 2 ** 32 - 1, fallback: 0 }),
    recompute: flag('recompute'),
    threads: integer('threads', defaultThreads()),
    checkpointSteps,
    keepCheckpoints: integer('keepCheckpoints', 5),
    validationSteps: integer('validationSteps', checkpointSteps),
    signal: readSignal('options.signal', options.signal),
  }
}

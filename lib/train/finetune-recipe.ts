import { invalidArgument } from '../errors.js'
import {
  abortSignal,
  arrayOf,
  boolean,
  callback,
  integer,
  number,
  oneOf,
  optional,
  path,
  type Rule,
  type RulesOf,
  readOptions,
  string,
} from '../options.js'
import { type DType, dtypes } from '../tensor-headers.js'
import type { Objective } from './examples/example.js'
import { type FormatName, formatNames } from './examples/row-formats.js'
import type { ExampleSummary } from './examples/summary.js'
import { type TemplateName, templateNames } from './examples/templates.js'
import { type RankOptions, rankRules } from './on-ranks.js'
import type { DpoLoss } from './preference-loss.js'

/** Options of `finetune`: the model, what to learn from, by which method, and where checkpoints go. */
export interface FinetuneOptions extends RankOptions {
  /**
   * The directory of the model to start from, also a quantised one; the name of a bundled model; or
   * `owner/name` of one of the hub, which is pulled.
   */
  model: string
  /**
   * `.jsonl` or `.json` files: messages, prompt and completion, instruction and output, text, or chosen
   * and rejected answers.
   */
  data: readonly string[]
  /** The same, to measure on. Default none. */
  validation?: readonly string[] | undefined
  /**
   * How much of `data` to measure on instead of learning from it, from 0 to below 1: each row goes by its
   * place and `seed`. Default 0.
   */
  validationFraction?: number | undefined
  /** The directory for checkpoints, `step-00000100` and so on. */
  out: string
  /**
   * Continue from the newest checkpoint in `out`, to the same bits as without the interruption. Options
   * that the weights depend on must equal its own. Default false.
   */
  resume?: boolean | undefined
  /** Called once before the first step, with what became of the rows and how many numbers are trained. */
  onStart?: ((summary: FinetuneSummary) => void) | undefined

  /** An adapter, LoRA or DoRA, beside frozen weights, or all weights. Default lora. */
  method?: 'lora' | 'dora' | 'full' | undefined
  /** Of the adapter, from 1. Default 16. */
  rank?: number | undefined
  /** The adapter's scale is alpha / rank. Above 0; default the rank. */
  alpha?: number | undefined
  /** Whether it is alpha / sqrt(rank) instead. Default false. */
  rslora?: boolean | undefined
  /** How many inputs of adapted layers are zeroed while supervised, from 0 to below 1. Default 0. */
  dropout?: number | undefined
  /** `all` linear layers, `attention`, `ffn`, `embedding`, or names such as `qkv_proj`. Default all. */
  targets?: readonly string[] | undefined
  /** Adapts only so many layers, the last ones. Default all. */
  layers?: number | undefined
  /**
   * Goes on with this adapter, which says `method`, `rank`, `alpha`, `rslora`, `targets` and `layers`
   * itself: they must be absent then. Preferences are held against what it says before the run.
   */
  adapter?: string | undefined
  /**
   * What the frozen matrices are kept as beside an adapter. One that learns beside quantised weights
   * belongs to them. Default `auto`, as they are stored; with full, always float32.
   */
  dtype?: DType | 'auto' | undefined

  /** Supervised, or preferences by DPO. Default dpo for chosen and rejected answers, else sft. */
  objective?: Objective | undefined
  /** What the rows are. Default told from the first of each file. */
  format?: FormatName | undefined
  /** How conversations become text. Default zephyr; none for prompts with completions and for text. */
  template?: TemplateName | undefined
  /** For conversations that have no system message; null for none. Default an empty one with zephyr. */
  system?: string | null | undefined
  /** Learn the prompts as well, when supervised. Default false. */
  trainPrompts?: boolean | undefined
  /** Which answers of a conversation to learn, when supervised. Default all. */
  answers?: 'all' | 'last' | undefined
  /** Put preferences together exactly as in Apple's tuning. Default false. */
  exact?: boolean | undefined
  /** Default sigmoid. */
  dpoLoss?: DpoLoss | undefined
  /** How much preferences may move the model, the less the more; above 0. Default 0.1. */
  beta?: number | undefined
  /** The share of preferences that may be wrong, from 0 to below 0.5, with sigmoid. Default 0. */
  labelSmoothing?: number | undefined

  /** How often to go through the data, above 0. Default 3; with dpo 1. */
  epochs?: number | undefined
  /** Steps of the optimiser instead, from 1. */
  steps?: number | undefined
  /** Rows of a step, from 1. Default 16. */
  batchSize?: number | undefined
  /** As of `train`: in how many parts the gradient of a step is summed, from 1; it divides `batchSize`. */
  split?: number | undefined
  /** Tokens that are computed at a time, from 1: what memory goes by. Default 4096. */
  microBatchTokens?: number | undefined
  /** Tokens of a row, from 2; what is longer is cut. Default 1024, at most the model's context. */
  sequenceLength?: number | undefined
  /** What a prompt keeps when its answers do not fit, with dpo. Default half the sequence length. */
  maxPromptLength?: number | undefined
  /** Above 0. Default 2e-4 for adapters; 2e-5 for full and for dpo. */
  maxLearningRate?: number | undefined
  /** Where the cosine ends, from 0. Default 0. */
  minLearningRate?: number | undefined
  /** The part of the steps in which the learning rate rises, from 0 to 1. Default 0.1. */
  warmupRatio?: number | undefined
  /** How many steps it rises instead, from 0. */
  warmupSteps?: number | undefined
  /** Which cosine: `corenet` begins at `warmupLearningRate`, not at 0. Default hugging-face. */
  schedule?: 'hugging-face' | 'corenet' | undefined
  /** Where the schedule of CoreNet begins, from 0. Default 1e-6. */
  warmupLearningRate?: number | undefined
  /** Default 0.9. */
  beta1?: number | undefined
  /** Default 0.999. */
  beta2?: number | undefined
  /** Default 1e-8. */
  eps?: number | undefined
  /** Of matrices, from 0. Default 0. */
  weightDecay?: number | undefined
  /** The norm that longer gradients are scaled down to, above 0. Default 1. */
  maxGradNorm?: number | undefined
  /** As of `train`, when supervised, from 0. Default 0. */
  zLoss?: number | undefined
  /** Which order, which adapter to begin with and which dropout, from 0 to 2^32 - 1. Default 0. */
  seed?: number | undefined
  /** Compute activations twice rather than keep them. Default false. */
  recompute?: boolean | undefined
  /** From 1 to 1024. Default the physical cores. The weights do not depend on it. */
  threads?: number | undefined
  /** Steps from one checkpoint to the next, from 1. Default those of an epoch. */
  checkpointSteps?: number | undefined
  /** How many checkpoints to keep, from 1. Default 5. */
  keepCheckpoints?: number | undefined
  /** Steps from one validation to the next. Default those between checkpoints. */
  validationSteps?: number | undefined
  /** Aborting saves a checkpoint; then the generator throws the signal's reason. */
  signal?: AbortSignal | undefined
}

/** What a fine-tuning is about to do. */
export interface FinetuneSummary {
  readonly objective: Objective
  readonly examples: ExampleSummary
  /** Rows to measure on. */
  readonly validationRows: number
  readonly steps: number
  /** Numbers that are trained, and those of the model. */
  readonly trainedParameters: number
  readonly parameters: number
  /** Bytes of memory that it takes, about. */
  readonly memory: number
}

const systemMessage: Rule<string | null> = (name, value) => {
  return value === null ? null : string(name, value)
}

const fraction = number({ min: 0, below: 1 })

const rules = {
  model: path,
  data: arrayOf(path),
  validation: optional(arrayOf(path), []),
  validationFraction: optional(fraction, 0),
  out: path,
  resume: optional(boolean, false),
  onStart: optional(callback<NonNullable<FinetuneOptions['onStart']>>()),
  method: optional(oneOf('lora', 'dora', 'full'), 'lora'),
  rank: optional(integer(1), 16),
  alpha: optional(number({ above: 0 })),
  rslora: optional(boolean, false),
  dropout: optional(fraction, 0),
  targets: optional(arrayOf(string), ['all']),
  layers: optional(integer(1)),
  adapter: optional(path),
  dtype: optional(oneOf('auto', ...dtypes), 'auto'),
  objective: optional(oneOf('sft', 'dpo')),
  format: optional(oneOf(...formatNames)),
  template: optional(oneOf(...templateNames)),
  system: optional(systemMessage),
  trainPrompts: optional(boolean, false),
  answers: optional(oneOf('all', 'last'), 'all'),
  exact: optional(boolean, false),
  dpoLoss: optional(oneOf('sigmoid', 'hinge', 'ipo'), 'sigmoid'),
  beta: optional(number({ above: 0 }), 0.1),
  labelSmoothing: optional(number({ min: 0, below: 0.5 }), 0),
  epochs: optional(number({ above: 0 })),
  steps: optional(integer(1)),
  batchSize: optional(integer(1), 16),
  ...rankRules,
  split: optional(integer(1)),
  microBatchTokens: optional(integer(1), 4096),
  sequenceLength: optional(integer(2)),
  maxPromptLength: optional(integer(1)),
  maxLearningRate: optional(number({ above: 0 })),
  minLearningRate: optional(number({ min: 0 }), 0),
  warmupRatio: optional(number({ min: 0, max: 1 }), 0.1),
  warmupSteps: optional(integer(0)),
  schedule: optional(oneOf('hugging-face', 'corenet'), 'hugging-face'),
  warmupLearningRate: optional(number({ min: 0 }), 1e-6),
  beta1: optional(fraction, 0.9),
  beta2: optional(fraction, 0.999),
  eps: optional(number({ above: 0 }), 1e-8),
  weightDecay: optional(number({ min: 0 }), 0),
  maxGradNorm: optional(number({ above: 0 }), 1),
  zLoss: optional(number({ min: 0 }), 0),
  seed: optional(integer(0, 2 ** 32 - 1), 0),
  recompute: optional(boolean, false),
  threads: optional(integer(1, 1024)),
  checkpointSteps: optional(integer(1)),
  keepCheckpoints: optional(integer(1), 5),
  validationSteps: optional(integer(1)),
  signal: optional(abortSignal),
} satisfies RulesOf<FinetuneOptions>

/** Options that were checked; the defaults of some depend on the model and on the data. */
export type FinetuneRecipe = ReturnType<typeof readFinetuneOptions>

/** Whether a file of a recipe can hold an option of this name. */
export function isFinetuneOption(name: string): boolean {
  const others = ['model', 'out', 'signal', 'onStart', ...Object.keys(rankRules)]
  return Object.hasOwn(rules, name) && !others.includes(name)
}

/** @throws OpenELMError INVALID_ARGUMENT */
export function readFinetuneOptions(options: FinetuneOptions) {
  const given = readOptions(options, rules)
  if (given.data.length === 0)
    throw invalidArgument('options.data', 'at least one file', given.data)
  if (given.validation.length > 0 && given.validationFraction > 0) {
    const expected = 'absent beside validation files'
    throw invalidArgument('options.validationFraction', expected, given.validationFraction)
  }
  const shaped = ['method', 'rank', 'alpha', 'rslora', 'targets', 'layers'] as const
  const clash = shaped.find(name => given.adapter !== undefined && options[name] !== undefined)
  if (clash) {
    throw invalidArgument(`options.${clash}`, 'absent beside an adapter', options[clash])
  }
  if (given.method === 'full' && given.dtype !== 'auto' && given.dtype !== 'float32') {
    throw invalidArgument('options.dtype', 'float32 when all weights are trained', given.dtype)
  }
  const { alpha = given.rank } = given
  return { ...given, alpha }
}

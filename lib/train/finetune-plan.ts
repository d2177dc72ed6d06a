import { createHash } from 'node:crypto'
import type { Adapter } from '../adapters/adapter.js'
import { readAdapter } from '../adapters/read-adapter.js'
import type { Checkpoint, DType } from '../checkpoint.js'
import type { OpenELMConfig } from '../config.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { loadTokenizer } from '../tokenizer.js'
import { openBase } from './base-model.js'
import type { ExampleRow } from './examples/example.js'
import { ExampleBatches } from './examples/example-batches.js'
import { type Examples, readExamples } from './examples/read-examples.js'
import type { FinetuneRecipe } from './finetune-recipe.js'
import { keptSplit } from './split.js'
import { planAdapter, TrainedAdapter } from './trained-adapter.js'

/** What a run is made of, before there is any memory for it. */
export interface Plan {
  readonly recipe: FinetuneRecipe & { readonly split: number }
  readonly base: Checkpoint
  readonly examples: Examples
  readonly validation: readonly ExampleRow[]
  readonly batches: ExampleBatches
  /** Undefined when all weights are trained. */
  readonly adapter: TrainedAdapter | undefined
  /** What the adapter begins as; undefined for a new one. */
  readonly start: Adapter | undefined
  /** What the weights are kept as. */
  readonly dtype: DType
  readonly steps: number
  readonly warmupSteps: number
  readonly maxLearningRate: number
}

/**
 * Reads the data and settles what depends on it and on the model.
 *
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA, INVALID_TOKENIZER, and as `openCheckpoint`.
 */
export async function makePlan(recipe: Plan['recipe']): Promise<Plan> {
  const { signal, data, layers, objective, batchSize, seed } = recipe
  signal?.throwIfAborted()
  const base = await openBase(recipe.model, signal)
  const { config } = base
  const { sequenceLength = Math.min(1024, config.maxContextLength) } = recipe
  if (sequenceLength > config.maxContextLength) {
    const expected = `at most the model's context, ${config.maxContextLength}`
    throw invalidArgument('options.sequenceLength', expected, sequenceLength)
  }
  if (layers !== undefined && layers > config.numLayers) {
    throw invalidArgument('options.layers', `at most ${config.numLayers}`, layers)
  }
  const { eosTokenIds } = base
  const tokenizer = await loadTokenizer(base.directory, { ...config, eosTokenIds })
  const exampleOptions = { ...recipe, sequenceLength }
  const all = await readExamples(data, tokenizer, exampleOptions, signal)
  const split = all.rows.split(recipe.validationFraction, seed)
  const examples = { ...all, rows: split.train }
  if (examples.rows.length === 0) {
    throw new OpenELMError('INVALID_DATA', 'all rows are held out: none is left to learn from')
  }
  const held =
    recipe.validation.length > 0
      ? await readExamples(
          recipe.validation,
          tokenizer,
          { ...exampleOptions, objective: examples.objective },
          signal,
        )
      : { rows: split.validation }
  const batches = new ExampleBatches(examples.rows, { batchSize, seed })
  const { epochs = examples.objective === 'dpo' ? 1 : 3 } = recipe
  const steps = recipe.steps ?? Math.ceil(epochs * batches.stepsPerEpoch)
  const isFull = recipe.method === 'full'
  const usual = isFull || examples.objective === 'dpo' ? 2e-5 : 2e-4
  const start = recipe.adapter === undefined ? undefined : await readStart(recipe.adapter, config)
  const method = start?.method ?? recipe.method
  const shape = { ...recipe, layers: layers ?? config.numLayers }
  const storedOr = recipe.dtype === 'auto' ? base.dtype : recipe.dtype
  return {
    recipe: { ...recipe, sequenceLength, objective: objective ?? examples.objective },
    base,
    examples,
    validation: rowsOf(held),
    batches,
    adapter:
      method === 'full'
        ? undefined
        : new TrainedAdapter(
            config,
            method,
            start?.targets ?? planAdapter(config, shape),
            recipe.dropout,
          ),
    start,
    dtype: method === 'full' ? 'float32' : storedOr,
    steps,
    warmupSteps: recipe.warmupSteps ?? Math.ceil(recipe.warmupRatio * steps),
    maxLearningRate: recipe.maxLearningRate ?? usual,
  }
}

/** @throws OpenELMError as `readAdapter`, INVALID_ADAPTER for one that training cannot go on with. */
async function readStart(path: string, config: OpenELMConfig): Promise<Adapter> {
  const adapter = await readAdapter(path, config)
  if (!adapter.adaptsHead) return adapter
  const what = 'it adapts the output matrix as well, which cannot be trained here'
  throw new OpenELMError('INVALID_ADAPTER', `${adapter.path}: ${what}`)
}

function hashOf(adapter: Adapter): string {
  const hash = createHash('sha256')
  for (const [name, { a, b, magnitudes, ...others }] of adapter.targets) {
    hash.update(JSON.stringify([name, others]))
    for (const { buffer, byteOffset, byteLength } of magnitudes ? [a, b, magnitudes] : [a, b]) {
      hash.update(new Uint8Array(buffer, byteOffset, byteLength))
    }
  }
  return hash.digest('hex')
}

export function rowsOf({ rows }: Pick<Examples, 'rows'>): ExampleRow[] {
  return Array.from({ length: rows.length }, (_, i) => rows.at(i))
}

/** The most tokens of a call: a micro-batch's, or those of a row that is longer alone. */
export function maxTokensOf({ recipe, examples, validation }: Plan): number {
  let most = recipe.microBatchTokens
  for (const row of [...rowsOf(examples), ...validation]) {
    const length = row.reduce((sum, { tokens }) => sum + tokens.length - 1, 0)
    most = Math.max(most, length)
  }
  return most
}

/** Every option that the weights so far depend on; the number of steps shapes only those to come. */
export function fixedOptions(
  { recipe, examples, warmupSteps, maxLearningRate, start, dtype }: Plan,
  base: string,
): Record<string, unknown> {
  const { model, data, validation, out, resume, onStart, threads, signal, ...run } = recipe
  const { mpi, timeoutSeconds, onRanks, ...options } = run
  const { steps, epochs, warmupRatio, recompute, checkpointSteps, ...more } = options
  const { keepCheckpoints, validationSteps, microBatchTokens, format, adapter, split, ...fixed } =
    more
  const { objective, template, system, sha256 } = examples
  // A tied matrix that is trained whole sums up what it gets call by call.
  const calls = recipe.method === 'full' ? { microBatchTokens } : {}
  return {
    adapter: start && hashOf(start),
    ...fixed,
    ...calls,
    split: keptSplit(split),
    warmupSteps,
    maxLearningRate,
    base,
    dtype,
    objective,
    template,
    system,
    data: sha256,
  }
}

import { createHash } from 'node:crypto'
import type { Checkpoint } from '../checkpoint.js'
import { configToJson, type OpenELMConfig, tensorSpecs } from '../config.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { nativeConfig } from '../native-config.js'
import type { NativeLosses } from '../native-trainer.js'
import { randomWeights } from '../random-weights.js'
import { finishInSlices, type Steps } from '../steps.js'
import type { Tokenizer } from '../tokenizer.js'
import { hashOfBase, loadBase, openBase } from './base-model.js'
import { type Batch, BatchStream } from './batches.js'
import { CancellableTrainer } from './cancellable-trainer.js'
import type { Cluster } from './cluster.js'
import { Corpus } from './corpus.js'
import { learningRate } from './learning-rate.js'
import { sumOf } from './objective.js'
import { onRanks } from './on-ranks.js'
import { openTrainer } from './open-trainer.js'
import { completeRecipe, type Recipe, readTrainOptions, type TrainOptions } from './recipe.js'
import { runTokenizer } from './run-tokenizer.js'
import { chooseSplit, keptSplit } from './split.js'
import type { TrainStep } from './train-step.js'
import type { Trainer } from './trainer.js'
import {
  listTraining,
  loadTraining,
  saveTraining,
  type TrainingState,
  tidyTraining,
} from './training-checkpoint.js'
import { type TrainingRun, trainingSteps } from './training-loop.js'
import { trainingMemory } from './training-memory.js'

/**
 * Trains a model from random weights or those of another, or continues to: OpenELM's pretraining, step
 * by step. The same options give the same weights, whatever the number of threads and however often the
 * run was interrupted and resumed. Memory is given back when the generator ends, also by `break`.
 *
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA, INVALID_TOKENIZER, INVALID_CHECKPOINT when
 *   resuming, OUT_OF_MEMORY, IO_ERROR, TRAINING_DIVERGED; with `mpi` DEPENDENCY_NOT_FOUND, RANK_LOST,
 *   BUSY; or the reason of `options.signal`. The checkpoints that were written stay good.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainStep, void> {
  const given = readTrainOptions(options)
  yield* onRanks(given, cluster => steps(given, cluster))
}

async function* steps(
  given: ReturnType<typeof readTrainOptions>,
  cluster: Cluster | undefined,
): AsyncGenerator<TrainStep, void> {
  yield* trainingSteps(await Pretraining.start(given, cluster))
}

/** What a step of pretraining measures. */
type PretrainingMetrics = Pick<TrainStep, 'loss' | 'zLoss' | 'leftOutTokens' | 'validationLoss'>

class Pretraining implements TrainingRun<PretrainingMetrics> {
  readonly trainer: Trainer
  readonly state: TrainingState
  readonly isResumed: boolean
  readonly #recipe: Recipe
  readonly #tokenizerJson: object
  readonly #calls: CancellableTrainer
  readonly #stream: BatchStream
  readonly #validation: readonly Batch[]

  private constructor(
    recipe: Recipe,
    tokenizerJson: object,
    trainer: Trainer,
    data: { readonly stream: BatchStream; readonly validation: readonly Batch[] },
    start: { readonly state: TrainingState; readonly isResumed: boolean },
  ) {
    this.trainer = trainer
    this.state = start.state
    this.isResumed = start.isResumed
    this.#recipe = recipe
    this.#tokenizerJson = tokenizerJson
    this.#calls = new CancellableTrainer(trainer, recipe.signal)
    this.#stream = data.stream
    this.#validation = data.validation
  }

  static async start(
    given: ReturnType<typeof readTrainOptions>,
    cluster: Cluster | undefined,
  ): Promise<Pretraining> {
    const { out, resume, signal } = given
    signal?.throwIfAborted()
    const newest = resume ? (await listTraining(out)).at(-1) : undefined
    const ranks = cluster?.size ?? 1
    const recipe = completeRecipe(given, await chooseSplit({ ...given, newest, ranks }))
    const [tokenizerJson, tokenizer] = await runTokenizer(recipe)
    const corpus = await Corpus.open(recipe.data, recipe, signal)
    const stream = new BatchStream(corpus, tokenizer, recipe)
    await finishInSlices(stream.check(), signal)
    const heldOut = await Corpus.open(recipe.validation, { ...recipe, minCharacters: 0 }, signal)
    const validation = await finishInSlices(validationBatches(heldOut, tokenizer, recipe), signal)
    if (recipe.validation.length > 0 && validation.length === 0) {
      const what = `the validation data has fewer tokens than a sequence, ${recipe.sequenceLength}`
      throw new OpenELMError('INVALID_DATA', what)
    }
    const from = await openStart(recipe)
    const hash = from && (await hashOfBase(from))
    const trainer = await createTrainer(recipe, cluster)
    const fixed = fixedOptions(recipe, corpus, tokenizerJson, hash)
    try {
      if (!resume && (await listTraining(out)).length > 0) {
        throw new OpenELMError('IO_ERROR', `${out} already holds a run; it can be resumed`)
      }
      const state = await begin(recipe, trainer, { newest, from, fixed, stream })
      const start = { state, isResumed: newest !== undefined }
      await tidyTraining(out, recipe.keepCheckpoints)
      return new Pretraining(recipe, tokenizerJson, trainer, { stream, validation }, start)
    } catch (error) {
      await trainer.dispose()
      throw error
    }
  }

  get options(): Recipe {
    return this.#recipe
  }

  learningRate(step: number): number {
    return learningRate(step, this.#recipe)
  }

  advance(positions: number): number {
    this.state.cursor = this.#stream.cursor
    return this.state.step * positions
  }

  save(): Promise<string> {
    const { out, config } = this.#recipe
    const tokenizer = Buffer.from(JSON.stringify(this.#tokenizerJson))
    const companions = new Map([['tokenizer.json', tokenizer]])
    return saveTraining(out, this.trainer, config, companions, this.state)
  }

  /** Adds up the gradient of a batch's mean loss, one micro-batch after another. */
  async accumulate(): Promise<{ metrics: PretrainingMetrics; positions: number }> {
    const { batchSize, split, microBatchSize, sequenceLength, zLoss, signal, config } = this.#recipe
    signal?.throwIfAborted()
    const batch = await finishInSlices(this.#stream.steps(batchSize), signal)
    const stride = microBatchSize * sequenceLength
    const leafSize = batch.tokens.length / split
    const losses = await this.#calls.forLeaves(split, async (lane, leaf) => {
      const own: NativeLosses[] = []
      const end = (leaf + 1) * leafSize
      for (let begin = leaf * leafSize; begin < end; begin += stride) {
        const tokens = batch.tokens.subarray(begin, Math.min(begin + stride, end))
        const targets = batch.targets.subarray(begin, Math.min(begin + stride, end))
        const lengths = lengthsOf(tokens, sequenceLength)
        const scales = new Float64Array(lengths.length).fill(1 / batch.numTargets)
        const options = { scales, zLoss, seed: 0, step: 0, firstExample: 0 }
        own.push(await lane.accumulate({ tokens, targets, lengths }, options))
      }
      return own
    })
    const sums = { crossEntropy: 0, squaredLse: 0 }
    for (const { crossEntropy, squaredLse } of losses.flat()) {
      sums.crossEntropy += sumOf(crossEntropy)
      sums.squaredLse += sumOf(squaredLse)
    }
    // CoreNet multiplies the logits of padding by 0, which leaves the logarithm of V zeros' sum.
    const padding = batch.tokens.length - batch.numTargets
    const squaredLse = sums.squaredLse + padding * Math.log(config.vocabSize) ** 2
    const metrics = {
      loss: sums.crossEntropy / batch.numTargets,
      zLoss: (zLoss * squaredLse) / batch.numTargets,
      leftOutTokens: batch.leftOut,
    }
    return { metrics, positions: batch.tokens.length }
  }

  async validate(): Promise<{ validationLoss?: number }> {
    if (this.#validation.length === 0) return {}
    const losses = await this.#calls.forParts(this.#validation, (lane, { tokens, targets }) => {
      const lengths = lengthsOf(tokens, this.#recipe.sequenceLength)
      return lane.evaluate({ tokens, targets, lengths }, true)
    })
    const numTargets = sumOf(this.#validation.map(({ targets }) => targets.length))
    const sum = sumOf(losses.map(({ crossEntropy }) => sumOf(crossEntropy)))
    return { validationLoss: sum / numTargets }
  }
}

/** @throws OpenELMError INVALID_ARGUMENT when it is a model of another shape; as `openBase`. */
async function openStart({ from, config, signal }: Recipe): Promise<Checkpoint | undefined> {
  if (from === undefined) return undefined
  const checkpoint = await openBase(from, signal)
  const shapeOf = (one: OpenELMConfig) => JSON.stringify(tensorSpecs(one))
  if (shapeOf(checkpoint.config) === shapeOf(config)) return checkpoint
  throw invalidArgument('options.from', 'a model of the shape of options.config', from)
}

/** @throws OpenELMError OUT_OF_MEMORY before anything is allocated, when it cannot fit. */
function createTrainer(recipe: Recipe, cluster: Cluster | undefined): Promise<Trainer> {
  const { config, threads, microBatchSize, sequenceLength, recompute } = recipe
  const options = {
    config: nativeConfig(config),
    threads,
    maxTokens: microBatchSize * sequenceLength,
    recompute,
    float64: false,
  }
  const memory = trainingMemory(config, { ...recipe, ranks: cluster?.size })
  const advice = 'a smaller microBatchSize, recompute or a smaller model'
  return openTrainer(cluster, options, memory, advice)
}

/** Of whole sequences, all of one length. */
function lengthsOf(tokens: Int32Array, sequenceLength: number): Int32Array {
  return new Int32Array(tokens.length / sequenceLength).fill(sequenceLength)
}

/** Fills the trainer with what the run begins with, or with what its newest checkpoint holds. */
async function begin(
  recipe: Recipe,
  trainer: Trainer,
  start: {
    readonly newest: string | undefined
    readonly from: Checkpoint | undefined
    readonly fixed: Record<string, unknown>
    readonly stream: BatchStream
  },
): Promise<TrainingState> {
  const { newest, from, fixed, stream } = start
  if (newest === undefined) {
    if (from) await loadBase(from, trainer, recipe.signal)
    else await initialize(trainer, recipe)
    return { step: 0, cursor: stream.cursor, recipe: fixed }
  }
  const state = await loadTraining<TrainingState>(newest, trainer, recipe.config, fixed)
  stream.cursor = state.cursor
  return { ...state, recipe: fixed }
}

async function initialize(trainer: Trainer, { config, seed, signal }: Recipe): Promise<void> {
  const draw = randomWeights(config, BigInt(seed))
  let begin = 0
  for (const { name, shape } of tensorSpecs(config)) {
    for await (const chunk of draw({ name, shape, dtype: 'F32' })) {
      signal?.throwIfAborted()
      await trainer.write('weights', begin, chunk)
      begin += chunk.length / 4
    }
  }
}

/** The validation data end to end; the last tokens, which fill no sequence, are left out. */
function* validationBatches(
  corpus: Corpus,
  tokenizer: Tokenizer,
  { sequenceLength, microBatchSize }: Recipe,
): Steps<Batch[]> {
  const all: number[] = []
  for (const piece of corpus) {
    for (const token of tokenizer.encode(piece)) all.push(token)
    all.push(tokenizer.eosTokenId)
    yield ''
  }
  const sequences = Math.floor((all.length - 1) / sequenceLength)
  const batches: Batch[] = []
  for (let first = 0; first < sequences; first += microBatchSize) {
    const begin = first * sequenceLength
    const end = Math.min(first + microBatchSize, sequences) * sequenceLength
    batches.push({
      tokens: Int32Array.from(all.slice(begin, end)),
      targets: Int32Array.from(all.slice(begin + 1, end + 1)),
      numTargets: end - begin,
      leftOut: 0,
    })
  }
  return batches
}

/** Every option that the weights so far depend on; the number of steps shapes only those to come. */
function fixedOptions(recipe: Recipe, corpus: Corpus, tokenizer: object, from: string | undefined) {
  const { config, data, validation, out, resume, threads, split, ...run } = recipe
  const { mpi, timeoutSeconds, onRanks, ...options } = run
  const { signal, onTokenizerProgress, steps, ...others } = options
  const { checkpointSteps, keepCheckpoints, validationSteps, recompute, ...fixed } = others
  return {
    ...fixed,
    split: keptSplit(split),
    from,
    config: configToJson(config, 'float32'),
    tokenizer: createHash('sha256').update(JSON.stringify(tokenizer)).digest('hex'),
    data: corpus.sha256,
  }
}

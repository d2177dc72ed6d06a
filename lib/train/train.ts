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
import { type Batch, type BatchCursor, BatchStream } from './batches.js'
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
  writeState,
} from './training-checkpoint.js'
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
  const run = await Run.start(given, cluster)
  try {
    while (run.hasNext) yield await run.next()
  } catch (error) {
    if (given.signal?.aborted) await run.save()
    throw error
  } finally {
    await run.dispose()
  }
}

class Run {
  step = 0
  readonly #recipe: Recipe
  readonly #tokenizerJson: object
  readonly #fixed: Record<string, unknown>
  readonly #trainer: Trainer
  readonly #calls: CancellableTrainer
  readonly #stream: BatchStream
  readonly #validation: readonly Batch[]
  /** Of the last complete step. */
  #cursor: BatchCursor
  #savedStep = -1
  /** The last complete step while it has not been told, for want of its validation loss. */
  #untold: TrainStep | undefined

  private constructor(
    recipe: Recipe,
    tokenizerJson: object,
    fixed: Record<string, unknown>,
    trainer: Trainer,
    stream: BatchStream,
    validation: readonly Batch[],
  ) {
    this.#recipe = recipe
    this.#tokenizerJson = tokenizerJson
    this.#fixed = fixed
    this.#trainer = trainer
    this.#calls = new CancellableTrainer(trainer, recipe.signal)
    this.#stream = stream
    this.#validation = validation
    this.#cursor = stream.cursor
  }

  static async start(
    given: ReturnType<typeof readTrainOptions>,
    cluster: Cluster | undefined,
  ): Promise<Run> {
    const { out, signal } = given
    signal?.throwIfAborted()
    const newest = given.resume ? (await listTraining(out)).at(-1) : undefined
    const recipe = completeRecipe(
      given,
      await chooseSplit({ ...given, newest, ranks: cluster?.size ?? 1 }),
    )
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
    const run = new Run(recipe, tokenizerJson, fixed, trainer, stream, validation)
    try {
      await run.#begin(from)
      await tidyTraining(out, recipe.keepCheckpoints)
      return run
    } catch (error) {
      await run.dispose()
      throw error
    }
  }

  async #begin(from: Checkpoint | undefined): Promise<void> {
    const { out, resume, signal } = this.#recipe
    const newest = (await listTraining(out)).at(-1)
    if (newest === undefined) {
      return from ? loadBase(from, this.#trainer, signal) : initialize(this.#trainer, this.#recipe)
    }
    if (resume) return this.#resume(newest)
    throw new OpenELMError('IO_ERROR', `${out} already holds a run; it can be resumed`)
  }

  async #resume(checkpoint: string): Promise<void> {
    const { config } = this.#recipe
    const state = await loadTraining<TrainingState>(checkpoint, this.#trainer, config, this.#fixed)
    this.step = this.#savedStep = state.step
    this.#stream.cursor = this.#cursor = state.cursor
    this.#untold = state.untold
  }

  get hasNext(): boolean {
    return this.#untold !== undefined || this.step < this.#recipe.steps
  }

  /** Gives the memory back. */
  dispose(): Promise<void> {
    return this.#trainer.dispose()
  }

  /** The next step. Where an abort keeps the loss of validation from it, a resumed run tells the step. */
  async next(): Promise<TrainStep> {
    const { steps, validationSteps, checkpointSteps } = this.#recipe
    const step = this.#untold ?? (await this.#optimize())
    this.#untold = step
    const isLast = step.step === steps
    const validates = this.#validation.length > 0 && (isLast || step.step % validationSteps === 0)
    const told = validates ? { ...step, validationLoss: await this.#validate() } : step
    this.#untold = undefined
    if (this.#savedStep === this.step) await writeState(await this.save(), this.#state)
    const saves = isLast || step.step % checkpointSteps === 0
    return saves ? { ...told, checkpoint: await this.save() } : told
  }

  async #optimize(): Promise<TrainStep> {
    const { steps, batchSize, sequenceLength } = this.#recipe
    const begin = performance.now()
    const rate = learningRate(this.step, this.#recipe)
    const { loss, zLoss, leftOut } = await this.#accumulate()
    const gradNorm = await this.#trainer.step({
      ...this.#recipe,
      learningRate: rate,
      step: this.step + 1,
    })
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      const what = `loss ${loss}, norm of the gradients ${gradNorm}; try a lower learning rate`
      throw new OpenELMError('TRAINING_DIVERGED', `step ${this.step + 1}: ${what}`)
    }
    this.step++
    this.#cursor = this.#stream.cursor
    const seconds = (performance.now() - begin) / 1000

    return {
      step: this.step,
      steps,
      loss,
      zLoss,
      learningRate: rate,
      gradNorm,
      tokens: this.step * batchSize * sequenceLength,
      tokensPerSecond: (batchSize * sequenceLength) / seconds,
      leftOutTokens: leftOut,
    }
  }

  get #state(): TrainingState {
    const untold = this.#untold && { untold: this.#untold }
    return { step: this.step, cursor: this.#cursor, recipe: this.#fixed, ...untold }
  }

  /** Saves the last complete step, unless it is saved already. */
  async save(): Promise<string> {
    const { out, config, keepCheckpoints } = this.#recipe
    if (this.#savedStep === this.step) return (await listTraining(out)).at(-1)!
    const tokenizer = Buffer.from(JSON.stringify(this.#tokenizerJson))
    const companions = new Map([['tokenizer.json', tokenizer]])
    const directory = await saveTraining(out, this.#trainer, config, companions, this.#state)
    this.#savedStep = this.step
    await tidyTraining(out, keepCheckpoints)
    return directory
  }

  /** Adds up the gradient of a batch's mean loss, one micro-batch after another. */
  async #accumulate(): Promise<{ loss: number; zLoss: number; leftOut: number }> {
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
    return {
      loss: sums.crossEntropy / batch.numTargets,
      zLoss: (zLoss * squaredLse) / batch.numTargets,
      leftOut: batch.leftOut,
    }
  }

  async #validate(): Promise<number> {
    const losses = await this.#calls.forParts(this.#validation, (lane, { tokens, targets }) => {
      const lengths = lengthsOf(tokens, this.#recipe.sequenceLength)
      return lane.evaluate({ tokens, targets, lengths }, true)
    })
    const numTargets = sumOf(this.#validation.map(({ targets }) => targets.length))
    return sumOf(losses.map(({ crossEntropy }) => sumOf(crossEntropy))) / numTargets
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

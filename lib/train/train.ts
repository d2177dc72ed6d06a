import { createHash } from 'node:crypto'
import { totalmem } from 'node:os'
import { abortable } from '../abortable.js'
import type { Checkpoint } from '../checkpoint.js'
import { configToJson, type OpenELMConfig, tensorSpecs } from '../config.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import { nativeConfig } from '../native-config.js'
import type { NativeTrainer } from '../native-trainer.js'
import { randomWeights } from '../random-weights.js'
import { finishInSlices, type Steps } from '../steps.js'
import type { Tokenizer } from '../tokenizer.js'
import { hashOfBase, loadBase, openBase } from './base-model.js'
import { type Batch, type BatchCursor, BatchStream } from './batches.js'
import { Corpus } from './corpus.js'
import { learningRate } from './learning-rate.js'
import { completeRecipe, type Recipe, type TrainOptions } from './recipe.js'
import { runTokenizer } from './run-tokenizer.js'
import type { TrainStep } from './train-step.js'
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
 * Trains a model from random weights or those of another, or continues to: OpenELM's pretraining, step by step. The same
 * options give the same weights, whatever the number of threads and however often the run was
 * interrupted and resumed. Memory is given back when the generator ends, also by `break`.
 *
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA, INVALID_TOKENIZER, INVALID_CHECKPOINT when
 *   resuming, OUT_OF_MEMORY, IO_ERROR, TRAINING_DIVERGED; or the reason of `options.signal`. The
 *   checkpoints that were written stay good.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainStep, void> {
  const recipe = completeRecipe(options)
  const run = await Run.start(recipe)
  try {
    while (run.hasNext) yield await run.next()
  } catch (error) {
    if (recipe.signal?.aborted) await run.save()
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
  readonly #trainer: NativeTrainer
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
    trainer: NativeTrainer,
    stream: BatchStream,
    validation: readonly Batch[],
  ) {
    this.#recipe = recipe
    this.#tokenizerJson = tokenizerJson
    this.#fixed = fixed
    this.#trainer = trainer
    this.#stream = stream
    this.#validation = validation
    this.#cursor = stream.cursor
  }

  static async start(recipe: Recipe): Promise<Run> {
    const { out, signal } = recipe
    signal?.throwIfAborted()
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
    const trainer = createTrainer(recipe)
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
    const { batchSize, microBatchSize, sequenceLength, zLoss, signal, config } = this.#recipe
    signal?.throwIfAborted()
    const batch = await finishInSlices(this.#stream.steps(batchSize), signal)
    const stride = microBatchSize * sequenceLength
    const sums = { crossEntropy: 0, squaredLse: 0 }
    for (let begin = 0; begin < batch.tokens.length; begin += stride) {
      const tokens = batch.tokens.subarray(begin, begin + stride)
      const targets = batch.targets.subarray(begin, begin + stride)
      const lengths = lengthsOf(tokens, sequenceLength)
      const scales = new Float64Array(lengths.length).fill(1 / batch.numTargets)
      const options = { scales, zLoss, seed: 0, step: 0, firstExample: 0 }
      const losses = await abortable(signal, () => ({
        promise: this.#trainer.accumulate({ tokens, targets, lengths }, options),
        cancel: () => this.#trainer.cancel(),
      }))
      sums.crossEntropy += sumOf(losses.crossEntropy)
      sums.squaredLse += sumOf(losses.squaredLse)
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
    let crossEntropy = 0
    let numTargets = 0
    for (const { tokens, targets } of this.#validation) {
      const lengths = lengthsOf(tokens, this.#recipe.sequenceLength)
      const losses = await abortable(this.#recipe.signal, () => ({
        promise: this.#trainer.evaluate({ tokens, targets, lengths }, true),
        cancel: () => this.#trainer.cancel(),
      }))
      crossEntropy += sumOf(losses.crossEntropy)
      numTargets += targets.length
    }
    return crossEntropy / numTargets
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
function createTrainer(recipe: Recipe): NativeTrainer {
  const { config, threads, microBatchSize, sequenceLength, recompute } = recipe
  const needed = trainingMemory(config, recipe)
  if (needed > totalmem()) {
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
    const what = `training needs ${gigabytes(needed)} of memory, of ${gigabytes(totalmem())}`
    const advice = 'a smaller microBatchSize, recompute or a smaller model needs less'
    throw new OpenELMError('OUT_OF_MEMORY', `${what}; ${advice}`)
  }
  return new (loadNative().Trainer)({
    config: nativeConfig(config),
    threads,
    maxTokens: microBatchSize * sequenceLength,
    recompute,
    float64: false,
  })
}

/** Of whole sequences, all of one length. */
function lengthsOf(tokens: Int32Array, sequenceLength: number): Int32Array {
  return new Int32Array(tokens.length / sequenceLength).fill(sequenceLength)
}

function sumOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0)
}

async function initialize(trainer: NativeTrainer, { config, seed, signal }: Recipe): Promise<void> {
  const draw = randomWeights(config, BigInt(seed))
  let begin = 0
  for (const { name, shape } of tensorSpecs(config)) {
    for await (const chunk of draw({ name, shape, dtype: 'F32' })) {
      signal?.throwIfAborted()
      trainer.write('weights', begin, chunk)
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
  const { config, data, validation, out, resume, threads, ...options } = recipe
  const { signal, onTokenizerProgress, steps, ...others } = options
  const { checkpointSteps, keepCheckpoints, validationSteps, recompute, ...fixed } = others
  return {
    ...fixed,
    from,
    config: configToJson(config, 'float32'),
    tokenizer: createHash('sha256').update(JSON.stringify(tokenizer)).digest('hex'),
    data: corpus.sha256,
  }
}

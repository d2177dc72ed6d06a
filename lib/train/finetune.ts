import { readCompanions } from '../companions.js'
import { countParameters } from '../config.js'
import { defaultThreads } from '../cpu-quota.js'
import { OpenELMError } from '../errors.js'
import { nativeConfig } from '../native-config.js'
import { loadAdapter, saveAdapter } from './adapter-checkpoint.js'
import { hashOfBase, loadBase } from './base-model.js'
import { CancellableTrainer } from './cancellable-trainer.js'
import type { Cluster } from './cluster.js'
import { cosineLearningRate } from './cosine-learning-rate.js'
import { fixedOptions, makePlan, maxTokensOf, type Plan, rowsOf } from './finetune-plan.js'
import {
  type FinetuneOptions,
  type FinetuneRecipe,
  readFinetuneOptions,
} from './finetune-recipe.js'
import type { FinetuneStep } from './finetune-step.js'
import { learningRate } from './learning-rate.js'
import type { FinetuneMetrics, Learning } from './objective.js'
import { onRanks } from './on-ranks.js'
import { openTrainer } from './open-trainer.js'
import { PreferenceLearning, type References, referencesOf } from './preference-learning.js'
import { chooseSplit } from './split.js'
import { SupervisedLearning } from './supervised-learning.js'
import type { Trainer } from './trainer.js'
import {
  listTraining,
  loadTraining,
  type RunState,
  saveTraining,
  tidyTraining,
} from './training-checkpoint.js'
import { type TrainingRun, trainingSteps } from './training-loop.js'
import { adapterMemory, trainingMemory } from './training-memory.js'

/**
 * Teaches a model from examples or from preferences, step by step: by an adapter beside the frozen
 * weights, or as a whole. The same options give the same weights, whatever the number of threads and
 * however often the run was interrupted and resumed. Each checkpoint of an adapter is one that
 * `OpenELM.load` and PEFT take; of full tuning it is a model. Memory is given back when the generator
 * ends, also by `break`.
 *
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA, MODEL_NOT_FOUND, INVALID_CONFIG,
 *   INVALID_TOKENIZER, INVALID_CHECKPOINT, INVALID_ADAPTER, OUT_OF_MEMORY, IO_ERROR, TRAINING_DIVERGED;
 *   with `mpi` DEPENDENCY_NOT_FOUND, RANK_LOST, BUSY;
 *   or the reason of `options.signal`. The checkpoints that were written stay good.
 */
export async function* finetune(options: FinetuneOptions): AsyncGenerator<FinetuneStep, void> {
  const recipe = readFinetuneOptions(options)
  yield* onRanks(recipe, cluster => steps(recipe, cluster))
}

async function* steps(
  recipe: FinetuneRecipe,
  cluster: Cluster | undefined,
): AsyncGenerator<FinetuneStep, void> {
  yield* trainingSteps(await Finetuning.start(recipe, cluster))
}

interface FinetuneState extends RunState {
  /** Read by the model so far. */
  tokens: number
  /** The lowest validation loss so far, and after which step. */
  best?: { step: number; loss: number }
  references?: References
  /** The last step, when the run was aborted before it told it. */
  untold?: FinetuneStep
}

class Finetuning implements TrainingRun<FinetuneMetrics> {
  readonly trainer: Trainer
  readonly options: TrainingRun<FinetuneMetrics>['options']
  readonly state: FinetuneState
  readonly isResumed: boolean
  readonly #plan: Plan
  readonly #learning: Learning

  private constructor(
    plan: Plan,
    trainer: Trainer,
    learning: Learning,
    state: FinetuneState,
    isResumed: boolean,
  ) {
    const { recipe, steps, batches } = plan
    const { checkpointSteps = batches.stepsPerEpoch } = recipe
    const { validationSteps = checkpointSteps } = recipe
    this.trainer = trainer
    this.options = { ...recipe, steps, checkpointSteps, validationSteps }
    this.state = state
    this.isResumed = isResumed
    this.#plan = plan
    this.#learning = learning
  }

  static async start(recipe: FinetuneRecipe, cluster: Cluster | undefined): Promise<Finetuning> {
    const { out, resume } = recipe
    const newest = (await listTraining(out)).at(-1)
    if (newest !== undefined && !resume) {
      throw new OpenELMError('IO_ERROR', `${out} already holds a run; it can be resumed`)
    }
    const split = await chooseSplit({ ...recipe, newest, ranks: cluster?.size ?? 1 })
    const plan = await makePlan({ ...recipe, split })
    const trainer = await createTrainer(plan, cluster)
    try {
      const state = await begin(plan, trainer, newest)
      const calls = new CancellableTrainer(trainer, recipe.signal)
      const learning = await createLearning(plan, calls, state)
      await tidyTraining(out, recipe.keepCheckpoints)
      return new Finetuning(plan, trainer, learning, state, newest !== undefined)
    } catch (error) {
      await trainer.dispose()
      throw error
    }
  }

  learningRate(step: number): number {
    const { recipe, steps, warmupSteps, maxLearningRate } = this.#plan
    const rate = recipe.schedule === 'corenet' ? learningRate : cosineLearningRate
    return rate(step, { ...recipe, steps, warmupSteps, maxLearningRate })
  }

  async accumulate(): Promise<{ metrics: FinetuneMetrics; positions: number }> {
    const { step } = this.state
    const { positions, ...metrics } = await this.#learning.accumulate(step)
    const epoch = (step + 1) / this.#plan.batches.stepsPerEpoch
    return { metrics: { ...metrics, epoch }, positions }
  }

  advance(positions: number): number {
    this.state.tokens += positions
    return this.state.tokens
  }

  async validate(): Promise<Partial<FinetuneMetrics>> {
    if (this.#plan.validation.length === 0) return {}
    const { state } = this
    const found = await this.#learning.validate()
    const { validationLoss: loss = Number.POSITIVE_INFINITY } = found
    if (loss < (state.best?.loss ?? Number.POSITIVE_INFINITY))
      state.best = { step: state.step, loss }
    return found
  }

  async save(): Promise<string> {
    const { trainer, state } = this
    const { recipe, base, adapter, dtype } = this.#plan
    const companions = await readCompanions(base.directory)
    if (!adapter) return saveTraining(recipe.out, trainer, base.config, companions, state)
    const known = { name: recipe.model, dtype }
    return saveAdapter(recipe.out, trainer, adapter, known, companions, state)
  }
}

/** @throws OpenELMError OUT_OF_MEMORY before anything is allocated, when it cannot fit. */
async function createTrainer(plan: Plan, cluster: Cluster | undefined): Promise<Trainer> {
  const { recipe, base, examples, validation, adapter, dtype, steps } = plan
  const { threads = defaultThreads(), recompute, split } = recipe
  const maxTokens = maxTokensOf(plan)
  const ranks = cluster?.size
  const shape = { microBatchSize: 1, sequenceLength: maxTokens, recompute, split, ranks }
  const memory = adapter
    ? adapterMemory(base.config, shape, {
        native: adapter.native,
        size: adapter.size,
        dtype,
      })
    : trainingMemory(base.config, shape)
  const options = {
    config: nativeConfig(base.config),
    ...(adapter && { adapter: adapter.native, frozenDtype: dtype }),
    threads,
    maxTokens,
    recompute,
    float64: false,
  }
  const advice = 'fewer microBatchTokens, recompute, an adapter or a smaller model'
  const trainer = await openTrainer(cluster, options, memory, advice)
  const parameters = countParameters(base.config)
  recipe.onStart?.({
    objective: examples.objective,
    examples: examples.summary,
    validationRows: validation.length,
    steps,
    trainedParameters: adapter?.size ?? parameters,
    parameters,
    memory,
  })
  return trainer
}

/** Fills the trainer: with the base, and what is new or what the newest checkpoint holds. */
async function begin(
  plan: Plan,
  trainer: Trainer,
  newest: string | undefined,
): Promise<FinetuneState> {
  const { recipe, base, adapter, start } = plan
  await loadBase(base, trainer, recipe.signal)
  const fixed = fixedOptions(plan, await hashOfBase(base))
  if (newest === undefined) {
    if (start) await adapter?.write(trainer, 'weights', start)
    else await adapter?.initialize(trainer, recipe.seed)
    return { step: 0, tokens: 0, recipe: fixed }
  }
  return adapter
    ? await loadAdapter<FinetuneState>(newest, trainer, adapter, base.config, fixed)
    : await loadTraining<FinetuneState>(newest, trainer, base.config, fixed)
}

async function createLearning(
  { recipe, examples, validation, batches }: Plan,
  trainer: CancellableTrainer,
  state: FinetuneState,
): Promise<Learning> {
  const options = { ...recipe, validation }
  if (examples.objective === 'sft') return new SupervisedLearning(trainer, batches, options)
  state.references ??= {
    data: await referencesOf(trainer, rowsOf(examples), recipe.microBatchTokens),
    validation: await referencesOf(trainer, validation, recipe.microBatchTokens),
  }
  return new PreferenceLearning(trainer, batches, state.references, options)
}

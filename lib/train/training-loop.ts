import { OpenELMError } from '../errors.js'
import type { NativeAdamWOptions } from '../native-trainer.js'
import type { TrainStep } from './train-step.js'
import type { Trainer } from './trainer.js'
import { listTraining, type RunState, tidyTraining, writeState } from './training-checkpoint.js'

/** What the loop itself knows of each step, of pretraining as of fine-tuning. */
export type Told = Pick<
  TrainStep,
  'step' | 'steps' | 'learningRate' | 'gradNorm' | 'tokens' | 'tokensPerSecond'
>

/** What is measured beside that. */
interface Metrics {
  loss: number
  validationLoss?: number
}

/** Where a run stands. The loop writes `step` and `untold`. */
export interface LoopState<M extends Metrics> extends RunState {
  /** The last step, while it has not been told, for want of its validation. */
  untold?: M & Told
}

/** A run, as the loop drives it. */
export interface TrainingRun<M extends Metrics> {
  readonly trainer: Trainer
  readonly options: LoopOptions
  readonly state: LoopState<M>
  /** Whether the state is that of the newest checkpoint. */
  readonly isResumed: boolean
  /** Of the step after so many. */
  learningRate(step: number): number
  /** Adds up the gradients of the next step, which reads so many tokens. */
  accumulate(): Promise<{ readonly metrics: M; readonly positions: number }>
  /** Told that the weights are those of the next step; returns how many tokens were read so far. */
  advance(positions: number): number
  /** Nothing without validation data. */
  validate(): Promise<Partial<M>>
  /** Writes a checkpoint; returns its directory. */
  save(): Promise<string>
}

/** The part of a recipe that is the loop's. */
interface LoopOptions extends Omit<NativeAdamWOptions, 'learningRate' | 'step'> {
  readonly steps: number
  readonly validationSteps: number
  readonly checkpointSteps: number
  readonly keepCheckpoints: number
  readonly out: string
  readonly signal?: AbortSignal | undefined
}

/**
 * The steps of a run. Checkpoints are saved as often as it says, at its end, and when its signal aborts
 * it, so that it can be resumed at the step that was complete last. Gives the memory back at its end.
 *
 * @throws OpenELMError TRAINING_DIVERGED, and what the run throws.
 */
export async function* trainingSteps<M extends Metrics>(
  run: TrainingRun<M>,
): AsyncGenerator<M & Told & { checkpoint?: string }, void> {
  const { state } = run
  const { steps, validationSteps, checkpointSteps, signal } = run.options
  const saver = new Saver(run)
  try {
    while (state.untold !== undefined || state.step < steps) {
      state.untold ??= await optimize(run)
      const { step } = state.untold
      const isLast = step === steps
      const validates = isLast || step % validationSteps === 0
      const told = { ...state.untold, ...(validates && (await run.validate())) }
      delete state.untold
      if (saver.isSaved) await writeState(await saver.save(), state)
      const saves = isLast || step % checkpointSteps === 0
      yield saves ? { ...told, checkpoint: await saver.save() } : told
    }
  } catch (error) {
    if (signal?.aborted) await saver.save()
    throw error
  } finally {
    await run.trainer.dispose()
  }
}

async function optimize<M extends Metrics>(run: TrainingRun<M>): Promise<M & Told> {
  const { state, options, trainer } = run
  const begin = performance.now()
  const learningRate = run.learningRate(state.step)
  const { metrics, positions } = await run.accumulate()
  const step = state.step + 1
  const gradNorm = await trainer.step({ ...options, learningRate, step })
  if (!Number.isFinite(metrics.loss) || !Number.isFinite(gradNorm)) {
    const what = `loss ${metrics.loss}, norm of the gradients ${gradNorm}; try a lower learning rate`
    throw new OpenELMError('TRAINING_DIVERGED', `step ${step}: ${what}`)
  }
  state.step = step
  const tokens = run.advance(positions)
  const tokensPerSecond = (1000 * positions) / (performance.now() - begin)
  return { ...metrics, step, steps: options.steps, learningRate, gradNorm, tokens, tokensPerSecond }
}

/** Saves the last complete step, each at most once. */
class Saver<M extends Metrics> {
  readonly #run: TrainingRun<M>
  #savedStep: number

  constructor(run: TrainingRun<M>) {
    this.#run = run
    this.#savedStep = run.isResumed ? run.state.step : -1
  }

  get isSaved(): boolean {
    return this.#savedStep === this.#run.state.step
  }

  async save(): Promise<string> {
    const { state, options } = this.#run
    const { out, keepCheckpoints } = options
    if (this.isSaved) return (await listTraining(out)).at(-1)!
    const directory = await this.#run.save()
    this.#savedStep = state.step
    await tidyTraining(out, keepCheckpoints)
    return directory
  }
}

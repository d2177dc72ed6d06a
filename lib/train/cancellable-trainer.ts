import { abortable } from '../abortable.js'
import type {
  NativeGradientOptions,
  NativeLosses,
  NativeTrainer,
  NativeTrainingBatch,
} from '../native-trainer.js'

/** The calls of a trainer that take long, which a signal ends. */
export class CancellableTrainer {
  readonly #trainer: NativeTrainer
  readonly #signal: AbortSignal | undefined

  constructor(trainer: NativeTrainer, signal: AbortSignal | undefined) {
    this.#trainer = trainer
    this.#signal = signal
  }

  accumulate(batch: NativeTrainingBatch, options: NativeGradientOptions): Promise<NativeLosses> {
    return this.#run(() => this.#trainer.accumulate(batch, options))
  }

  evaluate(batch: NativeTrainingBatch, withAdapter: boolean): Promise<NativeLosses> {
    return this.#run(() => this.#trainer.evaluate(batch, withAdapter))
  }

  backward(options: NativeGradientOptions): Promise<void> {
    return this.#run(() => this.#trainer.backward(options))
  }

  #run<Result>(call: () => Promise<Result>): Promise<Result> {
    this.#signal?.throwIfAborted()
    return abortable(this.#signal, () => ({
      promise: call(),
      cancel: () => this.#trainer.cancel(),
    }))
  }
}

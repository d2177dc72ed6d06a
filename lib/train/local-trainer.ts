import { loadNative, type NativeTensor } from '../native.js'
import type {
  NativeAdamWOptions,
  NativeTrainer,
  NativeTrainerArray,
  NativeTrainerOptions,
} from '../native-trainer.js'
import type { Lane, Trainer } from './trainer.js'

/** A trainer of this process alone. */
export class LocalTrainer implements Trainer {
  readonly lanes: readonly Lane[]
  readonly #native: NativeTrainer

  constructor(options: NativeTrainerOptions) {
    this.#native = new (loadNative().Trainer)(options)
    this.lanes = [this.#native]
  }

  read(array: NativeTrainerArray, begin: number, to: Uint8Array): void {
    this.#native.read(array, begin, to)
  }

  write(array: NativeTrainerArray, begin: number, from: Uint8Array): void {
    this.#native.write(array, begin, from)
  }

  async share(): Promise<void> {}

  load(tensors: readonly NativeTensor[]): Promise<void> {
    return this.#native.load(tensors)
  }

  resetMagnitudes(): Promise<void> {
    return this.#native.resetMagnitudes()
  }

  step(options: NativeAdamWOptions): Promise<number> {
    return this.#native.step(options)
  }

  cancel(): void {
    this.#native.cancel()
  }

  dispose(): Promise<void> {
    return this.#native.dispose()
  }
}

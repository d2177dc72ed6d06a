import type { NativeTrainer, NativeTrainerArray } from '../native-trainer.js'

/** One process of those that compute the gradients of a step. At most one call may be under way. */
export type Lane = Pick<NativeTrainer, 'accumulate' | 'evaluate' | 'backward' | 'nextLeaf'>

/** A model in training, on one process or on several. */
export interface Trainer
  extends Pick<NativeTrainer, 'load' | 'resetMagnitudes' | 'step' | 'cancel' | 'dispose'> {
  readonly lanes: readonly Lane[]
  /** As those of a native trainer. */
  read(array: NativeTrainerArray, begin: number, to: Uint8Array): void | Promise<void>
  write(array: NativeTrainerArray, begin: number, from: Uint8Array): void | Promise<void>
  /** Gives the weights as they are now to all lanes, which wants to be done before they compute. */
  share(): Promise<void>
}

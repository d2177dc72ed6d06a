import type { NativeConfig } from './native.js'

export interface NativeTrainerOptions {
  config: NativeConfig
  threads: number
  /** Most sequences of one call. */
  maxSequences: number
  /** Of every sequence, in tokens. */
  sequenceLength: number
  /** Keep only the input of each layer, and run it again on the way back. */
  recompute: boolean
  /** Compute in float64, slowly, to check gradients. */
  float64: boolean
}

/** Each holds one number for each parameter, in the order of `tensorSpecs`, matrices row-major. */
export type NativeTrainerArray = 'weights' | 'gradients' | 'firstMoments' | 'secondMoments'

/** Sums over the tokens that have a target. */
export interface NativeLosses {
  /** Of -log p(target). */
  crossEntropy: number
  /** Of the square of the logarithm of the sum of the exponentials of the logits. */
  squaredLse: number
}

export interface NativeAdamWOptions {
  learningRate: number
  beta1: number
  beta2: number
  eps: number
  /** Of matrices only. */
  weightDecay: number
  /** The L2 norm that gradients are scaled down to. */
  maxGradNorm: number
  /** From 1. */
  step: number
}

/** A model in training. All its weights begin as zero. At most one call may be under way. */
export interface NativeTrainer {
  /** Copies elements, from `begin` on, out of an array, or into it: as bytes of float32 (or float64). */
  read(array: NativeTrainerArray, begin: number, to: Uint8Array): void
  write(array: NativeTrainerArray, begin: number, from: Uint8Array): void
  /**
   * Adds the gradient of `scale * (sum of -log p(target) + zLoss * sum of lse^2)` to the gradients.
   * `tokens` are whole sequences; targets of -1 are ignored.
   */
  accumulate(
    tokens: Int32Array,
    targets: Int32Array,
    scale: number,
    zLoss: number,
  ): Promise<NativeLosses>
  evaluate(tokens: Int32Array, targets: Int32Array): Promise<NativeLosses>
  /**
   * One step of AdamW; then the gradients are zero. Resolves to their norm before clipping; when that
   * is not finite, the weights are left as they were.
   */
  step(options: NativeAdamWOptions): Promise<number>
  /**
   * Makes the call under way, but a `step`, and all later ones reject soon with code 'ABORTED'. Then the
   * gradients are not to be used; the other arrays are as they were.
   */
  cancel(): void
  /** Cancels, and gives all memory back. Resolves once it is back; idempotent. */
  dispose(): Promise<void>
}

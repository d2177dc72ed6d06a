import type { NativeConfig, NativeTensor } from './native.js'
import type { DType } from './tensor-headers.js'

/** A matrix that gets an adapter: W [out, in] becomes W + scale * B * A. */
export interface NativeAdapterTarget {
  /** -1 for the embedding. */
  layer: number
  module: 'token_embeddings' | 'qkv_proj' | 'out_proj' | 'proj_1' | 'proj_2'
  rank: number
  scale: number
}

export interface NativeAdapterOptions {
  /** DoRA: magnitudes as well, but for the embedding. */
  dora: boolean
  /** The probability with which each input of an adapted layer is zeroed. */
  dropout: number
  /** The order of their tensors: of each target A [rank, in], B [out, rank], and its magnitudes [out]. */
  targets: readonly NativeAdapterTarget[]
}

export interface NativeTrainerOptions {
  config: NativeConfig
  /** Trains an adapter rather than the weights, which are then frozen. */
  adapter?: NativeAdapterOptions
  /** With an adapter: what the matrices of the model are kept as. Default float32. */
  frozenDtype?: DType
  threads: number
  /** The most tokens of one call, in all of its sequences. */
  maxTokens: number
  /** Keep only the input of each layer, and run it again on the way back. */
  recompute: boolean
  /** Compute in float64, slowly, to check gradients. */
  float64: boolean
}

/**
 * The first four hold one number for each that is trained: in the order of `tensorSpecs`, matrices
 * row-major, or the tensors of the adapter. `frozen` are then the model's own weights, if they are kept
 * as float32.
 */
export type NativeTrainerArray =
  | 'weights'
  | 'gradients'
  | 'firstMoments'
  | 'secondMoments'
  | 'frozen'

/** Sequences of any lengths, end to end. */
export interface NativeTrainingBatch {
  tokens: Int32Array
  /** The tokens that come next, as many; those of -1 are ignored. */
  targets: Int32Array
  /** Of each sequence, in tokens. */
  lengths: Int32Array
}

/** The gradient of the sum over the sequences of `scale * (sum of -log p + zLoss * sum of lse^2)`. */
export interface NativeGradientOptions {
  /** One for each sequence, of any sign. */
  scales: Float64Array
  zLoss: number
  /** What dropout is drawn from: the same numbers zero the same elements. */
  seed: number
  step: number
  /** How many sequences of the step came in earlier calls. */
  firstExample: number
}

/** Of each sequence, sums over its targets. */
export interface NativeLosses {
  /** Of -log p(target). */
  crossEntropy: Float64Array
  /** Of the square of the logarithm of the sum of the exponentials of the logits. */
  squaredLse: Float64Array
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
  /** Reads the model's own weights from the tensors of a checkpoint, in the order of `tensorSpecs`. */
  load(tensors: readonly NativeTensor[]): Promise<void>
  /** The losses of a batch, whose gradient is added to the gradients. With dropout. */
  accumulate(batch: NativeTrainingBatch, options: NativeGradientOptions): Promise<NativeLosses>
  /** Without dropout: the losses of the model with its adapter, if it has one, or as it is below it. */
  evaluate(batch: NativeTrainingBatch, withAdapter: boolean): Promise<NativeLosses>
  /** Adds the gradient of the batch that was evaluated last, with the adapter. */
  backward(options: NativeGradientOptions): Promise<void>
  /**
   * Ends what later gradients are added to. A step sums such leaves as a tree: neighbours first, then
   * neighbours of these sums; a last one without a neighbour moves up.
   */
  nextLeaf(): Promise<void>
  /** Makes the magnitudes of DoRA the norms of their rows. */
  resetMagnitudes(): Promise<void>
  /**
   * One step of AdamW; then the gradients are zero. Resolves to their norm before clipping; when that
   * is not finite, the weights are left as they were.
   */
  step(options: NativeAdamWOptions): Promise<number>
  /** The same with the gradients of all ranks of the group, which make this call together. */
  stepTogether(options: NativeAdamWOptions): Promise<number>
  /** Brings the weights of rank 0 to all ranks, which make this call together; frozen ones if asked for. */
  share(withFrozen: boolean): Promise<void>
  /** Of which elements, from the first to before the second, a rank keeps the moments. */
  shard(rank: number, ranks: number): [number, number]
  /**
   * Makes the call under way, but a `step`, and all later ones reject soon with code 'ABORTED'. Then the
   * gradients are not to be used; the other arrays are as they were.
   */
  cancel(): void
  /** Cancels, and gives all memory back. Resolves once it is back; idempotent. */
  dispose(): Promise<void>
}

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { OpenELMError } from './errors.js'
import { packageRoot, unpacked } from './package-root.js'

/** A matrix, or a vector of one row, as bytes of a checkpoint's file. */
export interface NativeTensor {
  name: string
  file: string
  /** Byte offset of the first element in the file. */
  offset: number
  dtype: 'F32' | 'F16' | 'BF16' | 'I8' | 'U8'
  rows: number
  cols: number
  /** Where the scales of a quantised matrix are. */
  scalesFile?: string
  scalesOffset?: number
}

export interface NativeConfig {
  numLayers: number
  modelDim: number
  headDim: number
  vocabSize: number
  maxContextLength: number
  numQueryHeads: number[]
  numKvHeads: number[]
  ffnDims: number[]
  ffnWithGlu: boolean
  normalizeQkProjections: boolean
  shareInputOutputLayers: boolean
  ropeFreqConstant: number
  rmsNormEps: number
}

export type NativeDType = 'float32' | 'float16' | 'bfloat16' | 'q8' | 'q4'
export type NativeBackendName = 'cpu' | 'cuda' | 'metal'

export interface NativeLoadOptions {
  config: NativeConfig
  tensors: NativeTensor[]
  dtype: NativeDType
  backend: NativeBackendName
  deviceIndex: number
  threads: number
  kvCacheDtype: 'auto' | 'float32' | 'float16'
  mmap: boolean
}

export interface NativeSamplerOptions {
  temperature: number
  topK: number
  topP: number
  minP: number
  repetitionPenalty: number
  repetitionContextSize: number
  /** Unsigned 64-bit. */
  seed: bigint
  /** How many alternatives to report with each token. */
  logprobs: number
}

/** A drawn token. Log-probabilities are natural logarithms under the model's own distribution. */
export interface NativeSample {
  token: number
  /** These three only when {@link NativeSamplerOptions.logprobs} is above 0. */
  logprob?: number
  topTokens?: Int32Array
  topLogprobs?: Float32Array
}

/** How likely the model finds each target, and the `top` tokens that it finds likeliest in its place. */
export interface NativeScores {
  /** [targets] */
  logprobs: Float32Array
  /** [targets, top], most likely first; -1, with -Infinity, where no other has a finite score. */
  topTokens: Int32Array
  topLogprobs: Float32Array
}

/**
 * One stream of random draws, with the window of tokens that the repetition penalty sees. Its methods
 * throw BUSY while a session draws with it.
 */
export interface NativeSampler {
  /** Appends tokens to the window of the repetition penalty. */
  accept(tokens: Int32Array): void
  /** Draws from given scores, [vocabSize]; the token drawn is not accepted. */
  sample(logits: Float32Array): NativeSample
}

/**
 * One KV cache. At most one of the asynchronous calls may be under way; each appends its tokens, and
 * leaves the cache as it was when it fails.
 */
export interface NativeSession {
  readonly position: number
  readonly contextLength: number
  /** Scores after the last token, [vocabSize], or after each of them, [tokens.length, vocabSize]. */
  logits(tokens: Int32Array, all: boolean): Promise<Float32Array>
  /**
   * Accepts the tokens in the sampler and draws the next one, which is not appended.
   *
   * With `goesOn` the one after it is begun before it is asked for, as if the caller had done at once
   * what it must do next: call this with the token drawn and the same sampler, or `whenIdle`, which
   * makes the session (though not the sampler) what it was without.
   */
  sample(tokens: Int32Array, sampler: NativeSampler, goesOn: boolean): Promise<NativeSample>
  /** Scores tokens[firstTarget..], each given those before it. */
  scores(tokens: Int32Array, firstTarget: number, top: number): Promise<NativeScores>
  /**
   * Makes the call under way reject with code 'ABORTED', now. The session stays busy until the batch
   * that the call is in has ended: `whenIdle` tells.
   */
  cancel(): void
  whenIdle(): Promise<void>
  rewind(position: number): void
  fork(): NativeSession
  dispose(): void
}

export interface NativeModel {
  readonly device: string
  readonly weightBytes: number
  readonly kvCacheBytes: number
  createSession(contextLength: number): NativeSession
  /** Ends what is under way and gives all memory back. */
  dispose(): Promise<void>
}

/** A load under way. */
export interface NativeLoad {
  promise: Promise<NativeModel>
  cancel(): void
}

export interface NativeBackendInfo {
  name: NativeBackendName
  available: boolean
  device?: string
  reason?: string
}

export interface NativeCpuInfo {
  /** The instruction set of the kernels in use: 'scalar', 'avx2', 'avxvnni', 'avx512' or 'neon'. */
  kernels: string
  physicalCores: number
  features: string[]
}

export interface NativeMachineSpeed {
  /** Bytes a second, from memory. */
  readBandwidth: number
  /** Operations a second, of multiply-adds in float32: two each. */
  floatPeak: number
}

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

export interface NativeAddon {
  /** Gives the addon the class of the errors that it throws. */
  initialize(errorClass: typeof OpenELMError): void
  backends(): NativeBackendInfo[]
  cpuInfo(): NativeCpuInfo
  load(
    options: NativeLoadOptions,
    onProgress: ((loadedBytes: number, totalBytes: number) => void) | undefined,
  ): NativeLoad
  /** Reads a float matrix and quantises it: the values and their float16 scales. */
  quantize(
    tensor: NativeTensor,
    dtype: 'q8' | 'q4',
    threads: number,
  ): Promise<{ values: Uint8Array; scales: Uint8Array }>
  /** Elements [begin, end) of the normal stream `seed, stream`, times `std`, as bytes of `dtype`. */
  randomNormal(
    seed: bigint,
    stream: number,
    begin: number,
    end: number,
    std: number,
    dtype: 'F32' | 'F16' | 'BF16',
  ): Promise<Uint8Array>
  /** What so many threads reach together, at most. Takes about a second. */
  measureMachine(threads: number): Promise<NativeMachineSpeed>
  Trainer: new (options: NativeTrainerOptions) => NativeTrainer
  Sampler: new (vocabSize: number, options: NativeSamplerOptions) => NativeSampler
}

let loaded: NativeAddon | undefined
let openedPath: string | undefined

/** The addon, opened by the first call: the one that OPENELM_ADDON names, or the package's own. */
export function loadNative(): NativeAddon {
  const named = process.env.OPENELM_ADDON
  loaded ??= openAddon(named ? [resolve(named)] : addonPaths(packageRoot()))
  return loaded
}

/** The file that the addon was opened from. */
export const addonPath = () => openedPath

/**
 * Where a package keeps its addon. What was built here comes before what was delivered, so that an
 * old prebuild never hides a new build.
 */
export function addonPaths(root: string): string[] {
  const folder = unpacked(root)
  const { platform, arch } = process
  const tags = [arch === 'arm64' ? '.armv8' : '', libc() === 'musl' ? '.musl' : '']
  return [
    join(folder, 'build', 'Release', 'openelm.node'),
    join(folder, 'build', 'cmake', 'openelm.node'),
    join(folder, 'prebuilds', `${platform}-${arch}`, `node.napi${tags.join('')}.node`),
  ]
}

/** Opens the first of the files that will open. */
export function openAddon(paths: string[]): NativeAddon {
  const tried: string[] = []
  for (const path of paths) {
    try {
      if (!existsSync(path)) throw new Error('no such file')
      const addon = createRequire(path)(path) as NativeAddon
      addon.initialize(OpenELMError)
      openedPath = path
      return addon
    } catch (error) {
      tried.push(`  ${path}: ${error instanceof Error ? error.message : error}`)
    }
  }
  const platform = [process.platform, process.arch, libc()].filter(Boolean).join('-')
  throw new OpenELMError(
    'ADDON_NOT_FOUND',
    `found no addon for ${platform} that loads:\n${tried.join('\n')}\n` +
      `Reinstall the package, or compile its addon: npm run build:native --prefix "${packageRoot()}"`,
  )
}

/** The C library that this process runs on, where there is a choice. */
function libc(): 'glibc' | 'musl' | undefined {
  if (process.platform !== 'linux') return undefined
  const report = process.report as {
    excludeNetwork?: boolean
    getReport(): { header?: { glibcVersionRuntime?: string } }
  }
  const { excludeNetwork = false } = report
  report.excludeNetwork = true // else it looks up the name of every peer of every open socket
  const { header } = report.getReport()
  report.excludeNetwork = excludeNetwork
  return header?.glibcVersionRuntime ? 'glibc' : 'musl'
}

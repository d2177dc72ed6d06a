import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import type { BackendName } from './backends.js'
import { OpenELMError } from './errors.js'
import type { NativeConstraints } from './native-constraint.js'
import type { NativeGroup } from './native-group.js'
import type {
  NativeDrafter,
  NativeSampler,
  NativeSamplerOptions,
  NativeSession,
} from './native-session.js'
import type { NativeTrainer, NativeTrainerOptions } from './native-trainer.js'
import { packageRoot, unpacked } from './package-root.js'
import type { PanelLayout } from './panels.js'

/** A matrix, or a vector of one row, as bytes of a checkpoint's file. */
export interface NativeTensor {
  name: string
  file: string
  /** Byte offset of the first element in the file. */
  offset: number
  dtype: 'F32' | 'F16' | 'BF16' | 'I8' | 'U8'
  rows: number
  cols: number
  /** Of a packed matrix, which has its scales inside. */
  panels?: PanelLayout
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
export interface NativeLoadOptions {
  config: NativeConfig
  tensors: NativeTensor[]
  dtype: NativeDType
  backend: BackendName
  deviceIndex: number
  threads: number
  kvCacheDtype: 'auto' | 'float32' | 'float16'
  mmap: boolean
}

/** What an adapter says of one matrix: see `AdapterTarget`. */
export interface NativeAdapterTarget {
  name: string
  rank: number
  scale: number
  a: Float32Array
  b: Float32Array
  magnitudes: Float32Array | undefined
}

export interface NativeModel {
  readonly device: string
  readonly weightBytes: number
  readonly kvCacheBytes: number
  /** Reads the arrays on another thread: nobody may change them until it is done. */
  loadAdapter(
    targets: NativeAdapterTarget[],
    adaptsHead: boolean,
  ): Promise<{ id: number; bytes: number }>
  /** Sessions that have the adapter keep it. */
  unloadAdapter(id: number): void
  /** With the sum of these adapters, each at its scale. */
  createSession(contextLength: number, adapters: Int32Array, scales: Float32Array): NativeSession
  /** One that guesses what this model finds likeliest, at most so many tokens at a time, 1 to 16. */
  createDrafter(contextLength: number, numDraftTokens: number): NativeDrafter
  /** Ends what is under way and gives all memory back. */
  dispose(): Promise<void>
}

/** A load under way. */
export interface NativeLoad {
  promise: Promise<NativeModel>
  cancel(): void
}

export interface NativeBackendInfo {
  name: BackendName
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

export interface NativeAddon extends NativeConstraints, NativeGroup {
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
  /** Reads a matrix and packs it as the CPU backend does. */
  pack(
    tensor: NativeTensor,
    dtype: NativeDType,
    layout: PanelLayout,
    threads: number,
  ): Promise<Uint8Array>
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
  /** One that guesses what followed the last tokens where they stand further up in the text. */
  promptLookup(numDraftTokens: number): NativeDrafter
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
  const musl = libc() === 'musl' ? 'musl' : undefined
  const file = ['node.napi', arch === 'arm64' && 'armv8', musl, 'node'].filter(Boolean).join('.')
  const name = ['openelm', platform, arch, musl].filter(Boolean).join('-')
  return [
    join(folder, 'build', 'Release', 'openelm.node'),
    join(folder, 'build', 'cmake', 'openelm.node'),
    join(folder, 'prebuilds', `${platform}-${arch}`, file),
    inPackage(root, name, file),
  ]
}

/** A file of a package that the one at `root` depends on, or where it would be beside that. */
function inPackage(root: string, name: string, file: string): string {
  try {
    return unpacked(createRequire(join(root, 'package.json')).resolve(`${name}/${file}`))
  } catch {
    return unpacked(join(root, '..', name, file))
  }
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
      'Reinstall the package with its optional dependencies, and without a package-lock.json that was made ' +
      `on another system, or compile its addon: npm run build:native --prefix "${packageRoot()}"`,
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

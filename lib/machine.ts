import { defaultThreads } from './cpu-quota.js'
import { addonPath, loadNative } from './native.js'
import { integer, optional } from './options.js'

/** What the CPU backend computes with on this machine. */
export interface MachineInfo {
  /** The file of the native addon. */
  readonly addon: string
  /** The instruction set of the kernels in use: `scalar`, `avx2`, `avxvnni`, `avx512` or `neon`. */
  readonly kernels: string
  /** The instruction sets of the processor that the kernels know, by the names of compilers. */
  readonly features: readonly string[]
  readonly physicalCores: number
  /** The threads to compute on by default: the physical cores, or fewer where a container allows no more. */
  readonly threads: number
}

/** What {@link measureMachine} measures. */
export interface MachineSpeed {
  /** Bytes a second, read from memory. */
  readonly readBandwidth: number
  /** Operations a second of multiply-adds in float32, each of which counts as two. */
  readonly floatPeak: number
}

/**
 * Tells what the CPU backend computes with, for reports of faults and for choosing `threads`.
 *
 * @throws OpenELMError ADDON_NOT_FOUND
 */
export function machineInfo(): MachineInfo {
  const { kernels, features, physicalCores } = loadNative().cpuInfo()
  return { addon: addonPath()!, kernels, features, physicalCores, threads: defaultThreads() }
}

/**
 * Measures what the processor and its memory can do at most: generating is bound by reading the weights,
 * prompts are bound by multiply-adds. Takes about a second, on threads of its own.
 *
 * @param threads how many compute, from 1 to 1024. Default {@link MachineInfo.threads}.
 * @throws OpenELMError INVALID_ARGUMENT, ADDON_NOT_FOUND
 */
export async function measureMachine(threads?: number): Promise<MachineSpeed> {
  const count = optional(integer(1, 1024))('threads', threads)
  return await loadNative().measureMachine(count ?? defaultThreads())
}

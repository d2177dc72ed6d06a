import { loadNative } from './native.js'

/** What can run a model: the CPU, NVIDIA GPUs or Apple silicon. */
export type BackendName = 'cpu' | 'cuda' | 'metal'

/** Whether a backend can run here, and if not, why. */
export interface BackendInfo {
  readonly name: BackendName
  readonly available: boolean
  /** What it runs on; only when available. */
  readonly device?: string
  /** Why it is not available. */
  readonly reason?: string
}

/**
 * The backends of this machine: cpu, cuda and metal, in this order.
 *
 * @throws OpenELMError ADDON_NOT_FOUND
 */
export function backends(): BackendInfo[] {
  return loadNative().backends()
}

import { loadNative, type NativeBackendName } from './native.js'

export type BackendName = NativeBackendName

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

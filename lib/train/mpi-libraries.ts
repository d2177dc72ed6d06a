import { loadNative } from '../native.js'

/** An MPI library of this machine. */
export interface MpiLibrary {
  readonly path: string
  /** What it says of itself, such as 'Open MPI v4.1.4'. */
  readonly version: string
}

/**
 * The MPI libraries that `train` and `finetune` would find on this machine.
 *
 * @throws OpenELMError ADDON_NOT_FOUND
 */
export function mpiLibraries(): MpiLibrary[] {
  return loadNative().mpiLibraries()
}

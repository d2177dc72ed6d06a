import { abortSignal, callback, optional } from '../options.js'
import type { WriteOptions } from '../write-checkpoint.js'

/** The rules of the options that every function of this folder takes. */
export const progressOptions = {
  onProgress: optional(callback<NonNullable<WriteOptions['onProgress']>>()),
  signal: optional(abortSignal),
}

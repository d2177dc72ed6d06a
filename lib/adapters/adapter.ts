import { type DType, isFloat } from '../tensor-headers.js'
import type { AdapterFormat } from './tensor-names.js'

/** In the metadata of a file of ours: what the weights were kept as that the adapter has learnt beside. */
export const dtypeKey = 'openelm.base_dtype'

/**
 * What an adapter adds to one matrix W [out, in] of a model: W becomes V = W + scale * B * A, and with
 * magnitudes (DoRA) each row of V is then given the length that they say. The embedding, [vocabulary,
 * width], is a matrix like the others.
 */
export interface AdapterTarget {
  readonly rank: number
  /** Alpha / rank, or what the adapter's format has in its place. */
  readonly scale: number
  /** [rank, in] */
  readonly a: Float32Array
  /** [out, rank] */
  readonly b: Float32Array
  /** [out], with DoRA only. */
  readonly magnitudes: Float32Array | undefined
}

/** A LoRA or DoRA adapter, whichever tool wrote it. */
export interface Adapter {
  /** The absolute path that it was read from. */
  readonly path: string
  readonly format: AdapterFormat
  readonly method: 'lora' | 'dora'
  /** What the adapter calls its base model, if it says so: a name of the hub, or a path. */
  readonly base: string | undefined
  /** What the weights were kept as that it has learnt beside, if it says so. */
  readonly baseDType: DType | undefined
  /** By the Hugging Face name of the matrix, in the order of the model's tensors. */
  readonly targets: ReadonlyMap<string, AdapterTarget>
  /**
   * Whether an adapted embedding is adapted as output matrix, too, as in mlx-lm. PEFT and CoreNet leave
   * the output matrix as it was.
   */
  readonly adaptsHead: boolean
  /** Of its tensors in the file. */
  readonly byteLength: number
}

/** What to tell the user of an adapter beside weights of this dtype: it may have learnt beside others. */
export function remarkOn(
  adapter: Pick<Adapter, 'path' | 'baseDType'>,
  dtype: DType,
): string | undefined {
  const { path, baseDType } = adapter
  if (baseDType === undefined || isFloat(baseDType) || baseDType === dtype) return undefined
  return `${path} has learnt beside ${baseDType} weights and makes up for their errors; these are ${dtype}`
}

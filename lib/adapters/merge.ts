import { type TensorHeader, writeCheckpoint } from '../checkpoint.js'
import { readCompanions } from '../companions.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { decodeFloats, encodeFloats } from '../floats.js'
import { openUnpacked } from '../open-unpacked.js'
import {
  abortSignal,
  arrayOf,
  callback,
  oneOf,
  optional,
  path,
  type RulesOf,
  readOptions,
} from '../options.js'
import { readFloat32 } from '../read-float32.js'
import { readRows } from '../read-rows.js'
import { finishInSlices, type Steps } from '../steps.js'
import { embeddingsName, floatTypes, headName } from '../tensor-headers.js'
import type { WriteOptions } from '../write-checkpoint.js'
import { type Adapter, type AdapterTarget, remarkOn } from './adapter.js'
import { type AdapterSpec, adapterSpec } from './adapter-spec.js'
import { readAdapter } from './read-adapter.js'

/** Options of {@link merge}. */
export interface MergeOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /**
   * What the merged model is stored as. Default float32 for a base in float32, else bfloat16. Quantise it
   * afterwards, if at all: 4 bits keep little of a small change.
   */
  dtype?: 'float32' | 'float16' | 'bfloat16' | undefined
}

/** What {@link merge} has changed. */
export interface MergeReport {
  readonly dtype: 'float32' | 'float16' | 'bfloat16'
  /** Whether the output matrix is one of its own now, because the adapters change the embedding alone. */
  readonly isUntied: boolean
  readonly targets: readonly MergedTarget[]
  /** What the user should know of the adapters. */
  readonly remarks: readonly string[]
  /** Of the targets' shares: below 0.9, `dtype` has lost a good part of the adapters. */
  readonly kept: { readonly smallest: number; readonly median: number }
}

/** A matrix that {@link merge} has changed. */
export interface MergedTarget {
  readonly name: string
  /** The length of the change as a share of the matrix's own, both as vectors. */
  readonly change: number
  /** The share of the change that is left after rounding: its projection on the change. */
  readonly kept: number
}

const rules = {
  dtype: optional(oneOf('float32', 'float16', 'bfloat16')),
  onProgress: optional(callback<NonNullable<MergeOptions['onProgress']>>()),
  signal: optional(abortSignal),
} satisfies RulesOf<MergeOptions>

/**
 * Writes a checkpoint whose weights are those of a model with adapters, W + scale * B * A, and with DoRA
 * the rows of that at the lengths that the magnitudes say. Sums are in float64 and rounded once. The
 * tokenizer, the chat template and generation_config.json are copied.
 *
 * An adapter of the embedding leaves the output matrix as it was, as in PEFT and CoreNet: the merged model
 * is then untied. One of mlx-lm adapts both, and they stay one.
 *
 * @param model the directory of the base, also a quantised one, or the name of a bundled model.
 * @param adapters at least one; only one if it is DoRA.
 * @param out a new or empty directory.
 * @throws OpenELMError INVALID_ARGUMENT, MODEL_NOT_FOUND, INVALID_CONFIG, INVALID_CHECKPOINT,
 *   INVALID_ADAPTER, IO_ERROR; NOT_CONVERTIBLE when a weight is too large for float16; or the reason of
 *   `options.signal`. Then no part of the checkpoint is left.
 */
export async function merge(
  model: string,
  adapters: readonly (string | AdapterSpec)[],
  out: string,
  options?: MergeOptions,
): Promise<MergeReport> {
  path('model', model)
  const specs = arrayOf(adapterSpec)('adapters', adapters)
  if (specs.length === 0) throw invalidArgument('adapters', 'a list of at least one', specs)
  path('out', out)
  const { dtype: asked, onProgress, signal } = readOptions(options, rules)
  const base = await openUnpacked(model)
  const dtype = asked ?? (base.dtype === 'float32' ? 'float32' : 'bfloat16')
  const read: WeightedAdapter[] = []
  for (const { path, scale } of specs) {
    read.push({ ...(await readAdapter(path, base.config)), weight: scale })
  }
  checkTogether(read)

  const isUntied =
    base.config.shareInputOutputLayers &&
    read.some(({ targets, adaptsHead }) => targets.has(embeddingsName) && !adaptsHead)
  const config = isUntied ? { ...base.config, shareInputOutputLayers: false } : base.config
  const merged: MergedTarget[] = []
  const source = async function* (header: TensorHeader) {
    const { name, shape } = header
    const isNewHead = isUntied && name === headName
    const stored = isNewHead ? embeddingsName : name
    const parts = targetsOf(isNewHead ? read.filter(adapter => adapter.adaptsHead) : read, stored)
    if (shape.length === 1) {
      yield encodeFloats(await readFloat32(base.tensors.get(name)!), floatTypes[dtype])
      return
    }
    const tally = new Tally(name, dtype)
    for (const rows of blocksOf(shape as [number, number])) {
      const values = await readRows(base, stored, rows)
      yield await finishInSlices(tally.merge(values, rows, parts), signal)
    }
    if (parts.length > 0) merged.push(tally.result())
  }
  const companions = await readCompanions(base.directory)
  await writeCheckpoint(out, config, dtype, source, { companions, onProgress, signal })
  const shares = merged.map(({ kept }) => kept).sort((a, b) => a - b)
  const kept = { smallest: shares[0]!, median: shares[Math.floor(shares.length / 2)]! }
  const remarks = read.flatMap(adapter => remarkOn(adapter, base.dtype) ?? [])
  return { dtype, isUntied, targets: merged, kept, remarks }
}

type WeightedAdapter = Adapter & { readonly weight: number }
/** A DoRA adapter says how long the rows are in the end, which leaves no room for another. */
function checkTogether(adapters: readonly WeightedAdapter[]): void {
  const dora = adapters.find(({ method }) => method === 'dora')
  if (dora === undefined || adapters.length === 1) return
  const message = `${dora.path} is a DoRA adapter, which cannot be merged together with others`
  throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'adapters' })
}

/** A target with the scale that it is used at. */
function targetsOf(adapters: readonly WeightedAdapter[], name: string): AdapterTarget[] {
  return adapters.flatMap(({ targets, weight }) => {
    const target = targets.get(name)
    return target ? [{ ...target, scale: target.scale * weight }] : []
  })
}

/** Runs of rows that take a few megabytes. */
export function* blocksOf([rows, columns]: readonly [number, number]) {
  const most = Math.max(1, Math.floor(2 ** 20 / columns))
  for (let first = 0; first < rows; first += most) {
    yield { first, count: Math.min(most, rows - first), columns }
  }
}

/** Merges a matrix block by block, and measures what became of the change. */
export class Tally {
  readonly #name: string
  readonly #dtype: keyof typeof floatTypes
  /** Sums of squares: of the matrix, and of the change; the product of the change with what is stored. */
  #base = 0
  #change = 0
  #stored = 0

  constructor(name: string, dtype: keyof typeof floatTypes) {
    this.#name = name
    this.#dtype = dtype
  }

  /** The bytes of the merged rows. */
  *merge(
    base: Float32Array,
    { first, columns }: { first: number; columns: number },
    targets: readonly AdapterTarget[],
  ): Steps<Uint8Array> {
    const type = floatTypes[this.#dtype]
    if (targets.length === 0) return encodeFloats(base, type)
    const merged = new Float32Array(base.length)
    for (let begin = 0; begin < base.length; begin += columns) {
      const row = first + begin / columns
      mergeRow(base.subarray(begin, begin + columns), row, targets, merged.subarray(begin))
      yield ''
    }
    const bytes = encodeFloats(merged, type)
    yield ''
    this.#add(base, merged, decodeFloats(bytes, type))
    return bytes
  }

  result(): MergedTarget {
    const kept = this.#change === 0 ? 1 : this.#stored / this.#change
    return { name: this.#name, change: Math.sqrt(this.#change / this.#base), kept }
  }

  #add(base: Float32Array, merged: Float32Array, stored: Float32Array): void {
    for (let i = 0; i < base.length; i++) {
      if (!Number.isFinite(stored[i])) {
        const message = `${this.#name} becomes ${merged[i]}, which is too large for ${this.#dtype}`
        throw new OpenELMError('NOT_CONVERTIBLE', message)
      }
      const change = merged[i]! - base[i]!
      this.#base += base[i]! * base[i]!
      this.#change += change * change
      this.#stored += change * (stored[i]! - base[i]!)
    }
  }
}

function mergeRow(
  base: Float32Array,
  row: number,
  targets: readonly AdapterTarget[],
  merged: Float32Array,
): void {
  const sum = Float64Array.from(base)
  for (const { rank, scale, a, b } of targets) {
    for (let k = 0; k < rank; k++) {
      const factor = scale * b[row * rank + k]!
      const begin = k * base.length
      for (let i = 0; i < sum.length; i++) sum[i]! += factor * a[begin + i]!
    }
  }
  const magnitudes = targets[0]?.magnitudes
  if (magnitudes) {
    let squares = 0
    for (const value of sum) squares += value * value
    const gain = squares === 0 ? 0 : magnitudes[row]! / Math.sqrt(squares)
    for (let i = 0; i < sum.length; i++) sum[i]! *= gain
  }
  merged.set(sum)
}

import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint.js'
import { openUnpacked } from '../open-unpacked.js'
import { abortSignal, callback, optional, path, type RulesOf, readOptions } from '../options.js'
import { readRows } from '../read-rows.js'
import { finishInSlices } from '../steps.js'
import type { DType } from '../tensor-headers.js'
import type { AdapterTarget } from './adapter.js'
import { blocksOf, Tally } from './merge.js'
import { readAdapter } from './read-adapter.js'

/** What an adapter is made of. */
export interface AdapterFacts {
  /** Absolute. */
  readonly path: string
  /** Who wrote it. */
  readonly format: 'peft' | 'corenet' | 'mlx'
  readonly method: 'lora' | 'dora'
  /** What the adapter calls its base model, if it says so: a name of the hub, or a path. */
  readonly base: string | undefined
  /** What the weights were kept as that it has learnt beside, if it says so. */
  readonly baseDType: DType | undefined
  /** Whether an adapted embedding is adapted as output matrix, too, as in mlx-lm. */
  readonly adaptsHead: boolean
  /** Of its tensors in the file. */
  readonly byteLength: number
  /** Numbers that were trained. */
  readonly parameters: number
  readonly targets: readonly TargetFacts[]
}

/** A matrix that an adapter changes. */
export interface TargetFacts {
  readonly name: string
  /** [out, in] */
  readonly shape: readonly [number, number]
  readonly rank: number
  /** What the product of the two factors is multiplied with: alpha / rank, as a rule. */
  readonly scale: number
  /**
   * The length of the change as a share of the matrix's own, both as vectors. Only with
   * {@link InspectAdapterOptions.model}.
   */
  readonly change?: number
}

/** Options of {@link inspectAdapter}. */
export interface InspectAdapterOptions {
  /**
   * The base: its directory, or the name of a bundled model. The adapter is held against its shapes, and
   * against its weights, all of which are read. Default none.
   */
  model?: string | undefined
  /** Called with targets done and their number, while they are held against the base. */
  onProgress?: ((done: number, total: number) => void) | undefined
  signal?: AbortSignal | undefined
}

const rules = {
  model: optional(path),
  onProgress: optional(callback<NonNullable<InspectAdapterOptions['onProgress']>>()),
  signal: optional(abortSignal),
} satisfies RulesOf<InspectAdapterOptions>

/**
 * Tells what a LoRA or DoRA adapter changes, and how much.
 *
 * @param adapter a directory of PEFT or mlx-lm, or a .safetensors file with CoreNet's names.
 * @throws OpenELMError IO_ERROR, INVALID_ADAPTER; INVALID_CHECKPOINT, also when it does not fit the
 *   model; INVALID_ARGUMENT, MODEL_NOT_FOUND, INVALID_CONFIG; or the reason of `options.signal`.
 */
export async function inspectAdapter(
  adapter: string,
  options?: InspectAdapterOptions,
): Promise<AdapterFacts> {
  path('adapter', adapter)
  const { model, onProgress, signal } = readOptions(options, rules)
  const base = model === undefined ? undefined : await openUnpacked(model)
  const { targets, ...read } = await readAdapter(adapter, base?.config)
  let parameters = 0
  const facts: TargetFacts[] = []
  for (const [name, target] of targets) {
    const { rank, scale, a, b, magnitudes } = target
    const shape = [b.length / rank, a.length / rank] as const
    const change = base && { change: await changeOf(base, name, shape, target, signal) }
    parameters += a.length + b.length + (magnitudes?.length ?? 0)
    facts.push({ name, shape, rank, scale, ...change })
    if (base) onProgress?.(facts.length, targets.size)
  }
  return { ...read, parameters, targets: facts }
}

async function changeOf(
  base: Checkpoint,
  name: string,
  shape: readonly [number, number],
  target: AdapterTarget,
  signal: AbortSignal | undefined,
): Promise<number> {
  const tally = new Tally(name, 'float32')
  for (const rows of blocksOf(shape)) {
    const values = await readRows(base, name, rows)
    await finishInSlices(tally.merge(values, rows, [target]), signal)
  }
  return tally.result().change
}

/** Whether a path is that of an adapter rather than of a model: told by its name and its files alone. */
export async function isAdapter(path: string): Promise<boolean> {
  if (path.endsWith('.safetensors')) return true
  return access(join(path, 'adapter_config.json')).then(
    () => true,
    () => false,
  )
}

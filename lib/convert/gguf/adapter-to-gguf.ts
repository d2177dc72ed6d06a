import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import type { Adapter } from '../../adapters/adapter.js'
import { readAdapter } from '../../adapters/read-adapter.js'
import { openCheckpoint } from '../../checkpoint.js'
import { OpenELMError } from '../../errors.js'
import { ioError, writeWhole } from '../../files.js'
import { encodeFloats, type FloatType } from '../../floats.js'
import { abortSignal, oneOf, optional, path, type RulesOf, readOptions } from '../../options.js'
import { embeddingsName } from '../../tensor-headers.js'
import { encodeGgufHeader, type MetadataValue, paddingOf, type TensorInfo } from './header.js'
import { architectureOf, ggufTensors, reorderHalves } from './layout.js'
import { ggmlTypeIds } from './types.js'

/** Options of {@link adapterToGguf}. */
export interface AdapterToGgufOptions {
  /** The directory of the model that the adapter is for, or the name of a bundled model. */
  model: string
  /** What the adapter is stored as. Default f32. */
  dtype?: 'f32' | 'f16' | undefined
  signal?: AbortSignal | undefined
}

const rules = {
  model: path,
  dtype: optional(oneOf('f32', 'f16'), 'f32'),
  signal: optional(abortSignal),
} satisfies RulesOf<AdapterToGgufOptions>

/**
 * Writes a LoRA adapter as a GGUF file, which llama.cpp loads beside the model with `--lora`.
 *
 * @param adapter a directory of PEFT or mlx-lm, or a .safetensors file with CoreNet's names.
 * @param file the file to write, which must not exist. It appears only when it is complete.
 * @throws OpenELMError NOT_CONVERTIBLE for an adapter with magnitudes (DoRA) or of the embedding, which
 *   llama.cpp lacks: merge it instead; INVALID_ARGUMENT, INVALID_ADAPTER, INVALID_CHECKPOINT,
 *   INVALID_CONFIG, MODEL_NOT_FOUND, IO_ERROR; or the reason of `options.signal`.
 */
export async function adapterToGguf(
  adapter: string,
  file: string,
  options: AdapterToGgufOptions,
): Promise<void> {
  path('adapter', adapter)
  path('file', file)
  const { model, dtype, signal } = readOptions(options, rules)
  const { config } = await openCheckpoint(model)
  const read = await readAdapter(adapter, config)
  refuse(read)
  if (existsSync(file)) throw ioError('write', file, new Error('it already exists'))
  const { alpha, scaleOf } = commonAlpha(read)
  const type = dtype === 'f32' ? 'F32' : 'F16'
  const tensors: { info: TensorInfo; bytes: Uint8Array }[] = []
  let end = 0
  const add = (name: string, dimensions: number[], bytes: Uint8Array) => {
    tensors.push({ info: { name, dimensions, typeId: ggmlTypeIds[type], offset: end }, bytes })
    end += bytes.length + paddingOf(bytes.length)
  }
  for (const { name, source, firstRow, shape, interleaved } of ggufTensors(config)) {
    const target = read.targets.get(source)
    if (target === undefined) continue
    const { rank, a, b } = target
    const [rows, columns] = shape as [number, number]
    const part = b.slice(firstRow * rank, (firstRow + rows) * rank).map(x => x * scaleOf(target))
    const bytes = encodeFinite(name, part, type)
    const ordered = interleaved
      ? reorderHalves(bytes, bytes.length / rows, config.headDim, 'interleaved')
      : bytes
    add(`${name}.lora_a`, [columns, rank], encodeFinite(name, a, type))
    add(`${name}.lora_b`, [rank, rows], ordered)
  }
  const text = (value: string): MetadataValue => ({ type: 'string', value })
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', text(architectureOf(config))],
    ['general.type', text('adapter')],
    ['general.name', text(basename(resolve(adapter)))],
    ['adapter.type', text('lora')],
    ['adapter.lora.alpha', { type: 'f32', value: alpha }],
  ])
  signal?.throwIfAborted()
  await writeWhole(file, [
    encodeGgufHeader(
      metadata,
      tensors.map(({ info }) => info),
    ),
    ...tensors.flatMap(({ bytes }) => [bytes, new Uint8Array(paddingOf(bytes.length))]),
  ])
}

function refuse({ path, method, targets }: Adapter): void {
  const what =
    method === 'dora' ? 'magnitudes (DoRA)' : targets.has(embeddingsName) && 'an adapted embedding'
  if (!what) return
  const advice = 'merge it into the model, and convert that'
  throw new OpenELMError(
    'NOT_CONVERTIBLE',
    `${path}: llama.cpp has no adapters with ${what}; ${advice}`,
  )
}

/**
 * llama.cpp multiplies by alpha / rank, one alpha for all targets, or by nothing when alpha is 0. Where
 * the scales of the targets say no such alpha, B is multiplied instead.
 */
function commonAlpha({ targets }: Adapter) {
  const alphas = new Set([...targets.values()].map(({ scale, rank }) => Math.fround(scale * rank)))
  const [alpha] = alphas
  if (alphas.size === 1) return { alpha: alpha!, scaleOf: () => 1 }
  return { alpha: 0, scaleOf: ({ scale }: { scale: number }) => scale }
}

function encodeFinite(name: string, values: Float32Array, type: FloatType): Uint8Array {
  const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  if (type === 'F32' || largest < 65520) return encodeFloats(values, type)
  const message = `the adapter of ${name} holds ${largest}, which is too large for f16; take f32`
  throw new OpenELMError('NOT_CONVERTIBLE', message)
}

import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type OpenELMConfig, tensorSpecs } from '../config.js'
import { OpenELMError } from '../errors.js'
import { ioError, readJsonObject, readRange } from '../files.js'
import { decodeFloats, type FloatType } from '../floats.js'
import { readSafetensorsHeader, type SafetensorsEntry } from '../safetensors.js'
import { parseJson } from '../strict-json.js'
import { dtypes, embeddingsName, floatTypes } from '../tensor-headers.js'
import { type Adapter, type AdapterTarget, dtypeKey } from './adapter.js'
import { type AdapterConfig, readAdapterConfig } from './adapter-config.js'
import { type AdapterFormat, type Part, parseTensorName } from './tensor-names.js'
import { transpose } from './transpose.js'

/**
 * Reads a LoRA or DoRA adapter for a model of this shape: a directory of PEFT or of mlx-lm, or a
 * .safetensors file with the names of CoreNet. The latter has no alpha: its scale is 1, as in Apple's
 * recipe; what it holds of the model itself is not looked at. Everything is checked before the first
 * tensor is read.
 *
 * @param config undefined to take the adapter's word for the shapes of the model.
 * @throws OpenELMError IO_ERROR, INVALID_ADAPTER; INVALID_CHECKPOINT when the tensors are not those of an
 *   adapter, or do not fit the model.
 */
export async function readAdapter(
  path: string,
  config: OpenELMConfig | undefined,
): Promise<Adapter> {
  const { file, settings } = await locate(resolve(path))
  const { tensors, metadata } = await readSafetensorsHeader(file)
  const format = settings?.format ?? 'corenet'
  const found = tensorsByTarget(file, adapterTensors(tensors, format), format)
  const usesDora = settings?.usesDora ?? [...found.values()].some(parts => parts.magnitudes)
  const modelSpecs = config ? tensorSpecs(config) : impliedSpecs(found)
  const specs = modelSpecs.filter(({ name }) => found.has(name))
  const stranger = [...found.keys()].find(name => !specs.some(spec => spec.name === name))
  if (stranger !== undefined) throw invalid(file, `the model has no ${stranger}`)
  if (specs.length === 0) throw invalid(file, 'it holds no adapter')
  const layouts = specs.map(({ name, shape }) => {
    const [rows, columns] = shape as [number, number]
    return layoutOf(file, found.get(name)!, { name, rows, columns, usesDora })
  })

  const targets = new Map<string, AdapterTarget>()
  for (const { name, rank, a, b, magnitudes } of layouts) {
    const module = name.replace(/\.weight$/, '')
    targets.set(name, {
      rank,
      scale: settings?.scaleOf(module, rank) ?? 1,
      a: await readMatrix(file, a),
      b: await readMatrix(file, b),
      magnitudes: magnitudes && (await readMatrix(file, magnitudes)),
    })
  }
  return {
    path: resolve(path),
    format,
    method: usesDora ? 'dora' : 'lora',
    base: settings?.base,
    baseDType: dtypes.find(dtype => dtype === metadata.get(dtypeKey)),
    targets,
    adaptsHead: (settings?.adaptsHead ?? false) && targets.has(embeddingsName),
    byteLength: [...found.values()]
      .flatMap(({ a, b, magnitudes }) => [a, b, magnitudes])
      .reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0),
  }
}

async function locate(path: string): Promise<{ file: string; settings?: AdapterConfig }> {
  if (await isFile(path)) {
    if (path.endsWith('.safetensors')) return { file: path }
    const advice = 'of a PyTorch file, openelm convert makes one'
    throw invalid(path, `expected a directory or a .safetensors file; ${advice}`)
  }
  const configFile = join(path, 'adapter_config.json')
  const json = await readJsonObject(configFile, 1_000_000, 'INVALID_ADAPTER', parseJson)
  const settings = readAdapterConfig(configFile, json)
  const name = settings.format === 'peft' ? 'adapter_model.safetensors' : 'adapters.safetensors'
  return { file: join(path, name), settings }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch (cause) {
    throw ioError('read', path, cause)
  }
}

type Stored = SafetensorsEntry & { readonly name: string; readonly isMlx: boolean }
type Parts = { [Kind in Part]?: Stored }

/** CoreNet's training has the adapter among the tensors of the model, and others keep its matrices beside. */
function adapterTensors(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  format: AdapterFormat,
): [name: string, entry: SafetensorsEntry][] {
  const isOwn = (name: string) =>
    name.endsWith('.base_layer.weight') || (format === 'corenet' && !name.includes('.lora_'))
  return [...tensors].filter(([name]) => !isOwn(name))
}

function tensorsByTarget(
  file: string,
  tensors: Iterable<[name: string, entry: SafetensorsEntry]>,
  format: AdapterFormat,
): Map<string, Parts> {
  const targets = new Map<string, Parts>()
  for (const [name, entry] of tensors) {
    const parsed = parseTensorName(name, format)
    if (parsed === undefined) throw invalid(file, `${name} is no tensor of an adapter`)
    const parts = targets.get(parsed.target) ?? {}
    const twin = parts[parsed.part]
    if (twin) throw invalid(file, `${twin.name} and ${name} are the same`)
    parts[parsed.part] = { ...entry, name, isMlx: format === 'mlx' }
    targets.set(parsed.target, parts)
  }
  return targets
}

/** The matrices of the model as an adapter has them. */
function impliedSpecs(targets: ReadonlyMap<string, Parts>) {
  const specs = [...targets].map(([name, { a, b }]) => {
    const isEmbedding = name === embeddingsName
    const [first, second] = isEmbedding ? [b, a] : [a, b]
    const isTransposed = isEmbedding !== (a?.isMlx ?? false)
    const rows = second?.shape[isTransposed ? 1 : 0] ?? 0
    const columns = first?.shape[isTransposed ? 0 : 1] ?? 0
    return { name, shape: [rows, columns] }
  })
  return specs.sort((x, y) => x.name.localeCompare(y.name, 'en', { numeric: true }))
}

/** A tensor, and how to read it as a matrix [rows, columns]. */
interface Layout {
  readonly stored: Stored
  readonly shape: readonly number[]
  readonly isTransposed: boolean
}

/**
 * Formats keep the two matrices of an embedding the other way around: what PEFT calls A is [rank,
 * vocabulary].
 */
function layoutOf(
  file: string,
  { a, b, magnitudes }: Parts,
  {
    name,
    rows,
    columns,
    usesDora,
  }: { name: string; rows: number; columns: number; usesDora: boolean },
) {
  const present = a ?? b ?? magnitudes
  if (!a || !b) throw invalid(file, `${present!.name} stands without its partner`)
  const isEmbedding = name === embeddingsName
  if (magnitudes && isEmbedding) {
    throw new OpenELMError('INVALID_ADAPTER', `${file}: DoRA of the embedding is not supported`)
  }
  if (!magnitudes === usesDora && !isEmbedding) {
    const what = usesDora
      ? 'there are no magnitudes of'
      : 'use_dora is false, but there are those of'
    throw invalid(file, `${what} ${name}`)
  }
  const rank = (a.isMlx ? a.shape[1] : a.shape[0]) ?? 0
  const isTransposed = isEmbedding !== a.isMlx
  const layout = (stored: Stored, shape: number[], mayBeTaller = false): Layout => {
    const expected = isTransposed ? shape.toReversed() : shape
    const fits =
      stored.shape.length === 2 &&
      stored.shape.every((length, axis) => {
        const isRows = axis === (isTransposed ? 1 : 0)
        return length === expected[axis] || (mayBeTaller && isRows && length > expected[axis]!)
      })
    if (!fits) throw misshapen(file, stored, expected)
    return { stored, shape, isTransposed }
  }
  const [first, second] = isEmbedding ? [b, a] : [a, b]
  // CoreNet aligns the vocabulary: 32128 rows for 32000 tokens.
  const result = {
    name,
    rank,
    a: layout(first, [rank, columns]),
    b: layout(second, [rows, rank], isEmbedding && !a.isMlx),
    magnitudes: magnitudes && { stored: magnitudes, shape: [rows], isTransposed: false },
  }
  if (rank === 0) throw invalid(file, `${a.name} has no rows`)
  if (magnitudes && (magnitudes.shape.length !== 1 || magnitudes.shape[0] !== rows)) {
    throw misshapen(file, magnitudes, [rows])
  }
  for (const { name, dtype } of [a, b, ...(magnitudes ? [magnitudes] : [])]) {
    if (Object.values<string>(floatTypes).includes(dtype)) continue
    const types = Object.values(floatTypes).join(' or ')
    throw invalid(file, `expected ${name} to be ${types}, received ${dtype}`)
  }
  return result
}

/** The first `shape` of a tensor, row-major. */
async function readMatrix(
  file: string,
  { stored, shape, isTransposed }: Layout,
): Promise<Float32Array> {
  const { name, dtype, offset, byteLength } = stored
  const values = decodeFloats(await readRange(file, offset, byteLength), dtype as FloatType)
  if (!values.every(Number.isFinite))
    throw invalid(file, `${name} holds a value that is not finite`)
  const [rows, columns = 1] = shape as [number, number?]
  if (!isTransposed) return values.subarray(0, rows * columns)
  return transpose(values, stored.shape[1]!, rows)
}

function misshapen(file: string, stored: Stored, expected: readonly number[]): OpenELMError {
  const received = `received [${stored.shape}]`
  return invalid(
    file,
    `expected ${stored.name} to be [${expected}], as the model has it, ${received}`,
  )
}

function invalid(file: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${file}: ${what}`)
}

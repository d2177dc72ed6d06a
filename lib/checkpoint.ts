import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type OpenELMConfig, readConfig } from './config.js'
import { describe, OpenELMError } from './errors.js'
import { readEosTokenIds } from './generation-config.js'
import { locateModel } from './locate-model.js'
import { NamedTensors } from './named-tensors.js'
import {
  type DType,
  floatTypes,
  groupSize,
  type Layout,
  type TensorDType,
  type TensorHeader,
  tensorHeaders,
} from './tensor-headers.js'
import { readWeightFiles, type WeightFile } from './weight-files.js'

export {
  type DType,
  dtypes,
  type Layout,
  type TensorDType,
  type TensorHeader,
  tensorHeaders,
} from './tensor-headers.js'
export { type TensorSource, type WriteOptions, writeCheckpoint } from './write-checkpoint.js'

/** One stored tensor and where it lies. */
export interface CheckpointTensor extends TensorHeader {
  /** Absolute path. */
  readonly file: string
  /** Of the first byte in the file; it may have any alignment. */
  readonly offset: number
}

/** A model directory in which every tensor is present with the shape that the config implies. */
export interface Checkpoint {
  /** Absolute path. */
  readonly directory: string
  readonly config: OpenELMConfig
  /** The tokens that end a generation, of config.json and generation_config.json. */
  readonly eosTokenIds: readonly number[]
  /** A float checkpoint may mix float types; this is the one of most bytes of its matrices. */
  readonly dtype: DType
  /** `panels` of a packed checkpoint. */
  readonly layout: Layout
  /**
   * By Hugging Face name, in the order of {@link tensorHeaders}. The token embeddings of a CoreNet
   * checkpoint may have more rows than the vocabulary: only the first `vocabSize` count.
   */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>
  /** Bytes of all tensors together. */
  readonly byteLength: number
  /** Names of tensors that the model has no use for. */
  readonly unexpected: readonly string[]
  /** Oddities of the files that do not change the model, one sentence for each. */
  readonly remarks: readonly string[]
}

/**
 * Opens a directory with a config.json and its weights: `model.safetensors`, or shards with
 * `model.safetensors.index.json`, or one `.safetensors` file of another name. Tensors may have the
 * names of Hugging Face, or of CoreNet, which has no `transformer.` and calls an untied head
 * `classifier`. Only headers are read; that the data is all there follows from the file sizes.
 * The name of a bundled model, and `owner/name` of one that was pulled from the hub, stand for their
 * directories.
 *
 * @throws OpenELMError MODEL_NOT_FOUND when there is no such directory, IO_ERROR when a file cannot
 *   be read, INVALID_CONFIG or INVALID_CHECKPOINT naming the file and what is wrong with it.
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const root = (await locateModel(directory)) ?? resolve(directory)
  await requireDirectory(root)
  const config = await readConfig(join(root, 'config.json'))
  const eosTokenIds = await readEosTokenIds(root, config)
  const { files, source, remarks } = await readWeightFiles(root)
  const { dtype: quantised, layout } = declaredStorage(files)
  const stored = new NamedTensors(files.flatMap(tensorsOf), source)
  const tensors = new Map<string, CheckpointTensor>()
  for (const header of tensorHeaders(config, quantised ?? 'float32', undefined, layout)) {
    const types = quantised ? [header.dtype] : Object.values(floatTypes)
    tensors.set(header.name, stored.take(header, types))
  }

  const all = [...tensors.values()]
  return {
    directory: root,
    config,
    eosTokenIds,
    dtype: quantised ?? prevalentDType(all),
    layout,
    tensors,
    byteLength: totalBytes(all),
    unexpected: stored.unexpected,
    remarks,
  }
}

async function requireDirectory(root: string): Promise<void> {
  let cause: unknown
  let advice = ''
  try {
    if ((await stat(root)).isDirectory()) return
    advice = '; openelm convert makes one of a file of llama.cpp or PyTorch'
  } catch (error) {
    cause = error
  }
  throw new OpenELMError('MODEL_NOT_FOUND', `${root} is not a directory${advice}`, { cause })
}

interface Storage {
  /** Undefined for a float checkpoint. */
  readonly dtype: 'q8' | 'q4' | undefined
  readonly layout: Layout
}

/** What the metadata of every file says. */
function declaredStorage(files: readonly WeightFile[]): Storage {
  const [first, ...others] = files.map(file => ({
    file: file.file,
    dtype: declaredDType(file),
    layout: declaredLayout(file),
  }))
  for (const key of ['dtype', 'layout'] as const) {
    const differing = others.find(other => other[key] !== first![key])
    if (differing === undefined) continue
    throw invalid(differing.file, `its openelm.${key} differs from that of ${first!.file}`)
  }
  return first ?? { dtype: undefined, layout: 'rows' }
}

function declaredDType({ file, metadata }: WeightFile): 'q8' | 'q4' | undefined {
  const dtype = metadata.get('openelm.dtype')
  if (dtype === undefined) return undefined
  if (dtype !== 'q8' && dtype !== 'q4') {
    throw invalid(file, `expected openelm.dtype to be "q8" or "q4", received ${describe(dtype)}`)
  }
  const size = metadata.get('openelm.group_size')
  if (size === String(groupSize)) return dtype
  throw invalid(
    file,
    `expected openelm.group_size to be "${groupSize}", received ${describe(size)}`,
  )
}

function declaredLayout({ file, metadata }: WeightFile): Layout {
  const layout = metadata.get('openelm.layout')
  if (layout === undefined) return 'rows'
  if (layout === 'panels') return layout
  throw invalid(file, `expected openelm.layout to be "panels", received ${describe(layout)}`)
}

function tensorsOf({ file, tensors }: WeightFile) {
  return [...tensors].map(([name, entry]) => ({ ...entry, name, file }))
}

function prevalentDType(tensors: readonly CheckpointTensor[]): DType {
  const matrices = tensors.filter(tensor => tensor.shape.length > 1)
  const bytesOf = (type: TensorDType) =>
    totalBytes(matrices.filter(tensor => tensor.dtype === type))
  const dtypes = Object.keys(floatTypes) as (keyof typeof floatTypes)[]
  return dtypes.reduce((best, dtype) =>
    bytesOf(floatTypes[dtype]) > bytesOf(floatTypes[best]) ? dtype : best,
  )
}

function totalBytes(tensors: readonly { byteLength: number }[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0)
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${where}: ${what}`)
}

import { type OpenELMConfig, tensorSpecs } from './config.js'
import { countPanels, panelLayout, panelRows } from './panels.js'
import { byteLengthOf } from './safetensors.js'

/** What the matrices of a checkpoint are stored as. */
export const dtypes = ['float32', 'float16', 'bfloat16', 'q8', 'q4'] as const
/** How the matrices of a checkpoint are stored: in a float type, or quantised to 8 or 4 bits. */
export type DType = (typeof dtypes)[number]

/** The safetensors types that a checkpoint uses. */
export type TensorDType = 'F32' | 'F16' | 'BF16' | 'I8' | 'U8'

/** One tensor as it is stored. */
export interface TensorHeader {
  /** The Hugging Face name, e.g. `transformer.layers.0.attn.qkv_proj.weight`. */
  readonly name: string
  readonly dtype: TensorDType
  readonly shape: readonly number[]
  readonly byteLength: number
}

/** How the elements of a matrix follow each other: row by row, or packed as the CPU backend reads them. */
export type Layout = 'rows' | 'panels'

/** Elements of a row that share one scale. */
export const groupSize = 32

export const embeddingsName = 'transformer.token_embeddings.weight'
export const headName = 'lm_head.weight'

/** The float dtypes and what safetensors calls them. */
export const floatTypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const

export function isFloat(dtype: DType): dtype is keyof typeof floatTypes {
  return Object.hasOwn(floatTypes, dtype)
}

/**
 * The tensors of a checkpoint, in the order in which `writeCheckpoint` writes them: norms
 * first, so that every tensor starts at a multiple of its element size, then the matrices, each
 * quantised one with its scales right behind it.
 *
 * A float checkpoint stores everything in its dtype, unless `normType` says otherwise. A quantised one
 * stores norms as F32, and a matrix [rows, columns] in groups of 32 along the columns, the last padded
 * with elements of 0:
 * - q8: `X.weight` I8 [rows, groups, 32]; an element is int8 * scale
 * - q4: `X.weight` U8 [rows, groups, 16]; byte j of a group holds element j in its low nibble and
 *   element j + 16 in its high nibble; an element is (nibble - 8) * scale
 * - both: `X.weight_scale` F16 [rows, groups]
 *
 * A packed one, of layout `panels`, stores norms as F32, and a matrix [panels, elements of one], without
 * a tensor for the scales, which are in the panels.
 *
 * `matrixDType` tells which matrices of a q4 checkpoint are q8.
 */
export function tensorHeaders(
  config: OpenELMConfig,
  dtype: DType,
  normType?: TensorDType,
  layout: Layout = 'rows',
): TensorHeader[] {
  const ownType = isFloat(dtype) && layout === 'rows' ? floatTypes[dtype] : 'F32'
  const matrixHeaders = layout === 'rows' ? rowHeaders : panelHeaders
  const specs = tensorSpecs(config)
  const norms = specs.filter(spec => spec.kind === 'norm')
  const matrices = specs.filter(spec => spec.kind === 'matrix')
  return [
    ...norms.map(({ name, shape }) => headerOf(name, normType ?? ownType, shape)),
    ...matrices.flatMap(({ name, shape }) =>
      matrixHeaders(name, shape as [number, number], dtype, config),
    ),
  ]
}

function headerOf(name: string, dtype: TensorDType, shape: readonly number[]): TensorHeader {
  return { name, dtype, shape, byteLength: byteLengthOf({ dtype, shape }) }
}

/**
 * What a model or checkpoint of `dtype` keeps a matrix as. In q4 that is q8 for
 * - the embedding and the output matrix, whose errors reach every logit, and
 * - rows that groups do not fill, which the released models do not have: a padded last group wastes
 *   bits. llama.cpp leaves such rows in float16.
 *
 * native/model/load.h has the same rule for loading.
 */
export function matrixDType(dtype: DType, name: string, columns: number): DType {
  const reachesLogits = name === embeddingsName || name === headName
  const isRagged = columns % groupSize !== 0
  return dtype === 'q4' && (reachesLogits || isRagged) ? 'q8' : dtype
}

function rowHeaders(name: string, shape: readonly [number, number], dtype: DType): TensorHeader[] {
  if (isFloat(dtype)) return [headerOf(name, floatTypes[dtype], shape)]
  const [rows, columns] = shape
  const groups = Math.ceil(columns / groupSize)
  return [
    matrixDType(dtype, name, columns) === 'q8'
      ? headerOf(name, 'I8', [rows, groups, groupSize])
      : headerOf(name, 'U8', [rows, groups, groupSize / 2]),
    headerOf(`${name}_scale`, 'F16', [rows, groups]),
  ]
}

/** native/simd/kernels.h says where in a panel its weights and scales are. */
function panelHeaders(
  name: string,
  [rows, columns]: readonly [number, number],
  dtype: DType,
  config: OpenELMConfig,
): TensorHeader[] {
  const type = matrixDType(dtype, name, columns)
  const panels = countPanels(rows, panelLayout(name, config))
  const header = (tensorType: TensorDType, elementsOfRow: number) => [
    headerOf(name, tensorType, [panels, panelRows * elementsOfRow]),
  ]
  if (isFloat(type)) return header(floatTypes[type], 2 * Math.ceil(columns / 2))
  const groups = Math.ceil(columns / groupSize)
  const scaleBytes = 2
  return type === 'q8'
    ? header('I8', groups * (scaleBytes + groupSize))
    : header('U8', groups * (scaleBytes + groupSize / 2))
}

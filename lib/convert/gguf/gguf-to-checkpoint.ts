import { readRange } from '../../files.js'
import { decodeFloats, encodeFloats } from '../../floats.js'
import { path, readOptions } from '../../options.js'
import {
  type DType,
  floatTypes,
  isFloat,
  matrixDType,
  type TensorHeader,
} from '../../tensor-headers.js'
import { type WriteOptions, writeCheckpoint } from '../../write-checkpoint.js'
import { progressOptions } from '../progress-options.js'
import { type BlockType, splitBlocks } from './blocks.js'
import { matrixShape, reorderHalves, wholeHeads } from './layout.js'
import { type Gguf, openGguf, type StoredTensor } from './open-gguf.js'
import { isBlockType, recode, rowBytes } from './types.js'

/** Options of {@link ggufToCheckpoint}. */
export type GgufToCheckpointOptions = Pick<WriteOptions, 'onProgress' | 'signal'>

/**
 * Writes the model of a GGUF file as a checkpoint, with every number as it is: as q8 when all matrices
 * are blocks, as q4 when all that q4 keeps in 4 bits are Q4_0, else in the float type that they share,
 * else in float32, which holds the numbers of all types. Needs the package `@huggingface/gguf`.
 *
 * @param file the GGUF file, in F32, F16, BF16, Q8_0, Q6_K or Q4_0, also mixed, as llama.cpp's own Q4_0
 *   files are.
 * @param directory new or empty.
 * @throws OpenELMError INVALID_ARGUMENT, IO_ERROR, DEPENDENCY_NOT_FOUND without `@huggingface/gguf`,
 *   INVALID_GGUF, INVALID_TOKENIZER, and NOT_CONVERTIBLE when the model is none of OpenELM's; or the
 *   reason of `options.signal`. Then no part of the checkpoint is left.
 */
export async function ggufToCheckpoint(
  file: string,
  directory: string,
  options: GgufToCheckpointOptions = {},
): Promise<void> {
  path('file', file)
  path('directory', directory)
  const { onProgress, signal } = readOptions(options, progressOptions)
  const gguf = await openGguf(file)
  const dtype = dtypeOf(gguf.tensors)
  const source = (header: TensorHeader) => tensorData(gguf, header)
  const normType = (await hasExactNorms(gguf, dtype)) ? undefined : 'F32'
  const companions = new Map<string, Uint8Array>()
  if (gguf.tokenizer) {
    companions.set('tokenizer.json', Buffer.from(JSON.stringify(gguf.tokenizer, null, 1)))
  }
  if (gguf.chatTemplate !== undefined) {
    companions.set('chat_template.jinja', Buffer.from(gguf.chatTemplate))
  }
  await writeCheckpoint(directory, gguf.config, dtype, source, {
    normType,
    companions,
    onProgress,
    signal,
  })
}

function dtypeOf(tensors: readonly StoredTensor[]): DType {
  const matrices = tensors.filter(({ shape }) => shape.length === 2)
  if (matrices.every(({ type }) => isBlockType(type))) {
    const fitsQ4 = ({ source, shape, type }: StoredTensor) =>
      type === 'Q4_0' || matrixDType('q4', source, shape[1]!) === 'q8'
    return matrices.every(fitsQ4) ? 'q4' : 'q8'
  }
  const [first, ...others] = new Set(matrices.map(({ type }) => type))
  const dtypes = Object.keys(floatTypes) as (keyof typeof floatTypes)[]
  const shared = dtypes.find(dtype => floatTypes[dtype] === first)
  return others.length === 0 && shared !== undefined ? shared : 'float32'
}

/** Whether all norms, which GGUF keeps as F32, can be written in the type of the matrices. */
async function hasExactNorms({ file, tensors }: Gguf, dtype: DType): Promise<boolean> {
  if (!isFloat(dtype)) return true
  const type = floatTypes[dtype]
  for (const tensor of tensors.filter(({ shape }) => shape.length === 1)) {
    const bytes = await readRange(file, tensor.offset, rowBytes(tensor.shape[0]!, tensor.type))
    const values = decodeFloats(recode(bytes, tensor.type, 'F32'), 'F32')
    const rounded = decodeFloats(encodeFloats(values, type), type)
    if (!values.every((value, i) => Object.is(value, rounded[i]))) return false
  }
  return true
}

/** The bytes of a tensor of the checkpoint; those of values or of scales for a quantised one. */
async function* tensorData(gguf: Gguf, { name, dtype }: TensorHeader) {
  const isScale = name.endsWith('_scale')
  const source = isScale ? name.slice(0, -'_scale'.length) : name
  for (const tensor of gguf.tensors.filter(tensor => tensor.source === source)) {
    for await (const bytes of tensorRows(gguf, tensor)) {
      if (isScale) yield splitBlocks(bytes, tensor.type as BlockType).scales
      else if (dtype === 'I8') yield splitBlocks(recode(bytes, tensor.type, 'Q8_0'), 'Q8_0').values
      else if (dtype === 'U8') yield splitBlocks(bytes, 'Q4_0').values
      else yield recode(bytes, tensor.type, dtype)
    }
  }
}

async function* tensorRows({ file, config }: Gguf, tensor: StoredTensor) {
  const { headDim } = config
  const [rows, columns] = matrixShape(tensor.shape)
  const size = rowBytes(columns, tensor.type)
  for (const { row, count } of wholeHeads(rows, columns, headDim)) {
    const bytes = await readRange(file, tensor.offset + row * size, count * size)
    yield tensor.interleaved ? reorderHalves(bytes, size, headDim, 'separate') : bytes
  }
}

import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { readChatTemplate } from '../../chat/load-chat-template.js'
import type { Checkpoint, CheckpointTensor } from '../../checkpoint.js'
import { OpenELMError } from '../../errors.js'
import { ioError, readRange, writeWhole } from '../../files.js'
import type { FloatType } from '../../floats.js'
import { openUnpacked } from '../../open-unpacked.js'
import { oneOf, optional, path, type RulesOf, readOptions } from '../../options.js'
import { groupSize, isFloat, matrixDType } from '../../tensor-headers.js'
import type { WriteOptions } from '../../write-checkpoint.js'
import { progressOptions } from '../progress-options.js'
import { joinBlocks } from './blocks.js'
import { encodeGgufHeader, type MetadataValue, paddingOf, type TensorInfo } from './header.js'
import { type GgufTensor, ggufTensors, matrixShape, reorderHalves, wholeHeads } from './layout.js'
import { modelMetadata } from './model-metadata.js'
import { tokenizerMetadata } from './tokenizer-metadata.js'
import { type GgmlType, ggmlTypeIds, isBlockType, recode, rowBytes } from './types.js'

/** The types of a GGUF file's matrices, and llama.cpp's number for such a file. */
const fileTypes = {
  f32: { type: 'F32', fileType: 0 },
  f16: { type: 'F16', fileType: 1 },
  bf16: { type: 'BF16', fileType: 32 },
  q8_0: { type: 'Q8_0', fileType: 7 },
  q4_0: { type: 'Q4_0', fileType: 2 },
} as const

/** What the matrices of a GGUF file are stored as, in the words of llama.cpp. */
export type GgufDType = keyof typeof fileTypes

/** Every {@link GgufDType}. */
export const ggufDTypes = Object.keys(fileTypes) as readonly GgufDType[]

/** Options of {@link checkpointToGguf}. */
export interface CheckpointToGgufOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** What the matrices are stored as. Default what the checkpoint stores. */
  dtype?: GgufDType | undefined
}

const rules = {
  ...progressOptions,
  dtype: optional(oneOf(...ggufDTypes)),
} satisfies RulesOf<CheckpointToGgufOptions>

const sameAs = { float32: 'f32', float16: 'f16', bfloat16: 'bf16', q8: 'q8_0', q4: 'q4_0' } as const

/**
 * Writes a checkpoint with its tokenizer, and its chat template if it has one, as a GGUF file for
 * llama.cpp, Ollama and LM Studio. Norms are F32, matrices of the dtype asked for, with llama.cpp's own
 * exceptions: matrices with a row length that 32 does not divide are F16 in q8_0 and q4_0, and the
 * embedding and the output matrix are Q8_0 in q4_0. From a q8 or q4 checkpoint the blocks hold the same
 * numbers; everything else is rounded once.
 *
 * @param source the directory of the checkpoint, or the name of a bundled model.
 * @param file the file to write, which must not exist. It appears only when it is complete.
 * @throws OpenELMError NOT_CONVERTIBLE when llama.cpp lacks such a model or tokenizer, INVALID_ARGUMENT
 *   also when a quantised checkpoint would be quantised again, MODEL_NOT_FOUND, INVALID_CONFIG,
 *   INVALID_CHECKPOINT, INVALID_TOKENIZER, IO_ERROR; or the reason of `options.signal`.
 */
export async function checkpointToGguf(
  source: string,
  file: string,
  options: CheckpointToGgufOptions = {},
): Promise<void> {
  path('source', source)
  path('file', file)
  const { dtype: asked, onProgress, signal } = readOptions(options, rules)
  const checkpoint = await openUnpacked(source)
  const { config, directory } = checkpoint
  const dtype = asked ?? sameAs[checkpoint.dtype]
  if (existsSync(file)) throw ioError('write', file, new Error('it already exists'))
  const { type, fileType } = fileTypes[dtype]
  if (!isFloat(checkpoint.dtype) && isBlockType(type) && sameAs[checkpoint.dtype] !== dtype) {
    const message = `${directory} is quantised already, as ${checkpoint.dtype}`
    throw new OpenELMError('INVALID_ARGUMENT', message)
  }
  const tensors = placeTensors(ggufTensors(config), type)
  const { text: chatTemplate } = await readChatTemplate(directory)
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
  const metadata = new Map<string, MetadataValue>([
    ...modelMetadata(config),
    ['general.name', { type: 'string', value: basename(resolve(directory)) }],
    ['general.file_type', u32(fileType)],
    ...(isBlockType(type) ? [['general.quantization_version', u32(2)] as const] : []),
    ...(await tokenizerMetadata(directory, config)),
    ...(chatTemplate === undefined
      ? []
      : [['tokenizer.chat_template', { type: 'string', value: chatTemplate }] as const]),
  ])
  const total = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
  let done = 0

  async function* content() {
    yield encodeGgufHeader(metadata, tensors.map(infoOf))
    for (const tensor of tensors) {
      for await (const chunk of tensorData(checkpoint, tensor)) {
        signal?.throwIfAborted()
        yield chunk
        done += chunk.length
        onProgress?.(done, total)
      }
      yield new Uint8Array(paddingOf(tensor.byteLength))
    }
  }
  await writeWhole(file, content())
}

interface PlacedTensor extends GgufTensor {
  readonly type: GgmlType
  readonly offset: number
  readonly byteLength: number
}

function placeTensors(tensors: readonly GgufTensor[], dtype: GgmlType): PlacedTensor[] {
  let end = 0
  return tensors.map(tensor => {
    const type = typeOf(tensor, dtype)
    const [rows, columns] = matrixShape(tensor.shape)
    const byteLength = rows * rowBytes(columns, type)
    const offset = end
    end += byteLength + paddingOf(byteLength)
    return { ...tensor, type, offset, byteLength }
  })
}

function typeOf({ shape, source }: GgufTensor, dtype: GgmlType): GgmlType {
  const [, columns] = shape
  if (columns === undefined) return 'F32'
  if (isBlockType(dtype) && columns % groupSize !== 0) return 'F16'
  if (dtype !== 'Q4_0') return dtype
  return matrixDType('q4', source, columns) === 'q8' ? 'Q8_0' : 'Q4_0'
}

function infoOf({ name, shape, type, offset }: PlacedTensor): TensorInfo {
  return { name, dimensions: shape.toReversed(), typeId: ggmlTypeIds[type], offset }
}

async function* tensorData({ tensors, config }: Checkpoint, tensor: PlacedTensor) {
  const [rows, columns] = matrixShape(tensor.shape)
  const { headDim } = config
  const values = tensors.get(tensor.source)!
  const scales = tensors.get(`${tensor.source}_scale`)
  for (const { row, count } of wholeHeads(rows, columns, headDim)) {
    const first = tensor.firstRow + row
    const bytes = scales
      ? await readQuantized(values, scales, first, count, columns, tensor.type)
      : await readFloats(values, first, count, columns, tensor.type)
    const { interleaved } = tensor
    yield interleaved ? reorderHalves(bytes, bytes.length / count, headDim, 'interleaved') : bytes
  }
}

async function readFloats(
  { file, offset, dtype }: CheckpointTensor,
  row: number,
  count: number,
  columns: number,
  type: GgmlType,
): Promise<Uint8Array> {
  const stored = dtype as FloatType
  const size = rowBytes(columns, stored)
  return recode(await readRange(file, offset + row * size, count * size), stored, type)
}

async function readQuantized(
  values: CheckpointTensor,
  scales: CheckpointTensor,
  row: number,
  count: number,
  columns: number,
  type: GgmlType,
): Promise<Uint8Array> {
  const read = ({ file, offset, byteLength, shape }: CheckpointTensor) => {
    const size = byteLength / shape[0]!
    return readRange(file, offset + row * size, count * size)
  }
  const stored = values.dtype === 'I8' ? 'Q8_0' : 'Q4_0'
  const bytes = recode(joinBlocks(await read(values), await read(scales), stored), stored, type)
  // The last group of a row may be padded; blocks are never, for then the type is another.
  const padded = bytes.length / count
  const size = rowBytes(columns, type)
  if (size === padded) return bytes
  const rows = Array.from({ length: count }, (_, i) =>
    bytes.subarray(i * padded, i * padded + size),
  )
  return Buffer.concat(rows)
}

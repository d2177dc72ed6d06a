import type { GGUFParseOutput, GGUFTensorInfo } from '@huggingface/gguf'
import type { OpenELMConfig } from '../../config.js'
import { describe, OpenELMError } from '../../errors.js'
import { describeText } from '../../file-kind.js'
import { readBytes, withFile } from '../../files.js'
import { type GgufTensor, ggufTensors, matrixShape } from './layout.js'
import { MetadataReader } from './metadata-reader.js'
import { configFromMetadata } from './model-metadata.js'
import { tokenizerFromMetadata } from './tokenizer-from-metadata.js'
import { ggmlTypeIds, groupSizeOf, rowBytes, type StoredType } from './types.js'

/** A tensor and where it lies in the file. */
export interface StoredTensor extends GgufTensor {
  readonly type: StoredType
  readonly offset: number
}

export interface Gguf {
  readonly file: string
  readonly config: OpenELMConfig
  /** What a tokenizer.json would hold; undefined for LLaMA's vocabulary, or none. */
  readonly tokenizer: object | undefined
  /** What a chat_template.jinja would hold, if the file has one. */
  readonly chatTemplate: string | undefined
  /** In the order of the forward pass. */
  readonly tensors: readonly StoredTensor[]
}

/**
 * Opens a GGUF file of an OpenELM, or of a LLaMA that is one without norms of queries and keys. Only
 * its header is read; that the data is all there follows from the size of the file.
 *
 * @throws OpenELMError IO_ERROR; DEPENDENCY_NOT_FOUND without @huggingface/gguf; INVALID_GGUF,
 *   INVALID_CONFIG or INVALID_TOKENIZER when the file is malformed; NOT_CONVERTIBLE when it holds
 *   something that this package has no equal for.
 */
export async function openGguf(file: string): Promise<Gguf> {
  const { size, ...parsed } = await parse(file)
  const read = new MetadataReader(parsed.metadata as unknown as Record<string, unknown>, file)
  if (!parsed.littleEndian) throw read.invalid('expected little-endian numbers')

  const found = new Map(parsed.tensorInfos.map(info => [info.name, info]))
  if (found.size < parsed.tensorInfos.length) throw read.invalid('two tensors have one name')
  const shapeOf = (name: string) => found.get(name)?.shape.toReversed().map(Number)
  const config = configFromMetadata(read, shapeOf)
  const dataStart = Number(parsed.tensorDataOffset)
  const tensors = ggufTensors(config).map(tensor => {
    const info = found.get(tensor.name)
    if (info === undefined) throw read.invalid(`there is no tensor ${tensor.name}`)
    found.delete(tensor.name)
    return {
      ...tensor,
      type: checkType(info, tensor, read),
      offset: dataStart + Number(info.offset),
    }
  })
  const [unknown] = found.keys()
  if (unknown !== undefined) {
    const message = `${file}: OpenELM has no tensor such as ${describe(unknown)}`
    throw new OpenELMError('NOT_CONVERTIBLE', message)
  }
  checkPlaces(tensors, parsed.tensorInfoByteRange[1], size, read)
  const tokenizer = await tokenizerFromMetadata(read, config)
  const chatTemplate = read.string('tokenizer.chat_template', '') || undefined
  return { file, config, tokenizer, chatTemplate, tensors }
}

async function parse(file: string): Promise<GGUFParseOutput & { size: number }> {
  const { size, text } = await withFile(file, async (handle, size) => {
    return { size, text: describeText(await readBytes(handle, file, 0, Math.min(size, 512))) }
  })
  if (text !== undefined) {
    throw new OpenELMError('INVALID_GGUF', `${file}: expected a GGUF file, but ${text}`)
  }
  const gguf = await loadParser()
  try {
    return { ...(await gguf(file, { allowLocalFile: true })), size }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OpenELMError('INVALID_GGUF', `${file}: ${reason}`, { cause })
  }
}

/** The parser takes as much space as all else together, so only those who need it install it. */
async function loadParser() {
  try {
    return (await import('@huggingface/gguf')).gguf
  } catch (cause) {
    const message = 'reading GGUF needs another package: npm install @huggingface/gguf'
    throw new OpenELMError('DEPENDENCY_NOT_FOUND', message, { cause })
  }
}

function checkType(
  info: GGUFTensorInfo,
  { name, shape }: GgufTensor,
  read: MetadataReader,
): StoredType {
  const types = Object.keys(ggmlTypeIds) as StoredType[]
  const type = types.find(type => ggmlTypeIds[type] === Number(info.dtype))
  if (type === undefined) {
    const message = `${read.file}: ${name} is of ggml's type ${info.dtype}, not ${types.join(', ')}`
    throw new OpenELMError('NOT_CONVERTIBLE', message)
  }
  const received = info.shape.toReversed().map(Number)
  const group = groupSizeOf(type)
  const isRagged = group > 1 && (shape.length === 1 || shape[1]! % group !== 0)
  if (isRagged || String(received) !== String(shape)) {
    throw read.invalid(`expected ${name} to be [${shape}], received [${received}] ${type}`)
  }
  return type
}

/** Every tensor lies behind the header, inside the file and apart from the others. */
function checkPlaces(
  tensors: readonly StoredTensor[],
  headerBytes: number,
  fileBytes: number,
  read: MetadataReader,
): void {
  let end = headerBytes
  for (const { name, offset, type, shape } of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (offset < end)
      throw read.invalid(`${name} begins at byte ${offset}, inside of what precedes it`)
    const [rows, columns] = matrixShape(shape)
    end = offset + rows * rowBytes(columns, type)
    if (end > fileBytes) {
      throw read.invalid(`${name} ends at byte ${end}, but the file has ${fileBytes}`)
    }
  }
}

import { OpenELMError } from './errors.js'
import { describeText } from './file-kind.js'
import { parseJsonObject, readBytes, withFile } from './files.js'
import { describeJson, isJsonObject, type JsonObject } from './strict-json.js'

/** Bytes of one element of every safetensors type that is a whole number of bytes wide. */
export const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const

export type SafetensorsDType = keyof typeof elementBytes

/** Where one tensor lies. Tensors are row-major and little-endian. */
export interface SafetensorsEntry {
  /** A {@link SafetensorsDType}, or the name of a newer type, of which only the bytes are known. */
  readonly dtype: string
  readonly shape: readonly number[]
  /** Of its first byte in the file; the format promises no alignment. */
  readonly offset: number
  readonly byteLength: number
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
}

const lengthBytes = 8
const alignment = 64
const maxHeaderBytes = 64 * 2 ** 20
const maxRank = 8

/**
 * Reads and checks the header of a safetensors file; the data stays on the disk. Everything the
 * reference implementation refuses is refused, but for types that are newer than this reader, and also
 * equal names, empty names or names with a NUL, a rank above 8, a header above 64 MiB, and fractions,
 * exponents or signs in any number.
 *
 * @throws OpenELMError IO_ERROR when the file cannot be read, INVALID_CHECKPOINT naming the file and
 *   what is wrong with it.
 */
export async function readSafetensorsHeader(file: string): Promise<SafetensorsHeader> {
  return withFile(file, async (handle, size) => {
    const readExactly = async (length: number, position: number) => {
      const bytes = await readBytes(handle, file, position, length)
      if (bytes.length < length) throw invalid(file, 'the file shrank while it was read')
      return bytes
    }
    const start = await readBytes(handle, file, 0, Math.min(size, 512))
    const text = describeText(start)
    if (text !== undefined) throw invalid(file, `expected a safetensors file, but ${text}`)
    if (size < lengthBytes) throw invalid(file, `expected at least 8 bytes, received ${size}`)

    // The length is untrusted, and becomes a number only once it is known to be small.
    const claimed = start.readBigUInt64LE()
    if (claimed > maxHeaderBytes) {
      throw invalid(
        file,
        `expected a header of at most ${maxHeaderBytes} bytes, received ${claimed}`,
      )
    }
    const headerBytes = Number(claimed)
    const dataStart = lengthBytes + headerBytes
    if (dataStart > size) {
      throw invalid(file, `the header of ${headerBytes} bytes ends after the file of ${size} bytes`)
    }
    const header = await readExactly(headerBytes, lengthBytes)
    return parseHeader(header, dataStart, size, file)
  })
}

/**
 * The first bytes of a safetensors file whose data are the given tensors, one right after the
 * other. Padded with spaces so that the data begins at a multiple of 64, as a line of a processor's
 * cache does: packed weights are read where they lie.
 */
export function encodeSafetensorsHeader(
  tensors: readonly { name: string; dtype: SafetensorsDType; shape: readonly number[] }[],
  metadata: Record<string, string>,
): Uint8Array {
  let end = 0
  const entries = tensors.map(({ name, dtype, shape }) => {
    const begin = end
    end += byteLengthOf({ dtype, shape })
    return [name, { dtype, shape, data_offsets: [begin, end] }]
  })
  const json = Buffer.from(
    JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }),
  )
  const size = Math.ceil((lengthBytes + json.length) / alignment) * alignment
  const header = Buffer.alloc(size, ' ')
  header.writeBigUInt64LE(BigInt(header.length - lengthBytes))
  json.copy(header, lengthBytes)
  return header
}

/** Bytes of a tensor; NaN when they, or a product on the way, are beyond exact integers. */
export function byteLengthOf(tensor: {
  dtype: SafetensorsDType
  shape: readonly number[]
}): number {
  return [...tensor.shape, elementBytes[tensor.dtype]].reduce((product, factor) => {
    return Number.isSafeInteger(product * factor) ? product * factor : Number.NaN
  }, 1)
}

function parseHeader(
  bytes: Uint8Array,
  dataStart: number,
  fileSize: number,
  file: string,
): SafetensorsHeader {
  const json = parseJsonObject(bytes, file, 'INVALID_CHECKPOINT', { onlyNaturals: true })
  const metadata = parseMetadata(json.__metadata__ ?? {}, file)
  const tensors = new Map<string, SafetensorsEntry>()
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') continue
    if (name === '' || name.includes('\0')) {
      throw invalid(file, `expected a tensor name, received ${describeJson(name)}`)
    }
    tensors.set(name, parseEntry(entry, dataStart, `${file}: tensor ${describeJson(name)}`))
  }
  checkCoverage(tensors, dataStart, fileSize, file)
  return { metadata, tensors }
}

function parseMetadata(metadata: unknown, file: string): Map<string, string> {
  const where = `${file}: __metadata__`
  const entries = new Map<string, string>()
  for (const [key, value] of Object.entries(asObject(metadata, where))) {
    if (typeof value !== 'string') {
      const received = describeJson(value)
      throw invalid(where, `expected ${describeJson(key)} to be a string, received ${received}`)
    }
    entries.set(key, value)
  }
  return entries
}

function parseEntry(entry: unknown, dataStart: number, where: string): SafetensorsEntry {
  const { dtype, shape, data_offsets: offsets } = asObject(entry, where)
  if (typeof dtype !== 'string' || !/^[A-Z][A-Z0-9_]{0,31}$/.test(dtype)) {
    throw invalid(where, `expected dtype to be a type such as F32, received ${describeJson(dtype)}`)
  }
  if (!isNaturals(shape) || shape.length > maxRank) {
    const received = describeJson(shape)
    throw invalid(where, `expected shape to be up to ${maxRank} integers, received ${received}`)
  }
  if (!isNaturals(offsets) || offsets.length !== 2) {
    const received = describeJson(offsets)
    throw invalid(where, `expected data_offsets to be two integers, received ${received}`)
  }
  const [begin, end] = offsets as [number, number]
  const byteLength = isKnownDType(dtype) ? byteLengthOf({ dtype, shape }) : Math.max(0, end - begin)
  if (end - begin !== byteLength) {
    const needed = Number.isNaN(byteLength) ? 'more than 2^53' : byteLength
    throw invalid(where, `${dtype} [${shape}] takes ${needed} bytes, not ${begin} to ${end}`)
  }
  return { dtype, shape, offset: dataStart + begin, byteLength }
}

/**
 * Every byte of the data belongs to exactly one tensor. Otherwise a small file could stand for huge
 * tensors, and one file could carry another.
 */
function checkCoverage(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  dataStart: number,
  fileSize: number,
  file: string,
): void {
  const inOrder = [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength,
  )
  let end = dataStart
  for (const [name, { offset, byteLength }] of inOrder) {
    if (offset !== end) {
      const begins = `tensor ${describeJson(name)} begins at byte ${offset - dataStart} of the data`
      throw invalid(file, `${begins}, but those before it end at ${end - dataStart}`)
    }
    end += byteLength
  }
  if (end !== fileSize) {
    const [expected, received] = [end - dataStart, fileSize - dataStart]
    throw invalid(file, `the tensors take ${expected} bytes, the file holds ${received}`)
  }
}

function isKnownDType(dtype: string): dtype is SafetensorsDType {
  return Object.hasOwn(elementBytes, dtype)
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(item => Number.isSafeInteger(item) && item >= 0)
}

function asObject(value: unknown, where: string): JsonObject {
  if (isJsonObject(value)) return value
  throw invalid(where, `expected an object, received ${describeJson(value)}`)
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${where}: ${what}`)
}

import type { FileHandle } from 'node:fs/promises'
import { readBytes } from '../files.js'
import { describeJson } from '../strict-json.js'
import { invalid } from './invalid.js'

/** One file of a zip. */
export interface ZipEntry {
  readonly name: string
  /** Of its local header, which precedes the data. */
  readonly headerOffset: number
  readonly byteLength: number
  /** Whether its bytes stand in the zip as they are, neither compressed nor encrypted. */
  readonly isPlain: boolean
  /** Where the next entry, or the directory, begins. */
  readonly limit: number
}

/** The signature of a local header, with which every zip of at least one entry begins. */
export const localSignature = 0x04034b50

const centralSignature = 0x02014b50
const endSignature = 0x06054b50
const end64Signature = 0x06064b50
const locatorSignature = 0x07064b50
const [localBytes, centralBytes, endBytes, end64Bytes, locatorBytes] = [30, 46, 22, 56, 20]
const maxDirectoryBytes = 16 * 2 ** 20

/**
 * Reads the directory of a zip as PyTorch writes it: nothing follows it but its end records. Entries of
 * one name, or that overlap, are refused: two readers could see two different files in them.
 *
 * @returns the entries by name.
 * @throws OpenELMError IO_ERROR, or INVALID_CHECKPOINT.
 */
export async function readZipDirectory(
  handle: FileHandle,
  file: string,
  size: number,
): Promise<Map<string, ZipEntry>> {
  const { begin, end, count } = await findDirectory(handle, file, size)
  const bytes = await readBytes(handle, file, begin, end - begin)
  const found: Omit<ZipEntry, 'limit'>[] = []
  let position = 0
  while (position < bytes.length) {
    const entry = parseEntry(bytes, position, file)
    found.push(entry)
    position += entry.directoryBytes
  }
  if (found.length !== count) {
    throw invalid(file, `its directory has ${found.length} entries, not ${count}`)
  }
  return withLimits(found, begin, file)
}

/**
 * Where the data of an entry begin in the file.
 *
 * @throws OpenELMError IO_ERROR, or INVALID_CHECKPOINT when they are compressed or encrypted, or when the
 *   header before them tells another entry than the directory.
 */
export async function dataOffset(
  handle: FileHandle,
  file: string,
  { name, headerOffset, byteLength, isPlain, limit }: ZipEntry,
): Promise<number> {
  if (!isPlain) {
    const what = `its entry ${describeJson(name)} is compressed or encrypted`
    throw invalid(file, `${what}, which torch.save never does`)
  }
  const expected = Buffer.from(name)
  const header = await readBytes(handle, file, headerOffset, localBytes + expected.length)
  if (
    header.length < localBytes + expected.length ||
    header.readUInt32LE(0) !== localSignature ||
    header.readUInt16LE(8) !== 0 ||
    header.readUInt16LE(26) !== expected.length ||
    !header.subarray(localBytes).equals(expected)
  ) {
    throw invalid(file, `there is no ${describeJson(name)} where its directory says`)
  }
  const offset = headerOffset + localBytes + expected.length + header.readUInt16LE(28)
  if (offset + byteLength > limit) throw overlap(file, name)
  return offset
}

/** Where the directory lies, which the records at the very end of the file tell. */
async function findDirectory(handle: FileHandle, file: string, size: number) {
  const length = Math.min(size, endBytes + locatorBytes + end64Bytes)
  const tail = await readBytes(handle, file, size - length, length)
  const at = tail.length - endBytes
  if (at < 0 || tail.readUInt32LE(at) !== endSignature) {
    throw invalid(file, 'the end of the zip is missing: the file was not copied as a whole')
  }
  const narrow = {
    count: tail.readUInt16LE(at + 10),
    size: tail.readUInt32LE(at + 12),
    begin: tail.readUInt32LE(at + 16),
  }
  const wide = findZip64(tail, size - tail.length, file)
  const directory = { end: size - endBytes, ...(wide ?? narrow) }
  const agrees = (told: number, actual: number, max: number) => told === Math.min(actual, max)
  if (
    !agrees(narrow.count, directory.count, 0xffff) ||
    !agrees(narrow.size, directory.size, 0xffffffff) ||
    !agrees(narrow.begin, directory.begin, 0xffffffff)
  ) {
    throw invalid(file, 'the end records of the zip tell two different things')
  }
  if (directory.size > maxDirectoryBytes) {
    const expected = `expected a directory of at most ${maxDirectoryBytes} bytes`
    throw invalid(file, `${expected}, received ${directory.size}`)
  }
  if (directory.begin + directory.size !== directory.end) {
    throw invalid(file, 'the directory of the zip does not lie where its end record says')
  }
  return directory
}

/** What the records of zip64 tell, which stand right before the end record if there are any. */
function findZip64(tail: Buffer, tailOffset: number, file: string) {
  const locator = tail.length - endBytes - locatorBytes
  const at = locator - end64Bytes
  if (locator < 0 || tail.readUInt32LE(locator) !== locatorSignature) return undefined
  const isThere = at >= 0 && tail.readUInt32LE(at) === end64Signature
  if (!isThere || uint64(tail, locator + 8) !== tailOffset + at) {
    throw invalid(file, 'the end record of zip64 is not where it must be')
  }
  return {
    count: uint64(tail, at + 32),
    size: uint64(tail, at + 40),
    begin: uint64(tail, at + 48),
    end: tailOffset + at,
  }
}

function parseEntry(bytes: Buffer, at: number, file: string) {
  const isWhole = at + centralBytes <= bytes.length && bytes.readUInt32LE(at) === centralSignature
  const nameBytes = isWhole ? bytes.readUInt16LE(at + 28) : 0
  const extraBytes = isWhole ? bytes.readUInt16LE(at + 30) : 0
  const commentBytes = isWhole ? bytes.readUInt16LE(at + 32) : 0
  const directoryBytes = centralBytes + nameBytes + extraBytes + commentBytes
  if (!isWhole || at + directoryBytes > bytes.length) {
    throw invalid(file, `the directory of the zip is damaged at its byte ${at}`)
  }
  const nameEnd = at + centralBytes + nameBytes
  const name = bytes.toString('utf8', at + centralBytes, nameEnd)
  checkName(name, file)
  const extra = bytes.subarray(nameEnd, nameEnd + extraBytes)
  const sizes = [at + 24, at + 20, at + 42].map(position => bytes.readUInt32LE(position))
  const [unpacked, byteLength, headerOffset] = withZip64(sizes, extra) as [number, number, number]
  const isEncrypted = (bytes.readUInt16LE(at + 8) & 1) !== 0
  const method = bytes.readUInt16LE(at + 10)
  const isPlain = method === 0 && !isEncrypted && unpacked === byteLength
  return { name, headerOffset, byteLength, isPlain, directoryBytes }
}

/** Nothing is ever written under these names; but a file with such names was made to do harm. */
function checkName(name: string, file: string): void {
  const parts = name.split('/')
  const isPlain = (part: string) =>
    part !== '' && part !== '.' && part !== '..' && !/[\\\0\uFFFD]/.test(part)
  if (!parts.every(isPlain)) throw invalid(file, `it has an entry ${describeJson(name)}`)
}

/** Replaces each number that is all ones by the next of the 64-bit numbers in the extra field. */
function withZip64(numbers: readonly number[], extra: Buffer): number[] {
  let position = 0
  while (position + 4 <= extra.length && extra.readUInt16LE(position) !== 1) {
    position += 4 + extra.readUInt16LE(position + 2)
  }
  position += 4
  return numbers.map(number => {
    if (number !== 0xffffffff || position + 8 > extra.length) return number
    position += 8
    return uint64(extra, position - 8)
  })
}

function withLimits(
  entries: readonly Omit<ZipEntry, 'limit'>[],
  directoryBegin: number,
  file: string,
): Map<string, ZipEntry> {
  const byName = new Map<string, ZipEntry>()
  const inOrder = [...entries].sort((a, b) => a.headerOffset - b.headerOffset)
  for (const [i, entry] of inOrder.entries()) {
    const { name, headerOffset, byteLength } = entry
    const limit = inOrder[i + 1]?.headerOffset ?? directoryBegin
    const end = headerOffset + localBytes + Buffer.byteLength(name) + byteLength
    if (end > limit) throw overlap(file, name)
    if (byName.has(name)) throw invalid(file, `it has two entries ${describeJson(name)}`)
    byName.set(name, { ...entry, limit })
  }
  return byName
}

function overlap(file: string, name: string) {
  return invalid(file, `its entry ${describeJson(name)} reaches into what follows it`)
}

/** Beyond exact integers it is infinite, and no file is as large. */
function uint64(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at)
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : Infinity
}

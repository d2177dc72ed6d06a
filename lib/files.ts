import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { OpenELMError, type OpenELMErrorCode } from './errors.js'
import { hasUtf8Bom, isLfsPointer, lfsAdvice } from './file-kind.js'
import { describeJson, isJsonObject, type JsonObject, parseStrictJson } from './strict-json.js'

/** The IO_ERROR for a failed system call. */
export function ioError(action: string, file: string, cause: unknown): OpenELMError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new OpenELMError('IO_ERROR', `cannot ${action} ${file}: ${reason}`, { cause })
}

/**
 * The names in a directory. `readdir` of node:fs/promises ends the whole process where a worker is
 * terminated while it calls that (nodejs/node#59266).
 */
export const readDirectory = promisify(readdir)

/**
 * Opens a file for reading and tells its size in bytes. Only regular files: opening a FIFO would
 * wait for a writer for ever.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function openFile(file: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    const stats = await stat(file)
    if (!stats.isFile()) throw new Error('it is not a regular file')
    return { handle: await open(file), size: stats.size }
  } catch (cause) {
    throw ioError('read', file, cause)
  }
}

/**
 * Opens a file as {@link openFile} does, and closes it when `use` has ended. The package managers that
 * give Node file handles of their own (Yarn's PnP) have none that `await using` takes.
 *
 * @throws OpenELMError IO_ERROR, or whatever `use` throws.
 */
export async function withFile<Result>(
  file: string,
  use: (handle: FileHandle, size: number) => Promise<Result>,
): Promise<Result> {
  const { handle, size } = await openFile(file)
  try {
    return await use(handle, size)
  } finally {
    await handle.close()
  }
}

/**
 * Reads up to `length` bytes from byte `position` on; fewer come back only when the file ends first.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function readBytes(
  handle: FileHandle,
  file: string,
  position: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  let filled = 0
  try {
    while (filled < length) {
      const { bytesRead } = await handle.read(bytes, filled, length - filled, position + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
  } catch (cause) {
    throw ioError('read', file, cause)
  }
  return bytes.subarray(0, filled)
}

/**
 * Reads `length` bytes of a file from byte `position` on.
 *
 * @throws OpenELMError IO_ERROR, also when the file ends before.
 */
export async function readRange(file: string, position: number, length: number): Promise<Buffer> {
  const bytes = await withFile(file, handle => readBytes(handle, file, position, length))
  if (bytes.length === length) return bytes
  throw ioError('read', file, new Error(`it has no ${length} bytes from ${position} on`))
}

/**
 * Reads a file of at most `maxBytes` that holds one JSON object. A byte order mark, which some editors
 * write, is left out.
 *
 * @param parse {@link parseStrictJson}, unless told otherwise.
 * @throws OpenELMError IO_ERROR when the file cannot be read, `code` when its content is not that.
 */
export async function readJsonObject(
  file: string,
  maxBytes: number,
  code: OpenELMErrorCode,
  parse: (bytes: Uint8Array) => unknown = parseStrictJson,
): Promise<JsonObject> {
  const bytes = await withFile(file, (handle, size) => {
    if (size > maxBytes) {
      throw new OpenELMError(code, `${file}: expected at most ${maxBytes} bytes, received ${size}`)
    }
    return readBytes(handle, file, 0, size)
  })
  if (isLfsPointer(bytes)) throw new OpenELMError(code, `${file}: ${lfsAdvice}`)
  return jsonObject(() => parse(hasUtf8Bom(bytes) ? bytes.subarray(3) : bytes), file, code)
}

/**
 * {@link parseStrictJson} for a document that must be an object.
 *
 * @throws OpenELMError `code`, with a message that names the file.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  file: string,
  code: OpenELMErrorCode,
  options?: Parameters<typeof parseStrictJson>[1],
): JsonObject {
  return jsonObject(() => parseStrictJson(bytes, options), file, code)
}

function jsonObject(parse: () => unknown, file: string, code: OpenELMErrorCode): JsonObject {
  let document: unknown
  try {
    document = parse()
  } catch (cause) {
    throw new OpenELMError(code, `${file}: malformed JSON: ${(cause as Error).message}`, { cause })
  }
  if (isJsonObject(document)) return document
  const received = describeJson(document)
  throw new OpenELMError(code, `${file}: expected a JSON object, received ${received}`)
}

/**
 * Writes a file whose name never stands for half of it: the bytes go to a temporary file beside it,
 * which takes the name once it is complete and on the disk. A kill leaves at most a `.tmp` file.
 *
 * @throws OpenELMError IO_ERROR, or whatever `chunks` throws; then no file is left.
 */
export async function writeWhole(
  file: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`
  const failed = (cause: unknown) => {
    throw ioError('write', file, cause)
  }
  try {
    const handle = await open(temporary, 'wx').catch(failed)
    try {
      for await (const chunk of chunks) await writeFully(handle, chunk).catch(failed)
      await handle.sync().catch(failed)
    } finally {
      await handle.close()
    }
    await rename(temporary, file).catch(failed)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0
  while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten
}

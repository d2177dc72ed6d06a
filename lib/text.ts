import { readFile } from 'node:fs/promises'
import { OpenELMError } from './errors.js'
import { hasUtf8Bom, hasUtf16Bom, isLfsPointer, lfsAdvice } from './file-kind.js'
import { ioError } from './files.js'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads a whole file of text, see {@link decodeText}.
 *
 * @throws OpenELMError IO_ERROR, INVALID_DATA.
 */
export async function readText(file: string): Promise<string> {
  const bytes = await readFile(file).catch(cause => {
    throw ioError('read', file, cause)
  })
  return decodeText(bytes, file)
}

/**
 * The text of a file's bytes, without a byte order mark at the beginning of the file.
 *
 * @param where the name of the file, for errors.
 * @param begin where the bytes begin in the file.
 * @throws OpenELMError INVALID_DATA when they are not UTF-8, or a Git LFS pointer.
 */
export function decodeText(bytes: Uint8Array, where: string, begin = 0): string {
  const invalid = (what: string) => new OpenELMError('INVALID_DATA', `${where}: ${what}`)
  if (begin === 0) {
    if (isLfsPointer(bytes)) throw invalid(lfsAdvice)
    if (hasUtf16Bom(bytes)) throw invalid('expected UTF-8 text, received UTF-16')
    if (hasUtf8Bom(bytes)) bytes = bytes.subarray(3)
  }
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid('expected UTF-8 text')
  }
}

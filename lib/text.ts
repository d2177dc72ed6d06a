import { OpenELMError } from './errors.js'
import { hasUtf8Bom, hasUtf16Bom, isLfsPointer, lfsAdvice } from './file-kind.js'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The text of a file's bytes, for `perplexity`, `trainTokenizer` or a prompt: without a byte order mark,
 * and refused where it is no text rather than read with signs in place of what cannot be.
 *
 * @param where the name of the file, for errors.
 * @param begin where the bytes begin in the file. Default 0.
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

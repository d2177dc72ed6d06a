/** What the first bytes of a file tell about its kind. */

const lfsStart = 'version https://git-lfs.github.com/spec/'

/** What to say of a file for which {@link isLfsPointer} is true. */
export const lfsAdvice = 'it is a Git LFS pointer, not the file itself; run: git lfs pull'

/** Whether these bytes are the small text that Git keeps in place of a large file. */
export function isLfsPointer(bytes: Uint8Array): boolean {
  return asciiOf(bytes, lfsStart.length) === lfsStart
}

export function hasUtf8Bom(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
}

/** Whether the bytes begin with the byte order mark of UTF-16, which PowerShell writes. */
export function hasUtf16Bom(bytes: Uint8Array): boolean {
  return (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
}

/**
 * Says what text stands in place of a binary file, given its first bytes: "it is a Git LFS pointer …",
 * for example. Undefined when they are not text, as those of no binary format that we read are.
 */
export function describeText(start: Uint8Array): string | undefined {
  if (isLfsPointer(start)) return lfsAdvice
  if (start.length < shortestText || !start.every(isPrintable)) return undefined
  const text = Buffer.from(start).toString()
  if (/^\s*<(!doctype|html)/i.test(text)) return 'it is a web page: the download has failed'
  return `it is text that begins with ${JSON.stringify(text.split(/[\r\n]/, 1)[0]!.slice(0, 40))}`
}

/** So many bytes of a binary file may look like text by chance: a length and a few zeros. */
const shortestText = 9

function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte !== 0x7f) || (byte >= 0x09 && byte <= 0x0d)
}

function asciiOf(bytes: Uint8Array, length: number): string {
  return Buffer.from(bytes.subarray(0, length)).toString('latin1')
}

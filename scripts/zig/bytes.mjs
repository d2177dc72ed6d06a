/** The text that begins at an offset and ends before a zero. */
export function cString(bytes, offset) {
  return bytes.toString('utf8', offset, bytes.indexOf(0, offset))
}

export const listOf = (count, item) => Array.from({ length: count }, (_, index) => item(index))

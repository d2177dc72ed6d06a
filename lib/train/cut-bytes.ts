import { OpenELMError } from '../errors.js'
import { openFile, readBytes } from '../files.js'

/** The event loop turns after each. */
const chunkBytes = 2 ** 18

/** Of a piece of text or a line of JSON. */
const mostBytes = 2 ** 26

/** Is shown every unit of a text with its place, in order, and tells where a part ends, or -1. */
export type FindEnd = (unit: number, at: number) => number

export const lineEnds: FindEnd = (unit, at) => (unit === 0x0a ? at : -1)

/**
 * The parts of a file without the unit that each ends at, and where each begins.
 *
 * @throws OpenELMError IO_ERROR; INVALID_DATA when the file is empty, or a part of more than 64 MiB.
 */
export async function* cutBytes(
  file: string,
  findEnd: FindEnd,
): AsyncGenerator<[begin: number, bytes: Buffer]> {
  const { handle, size } = await openFile(file)
  try {
    if (size === 0) throw new OpenELMError('INVALID_DATA', `${file}: the file is empty`)
    let begin = 0
    let part: Buffer = Buffer.alloc(0)
    for (let position = 0; position < size; position += chunkBytes) {
      const chunk = await readBytes(handle, file, position, chunkBytes)
      part = Buffer.concat([part, chunk])
      for (let i = 0; i < chunk.length; i++) {
        const end = findEnd(chunk[i]!, position + i)
        if (end < 0) continue
        yield [begin, part.subarray(0, end - begin)]
        part = part.subarray(end + 1 - begin)
        begin = end + 1
      }
      if (part.length > mostBytes) {
        const what = `white space, or the end of a line, in the ${mostBytes} bytes from byte ${begin} on`
        throw new OpenELMError('INVALID_DATA', `${file}: expected ${what}`)
      }
    }
    yield [begin, part]
  } finally {
    await handle.close()
  }
}

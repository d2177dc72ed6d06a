import { buffer } from 'node:stream/consumers'
import { ioError } from '../files.js'
import { decodeText, readText } from '../text.js'

/**
 * The text of a file, of standard input for `-`, or of what is piped in where no file is named;
 * undefined when nothing is.
 */
export async function readInput(file: string | undefined): Promise<string | undefined> {
  if (file !== undefined && file !== '-') return await readText(file)
  if (file === undefined && process.stdin.isTTY) return undefined
  const bytes = await buffer(process.stdin).catch(cause => {
    throw ioError('read', 'standard input', cause)
  })
  return file === undefined && bytes.length === 0 ? undefined : decodeText(bytes, 'standard input')
}

import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { decodeText, OpenELMError } from '../index.js'

/**
 * The text of a file, of standard input for `-`, or of what is piped in where no file is named;
 * undefined when nothing is.
 */
export async function readInput(file: string | undefined): Promise<string | undefined> {
  if (file !== undefined && file !== '-')
    return decodeText(await bytesOf(file, readFile(file)), file)
  if (file === undefined && process.stdin.isTTY) return undefined
  const bytes = await bytesOf('standard input', buffer(process.stdin))
  return file === undefined && bytes.length === 0 ? undefined : decodeText(bytes, 'standard input')
}

async function bytesOf(name: string, reading: Promise<Buffer>): Promise<Buffer> {
  try {
    return await reading
  } catch (cause) {
    throw new OpenELMError('IO_ERROR', `cannot read ${name}: ${(cause as Error).message}`, {
      cause,
    })
  }
}

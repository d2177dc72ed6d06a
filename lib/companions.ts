import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError } from './files.js'

/** Files of a model directory that also fit a converted or quantised copy of its weights. */
const companionNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'generation_config.json',
] as const

/**
 * Those that the directory has, for `writeCheckpoint` to write beside the weights.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function readCompanions(directory: string): Promise<Map<string, Uint8Array>> {
  const companions = new Map<string, Uint8Array>()
  for (const name of companionNames) {
    const file = join(directory, name)
    try {
      companions.set(name, await readFile(file))
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError('read', file, cause)
    }
  }
  return companions
}

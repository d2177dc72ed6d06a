import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, readDirectory, readJsonObject } from './files.js'
import { type JsonObject, parseJson } from './strict-json.js'

const maxBytes = 64 * 1024 * 1024

/** The tokenizer.json of a directory, if it has one, or the file itself. */
export async function findTokenizerJson(source: string): Promise<string | undefined> {
  try {
    if (!(await stat(source)).isDirectory()) return source
    const name = 'tokenizer.json'
    return (await readDirectory(source)).includes(name) ? join(source, name) : undefined
  } catch (cause) {
    throw ioError('read', source, cause)
  }
}

/**
 * The content of a tokenizer.json of at most 64 MB.
 *
 * @throws OpenELMError IO_ERROR, or INVALID_TOKENIZER when it is not one JSON object.
 */
export function readTokenizerJson(file: string): Promise<JsonObject> {
  return readJsonObject(file, maxBytes, 'INVALID_TOKENIZER', parseJson)
}

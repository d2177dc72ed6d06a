import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { OpenELMError } from '../../errors.js'
import { ioError } from '../../files.js'
import { itemsOf, parseRow } from '../../json-parts.js'
import type { JsonObject } from '../../strict-json.js'
import { cutBytes, lineEnds } from '../cut-bytes.js'

/** A row of a file, as its JSON has it. */
export interface FileRow {
  readonly values: JsonObject
  /** For messages: `file: row 3`. The rows of a file of lines are numbered as its lines are. */
  readonly place: string
}

/**
 * The rows of a file, one after another: `.jsonl`, `.jsonlines` and `.ndjson` have an object in each
 * line, of which empty ones are left out; `.json` has one list of objects.
 *
 * @throws OpenELMError IO_ERROR; INVALID_DATA naming the file and the row.
 */
export async function* readFileRows(file: string): AsyncGenerator<FileRow, void> {
  let row = 0
  for await (const bytes of partsOf(file)) {
    const place = `${file}: row ${++row}`
    if (bytes.some(byte => !isSpace(byte))) yield { values: parseRow(bytes, place), place }
  }
}

async function* partsOf(file: string): AsyncGenerator<Uint8Array, void> {
  const extension = extname(file).toLowerCase()
  if (extension === '.json') {
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw ioError('read', file, cause)
    })
    yield* itemsOf(bytes, file)
  } else if (lineExtensions.includes(extension)) {
    for await (const [, bytes] of cutBytes(file, lineEnds)) yield bytes
  } else {
    const expected = 'JSON objects in lines (.jsonl), or one list of them (.json)'
    throw new OpenELMError('INVALID_DATA', `${file}: expected ${expected}`)
  }
}

const lineExtensions = ['.jsonl', '.jsonlines', '.ndjson']

function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13)
}

import { extname } from 'node:path'
import { OpenELMError } from '../errors.js'
import { openFile, readBytes } from '../files.js'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * The documents of a corpus: a `.jsonl` file has one in each line, the string `text` or `content` of a
 * JSON object; any other file is one document of plain text.
 *
 * @throws OpenELMError IO_ERROR when a file cannot be read, INVALID_DATA naming the file, and the line of
 *   a `.jsonl` file, when it is not UTF-8 text or has no documents.
 */
export async function readDocuments(files: readonly string[]): Promise<string[]> {
  const documents: string[] = []
  for (const file of files) {
    const text = await readText(file)
    if (extname(file) === '.jsonl') documents.push(...parseLines(text, file))
    else documents.push(text)
  }
  return documents
}

async function readText(file: string): Promise<string> {
  const { handle, size } = await openFile(file)
  await using _ = handle
  const bytes = await readBytes(handle, file, 0, size)
  if (bytes.length === 0) throw invalid(file, 'the file is empty')
  // A control character that no text has: this is a binary file.
  const nul = bytes.indexOf(0)
  if (nul >= 0) throw invalid(file, `expected text, but byte ${nul} is 0`)
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid(file, 'expected UTF-8 text')
  }
}

function* parseLines(text: string, file: string): Iterable<string> {
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const where = `${file}:${i + 1}`
    let value: { text?: unknown; content?: unknown } | null
    try {
      value = JSON.parse(line)
    } catch (error) {
      throw invalid(where, `malformed JSON: ${(error as Error).message}`)
    }
    const document = value?.text ?? value?.content
    if (typeof document !== 'string') throw invalid(where, 'expected a string "text" or "content"')
    yield document
  }
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_DATA', `${where}: ${what}`)
}

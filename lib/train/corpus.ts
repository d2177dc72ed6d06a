import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError, openFile, readBytes } from '../files.js'

/** What becomes of a document before it is tokenised; the defaults are those of OpenELM's training. */
export interface PieceOptions {
  /** Words of a piece; a word is what spaces delimit. Default 2048. */
  wordsPerPiece?: number | undefined
  /**
   * Pieces with fewer characters are left out. Counted in lower case, without ASCII punctuation, white
   * space as one space. Default 200.
   */
  minCharacters?: number | undefined
}

/** Bytes of a file; of a `.jsonl` file those of a line, and which characters of its document. */
interface Place {
  file: string
  begin: number
  end: number
  from: number
  to: number
}

/**
 * The documents of a corpus, normalised (NFC) and cut into pieces, each a sample of its own. A `.jsonl`
 * file has a document in each line, the string `text` or `content` of a JSON object; any other file is
 * one document of plain text.
 *
 * Only where the pieces lie is kept in memory: they are read again when they are asked for, so a corpus
 * may be larger than memory.
 */
export class Corpus {
  readonly #places: Place[] = []
  readonly #sha256 = createHash('sha256')

  /**
   * @throws OpenELMError IO_ERROR when a file cannot be read, INVALID_DATA naming the file, and the line
   *   of a `.jsonl` file, when it is not UTF-8 text or has no documents.
   */
  static async open(
    files: readonly string[],
    { wordsPerPiece = 2048, minCharacters = 200 }: PieceOptions = {},
  ): Promise<Corpus> {
    const corpus = new Corpus()
    for (const file of files) {
      const pieces = isLines(file) ? piecesOfLines : piecesOfText
      for await (const [place, text] of pieces(file, wordsPerPiece)) {
        const piece = text.normalize('NFC')
        if (countCharacters(piece) < minCharacters) continue
        corpus.#places.push(place)
        corpus.#sha256.update(piece)
      }
    }
    return corpus
  }

  get length(): number {
    return this.#places.length
  }

  /** Of all pieces, in hexadecimal. */
  get sha256(): string {
    return this.#sha256.copy().digest('hex')
  }

  /** @throws OpenELMError IO_ERROR or INVALID_DATA when the file is no longer what it was. */
  at(index: number): string {
    const { file, begin, end, from, to } = this.#places[index]!
    const text = decode(readRange(file, begin, end), file, begin)
    return (isLines(file) ? parseLine(text, file).slice(from, to) : text).normalize('NFC')
  }

  *[Symbol.iterator](): Generator<string> {
    for (let index = 0; index < this.length; index++) yield this.at(index)
  }

  /** The pieces, each with the space that it was cut off at: what the documents were, to learn words. */
  *withSpaces(): Generator<string> {
    for (const [index, { file, begin, from }] of this.#places.entries()) {
      const isFirst = (isLines(file) ? from : begin) === 0
      yield isFirst ? this.at(index) : ` ${this.at(index)}`
    }
  }
}

function isLines(file: string): boolean {
  return extname(file) === '.jsonl'
}

async function* piecesOfText(file: string, words: number): AsyncGenerator<[Place, string]> {
  for await (const [begin, bytes] of cutBytes(file, 0x20, words)) {
    const text = decode(bytes, file, begin)
    yield [{ file, begin, end: begin + bytes.length, from: 0, to: text.length }, text]
  }
}

async function* piecesOfLines(file: string, words: number): AsyncGenerator<[Place, string]> {
  let line = 0
  for await (const [begin, bytes] of cutBytes(file, 0x0a, 1)) {
    const where = `${file}:${++line}`
    const text = decode(bytes, file, begin)
    if (text.trim() === '') continue
    const document = parseLine(text, where)
    for (const [from, to] of cutWords(document, words)) {
      yield [{ file, begin, end: begin + bytes.length, from, to }, document.slice(from, to)]
    }
  }
}

const chunkBytes = 2 ** 20

/** Of a piece of text or a line of JSON. */
const mostBytes = 2 ** 26

/** What lies between every `count`-th `delimiter` of a file, and where each begins. */
async function* cutBytes(
  file: string,
  delimiter: number,
  count: number,
): AsyncGenerator<[begin: number, bytes: Buffer]> {
  const { handle, size } = await openFile(file)
  await using _ = handle
  if (size === 0) throw invalid(file, 'the file is empty')
  let begin = 0
  let parts: Buffer[] = []
  let left = count
  for (let position = 0; position < size; position += chunkBytes) {
    const chunk = await readBytes(handle, file, position, chunkBytes)
    let start = 0
    for (let at = chunk.indexOf(delimiter); at >= 0; at = chunk.indexOf(delimiter, at + 1)) {
      if (--left > 0) continue
      yield [begin, Buffer.concat([...parts, chunk.subarray(start, at)])]
      start = at + 1
      begin = position + start
      parts = []
      left = count
    }
    parts.push(chunk.subarray(start))
    if (position + chunk.length - begin > mostBytes) {
      const what = delimiter === 0x20 ? `${count} words` : 'a line'
      throw invalid(file, `expected ${what} in the ${mostBytes} bytes from byte ${begin} on`)
    }
  }
  yield [begin, Buffer.concat(parts)]
}

/** Runs of so many words: where each begins and ends. */
function* cutWords(document: string, words: number): Generator<[from: number, to: number]> {
  let from = 0
  let left = words
  for (let at = document.indexOf(' '); at >= 0; at = document.indexOf(' ', at + 1)) {
    if (--left > 0) continue
    yield [from, at]
    from = at + 1
    left = words
  }
  yield [from, document.length]
}

function readRange(file: string, begin: number, end: number): Buffer {
  const bytes = Buffer.alloc(end - begin)
  try {
    const descriptor = openSync(file, 'r')
    try {
      const bytesRead = readSync(descriptor, bytes, 0, bytes.length, begin)
      if (bytesRead < bytes.length) throw new Error('it has become shorter')
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throw ioError('read', file, cause)
  }
  return bytes
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A byte order mark is none of the text. */
function decode(bytes: Buffer, file: string, begin: number): string {
  // A control character that no text has: this is a binary file.
  const nul = bytes.indexOf(0)
  if (nul >= 0) throw invalid(file, `expected text, but byte ${begin + nul} is 0`)
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    throw invalid(file, 'expected UTF-8 text')
  }
  return begin === 0 && text.startsWith('\ufeff') ? text.slice(1) : text
}

function parseLine(line: string, where: string): string {
  let value: { text?: unknown; content?: unknown } | null
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw invalid(where, `malformed JSON: ${(error as Error).message}`)
  }
  const document = value?.text ?? value?.content
  if (typeof document === 'string') return document
  throw invalid(where, 'expected a string "text" or "content"')
}

function countCharacters(piece: string): number {
  const bare = piece
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\s+/g, ' ')
  let count = 0
  for (const _ of bare.trim()) count++
  return count
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_DATA', `${where}: ${what}`)
}

import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'
import { OpenELMError } from '../errors.js'
import { hasUtf16Bom } from '../file-kind.js'
import { ioError } from '../files.js'
import { decodeText } from '../text.js'
import { cutBytes, type FindEnd, lineEnds } from './cut-bytes.js'

/** What becomes of a document before it is tokenised; the defaults are those of OpenELM's training. */
export interface PieceOptions {
  /**
   * Words of a piece; a word is what spaces delimit. Where spaces are rare, a piece ends at other white
   * space, once it is 32 times as many bytes long. Default 2048.
   */
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
 * The documents of a corpus, normalised (NFC) and cut into pieces, each a sample of its own. A file that
 * ends in `.jsonl`, `.jsonlines`, `.ndjson` or `.json` has a document in each line, the string `text` or
 * `content` of a JSON object; tables (`.csv`, `.tsv`, `.parquet`) are refused; any other file is one
 * document of plain text.
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
    signal?: AbortSignal,
  ): Promise<Corpus> {
    const corpus = new Corpus()
    for (const file of files) {
      if (tableExtensions.includes(extname(file).toLowerCase())) {
        throw invalid(file, 'expected text, or JSON objects in lines (.jsonl), not a table')
      }
      const pieces = isLines(file) ? piecesOfLines : piecesOfText
      for await (const [place, text] of pieces(file, wordsPerPiece)) {
        signal?.throwIfAborted()
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
    return this.#read(this.#places[index]!)
  }

  *[Symbol.iterator](): Generator<string> {
    for (let index = 0; index < this.length; index++) yield this.at(index)
  }

  /** The pieces, each with the white space that it was cut off at: what the documents were, to learn words. */
  *withSpaces(): Generator<string> {
    for (const place of this.#places) {
      const key = isLines(place.file) ? 'from' : 'begin'
      yield this.#read({ ...place, [key]: Math.max(0, place[key] - 1) })
    }
  }

  #read({ file, begin, end, from, to }: Place): string {
    const text = decode(readRange(file, begin, end), file, begin)
    return (isLines(file) ? parseLine(text, file).slice(from, to) : text).normalize('NFC')
  }
}

const lineExtensions = ['.jsonl', '.jsonlines', '.ndjson', '.json']
const tableExtensions = ['.csv', '.tsv', '.parquet', '.arrow']

function isLines(file: string): boolean {
  return lineExtensions.includes(extname(file).toLowerCase())
}

async function* piecesOfText(file: string, words: number): AsyncGenerator<[Place, string]> {
  for await (const [begin, bytes] of cutBytes(file, pieceEnds(words))) {
    const text = decode(bytes, file, begin)
    yield [{ file, begin, end: begin + bytes.length, from: 0, to: text.length }, text]
  }
}

async function* piecesOfLines(file: string, words: number): AsyncGenerator<[Place, string]> {
  let line = 0
  for await (const [begin, bytes] of cutBytes(file, lineEnds)) {
    const where = `${file}:${++line}`
    const text = decode(bytes, file, begin)
    if (text.trim() === '') continue
    const document = parseLine(text, where)
    for (const [from, to] of cutText(document, pieceEnds(words))) {
      yield [{ file, begin, end: begin + bytes.length, from, to }, document.slice(from, to)]
    }
  }
}

/** Bytes, or UTF-16 units, for each of the words of a piece, of which texts with spaces need a third. */
const mostPerWord = 32

/** Ends a part at every `words`-th space, or at other white space when the part grows too long. */
function pieceEnds(words: number): FindEnd {
  let begin = 0
  let spaces = 0
  let other = -1
  let spacesAtOther = 0
  const endAt = (end: number, spacesLeft: number) => {
    begin = end + 1
    spaces = spacesLeft
    other = -1
    return end
  }
  return (unit, at) => {
    if (unit === 0x20) {
      if (++spaces === words) return endAt(at, 0)
    } else if (unit >= 0x09 && unit <= 0x0d) {
      other = at
      spacesAtOther = spaces
    }
    const isTooLong = at - begin >= words * mostPerWord && other >= begin
    return isTooLong ? endAt(other, spaces - spacesAtOther) : -1
  }
}

/** The parts of a text: where each begins and ends. */
function* cutText(text: string, findEnd: FindEnd): Generator<[from: number, to: number]> {
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const end = findEnd(text.charCodeAt(at), at)
    if (end < 0) continue
    yield [from, end]
    from = end + 1
  }
  yield [from, text.length]
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

function decode(bytes: Buffer, file: string, begin: number): string {
  // A control character that no text has: this is a binary file.
  const nul = bytes.indexOf(0)
  if (nul >= 0 && !hasUtf16Bom(bytes)) {
    throw invalid(file, `expected text, but byte ${begin + nul} is 0`)
  }
  return decodeText(bytes, file, begin)
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

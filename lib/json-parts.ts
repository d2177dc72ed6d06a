import { OpenELMError } from './errors.js'
import { hasUtf8Bom, isLfsPointer, lfsAdvice } from './file-kind.js'
import { describeJson, isJsonObject, type JsonObject, parseJson } from './strict-json.js'

/** The lines of a file, without the newlines behind them. */
export function* linesOf(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(newlineByte, start)
    const end = newline < 0 ? bytes.length : newline
    yield bytes.subarray(start, end)
    start = end + 1
  }
}

/**
 * The items of a file that holds one list in JSON, so that they can be parsed one by one. What is between
 * commas is not looked at, but for where texts and brackets end.
 *
 * @throws OpenELMError INVALID_DATA
 */
export function* itemsOf(bytes: Uint8Array, file: string): Generator<Uint8Array, void> {
  const fail = (what: string): never => {
    throw new OpenELMError('INVALID_DATA', `${file}: ${what}`)
  }
  const list = trim(hasUtf8Bom(bytes) ? bytes.subarray(3) : bytes)
  if (list[0] !== char('[')) fail('expected a list')
  let numItems = 0
  let start = 1
  let depth = 1
  for (let i = 1; i < list.length; i++) {
    const byte = list[i]!
    if (byte === char('"')) i = endOfText(list, i)
    else if (byte === char('[') || byte === char('{')) depth++
    else if (byte === char(']') || byte === char('}')) depth--
    if (depth > 1 || (depth === 1 && byte !== char(','))) continue
    const item = trim(list.subarray(start, i))
    const isEmptyList = depth === 0 && numItems === 0 && item.length === 0
    if (!isEmptyList) yield item
    numItems++
    start = i + 1
    if (depth > 0) continue
    if (byte !== char(']') || start < list.length) fail('malformed JSON behind the list')
    return
  }
  fail(`row ${numItems + 1}: malformed JSON: the file ends in it`)
}

/**
 * The row of a data set that a line, or an item of a list, holds.
 *
 * @param place for messages: `file: row 3`.
 * @throws OpenELMError INVALID_DATA unless it is a JSON object.
 */
export function parseRow(bytes: Uint8Array, place: string): JsonObject {
  let row: unknown
  try {
    row = parseJson(bytes)
  } catch (cause) {
    const what = isLfsPointer(bytes) ? lfsAdvice : `malformed JSON: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_DATA', `${place}: ${what}`, { cause })
  }
  if (isJsonObject(row)) return row
  throw new OpenELMError(
    'INVALID_DATA',
    `${place}: expected a JSON object, received ${describeJson(row)}`,
  )
}

const newlineByte = 10

function char(text: string): number {
  return text.charCodeAt(0)
}

/** Where the quotation mark is that ends a text, or the end of the bytes. */
function endOfText(bytes: Uint8Array, start: number): number {
  let i = start + 1
  while (i < bytes.length && bytes[i] !== char('"')) i += bytes[i] === char('\\') ? 2 : 1
  return i
}

function trim(bytes: Uint8Array): Uint8Array {
  const isSpace = (byte: number | undefined) =>
    byte === 32 || byte === newlineByte || byte === 13 || byte === 9
  let [start, end] = [0, bytes.length]
  while (start < end && isSpace(bytes[start])) start++
  while (end > start && isSpace(bytes[end - 1])) end--
  return bytes.subarray(start, end)
}

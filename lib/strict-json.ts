import { describe } from './errors.js'

/** An object read by {@link parseStrictJson}. It has no prototype, so `__proto__` is a key like any other. */
export interface JsonObject {
  [key: string]: unknown
}

const maxDepth = 32
const maxNumberLength = 32
const numberForm = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/
const naturalForm = /^(0|[1-9]\d*)$/

/**
 * Reads JSON that decides how bytes are interpreted, where a lenient reader is a way to smuggle.
 * `JSON.parse` keeps the last of several equal keys, and turns `1e3`, `1.0` and `-0` into integers;
 * two programs may then see two different files in the same bytes.
 *
 * On top of RFC 8259 this refuses: invalid UTF-8, a byte order mark, equal keys (compared after
 * unescaping), lone surrogates, nesting deeper than 32, and numbers that overflow a float64.
 * With `onlyNaturals` a number must be written as plain decimal digits.
 *
 * @throws SyntaxError saying what is wrong and where.
 */
export function parseStrictJson(bytes: Uint8Array, { onlyNaturals = false } = {}): unknown {
  const text = decode(bytes)
  let at = 0

  const fail = (what: string) => new SyntaxError(`${what} at character ${at}`)

  function peek(): string | undefined {
    while (' \t\n\r'.includes(text[at] ?? 'end')) at++
    return text[at]
  }

  function value(depth: number): unknown {
    if (depth > maxDepth) throw fail(`nesting deeper than ${maxDepth}`)
    switch (peek()) {
      case '{':
        return object(depth)
      case '[':
        return array(depth)
      case '"':
        return string()
      case 't':
        return word('true', true)
      case 'f':
        return word('false', false)
      case 'n':
        return word('null', null)
      default:
        return number()
    }
  }

  function items(close: string, readItem: () => void): void {
    at++
    if (peek() !== close) {
      readItem()
      while (peek() === ',') {
        at++
        readItem()
      }
    }
    expect(close)
  }

  function object(depth: number): JsonObject {
    const object: JsonObject = Object.create(null)
    items('}', () => {
      if (peek() !== '"') throw fail('expected a key')
      const key = string()
      if (key in object) throw fail(`the key ${describe(key)} appears twice, the second time`)
      expect(':')
      object[key] = value(depth + 1)
    })
    return object
  }

  function array(depth: number): unknown[] {
    const array: unknown[] = []
    items(']', () => array.push(value(depth + 1)))
    return array
  }

  function string(): string {
    const start = at++
    while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
    at++
    let value: string
    try {
      value = JSON.parse(text.slice(start, at))
    } catch {
      at = start
      throw fail('malformed string')
    }
    if (/\p{Surrogate}/u.test(value)) throw fail('a lone surrogate in the string that ends')
    return value
  }

  function number(): number {
    const start = at
    while ('+-.0123456789eE'.includes(text[at] ?? 'end')) at++
    const token = text.slice(start, Math.min(at, start + maxNumberLength + 1))
    const form = onlyNaturals ? naturalForm : numberForm
    const value = Number(token)
    if (token.length > maxNumberLength || !form.test(token) || !Number.isFinite(value)) {
      at = start
      throw fail(token === '' ? 'expected a value' : `malformed number ${token}`)
    }
    return value
  }

  function word<T>(spelling: string, value: T): T {
    if (!text.startsWith(spelling, at)) throw fail('expected a value')
    at += spelling.length
    return value
  }

  function expect(character: string): void {
    if (peek() !== character) throw fail(`expected ${character}`)
    at++
  }

  const document = value(0)
  if (peek() !== undefined) throw fail('something follows the value')
  return document
}

/**
 * Reads JSON as `JSON.parse` does: for files in which no offset depends on what a number is. A byte
 * order mark is skipped.
 *
 * @throws SyntaxError
 */
export function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(decode(bytes, { ignoreBOM: false }))
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** {@link describe} for a value that came from JSON, where an object has no class worth naming. */
export function describeJson(value: unknown): string {
  return isJsonObject(value) ? 'an object' : describe(value)
}

function decode(bytes: Uint8Array, { ignoreBOM = true } = {}): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM }).decode(bytes)
  } catch {
    throw new SyntaxError('invalid UTF-8')
  }
}

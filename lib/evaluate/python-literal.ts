const escapes: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}
const maxDepth = 16

/**
 * Reads a Python literal of lists, dictionaries with strings as keys, strings, integers, True, False and
 * None: what `repr` writes of such values, and what people write for them.
 *
 * @throws SyntaxError saying what is wrong and where.
 */
export function parsePythonLiteral(text: string): unknown {
  let at = 0

  const fail = (what: string) => new SyntaxError(`${what} at character ${at}`)

  function skip(pattern: RegExp): string {
    pattern.lastIndex = at
    const [found = ''] = pattern.exec(text) ?? []
    at += found.length
    return found
  }

  function peek(): string {
    skip(/[ \t\r\n]*/y)
    return text[at] ?? ''
  }

  function value(depth: number): unknown {
    if (depth > maxDepth) throw fail(`nesting deeper than ${maxDepth}`)
    const next = peek()
    if (next === '[') return items(']', () => value(depth + 1))
    if (next === '{') return dictionary(depth)
    if (next === "'" || next === '"') return strings()
    const word = skip(/-?\d+|True|False|None/y)
    if (word === '') throw fail('expected a value')
    if (word === 'None') return null
    return /[TF]/.test(word) ? word === 'True' : Number(word)
  }

  function items<Item>(close: string, item: () => Item): Item[] {
    const all: Item[] = []
    at++
    while (peek() !== close) {
      all.push(item())
      if (peek() === ',') at++
      else if (peek() !== close) throw fail(`expected ${close}`)
    }
    at++
    return all
  }

  function dictionary(depth: number): Record<string, unknown> {
    const entries = items('}', () => {
      if (peek() !== "'" && peek() !== '"') throw fail('expected a key')
      const key = strings()
      if (peek() !== ':') throw fail('expected :')
      at++
      return [key, value(depth + 1)] as const
    })
    return Object.fromEntries(entries)
  }

  /** Strings that follow each other are one. */
  function strings(): string {
    let joined = ''
    while (peek() === "'" || peek() === '"') joined += string()
    return joined
  }

  function string(): string {
    const quote = text[at++]!
    const plain = quote === "'" ? /[^'\\\n]*/y : /[^"\\\n]*/y
    let content = skip(plain)
    while (text[at] === '\\') {
      at++
      content += escaped() + skip(plain)
    }
    if (text[at] !== quote) throw fail('expected the end of a string')
    at++
    return content
  }

  function escaped(): string {
    const octal = skip(/[0-7]{1,3}/y)
    if (octal !== '') return String.fromCodePoint(Number.parseInt(octal, 8))
    const hexadecimal = skip(/x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}/y)
    if (hexadecimal !== '') {
      const codePoint = Number.parseInt(hexadecimal.slice(1), 16)
      if (codePoint > 0x10ffff) throw fail('a character beyond U+10FFFF')
      return String.fromCodePoint(codePoint)
    }
    const letter = text[at++] ?? ''
    return escapes[letter] ?? `\\${letter}`
  }

  const literal = value(0)
  if (peek() !== '') throw fail('something follows the value')
  return literal
}

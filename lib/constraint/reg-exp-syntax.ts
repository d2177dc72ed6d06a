import type { Range } from '../native-constraint.js'
import { basicPlane, type CodePoints, union, without } from './characters.js'

/** A regular expression as it was written. */
export type Pattern =
  | { readonly kind: 'characters'; readonly characters: CodePoints }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Pattern[] }
  | { readonly kind: 'repeat'; readonly body: Pattern; readonly min: number; readonly max: number }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'ahead'; readonly body: Pattern; readonly isNegative: boolean }

/** Why a pattern cannot be used, as the end of a sentence. */
export class PatternError extends Error {}

export interface PatternFlags {
  readonly ignoreCase?: boolean
  readonly dotAll?: boolean
  readonly multiline?: boolean
  readonly unicode?: boolean
  readonly unicodeSets?: boolean
}

const maxDepth = 100
const maxLength = 20_000
const digits: CodePoints = [[0x30, 0x39]]
const wordCharacters = union(digits, [[0x41, 0x5a]], [[0x5f, 0x5f]], [[0x61, 0x7a]])
const lineEnds = union([[0xa, 0xa]], [[0xd, 0xd]], [[0x2028, 0x2029]])
const spaces = union(
  [[9, 13]],
  [[0x20, 0x20]],
  [[0xa0, 0xa0]],
  [[0x1680, 0x1680]],
  [[0x2000, 0x200a]],
  [[0x2028, 0x2029]],
  [[0x202f, 0x202f]],
  [[0x205f, 0x205f]],
  [[0x3000, 0x3000]],
  [[0xfeff, 0xfeff]],
)
const classes: Readonly<Record<string, CodePoints>> = {
  d: digits,
  w: wordCharacters,
  s: spaces,
  D: without(basicPlane, digits),
  W: without(basicPlane, wordCharacters),
  S: without(basicPlane, spaces),
}
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 }

/**
 * Reads the source of a JavaScript regular expression, as far as it is regular.
 *
 * @throws PatternError
 */
export function parsePattern(source: string, flags: PatternFlags = {}): Pattern {
  if (source.length > maxLength) throw new PatternError(`longer than ${maxLength} characters`)
  if (flags.multiline) throw new PatternError('with the flag m')
  if (flags.unicodeSets) throw new PatternError('with the flag v')
  if (!isValid(source, flags.unicode ? 'u' : '')) throw new PatternError('not a valid one')
  if (!flags.unicode && /[\u{10000}-\u{10ffff}]/u.test(source)) {
    throw new PatternError('with a surrogate pair but without the flag u')
  }
  return new Parser(source, flags).parse()
}

/** Whether RegExp takes a pattern with these flags. */
export function isValid(source: string, flags: string): boolean {
  try {
    return new RegExp(source, flags) !== undefined
  } catch {
    return false
  }
}

/** Reads what RegExp has found to be well-formed. */
class Parser {
  readonly #units: readonly string[]
  readonly #flags: PatternFlags
  #at = 0
  #depth = 0

  constructor(source: string, flags: PatternFlags) {
    this.#units = [...source]
    this.#flags = flags
  }

  parse(): Pattern {
    const pattern = this.#choice()
    if (this.#at < this.#units.length) throw new PatternError('not a valid one')
    return pattern
  }

  #peek(): string {
    return this.#units[this.#at] ?? ''
  }

  #take(text: string): boolean {
    if (this.#units.slice(this.#at, this.#at + text.length).join('') !== text) return false
    this.#at += text.length
    return true
  }

  #choice(): Pattern {
    if (++this.#depth > maxDepth) throw new PatternError(`nested deeper than ${maxDepth}`)
    const parts = [this.#sequence()]
    while (this.#take('|')) parts.push(this.#sequence())
    this.#depth--
    return parts.length === 1 ? parts[0]! : { kind: 'choice', parts }
  }

  #sequence(): Pattern {
    const parts: Pattern[] = []
    while (this.#at < this.#units.length && this.#peek() !== '|' && this.#peek() !== ')') {
      parts.push(this.#quantified(this.#atom()))
    }
    return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts }
  }

  #quantified(body: Pattern): Pattern {
    const limits = this.#limits()
    if (!limits) return body
    this.#take('?')
    return { kind: 'repeat', body, min: limits[0], max: limits[1] }
  }

  #limits(): readonly [number, number] | undefined {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY]
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY]
    if (this.#take('?')) return [0, 1]
    const rest = this.#units.slice(this.#at, this.#at + 40).join('')
    const [text, min, comma, max] = /^\{(\d+)(,?)(\d*)\}/.exec(rest) ?? []
    if (text === undefined) return undefined
    this.#at += text.length
    if (!comma) return [Number(min), Number(min)]
    return [Number(min), max ? Number(max) : Number.POSITIVE_INFINITY]
  }

  #atom(): Pattern {
    if (this.#take('^')) return { kind: 'start' }
    if (this.#take('$')) return { kind: 'end' }
    if (this.#take('(')) return this.#group()
    if (this.#take('[')) return { kind: 'characters', characters: this.#class() }
    if (this.#take('.')) {
      return {
        kind: 'characters',
        characters: this.#flags.dotAll ? basicPlane : without(basicPlane, lineEnds),
      }
    }
    const characters = this.#take('\\') ? this.#escape(false) : single(this.#next())
    return { kind: 'characters', characters: this.#folded(characters) }
  }

  #group(): Pattern {
    let ahead: boolean | undefined
    if (this.#take('?')) {
      if (this.#take('!')) ahead = true
      else if (this.#take('=')) ahead = false
      else if (this.#take('<')) {
        if (this.#peek() === '=' || this.#peek() === '!') throw new PatternError('with look-behind')
        while (!this.#take('>')) this.#at++
      } else if (!this.#take(':')) throw new PatternError('with flags inside')
    }
    const body = this.#choice()
    if (!this.#take(')')) throw new PatternError('not a valid one')
    return ahead === undefined ? body : { kind: 'ahead', body, isNegative: ahead }
  }

  #next(): string {
    return this.#units[this.#at++] ?? ''
  }

  /** What stands behind a backslash. */
  #escape(inClass: boolean): CodePoints {
    const letter = this.#next()
    const known = Object.hasOwn(classes, letter) ? classes[letter] : undefined
    if (known) return known
    if (inClass && letter === 'b') return [[8, 8]]
    if (letter === 'b' || letter === 'B') throw new PatternError('with a word boundary')
    if (letter === 'k' || /[1-9]/.test(letter))
      throw new PatternError('with a reference to a group')
    if (letter === 'p' || letter === 'P') throw new PatternError('with a Unicode property')
    if (letter === '0' && /\d/.test(this.#peek())) throw new PatternError('with an octal escape')
    if (Object.hasOwn(controls, letter)) return single(controls[letter]!)
    if (letter === 'c') return single((this.#next().codePointAt(0) ?? 0) % 32)
    const code = letter === 'x' ? this.#hex(2) : letter === 'u' ? this.#unicode() : undefined
    return single(code ?? letter)
  }

  #unicode(): number | undefined {
    const code = this.#flags.unicode && this.#take('{') ? this.#hexUntilBrace() : this.#hex(4)
    if (code === undefined || code < 0xd800 || code > 0xdfff) return code
    if (code < 0xdc00 && this.#take('\\u')) {
      const low = this.#hex(4) ?? 0
      if (low >= 0xdc00 && low <= 0xdfff) return (code - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000
    }
    throw new PatternError('with half a surrogate pair')
  }

  #hex(length: number): number | undefined {
    const text = this.#units.slice(this.#at, this.#at + length).join('')
    if (text.length !== length || !/^[\da-f]+$/i.test(text)) return undefined
    this.#at += length
    return Number.parseInt(text, 16)
  }

  #hexUntilBrace(): number {
    let text = ''
    while (!this.#take('}')) text += this.#next()
    return Number.parseInt(text, 16)
  }

  /** What stands behind an opening bracket. */
  #class(): CodePoints {
    const isNegative = this.#take('^')
    const members: CodePoints[] = []
    while (!this.#take(']')) {
      const first = this.#member()
      const hasRange = this.#peek() === '-' && this.#units[this.#at + 1] !== ']'
      if (!hasRange || !isSingle(first)) {
        members.push(first)
        continue
      }
      this.#at++
      const last = this.#member()
      if (isSingle(last)) members.push([[first[0]![0], last[0]![0]]])
      else members.push(first, single('-'), last)
    }
    const all = this.#folded(union(...members))
    return isNegative ? without(basicPlane, all) : all
  }

  #member(): CodePoints {
    return this.#take('\\') ? this.#escape(true) : single(this.#next())
  }

  /** With the other case of each letter, where case does not matter. */
  #folded(characters: CodePoints): CodePoints {
    if (!this.#flags.ignoreCase) return characters
    const size = characters.reduce((sum, [first, last]) => sum + last - first + 1, 0)
    if (size > 0x8000) return characters
    const added: Range[] = []
    for (const [first, last] of characters) {
      for (let code = first; code <= last; code++) {
        for (const other of casesOf(String.fromCodePoint(code))) added.push([other, other])
      }
    }
    return union(characters, added)
  }
}

/** The other forms of a letter; of k and s, the two beyond ASCII that RegExp takes for them as well. */
function casesOf(letter: string): number[] {
  const forms = [letter.toLowerCase(), letter.toUpperCase()]
  if (/[kK]/.test(letter)) forms.push('\u212a')
  if (/[sS]/.test(letter)) forms.push('\u017f')
  return forms.filter(form => [...form].length === 1).map(form => form.codePointAt(0)!)
}

function single(character: string | number): CodePoints {
  const code = typeof character === 'number' ? character : (character.codePointAt(0) ?? 0)
  return [[code, code]]
}

function isSingle(characters: CodePoints): boolean {
  return characters.length === 1 && characters[0]![0] === characters[0]![1]
}

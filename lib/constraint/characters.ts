import type { NativeConstraint, Node, Range } from '../native-constraint.js'

/** Code points: ranges in order that do not touch. */
export type CodePoints = readonly Range[]

/** How a character of a set is written. */
export type Alphabet = (characters: CodePoints) => Node

/**
 * All characters of the Basic Multilingual Plane. Those beyond it are two UTF-16 units: what counts
 * lengths in units, as most JavaScript does, would disagree with what counts characters.
 */
export const basicPlane: CodePoints = [
  [0, 0xd7ff],
  [0xe000, 0xffff],
]

export function union(...sets: readonly CodePoints[]): CodePoints {
  const result: [number, number][] = []
  for (const [first, last] of sets.flat().toSorted((a, b) => a[0] - b[0])) {
    const before = result.at(-1)
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else result.push([first, last])
  }
  return result
}

/** The characters of `all` that are not in `some`. */
export function without(all: CodePoints, some: CodePoints): CodePoints {
  const result: Range[] = []
  for (const [first, last] of all) {
    let from = first
    for (const [begin, end] of some) {
      if (end < from || begin > last) continue
      if (begin > from) result.push([from, begin - 1])
      from = end + 1
    }
    if (from <= last) result.push([from, last])
  }
  return result
}

const surrogates: CodePoints = [[0xd800, 0xdfff]]

/** Characters as their UTF-8. */
export function plainAlphabet(regular: NativeConstraint): Alphabet {
  return characters => {
    const sequences = without(characters, surrogates).flatMap(range => sequencesOf(...range))
    return regular.alt(
      ...sequences.map(bytes => regular.seq(...bytes.map(range => regular.set(range)))),
    )
  }
}

const control: CodePoints = [[0, 0x1f]]
const special = union(control, [
  [0x22, 0x22],
  [0x5c, 0x5c],
])
const shortEscapes = new Map([
  [0x22, '\\"'],
  [0x5c, '\\\\'],
  [8, '\\b'],
  [9, '\\t'],
  [10, '\\n'],
  [12, '\\f'],
  [13, '\\r'],
])

/** Characters as `JSON.stringify` writes them in a string, each in one way. */
export function jsonAlphabet(regular: NativeConstraint): Alphabet {
  const plain = plainAlphabet(regular)
  return characters => {
    const escaped: Node[] = []
    for (const [first, last] of characters) {
      for (let unit = first; unit <= Math.min(last, 0x5c); unit++) {
        if (without([[unit, unit]], special).length > 0) continue
        const long = `\\u${unit.toString(16).padStart(4, '0')}`
        escaped.push(regular.text(shortEscapes.get(unit) ?? long))
      }
    }
    return regular.alt(plain(without(characters, special)), ...escaped)
  }
}

/** A character of a JSON string, in any way that JSON has but as a pair of escaped surrogates. */
export function anyJsonCharacter(regular: NativeConstraint, characters: CodePoints): Node {
  const hex = regular.set([0x30, 0x39], [0x41, 0x46], [0x61, 0x66])
  const hexButD = regular.set([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66])
  const d = regular.set([0x44, 0x44], [0x64, 0x64])
  const unit = regular.alt(
    regular.seq(hexButD, hex, hex, hex),
    regular.seq(d, regular.set([0x30, 0x37]), hex, hex),
  )
  const short = regular.alt(...[...'"\\/bfnrt'].map(letter => regular.text(letter)))
  const escaped = regular.alt(short, regular.text('u', unit))
  return regular.alt(
    plainAlphabet(regular)(without(characters, special)),
    regular.text('\\', escaped),
  )
}

/** The UTF-8 of all characters from one to another, as sequences of byte ranges. */
function sequencesOf(first: number, last: number): Range[][] {
  const split = (at: number) => [...sequencesOf(first, at), ...sequencesOf(at + 1, last)]
  for (const end of [0x7f, 0x7ff, 0xffff]) if (first <= end && end < last) return split(end)
  for (const bits of last > 0x7f ? [6, 12, 18] : []) {
    const mask = 2 ** bits - 1
    if ((first & ~mask) === (last & ~mask)) continue
    if ((first & mask) !== 0) return split(first | mask)
    if ((last & mask) !== mask) return split((last & ~mask) - 1)
  }
  const from = Buffer.from(String.fromCodePoint(first))
  const to = Buffer.from(String.fromCodePoint(last))
  return [Array.from(from, (byte, i): Range => [byte, to[i]!])]
}

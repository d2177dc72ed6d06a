import type { NativeConstraint, Node } from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { type Alphabet, anyJsonCharacter, basicPlane, jsonAlphabet } from './characters.js'
import { type Choice, choices } from './choices.js'
import { integers, numbers } from './numbers.js'

/** How deep values nest of which a schema says nothing. */
const maxDepth = 16

/**
 * JSON as a model is to write it: without newlines, and with at most one space, behind commas and colons
 * only. Small models would else print white space without end.
 */
export class JsonText {
  readonly regular: NativeConstraint
  /** Characters that are written in one way only: of keys, so that no key comes twice, and of patterns. */
  readonly alphabet: Alphabet
  /** At most one space. */
  readonly gap: Node
  readonly #anyCharacter: Node
  readonly #basicCharacter: Node
  readonly #keyCharacter: Node
  readonly #values: Node[] = []

  constructor(regular: NativeConstraint) {
    this.regular = regular
    this.alphabet = memoized(jsonAlphabet(regular))
    this.gap = regular.optional(regular.text(' '))
    this.#anyCharacter = anyJsonCharacter(regular, [...basicPlane, [0x10000, 0x10ffff]])
    this.#basicCharacter = anyJsonCharacter(regular, basicPlane)
    this.#keyCharacter = this.alphabet(basicPlane)
  }

  /** What a plain text of the Basic Multilingual Plane is made of, wherever it may be any. */
  get characters(): ReadonlySet<Node> {
    return new Set([this.#anyCharacter, this.#basicCharacter, this.#keyCharacter])
  }

  get keyContent(): Node {
    return this.regular.repeat(this.#keyCharacter, 0)
  }

  /** A string of so many characters, without quotes; in the way of keys where it is matched by others. */
  content(min: number, max: number, isKey = false): Node {
    const free = max === Number.POSITIVE_INFINITY ? this.#anyCharacter : this.#basicCharacter
    return this.regular.repeat(isKey ? this.#keyCharacter : free, min, max)
  }

  quoted(content: Node): Node {
    const quote = this.regular.text('"')
    return this.regular.seq(quote, content, quote)
  }

  /** Values of a type of which nothing else is known. */
  any(type: string, depth = maxDepth): Node {
    const { regular } = this
    switch (type) {
      case 'null':
        return regular.text('null')
      case 'boolean':
        return regular.alt(regular.text('true'), regular.text('false'))
      case 'string':
        return this.quoted(this.content(0, Number.POSITIVE_INFINITY))
      case 'integer':
        return integers(regular)
      case 'number':
        return numbers(regular)
      case 'array':
        return regular.text('[', this.rows(this.anyValue(depth - 1), 0, maxItems, ']'))
      default: {
        const key = this.quoted(this.keyContent)
        const member = regular.seq(key, regular.text(':'), this.gap, this.anyValue(depth - 1))
        return regular.text('{', this.rows(member, 0, maxItems, '}'))
      }
    }
  }

  /** Any value: of numbers, strings and the like alone at depth 0. */
  anyValue(depth = maxDepth): Node {
    const types = depth > 0 ? ['array', 'object'] : ['null', 'boolean', 'string', 'number']
    const simple = depth > 0 ? this.anyValue(0) : this.regular.empty
    this.#values[depth] ??= this.regular.alt(simple, ...types.map(type => this.any(type, depth)))
    return this.#values[depth]
  }

  /** From `min` to `max` times the same, with commas between, and what closes them. */
  rows(row: Node, min: number, max: number, close: string): Node {
    const { regular } = this
    const end = regular.text(close)
    const more = this.moreRows(row, Math.max(0, min - 1), max - 1)
    const some = max < 1 ? regular.empty : regular.seq(row, more, end)
    return min === 0 ? regular.alt(end, some) : some
  }

  /** The same behind others. */
  moreRows(row: Node, min: number, max: number): Node {
    return this.regular.repeat(this.regular.seq(this.regular.text(','), this.gap, row), min, max)
  }

  /** One of these values. */
  *literals(values: readonly unknown[]): Steps<Node> {
    const simple: Choice[] = []
    const others: Node[] = []
    for (const [i, value] of values.entries()) {
      if (i % 1024 === 1023) yield ''
      if (typeof value === 'object' && value !== null) others.push(this.#literal(value))
      else simple.push({ bytes: Buffer.from(JSON.stringify(value)), tail: this.regular.epsilon })
    }
    return this.regular.alt(yield* choices(this.regular, simple), ...others)
  }

  #literal(value: unknown): Node {
    const { regular, gap } = this
    const comma = regular.seq(regular.text(','), gap)
    const joined = (parts: readonly Node[]) =>
      regular.seq(...parts.flatMap((part, i) => (i === 0 ? [part] : [comma, part])))
    if (Array.isArray(value)) {
      const parts = value.map(item => this.#literal(item))
      return regular.seq(regular.text('['), joined(parts), regular.text(']'))
    }
    if (typeof value !== 'object' || value === null) return regular.text(JSON.stringify(value))
    const parts = Object.entries(value).map(([key, member]) =>
      regular.seq(regular.text(`${JSON.stringify(key)}:`), gap, this.#literal(member)),
    )
    return regular.seq(regular.text('{'), joined(parts), regular.text('}'))
  }

  /** The strings of a set that are none of these texts, each in the one way that the set writes it. */
  butNot(node: Node, texts: readonly Uint8Array[], from = 0): Node {
    const { regular } = this
    if (node === regular.empty || texts.length === 0) return node
    const ends = texts.some(text => text.length === from)
    const branches = regular.accepts(node) && !ends ? [regular.epsilon] : []
    const nexts = new Map<Node, [number, number][]>()
    for (const [byte, after] of regular.nexts(node).entries()) {
      const going = texts.filter(text => text[from] === byte)
      const next = this.butNot(after, going, from + 1)
      if (next === regular.empty) continue
      const ranges = nexts.get(next)
      if (ranges) ranges.push([byte, byte])
      else nexts.set(next, [[byte, byte]])
    }
    for (const [next, ranges] of nexts) branches.push(regular.seq(regular.set(...ranges), next))
    return regular.alt(...branches)
  }
}

/** A text as it stands between quotes. */
export function inQuotes(text: unknown): string {
  return JSON.stringify(text).slice(1, -1)
}

const maxItems = Number.POSITIVE_INFINITY

function memoized(alphabet: Alphabet): Alphabet {
  const known = new Map<string, Node>()
  return characters => {
    const key = characters.join(';')
    const node = known.get(key) ?? alphabet(characters)
    known.set(key, node)
    return node
  }
}

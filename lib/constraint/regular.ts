import { OpenELMError } from '../errors.js'
import type { Steps } from '../steps.js'

/**
 * A set of byte strings, and thereby a state of the machine that reads one: what may still come. The
 * index of a node of {@link Regular}; equal indices are equal sets.
 */
export type Node = number

/** Inclusive. */
export type Range = readonly [first: number, last: number]

type Kind = 'empty' | 'epsilon' | 'set' | 'seq' | 'alt' | 'repeat' | 'ref'

const maxNodes = 2 ** 20
const maxAlternatives = 4096
const maxRows = 2 ** 15
const unknown = -1

/** @throws always: what the caller gave takes more than anybody should wait for. */
export function tooComplex(what: string): OpenELMError {
  return new OpenELMError('INVALID_ARGUMENT', `the response constraint is too complex: ${what}`, {
    argument: 'options.responseConstraint',
  })
}

/**
 * Regular expressions over bytes, with references, by which a language may contain itself. Each node
 * exists once. What may follow a byte, {@link step}, is Brzozowski's derivative; it is kept in a table
 * with a row of 256 for each state, so that reading a byte again is one look.
 *
 * Memory is bounded: whoever makes too many nodes gets an error, and a table that is full is begun anew.
 */
export class Regular {
  /** No string at all. */
  readonly empty: Node
  /** The empty string alone. */
  readonly epsilon: Node
  /** How many derivatives were computed, for whoever bounds them. */
  work = 0

  readonly #kinds: Kind[] = []
  readonly #first: Node[] = []
  readonly #second: Node[] = []
  readonly #accepts: boolean[] = []
  readonly #sets: (Uint32Array | undefined)[] = []
  readonly #members: (readonly Node[] | undefined)[] = []
  readonly #limits: (readonly [min: number, max: number] | undefined)[] = []
  readonly #known = new Map<string | number, Node>()
  readonly #references: Node[] = []
  /** By reference, or {@link unknown}. */
  readonly #definitions: Node[] = []

  #rowOf = new Int32Array(1024).fill(unknown)
  #table = new Int32Array(64 * 256).fill(unknown)
  #numRows = 0

  constructor() {
    this.empty = this.#add('empty', false)
    this.epsilon = this.#add('epsilon', true)
  }

  get numNodes(): number {
    return this.#kinds.length
  }

  /** Whether the empty string is in the set, that is, whether nothing has to come any more. */
  accepts(node: Node): boolean {
    return this.#accepts[node]!
  }

  /** Strings of one byte. */
  set(...ranges: readonly Range[]): Node {
    const bits = new Uint32Array(8)
    for (const [first, last] of ranges) {
      for (let byte = first; byte <= last; byte++) bits[byte >> 5]! |= 1 << (byte & 31)
    }
    return this.#setOf(bits)
  }

  /** The bytes of a text, and then what `tail` says. */
  text(bytes: string | Uint8Array, tail = this.epsilon): Node {
    const units = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    let node = tail
    for (let i = units.length - 1; i >= 0; i--) {
      node = this.seq(this.set([units[i]!, units[i]!]), node)
    }
    return node
  }

  /** One after the other. */
  seq(...parts: readonly Node[]): Node {
    return parts.reduceRight((rest, part) => this.#pair(part, rest), this.epsilon)
  }

  /** Any of them. */
  alt(...parts: readonly Node[]): Node {
    return this.#union(parts)
  }

  optional(node: Node): Node {
    return this.#union([this.epsilon, node])
  }

  /** From `min` to `max` strings of a set, one after the other. */
  repeat(body: Node, min: number, max = Number.POSITIVE_INFINITY): Node {
    if (max < min || (min > 0 && body === this.empty)) return this.empty
    if (max === 0 || body === this.empty || body === this.epsilon) return this.epsilon
    if (min === 1 && max === 1) return body
    const least = this.accepts(body) ? 0 : min
    return this.#intern(`r${body},${least},${max}`, () => {
      const node = this.#add('repeat', least === 0)
      this.#first[node] = body
      this.#limits[node] = [least, max]
      return node
    })
  }

  /**
   * A set that is defined later, and may then contain itself, but not begin with itself.
   *
   * @param accepts whether the empty string will be in it.
   */
  reference(accepts = false): Node {
    const node = this.#add('ref', accepts)
    this.#first[node] = this.#definitions.push(unknown) - 1
    this.#references.push(node)
    return node
  }

  define(reference: Node, node: Node): void {
    this.#definitions[this.#first[reference]!] = node
  }

  /** One of these texts, each followed by what its tail says. */
  *choices(entries: readonly { bytes: Uint8Array; tail: Node }[], from = 0): Steps<Node> {
    if (entries.length === 1) return this.text(entries[0]!.bytes.subarray(from), entries[0]!.tail)
    let at = from
    for (;;) {
      const ended: Node[] = []
      const groups = new Map<number, { bytes: Uint8Array; tail: Node }[]>()
      for (const [i, entry] of entries.entries()) {
        if (i % 1024 === 1023) yield ''
        const byte = entry.bytes[at]
        const group = byte === undefined ? undefined : groups.get(byte)
        if (byte === undefined) ended.push(entry.tail)
        else if (group) group.push(entry)
        else groups.set(byte, [entry])
      }
      if (ended.length === 0 && groups.size === 1) {
        at++
        continue
      }
      const branches: Node[] = ended
      for (const [byte, group] of groups) {
        branches.push(this.#pair(this.set([byte, byte]), yield* this.choices(group, at + 1)))
        yield ''
      }
      return entries.length === 0
        ? this.empty
        : this.text(entries[0]!.bytes.subarray(from, at), this.#union(branches))
    }
  }

  /** What may follow a byte. */
  step(node: Node, byte: number): Node {
    const row = this.#rowOf[node]!
    if (row !== unknown) {
      const next = this.#table[row * 256 + byte]!
      if (next !== unknown) return next
    }
    const kind = this.#kinds[node]!
    if (kind === 'empty' || kind === 'epsilon') return this.empty
    if (kind === 'set') return this.#has(node, byte) ? this.epsilon : this.empty
    const first = this.#first[node]!
    if (kind === 'seq' && this.#kinds[first] === 'set') {
      return this.#has(first, byte) ? this.#second[node]! : this.empty
    }
    const next = this.#derive(node, kind, byte)
    this.#table[this.#rowFor(node) * 256 + byte] = next
    return next
  }

  /** The state behind some bytes. */
  read(node: Node, bytes: Uint8Array): Node {
    let state = node
    for (const byte of bytes) state = this.step(state, byte)
    return state
  }

  /** The states that a state is a choice of. */
  alternatives(node: Node): readonly Node[] {
    return this.#members[node] ?? [node]
  }

  /** How often one of `bodies` may still come first in a state; 0 if the state begins otherwise. */
  repeatsFirst(node: Node, bodies: ReadonlySet<Node>): number {
    const first = this.#kinds[node] === 'seq' ? this.#first[node]! : node
    if (this.#kinds[first] !== 'repeat' || !bodies.has(this.#first[first]!)) return 0
    return this.#limits[first]![1]
  }

  /** The references that stand for no string at all, because each string of them would hold another. */
  *barren(): Steps<Set<Node>> {
    const references = this.#references
    const fertile = new Set<Node>()
    for (let grew = true; grew; ) {
      grew = false
      const known = new Map<Node, boolean>()
      for (const reference of references) {
        if (fertile.has(reference)) continue
        yield ''
        const definition = this.#definitions[this.#first[reference]!]!
        if (definition === unknown || !this.#isFertile(definition, fertile, known)) continue
        fertile.add(reference)
        grew = true
      }
    }
    return new Set(references.filter(reference => !fertile.has(reference)))
  }

  #isFertile(node: Node, fertile: ReadonlySet<Node>, known: Map<Node, boolean>): boolean {
    for (let at = node; ; at = this.#second[at]!) {
      const before = known.get(at)
      if (before !== undefined) return before
      const kind = this.#kinds[at]!
      if (kind === 'seq') {
        if (this.#isFertile(this.#first[at]!, fertile, known)) continue
        known.set(node, false)
        return false
      }
      const is =
        kind === 'alt'
          ? this.#members[at]!.some(member => this.#isFertile(member, fertile, known))
          : kind === 'repeat'
            ? this.#accepts[at]! || this.#isFertile(this.#first[at]!, fertile, known)
            : kind === 'ref'
              ? fertile.has(at)
              : kind !== 'empty'
      known.set(at, is)
      return is
    }
  }

  #derive(node: Node, kind: Kind, byte: number): Node {
    this.work++
    if (kind === 'alt') {
      const members = this.#members[node]!
      this.work += members.length
      const next: Node[] = []
      for (const member of members) {
        const after = this.step(member, byte)
        if (after !== this.empty) next.push(after)
      }
      return this.#union(next)
    }
    if (kind === 'ref') return this.step(this.#definitions[this.#first[node]!]!, byte)
    if (kind === 'repeat') {
      const body = this.#first[node]!
      const [min, max] = this.#limits[node]!
      const after = this.step(body, byte)
      if (after === this.empty) return this.empty
      return this.#pair(after, this.repeat(body, Math.max(0, min - 1), max - 1))
    }
    const next: Node[] = []
    for (let at = node; ; at = this.#second[at]!) {
      if (this.#kinds[at] !== 'seq') {
        next.push(this.step(at, byte))
        break
      }
      const first = this.#first[at]!
      const after = this.step(first, byte)
      if (after !== this.empty) next.push(this.#pair(after, this.#second[at]!))
      if (!this.#accepts[first]) break
    }
    return this.#union(next)
  }

  #pair(first: Node, second: Node): Node {
    if (first === this.empty || second === this.empty) return this.empty
    if (first === this.epsilon) return second
    if (second === this.epsilon) return first
    const chain: Node[] = []
    let last = first
    for (; this.#kinds[last] === 'seq'; last = this.#second[last]!) chain.push(this.#first[last]!)
    let node = this.#link(last, second)
    for (let i = chain.length - 1; i >= 0; i--) node = this.#link(chain[i]!, node)
    return node
  }

  #link(first: Node, second: Node): Node {
    return this.#intern(first * maxNodes + second, () => {
      const node = this.#add('seq', this.#accepts[first]! && this.#accepts[second]!)
      this.#first[node] = first
      this.#second[node] = second
      return node
    })
  }

  #union(parts: readonly Node[]): Node {
    if (parts.length === 1) return parts[0]!
    const members = new Set<Node>()
    let bits: Uint32Array | undefined
    for (const part of parts) {
      for (const member of this.#members[part] ?? [part]) {
        const set = this.#sets[member]
        if (set) bits = bits ? bits.map((word, i) => word | set[i]!) : set
        else if (member !== this.empty) members.add(member)
      }
    }
    if (bits) members.add(this.#setOf(bits))
    if (members.size <= 1) return members.values().next().value ?? this.empty
    if (members.size > maxAlternatives) throw tooComplex('too many ways to go on')
    const sorted = [...members].sort((a, b) => a - b)
    return this.#intern(`a${sorted.join()}`, () => {
      const node = this.#add(
        'alt',
        sorted.some(member => this.#accepts[member]),
      )
      this.#members[node] = sorted
      return node
    })
  }

  #setOf(bits: Uint32Array): Node {
    if (bits.every(word => word === 0)) return this.empty
    return this.#intern(`s${bits.join()}`, () => {
      const node = this.#add('set', false)
      this.#sets[node] = bits
      return node
    })
  }

  #has(set: Node, byte: number): boolean {
    return ((this.#sets[set]![byte >> 5]! >>> (byte & 31)) & 1) !== 0
  }

  #intern(key: string | number, create: () => Node): Node {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const node = create()
    this.#known.set(key, node)
    return node
  }

  #add(kind: Kind, accepts: boolean): Node {
    const node = this.#kinds.length
    if (node >= maxNodes) throw tooComplex('too many states')
    this.#kinds.push(kind)
    this.#accepts.push(accepts)
    this.#first.push(0)
    this.#second.push(0)
    this.#sets.push(undefined)
    this.#members.push(undefined)
    this.#limits.push(undefined)
    if (node >= this.#rowOf.length) {
      const grown = new Int32Array(2 * node).fill(unknown)
      grown.set(this.#rowOf)
      this.#rowOf = grown
    }
    return node
  }

  #rowFor(node: Node): number {
    const row = this.#rowOf[node]!
    if (row !== unknown) return row
    if (this.#numRows === maxRows) {
      this.#rowOf.fill(unknown)
      this.#table.fill(unknown)
      this.#numRows = 0
    } else if (this.#numRows * 256 === this.#table.length) {
      const grown = new Int32Array(2 * this.#table.length).fill(unknown)
      grown.set(this.#table)
      this.#table = grown
    }
    this.#rowOf[node] = this.#numRows
    return this.#numRows++
  }
}

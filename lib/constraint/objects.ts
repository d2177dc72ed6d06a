import type { Node } from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { type Choice, choices } from './choices.js'
import type { Facets } from './facets.js'
import type { SchemaCompiler } from './json-schema.js'
import { inQuotes } from './json-text.js'
import { isOpen, viewOf } from './one-of.js'
import { tooComplex } from './too-complex.js'

const longestName = 1000

/** A key as JSON, with quotes, and what follows it: a colon and the value. */
interface Member extends Choice {
  readonly isRequired: boolean
}

/**
 * Objects, with their keys in the order of the schema. Keys that the schema does not name come last, and
 * only where `additionalProperties` says so, or where it names none.
 */
export function* objects(compiler: SchemaCompiler, facets: Facets): Steps<Node> {
  const { regular, json } = compiler
  const names = new Set([
    ...facets.keys.flatMap(({ properties }) => [...properties.keys()]),
    ...facets.required,
  ])
  for (const name of names) if (name.length > longestName) throw tooComplex('a name is too long')
  const keys =
    facets.propertyNames.length > 0
      ? yield* compiler.keyContent(facets.propertyNames)
      : json.keyContent
  const members: Member[] = []
  for (const name of names) {
    const isRequired = facets.required.has(name)
    const value = yield* compiler.inside(viewOf(facets, name))
    const isName =
      facets.propertyNames.length === 0 ||
      regular.accepts(regular.read(keys, Buffer.from(inQuotes(name))))
    if (isName && value !== regular.empty) {
      const tail = regular.seq(regular.text(':'), json.gap, value)
      members.push({ bytes: Buffer.from(JSON.stringify(name)), tail, isRequired })
    } else if (isRequired) return regular.empty
  }
  let extra = regular.empty
  if (isOpen(facets)) {
    const texts = [...names].map(name => Buffer.from(inQuotes(name)))
    const parts = facets.keys.flatMap(({ additional }) => additional ?? [])
    const value = yield* compiler.inside(parts)
    const key = json.quoted(json.butNot(keys, texts))
    extra = regular.seq(key, regular.text(':'), json.gap, value)
  }
  return yield* new ObjectBuilder(compiler, facets, members, extra).build()
}

class ObjectBuilder {
  readonly #compiler: SchemaCompiler
  readonly #min: number
  readonly #max: number
  readonly #members: readonly Member[]
  readonly #extra: Node
  /** What may come behind members: by how many were passed over or taken, then by how many were taken. */
  readonly #tails: Node[][] = []

  constructor(compiler: SchemaCompiler, facets: Facets, members: readonly Member[], extra: Node) {
    this.#compiler = compiler
    this.#min = facets.minProperties
    this.#max = facets.maxProperties
    this.#members = members
    this.#extra = extra
  }

  *build(): Steps<Node> {
    const { regular, json } = this.#compiler
    const comma = regular.seq(regular.text(','), json.gap)
    for (let i = this.#members.length; i > 0; i--) {
      this.#tails[i] = []
      for (let taken = 1; taken <= this.#mostTaken(i); taken++) {
        const more = regular.seq(comma, yield* this.#pick(i, taken))
        this.#tails[i]![taken] = regular.alt(this.#close(i, taken), more)
      }
    }
    return regular.text('{', regular.alt(this.#close(0, 0), yield* this.#pick(0, 0)))
  }

  /** Where nothing depends on how many were taken, 1 stands for all numbers. */
  #mostTaken(members: number): number {
    const counts = this.#min > 0 || this.#max < Number.POSITIVE_INFINITY
    return counts ? members : Math.min(1, members)
  }

  #close(from: number, taken: number): Node {
    const { regular } = this.#compiler
    const isEnd = taken >= this.#min && !this.#members.some((m, i) => i >= from && m.isRequired)
    return isEnd ? regular.text('}') : regular.empty
  }

  /** A member from `from` on, at the latest the first that is required, or one that has no name here. */
  *#pick(from: number, taken: number): Steps<Node> {
    const { regular, json } = this.#compiler
    if (taken >= this.#max) return regular.empty
    const entries: Choice[] = []
    let isRequired = false
    for (let i = from; i < this.#members.length && !isRequired; i++) {
      const { bytes, tail } = this.#members[i]!
      isRequired = this.#members[i]!.isRequired
      const behind = this.#tails[i + 1]![Math.min(taken + 1, this.#mostTaken(i + 1))]!
      entries.push({ bytes, tail: regular.seq(tail, behind) })
    }
    this.#compiler.spend(entries.length)
    const named = yield* choices(regular, entries)
    // Keys without name may come twice, and then count once.
    if (isRequired || this.#min - taken > 1) return named
    const more = json.moreRows(this.#extra, 0, this.#max - taken - 1)
    return regular.alt(named, regular.seq(this.#extra, more, regular.text('}')))
  }
}

import { OpenELMError } from '../errors.js'
import { finishInSlices, type Steps } from '../steps.js'
import { plainAlphabet } from './characters.js'
import type { ConstraintSource } from './constraint-source.js'
import { jsonSchema } from './json-schema.js'
import { JsonText } from './json-text.js'
import { matchWhole } from './reg-exp.js'
import { PatternError, parsePattern } from './reg-exp-syntax.js'
import { type Node, Regular, tooComplex } from './regular.js'
import { setBit, type TokenBytes, type TokenTables, type TokenTrie } from './token-trie.js'

/** The bytes of masks that a constraint keeps. */
const keptBytes = 2 ** 24
/** Derivatives of one mask. */
const maxWork = 2 ** 20
const sliceOfWork = 512

/** The texts that fit a schema or a regular expression, as a machine that reads tokens. */
export class Constraint {
  readonly #regular: Regular
  readonly #tables: TokenTables
  readonly #start: Node
  /** Which nodes a plain text may go on in. */
  readonly #characters: ReadonlySet<Node>
  /** Whether a space may come first, which JSON allows, and most models begin with. */
  readonly #isSpaced: boolean
  readonly #masks = new Map<Node, Uint32Array>()

  private constructor(
    regular: Regular,
    tables: TokenTables,
    start: Node,
    characters?: ReadonlySet<Node>,
  ) {
    this.#regular = regular
    this.#tables = tables
    this.#start = start
    this.#characters = characters ?? new Set()
    this.#isSpaced = characters !== undefined
  }

  /** @throws OpenELMError INVALID_ARGUMENT */
  static *compile({ kind, text, flags }: ConstraintSource, tables: TokenTables): Steps<Constraint> {
    const regular = new Regular()
    if (kind === 'regExp') {
      const start = yield* regExp(regular, text, flags)
      return new Constraint(regular, tables, possible(regular, start))
    }
    const json = new JsonText(regular)
    const start = yield* jsonSchema(json, JSON.parse(text))
    return new Constraint(regular, tables, possible(regular, start), json.characters)
  }

  /** @param dropsSpace whether the space that the text begins with is not part of it. */
  begin(dropsSpace: boolean): Node {
    const space = this.#regular.text(' ')
    if (dropsSpace) return this.#regular.seq(space, this.#start)
    return this.#isSpaced
      ? this.#regular.seq(this.#regular.optional(space), this.#start)
      : this.#start
  }

  /** Whether it has grown so much that it is better made anew. */
  get isLarge(): boolean {
    return this.#regular.numNodes > 2 ** 18
  }

  accepts(state: Node): boolean {
    return this.#regular.accepts(state)
  }

  /** Whether nothing can follow. */
  isComplete(state: Node): boolean {
    if (!this.accepts(state)) return false
    for (let byte = 0; byte < 256; byte++) {
      if (this.#regular.step(state, byte) !== this.#regular.empty) return false
    }
    return true
  }

  read(state: Node, bytes: Uint8Array): Node {
    return this.#regular.read(state, bytes)
  }

  /** Which tokens may follow, if it is known already: not to be changed. */
  knownMask(state: Node): Uint32Array | undefined {
    return this.#masks.get(state)
  }

  /** Which tokens may follow: not to be changed. */
  *mask(state: Node): Steps<Uint32Array> {
    const { plain, all, others, vocabSize } = this.#tables
    const longest = plain.length - 1
    let mask: Uint32Array
    const room = this.#roomForText(state)
    if (room > 0) {
      mask = plain[Math.min(room, longest)]!.slice()
      const isAll = room >= longest || this.#isTextAlone(state)
      yield* this.#walk(isAll ? others : all, state, mask)
    } else {
      mask = new Uint32Array(Math.ceil(vocabSize / 32))
      yield* this.#walk(all, state, mask)
    }
    if (this.#masks.size * mask.byteLength >= keptBytes) {
      this.#masks.delete(this.#masks.keys().next().value!)
    }
    this.#masks.set(state, mask)
    return mask
  }

  /** How many characters of any plain text may come. */
  #roomForText(state: Node): number {
    let room = 0
    for (const alternative of this.#regular.alternatives(state)) {
      room = Math.max(room, this.#regular.repeatsFirst(alternative, this.#characters))
    }
    return room
  }

  /** Whether a plain token that is longer than the room for text has no other way. */
  #isTextAlone(state: Node): boolean {
    return this.#regular
      .alternatives(state)
      .every(alternative => this.#regular.repeatsFirst(alternative, this.#characters) > 0)
  }

  *#walk(trie: TokenTrie, start: Node, mask: Uint32Array): Steps<void> {
    const { bytes, depths, ends, tokens, nextTokens, numNodes } = trie
    const regular = this.#regular
    const { empty } = regular
    const mostWork = regular.work + maxWork
    const states = new Int32Array(trie.maxDepth + 1)
    states[0] = start
    let pauseAt = regular.work + sliceOfWork
    for (let node = 0, count = 0; node < numNodes; count++) {
      if (count % 4096 === 4095 || regular.work > pauseAt) {
        if (regular.work > mostWork) throw tooComplex('what may come next takes too long to find')
        pauseAt = regular.work + sliceOfWork
        yield ''
      }
      const depth = depths[node]!
      const next = regular.step(states[depth]!, bytes[node]!)
      if (next === empty) {
        node = ends[node]!
        continue
      }
      states[depth + 1] = next
      for (let token = tokens[node]!; token >= 0; token = nextTokens[token]!) setBit(mask, token)
      node++
    }
  }
}

function possible(regular: Regular, start: Node): Node {
  if (start !== regular.empty) return start
  const message = 'nothing that can be written fits options.responseConstraint'
  throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.responseConstraint' })
}

function* regExp(regular: Regular, source: string, flags: string): Steps<Node> {
  try {
    const pattern = parsePattern(source, {
      ignoreCase: flags.includes('i'),
      dotAll: flags.includes('s'),
      multiline: flags.includes('m'),
      unicode: flags.includes('u'),
      unicodeSets: flags.includes('v'),
    })
    return yield* matchWhole(regular, pattern, plainAlphabet(regular))
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    const message = `the regular expression of options.responseConstraint is not supported: ${error.message}`
    throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.responseConstraint' })
  }
}

/** A text that comes token by token and is to fit a constraint. */
export class ConstrainedText {
  readonly #constraint: Constraint
  readonly #bytesOf: TokenBytes['bytesOf']
  readonly #ends: ReadonlySet<number>
  #state: Node

  /** @param ends the tokens that end the text, which may come where it is whole. */
  constructor(
    constraint: Constraint,
    bytesOf: TokenBytes['bytesOf'],
    ends: ReadonlySet<number>,
    dropsSpace: boolean,
  ) {
    this.#constraint = constraint
    this.#bytesOf = bytesOf
    this.#ends = ends
    this.#state = constraint.begin(dropsSpace)
  }

  /** Whether nothing but an end can follow. */
  get isComplete(): boolean {
    return this.#constraint.isComplete(this.#state)
  }

  /**
   * Which tokens may follow: bit `i % 32` of word `i / 32` for token i.
   *
   * @throws OpenELMError INVALID_ARGUMENT when none may, or it takes too long to find them.
   */
  async nextMask(signal?: AbortSignal): Promise<Uint32Array> {
    const state = this.#state
    const known =
      this.#constraint.knownMask(state) ??
      (await finishInSlices(this.#constraint.mask(state), signal))
    const mask = known.slice()
    const isEnd = this.#constraint.accepts(state)
    for (const token of this.#ends) {
      if (isEnd) setBit(mask, token)
      else mask[token >> 5]! &= ~(1 << (token & 31))
    }
    if (mask.some(word => word !== 0)) return mask
    const message = 'no token of the vocabulary goes on with what options.responseConstraint wants'
    throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.responseConstraint' })
  }

  accept(token: number): void {
    if (this.#ends.has(token)) return
    this.#state = this.#constraint.read(this.#state, this.#bytesOf(token))
  }
}

import { createHash } from 'node:crypto'
import { fractionOf } from '../random.js'
import type { Example, ExampleRow } from './example.js'

/** Examples one behind the other in two blocks of memory, which grow: a data set can have millions. */
export class ExampleStore {
  #tokens = new Int32Array(2 ** 16)
  #targets = new Uint8Array(2 ** 16)
  readonly #ends: number[] = []
  readonly #sha256 = createHash('sha256')

  add({ tokens, targets }: Example): void {
    const begin = this.#ends.at(-1) ?? 0
    const end = begin + tokens.length
    if (end > this.#tokens.length) this.#grow(Math.max(end, 2 * this.#tokens.length))
    this.#tokens.set(tokens, begin)
    this.#targets.set(targets, begin)
    this.#ends.push(end)
    const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength)
    this.#sha256.update(bytes).update(targets)
  }

  at(index: number): Example {
    const [begin, end] = [index === 0 ? 0 : this.#ends[index - 1]!, this.#ends[index]!]
    return {
      tokens: this.#tokens.subarray(begin, end),
      targets: this.#targets.subarray(begin, end),
    }
  }

  /** Of all tokens and targets, in hexadecimal. */
  get sha256(): string {
    return this.#sha256.copy().digest('hex')
  }

  #grow(length: number): void {
    const [tokens, targets] = [new Int32Array(length), new Uint8Array(length)]
    tokens.set(this.#tokens)
    targets.set(this.#targets)
    this.#tokens = tokens
    this.#targets = targets
  }
}

/** A row that is learnt from: its first example in the store, and which row of the data it was. */
export interface StoredRow {
  readonly first: number
  readonly index: number
}

/** Rows that are learnt from, in the order of the data. */
export class ExampleRows {
  readonly #store: ExampleStore
  readonly #rows: readonly StoredRow[]
  readonly #isPaired: boolean

  constructor(store: ExampleStore, rows: readonly StoredRow[], isPaired: boolean) {
    this.#store = store
    this.#rows = rows
    this.#isPaired = isPaired
  }

  get length(): number {
    return this.#rows.length
  }

  at(i: number): ExampleRow {
    const { first } = this.#rows[i]!
    const example = this.#store.at(first)
    return this.#isPaired ? [example, this.#store.at(first + 1)] : [example]
  }

  /**
   * Holds some rows out for validation: each by its place in the data and `seed` alone, so that neither
   * a row that is added behind it nor what fits in an example moves it to the other side.
   *
   * @param fraction of the rows, from 0 to 1, about.
   */
  split(fraction: number, seed: number): { train: ExampleRows; validation: ExampleRows } {
    const isHeldOut = ({ index }: StoredRow) => fractionOf(index, seed) < fraction
    const [store, paired] = [this.#store, this.#isPaired]
    return {
      train: new ExampleRows(
        store,
        this.#rows.filter(row => !isHeldOut(row)),
        paired,
      ),
      validation: new ExampleRows(store, this.#rows.filter(isHeldOut), paired),
    }
  }
}

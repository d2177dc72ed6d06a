import { isDeepStrictEqual } from 'node:util'
import { PythonRandom } from './python-random.js'
import type { Row } from './row.js'
import type { FewShot } from './task.js'

/** With which the harness seeds a generator for each task. */
const seed = 1234

/**
 * Chooses the examples of one document after another, in the order of the documents: what is drawn for
 * one depends on those before it.
 */
export class ExampleChooser {
  readonly #pool: readonly Row[]
  readonly #count: number
  readonly #fewShot: FewShot
  readonly #random = new PythonRandom(seed)

  /** @param pool at least as many rows as are drawn. */
  constructor(pool: readonly Row[], count: number, fewShot: FewShot) {
    this.#pool = pool
    this.#count = count
    this.#fewShot = fewShot
  }

  /** A document is no example of itself: then there may be one less. */
  next(document: Row): Row[] {
    const drawn = this.#draw().filter(row => !isDeepStrictEqual(row.values, document.values))
    return drawn.slice(0, this.#count)
  }

  #draw(): readonly Row[] {
    const count = examplesNeeded(this.#count, this.#fewShot)
    if (this.#fewShot.choice === 'first') return this.#pool.slice(0, count)
    return this.#random.sample(this.#pool.length, count).map(i => this.#pool[i]!)
  }
}

/** How many rows a split must have for `count` examples of each document. */
export function examplesNeeded(count: number, fewShot: FewShot): number {
  return fewShot.drawsOneMore && count > 0 ? count + 1 : count
}

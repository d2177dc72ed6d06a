import { shuffled } from '../random.js'
import type { ExampleRow } from './example.js'
import type { ExampleRows } from './example-rows.js'

/** The rows of each step, in a new order each epoch. They go by the number of the step alone. */
export class ExampleBatches {
  /** The last of an epoch has what is left of its rows. */
  readonly stepsPerEpoch: number
  readonly #rows: ExampleRows
  readonly #batchSize: number
  readonly #seed: number
  #epoch = -1
  #order: Uint32Array = new Uint32Array()

  constructor(rows: ExampleRows, { batchSize, seed }: { batchSize: number; seed: number }) {
    this.stepsPerEpoch = Math.ceil(rows.length / batchSize)
    this.#rows = rows
    this.#batchSize = batchSize
    this.#seed = seed
  }

  /** @param step from 0. */
  at(step: number): ExampleRow[] {
    return Array.from(this.numbersAt(step), number => this.#rows.at(number))
  }

  /** Which rows those of a step are. */
  numbersAt(step: number): Uint32Array {
    const epoch = Math.floor(step / this.stepsPerEpoch)
    if (epoch !== this.#epoch) this.#order = shuffled(this.#rows.length, this.#seed, epoch)
    this.#epoch = epoch
    const begin = (step % this.stepsPerEpoch) * this.#batchSize
    return this.#order.subarray(begin, begin + this.#batchSize)
  }
}

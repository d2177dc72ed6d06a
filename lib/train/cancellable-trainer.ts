import { abortable } from '../abortable.js'
import type { NativeGradientOptions, NativeLosses, NativeTrainingBatch } from '../native-trainer.js'
import type { Lane, Trainer } from './trainer.js'

/** The calls of a trainer that take long, which a signal ends, spread over its lanes. */
export class CancellableTrainer {
  readonly #trainer: Trainer
  readonly #lanes: readonly CancellableLane[]

  constructor(trainer: Trainer, signal: AbortSignal | undefined) {
    this.#trainer = trainer
    this.#lanes = trainer.lanes.map(lane => {
      return new CancellableLane(lane, signal, () => trainer.cancel())
    })
  }

  /**
   * Calls `body` for each leaf of a step, of which every lane has as many as the others, one behind the
   * other. Resolves to what it returned, in the order of the leaves.
   */
  async forLeaves<Result>(
    split: number,
    body: (lane: Lane, leaf: number) => Promise<Result>,
  ): Promise<Result[]> {
    const each = split / this.#lanes.length
    const results = await this.#onAll(async (lane, rank) => {
      const own: Result[] = []
      for (let leaf = rank * each; leaf < (rank + 1) * each; leaf++) {
        if (own.length > 0) await lane.nextLeaf()
        own.push(await body(lane, leaf))
      }
      return own
    })
    return results.flat()
  }

  /** Calls `body` for each part, on whichever lane is free. Resolves to the results in their order. */
  async forParts<Part, Result>(
    parts: Iterable<Part>,
    body: (lane: Lane, part: Part) => Promise<Result>,
  ): Promise<Result[]> {
    const results: Result[] = []
    const iterator = parts[Symbol.iterator]()
    let next = 0
    await this.#onAll(async lane => {
      for (let part = iterator.next(); !part.done; part = iterator.next()) {
        const index = next++
        results[index] = await body(lane, part.value)
      }
    })
    return results
  }

  /** When one of them fails, the others are ended, too. */
  async #onAll<Result>(body: (lane: Lane, rank: number) => Promise<Result>): Promise<Result[]> {
    await this.#trainer.share()
    let failure: { error: unknown } | undefined
    const results = await Promise.all(
      this.#lanes.map(async (lane, rank) => {
        try {
          return [await body(lane, rank)]
        } catch (error) {
          if (!failure && this.#lanes.length > 1) this.#trainer.cancel()
          failure ??= { error }
          return []
        }
      }),
    )
    if (failure) throw failure.error
    return results.flat()
  }
}

class CancellableLane implements Lane {
  readonly #lane: Lane
  readonly #signal: AbortSignal | undefined
  readonly #cancel: () => void

  constructor(lane: Lane, signal: AbortSignal | undefined, cancel: () => void) {
    this.#lane = lane
    this.#signal = signal
    this.#cancel = cancel
  }

  accumulate(batch: NativeTrainingBatch, options: NativeGradientOptions): Promise<NativeLosses> {
    return this.#run(() => this.#lane.accumulate(batch, options))
  }

  evaluate(batch: NativeTrainingBatch, withAdapter: boolean): Promise<NativeLosses> {
    return this.#run(() => this.#lane.evaluate(batch, withAdapter))
  }

  backward(options: NativeGradientOptions): Promise<void> {
    return this.#run(() => this.#lane.backward(options))
  }

  nextLeaf(): Promise<void> {
    return this.#run(() => this.#lane.nextLeaf())
  }

  #run<Result>(call: () => Promise<Result>): Promise<Result> {
    return abortable(this.#signal, () => ({ promise: call(), cancel: this.#cancel }))
  }
}

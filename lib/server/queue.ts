import { ApiError } from './openai-error.js'

interface Waiter {
  readonly start: () => void
}

/** Lets so many generations run at a time, and others wait for their turn. */
export class Queue {
  readonly #parallel: number
  readonly #maxQueue: number
  readonly #waiters: Waiter[] = []
  #running = 0
  #lastChange = performance.now()
  /** The sum over all places of how long they were taken, and how long any was. */
  #placeMs = 0
  #busyMs = 0
  /** Requests of which nothing has begun. */
  #waiting = 0

  constructor(parallel: number, maxQueue: number) {
    this.#parallel = parallel
    this.#maxQueue = maxQueue
  }

  /** Generations that run. */
  get running(): number {
    return this.#running
  }

  /** How many ran at a time in the mean, while any did. */
  get meanRunning(): number {
    this.#run(0)
    return this.#busyMs > 0 ? this.#placeMs / this.#busyMs : 0
  }

  /** Requests that wait for others. */
  get deferred(): number {
    return Math.max(0, this.#waiting - (this.#parallel - this.#running))
  }

  /**
   * Takes a request in.
   *
   * @throws ApiError 503 when too many wait already.
   */
  enter(): Visit {
    if (this.#waiting >= this.#maxQueue + this.#parallel - this.#running) {
      const message = 'too many requests are waiting; try again later'
      throw new ApiError(503, message, { code: 'server_busy', headers: { 'retry-after': '1' } })
    }
    this.#waiting++
    return new Visit(
      signal => this.#begin(signal),
      () => this.#waiting--,
    )
  }

  /** Waits for a place; what it resolves to gives the place back. */
  #begin(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    const place = { [Symbol.dispose]: () => this.#end() }
    if (this.#running < this.#parallel) {
      this.#run(1)
      return Promise.resolve(place)
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        start() {
          signal.removeEventListener('abort', leave)
          resolve(place)
        },
      }
      this.#waiters.push(waiter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** The place goes to whoever has waited longest. */
  #end(): void {
    const next = this.#waiters.shift()
    if (next) next.start()
    else this.#run(-1)
  }

  /** So many more run from now on. */
  #run(more: number): void {
    const now = performance.now()
    const ms = now - this.#lastChange
    this.#lastChange = now
    this.#placeMs += ms * this.#running
    if (this.#running > 0) this.#busyMs += ms
    this.#running += more
  }
}

/** A request in the queue: it waits until its first generation begins. */
export class Visit {
  readonly #begin: (signal: AbortSignal) => Promise<Disposable>
  #stopWaiting: (() => void) | undefined

  constructor(begin: (signal: AbortSignal) => Promise<Disposable>, stopWaiting: () => void) {
    this.#begin = begin
    this.#stopWaiting = stopWaiting
  }

  /**
   * Waits for the turn of a generation, which has ended when the result is disposed.
   *
   * @throws the reason of `signal`.
   */
  async begin(signal: AbortSignal): Promise<Disposable> {
    const place = await this.#begin(signal)
    this[Symbol.dispose]()
    return place
  }

  /** The request waits no more. Idempotent. */
  [Symbol.dispose](): void {
    this.#stopWaiting?.()
    this.#stopWaiting = undefined
  }
}

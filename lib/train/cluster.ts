import { hostname } from 'node:os'
import { deserialize, serialize } from 'node:v8'
import { OpenELMError, type OpenELMErrorCode } from '../errors.js'
import { loadNative } from '../native.js'
import { describeRank, type RankFacts } from './rank-facts.js'

/** How the processes of a run find each other. */
export interface ClusterOptions {
  readonly mpi: boolean | string
  readonly timeoutSeconds: number
  readonly threads: number | undefined
}

/** What rank 0 asks of another rank: a call, which is answered, or what is not answered. */
export type Order =
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly unknown[] }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'end'; readonly error?: Failure | undefined }

export type Answer = { readonly result: unknown } | { readonly error: Failure }

/** An error, as it travels. */
export interface Failure {
  readonly code: string
  readonly message: string
}

export function failureOf(error: unknown): Failure {
  const { code = 'INTERNAL', message = String(error) } = error as Partial<Failure>
  return { code, message }
}

export function errorOf({ code, message }: Failure): OpenELMError {
  return new OpenELMError(code as OpenELMErrorCode, message)
}

let joined: { rank: number; size: number; version: string } | undefined
let isBusy = false

/** The ranks of a run, which mpirun or srun has started: rank 0 gives orders, the others carry them out. */
export class Cluster {
  readonly rank: number
  readonly size: number
  /** Of the MPI library. */
  readonly version: string
  readonly own: RankFacts
  /** On rank 0, what each rank is: itself first. */
  ranks: readonly RankFacts[] = []
  readonly #native = loadNative()
  /** Calls that have not been answered, by rank. */
  readonly #calls = new Map<number, Promise<unknown>>()

  private constructor(facts: NonNullable<typeof joined>, own: RankFacts) {
    this.rank = facts.rank
    this.size = facts.size
    this.version = facts.version
    this.own = own
  }

  /**
   * Opens MPI, if that has not been done, for one run.
   *
   * @throws OpenELMError DEPENDENCY_NOT_FOUND, RANK_LOST, or BUSY when a run is under way.
   */
  static async join({ mpi, timeoutSeconds, threads }: ClusterOptions): Promise<Cluster> {
    if (isBusy) throw new OpenELMError('BUSY', 'this process is in a run on several ranks already')
    isBusy = true
    try {
      const native = loadNative()
      const path = typeof mpi === 'string' ? mpi : (process.env.OPENELM_MPI ?? '')
      const facts = await native.joinGroup(path, timeoutSeconds)
      if (!joined) process.on('exit', code => native.leaveGroup(code))
      joined = facts
      native.watchRanks(true)
      return new Cluster(facts, describeRank(facts.rank, threads))
    } catch (error) {
      isBusy = false
      throw error
    }
  }

  /** Lets the run have it that this process is about to begin. */
  release(): void {
    isBusy = false
  }

  /** Collects what the other ranks are, on rank 0. */
  async meet(): Promise<void> {
    const others = this.others().map(rank => this.#receive(rank) as Promise<RankFacts>)
    this.ranks = [this.own, ...(await Promise.all(others))]
    for (const { rank, host, version } of this.ranks) {
      if (version === this.own.version) continue
      const what = `rank ${rank} on ${host} has openelm ${version}, rank 0 on ${hostname()}`
      throw new OpenELMError('INVALID_ARGUMENT', `${what} has ${this.own.version}`)
    }
  }

  /** Tells rank 0 what this rank is. */
  introduce(): Promise<void> {
    return this.#send(0, this.own)
  }

  others(): number[] {
    return Array.from({ length: this.size - 1 }, (_, i) => i + 1)
  }

  /** Has another rank carry out an order. At most one at a time goes to each. */
  async call(rank: number, name: string, ...args: readonly unknown[]): Promise<unknown> {
    const call = this.#call(rank, { kind: 'call', name, args })
    this.#calls.set(
      rank,
      call.catch(() => {}),
    )
    return await call
  }

  async #call(rank: number, order: Order): Promise<unknown> {
    await this.#calls.get(rank)
    await this.#send(rank, order)
    const answer = (await this.#receive(rank)) as Answer
    if ('result' in answer) return answer.result
    const { code, message } = answer.error
    throw errorOf({ code, message: `rank ${rank} on ${this.ranks[rank]!.host}: ${message}` })
  }

  /** Has all other ranks end the calls under way. */
  cancel(): void {
    const order: Order = { kind: 'cancel' }
    for (const rank of this.others()) void this.#send(rank, order).catch(() => {})
  }

  /** Of rank 0. */
  async nextOrder(): Promise<Order> {
    return (await this.#receive(0)) as Order
  }

  /** To rank 0. */
  answer(answer: Answer): Promise<void> {
    return this.#send(0, answer)
  }

  /** The run has ended on all ranks, on rank 0 with this error. Lost ranks leave it under way. */
  async end(error?: unknown): Promise<void> {
    if (this.rank === 0) {
      this.cancel()
      await Promise.all(this.#calls.values())
      const order: Order = { kind: 'end', ...(error !== undefined && { error: failureOf(error) }) }
      await Promise.all(this.others().map(rank => this.#send(rank, order)))
    }
    this.#native.watchRanks(false)
    isBusy = false
  }

  #send(rank: number, message: unknown): Promise<void> {
    return this.#native.sendToRank(rank, serialize(message))
  }

  async #receive(rank: number): Promise<unknown> {
    return deserialize(await this.#native.receiveFromRank(rank))
  }
}

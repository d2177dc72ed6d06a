import { type OpenELM, OpenELMError, type Session } from '../index.js'

/** A session that nothing uses, and what its cache holds. */
interface Slot {
  readonly session: Session
  readonly tokens: readonly number[]
}

/** What a prompt takes of an idle cache must be worth a rewind. */
const minPrefix = 32

/** A session for one prompt; it goes back to the slots when it is disposed. */
export interface Lease extends Disposable {
  readonly session: Session
  /** Tokens of the prompt that the session's cache holds. */
  readonly cachedTokens: number
}

/**
 * Keeps the caches of prompts that were answered: a prompt that begins with what one of them holds costs
 * only the rest.
 */
export class Slots {
  readonly #model: OpenELM
  readonly #size: number
  /** The one that was used last comes last. */
  readonly #idle: Slot[] = []
  /** Sessions that are kept or will be. */
  #count = 0
  #isDisposed = false

  constructor(model: OpenELM, size: number) {
    this.#model = model
    this.#size = size
  }

  /**
   * An empty session whose cache holds as much of a prompt as there is.
   *
   * @param room tokens that a session must hold which is not kept.
   * @param keeps whether the cache may be an earlier one, and is kept for later prompts.
   * @throws OpenELMError OUT_OF_MEMORY, DISPOSED.
   */
  take(prompt: Int32Array, room: number, keeps: boolean): Lease {
    try {
      return keeps && this.#size > 0 ? this.#takeKept(prompt, room) : this.#takeOwn(room)
    } catch (error) {
      if (!(error instanceof OpenELMError) || error.code !== 'OUT_OF_MEMORY') throw error
      this.#evict(this.#idle.length)
      return this.#takeOwn(room)
    }
  }

  /** Gives all memory back that nothing uses, and later what is used now. */
  dispose(): void {
    this.#isDisposed = true
    this.#evict(this.#idle.length)
  }

  #takeKept(prompt: Int32Array, room: number): Lease {
    const best = this.#best(prompt)
    const isFree = this.#count < this.#size
    if (best && best.prefix >= minPrefix) {
      const isLossy = best.slot.tokens.length - best.prefix > best.prefix
      if (!isFree || !isLossy) return this.#reuse(best.slot, best.prefix)
      const fork = forkOf(best.slot)
      if (fork) return this.#lease(fork, best.prefix, true)
    }
    if (isFree) return this.#lease(this.#model.createSession(), 0, true)
    const [oldest] = this.#idle
    return oldest ? this.#reuse(oldest, 0) : this.#takeOwn(room)
  }

  #takeOwn(room: number): Lease {
    const session = this.#model.createSession({ contextLength: room })
    return { session, cachedTokens: 0, [Symbol.dispose]: () => session.dispose() }
  }

  #reuse(slot: Slot, prefix: number): Lease {
    this.#idle.splice(this.#idle.indexOf(slot), 1)
    return this.#lease(slot.session, prefix, false)
  }

  #lease(session: Session, cachedTokens: number, isNew: boolean): Lease {
    if (isNew) this.#count++
    session.rewind(0)
    return { session, cachedTokens, [Symbol.dispose]: () => this.#giveBack(session) }
  }

  #giveBack(session: Session): void {
    const { tokens } = session
    this.#idle.push({ session, tokens })
    // Where nothing was given of an answer, nobody knows what the cache holds.
    if (this.#isDisposed) this.#evict(1)
    else if (tokens.length === 0) this.#drop(this.#idle.pop()!)
  }

  /** Of the idle slots the one that holds the most of a prompt: at least one token must be computed. */
  #best(prompt: Int32Array): { slot: Slot; prefix: number } | undefined {
    const found = this.#idle.map(slot => {
      // The last token that was drawn is not in the cache.
      const most = Math.min(slot.tokens.length, prompt.length) - 1
      let prefix = 0
      while (prefix < most && slot.tokens[prefix] === prompt[prefix]) prefix++
      return { slot, prefix }
    })
    return found.toSorted((a, b) => b.prefix - a.prefix)[0]
  }

  #evict(count: number): void {
    for (const slot of this.#idle.splice(0, count)) this.#drop(slot)
  }

  #drop({ session }: Slot): void {
    session.dispose()
    this.#count--
  }
}

/** Undefined for the moment that a generation that was aborted takes to end. */
function forkOf({ session }: Slot): Session | undefined {
  try {
    return session.fork()
  } catch (error) {
    if (error instanceof OpenELMError && error.code === 'BUSY') return undefined
    throw error
  }
}

import { abortable } from './abortable.js'
import { Drafters } from './drafters.js'
import { OpenELMError } from './errors.js'
import type { NativeSession } from './native-session.js'

/**
 * A sequence of tokens, and the native session that computes it: what its cache holds of the sequence is
 * not computed again. One thing at a time is done with it.
 */
export class CachedSequence {
  readonly native: NativeSession
  /** Tokens that the cache can hold. */
  readonly contextLength: number
  readonly drafters = new Drafters()
  #tokens: readonly number[]
  /** What the cache holds: the sequence or its beginning, or what the sequence was before. */
  #cached: readonly number[]
  /** Settled when the cache may be used again after a call that failed. */
  #idle: Promise<void> | undefined
  #isBusy = false
  #isDisposed = false

  constructor(
    native: NativeSession,
    tokens: readonly number[] = [],
    cached: readonly number[] = [],
  ) {
    this.native = native
    this.contextLength = native.contextLength
    this.#tokens = tokens
    this.#cached = cached
  }

  /** The sequence; nothing once it is disposed. */
  get tokens(): readonly number[] {
    return this.#isDisposed ? [] : this.#tokens
  }

  set tokens(tokens: readonly number[]) {
    this.#tokens = tokens
  }

  get cachedLength(): number {
    return this.#cached.length
  }

  /** @throws OpenELMError BUSY, DISPOSED. */
  checkIdle(): void {
    if (this.#isDisposed) throw new OpenELMError('DISPOSED', 'the session is disposed')
    if (this.#isBusy) throw new OpenELMError('BUSY', 'the session already has a call under way')
  }

  /**
   * Runs a native call that appends what the cache lacks of another sequence.
   *
   * @param most the most tokens of it that may be taken from the cache.
   * @param start told how many are.
   */
  async call<Result>(
    sequence: readonly number[],
    most: number,
    signal: AbortSignal | undefined,
    start: (missing: Int32Array, held: number) => Promise<Result>,
  ): Promise<Result> {
    this.begin()
    try {
      const missing = await this.prepare(sequence, most)
      const result = await abortable(signal, () => ({
        promise: start(missing, this.#cached.length),
        cancel: () => this.native.cancel(),
      }))
      this.#cached = sequence
      return result
    } catch (error) {
      this.#idle = this.native.whenIdle()
      throw error
    } finally {
      this.#isBusy = false
    }
  }

  /** Nothing else may be done with it until `end` or `call`, which does both, is over. */
  begin(): void {
    this.checkIdle()
    this.#isBusy = true
  }

  /**
   * Lets the cache hold what it has of a sequence, at most the first `most` tokens, and nothing else.
   * Returns the others.
   */
  async prepare(sequence: readonly number[], most: number): Promise<Int32Array> {
    if (sequence.length > this.contextLength) {
      const position = this.#tokens.length
      throw new OpenELMError(
        'CONTEXT_OVERFLOW',
        `${sequence.length - position} tokens at position ${position} do not fit in a context of ` +
          `${this.contextLength}`,
      )
    }
    await this.#idle
    const held = this.#cached.slice(0, most)
    const differs = held.findIndex((token, i) => token !== sequence[i])
    this.#cached = differs < 0 ? held : held.slice(0, differs)
    if (this.#cached.length < this.native.position) this.native.rewind(this.#cached.length)
    return Int32Array.from(sequence.slice(this.#cached.length))
  }

  /** @param cached what native calls have appended beyond what `prepare` left, if they have. */
  async end(cached: readonly number[] | undefined, signal: AbortSignal | undefined): Promise<void> {
    if (cached) this.#cached = cached
    this.#isBusy = false
    this.#idle = this.native.whenIdle()
    // Whoever aborts does not wait for a batch that other sessions need.
    if (!signal?.aborted) await this.#idle
  }

  fork(): CachedSequence {
    this.checkIdle()
    return new CachedSequence(this.native.fork(), this.#tokens, this.#cached)
  }

  dispose(): void {
    this.#isDisposed = true
    this.native.dispose()
    this.drafters.dispose()
  }
}

import type { NativeSession } from './native.js'
import type { TokenIds } from './tokenizer.js'
import { readTokens, requireInteger } from './validate.js'

/**
 * One sequence of tokens and its KV cache. Sessions of one model decode together, in batches. One call
 * at a time: a second one, also `rewind` or `fork`, throws BUSY while `append` is under way.
 */
export class Session {
  /** @internal */
  readonly native: NativeSession
  readonly #vocabSize: number

  /** @internal Use {@link OpenELM.createSession}. */
  constructor(native: NativeSession, vocabSize: number) {
    this.native = native
    this.#vocabSize = vocabSize
  }

  /** How many tokens the cache holds; 0 after `dispose`. */
  get position(): number {
    return this.native.position
  }

  /**
   * Appends tokens and returns the scores of the token that comes next, [vocabSize]: the logits after
   * the last of them.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW when they do not fit; the session is then as it was. BUSY,
   *   DISPOSED, INVALID_ARGUMENT.
   */
  async append(tokens: TokenIds): Promise<Float32Array> {
    return this.native.logits(readTokens('tokens', tokens, this.#vocabSize), false)
  }

  /**
   * Forgets the tokens from `position` on.
   *
   * @throws OpenELMError INVALID_ARGUMENT unless `position` is an integer from 0 to the present one.
   */
  rewind(position: number): void {
    this.native.rewind(requireInteger('position', position, 0, this.position))
  }

  /** A new session with the same tokens; the two go on independently. */
  fork(): Session {
    return new Session(this.native.fork(), this.#vocabSize)
  }

  /** Gives the memory of the cache back. Idempotent; a call under way rejects with DISPOSED. */
  dispose(): void {
    this.native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

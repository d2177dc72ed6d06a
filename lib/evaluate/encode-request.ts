import type { Tokenizer } from '../tokenizer.js'
import type { Request } from './documents.js'
import { stripEnd } from './python-text.js'

/** A request as the model reads it. */
export interface EncodedRequest {
  /** At least one token. */
  readonly context: Int32Array
  /** What is scored: at least one token. */
  readonly continuation: Int32Array
}

/** What the harness cuts requests to, whatever the model could read. */
export const harnessLength = 2048

/**
 * Makes token ids of requests as lm-evaluation-harness does: the texts are encoded together, white space
 * at the end of a context is the continuation's, and BOS comes first. After an empty context, which is
 * the end of a text, BOS is scored, too.
 */
export class RequestEncoder {
  readonly #tokenizer: Tokenizer
  readonly #signal: AbortSignal | undefined
  /** The last context, which most requests share with the one before. */
  #context = ''
  #contextIds: readonly number[] = []

  constructor(tokenizer: Tokenizer, signal?: AbortSignal) {
    this.#tokenizer = tokenizer
    this.#signal = signal
  }

  /** @throws the signal's reason. */
  async encode({ context: given, continuation }: Request): Promise<EncodedRequest> {
    if (given === '') {
      const tokens = Int32Array.from(await this.#encode(continuation))
      return { context: Int32Array.of(this.#tokenizer.eosTokenId), continuation: tokens }
    }
    const context = stripEnd(given)
    if (this.#contextIds.length === 0 || context !== this.#context) {
      this.#contextIds = await this.#encode(context)
      this.#context = context
    }
    const all = await this.#encode(given + continuation)
    return {
      context: Int32Array.from(this.#contextIds),
      continuation: Int32Array.from(all).slice(this.#contextIds.length),
    }
  }

  async #encode(text: string): Promise<readonly number[]> {
    return this.#tokenizer.encodeAsync(text, { signal: this.#signal })
  }
}

/**
 * Leaves out the beginning of a context, BOS included, where the model would read more than `maxLength`
 * tokens. It does not read the last one.
 *
 * @returns nothing unless there is at least one token to score, and one left in front of them.
 */
export function truncate(
  { context, continuation }: EncodedRequest,
  maxLength: number,
): EncodedRequest | undefined {
  if (continuation.length === 0 || continuation.length > maxLength) return undefined
  const excess = context.length + continuation.length - (maxLength + 1)
  return { context: excess > 0 ? context.slice(excess) : context, continuation }
}

import type { Steps } from '../steps.js'
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
  /** The last context, which most requests share with the one before. */
  #context = ''
  #contextIds = new Int32Array(0)

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  *encode({ context: given, continuation }: Request): Steps<EncodedRequest> {
    if (given === '') {
      const tokens = Int32Array.from(yield* this.#tokenizer.encodeInSteps(continuation))
      return { context: Int32Array.of(this.#tokenizer.eosTokenId), continuation: tokens }
    }
    const context = stripEnd(given)
    if (this.#contextIds.length === 0 || context !== this.#context) {
      this.#contextIds = Int32Array.from(yield* this.#tokenizer.encodeInSteps(context))
      this.#context = context
    }
    const all = yield* this.#tokenizer.encodeInSteps(given + continuation)
    return {
      context: this.#contextIds,
      continuation: Int32Array.from(all.slice(this.#contextIds.length)),
    }
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

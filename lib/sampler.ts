import { invalidArgument } from './errors.js'
import type { Sample } from './generation-stream.js'
import { loadNative } from './native.js'
import type { NativeSample, NativeSampler } from './native-session.js'
import { integer, tokenIds } from './options.js'
import { readSamplerOptions, type SamplerOptions } from './sampler-options.js'
import { tokenLogprobs } from './token-scores.js'
import type { TokenIds } from './tokenizer.js'

/**
 * Chooses tokens from the scores that `Session.append` returns, as `generate` does: for loops of your
 * own. It remembers the text as far as the penalties need it, and where the random numbers are.
 *
 * @example
 * const sampler = new Sampler(model.config.vocabSize, { temperature: 0.8, seed: 1 })
 * sampler.accept(tokens)
 * const { token } = sampler.sample(await session.append(tokens))
 */
export class Sampler {
  readonly #vocabSize: number
  readonly #native: NativeSampler

  /**
   * @param vocabSize of the model: from 1 up.
   * @throws OpenELMError INVALID_ARGUMENT.
   */
  constructor(vocabSize: number, options?: SamplerOptions) {
    this.#vocabSize = integer(1, 2 ** 31 - 1)('vocabSize', vocabSize)
    this.#native = new (loadNative().Sampler)(vocabSize, readSamplerOptions(options, vocabSize))
  }

  /**
   * Tells of tokens that the text goes on with. A token counts as generated, for `presencePenalty` and
   * `frequencyPenalty`, when it is the one that `sample` has returned just before.
   *
   * @throws OpenELMError INVALID_ARGUMENT.
   */
  accept(tokens: TokenIds): void {
    this.#native.accept(tokenIds(this.#vocabSize, { min: 0 })('tokens', tokens))
  }

  /**
   * Draws a token from scores, [vocabSize]. It becomes part of the text by `accept` only.
   *
   * @param mask which tokens may come, before any option sees the scores: bit `i % 32` of word
   *   `Math.floor(i / 32)` says it of token `i`. All by default. Log-probabilities do not depend on it.
   * @throws OpenELMError NON_FINITE_LOGITS when no score that is left is a finite number,
   *   INVALID_ARGUMENT.
   */
  sample(logits: Float32Array, mask?: Uint32Array): Sample {
    if (!(logits instanceof Float32Array) || logits.length !== this.#vocabSize) {
      throw invalidArgument('logits', `a Float32Array of ${this.#vocabSize}`, logits)
    }
    const words = Math.ceil(this.#vocabSize / 32)
    if (mask !== undefined && !(mask instanceof Uint32Array && mask.length === words)) {
      throw invalidArgument('mask', `a Uint32Array of ${words}`, mask)
    }
    return toSample(this.#native.sample(logits, mask))
  }
}

/** A sample as callers see it. */
export function toSample({ token, logprob, topTokens, topLogprobs }: NativeSample): Sample {
  if (logprob === undefined || !topTokens || !topLogprobs) return { token }
  return { token, logprob, topLogprobs: tokenLogprobs(topTokens, topLogprobs) }
}

import { invalidArgument } from './errors.js'
import { OpenELM } from './model.js'
import { abortSignal, callback, integer, optional, type RulesOf, readOptions } from './options.js'

/** Options of {@link perplexity}. */
export interface PerplexityOptions {
  /**
   * Tokens that the model sees at a time, from 2 to what it was loaded for. Default that, or the context
   * length it was trained for where that is less.
   */
  contextLength?: number | undefined
  /**
   * Tokens from one window to the next, from 1: each is scored once, after at least `contextLength -
   * stride` others. Default half a window.
   */
  stride?: number | undefined
  signal?: AbortSignal | undefined
  /** Called after each window with the tokens scored so far and in all. */
  onProgress?: ((tokens: number, total: number) => void) | undefined
}

/** What {@link perplexity} measures. */
export interface Perplexity {
  /** e to the mean of -log p(token). Comparable only between models with the same vocabulary. */
  perplexity: number
  /** The sum of -log2 p(token), divided by the bytes of the text. Comparable between all models. */
  bitsPerByte: number
  /** Tokens scored. */
  tokens: number
  /** Bytes of the text in UTF-8. */
  bytes: number
}

/**
 * How well a model predicts a text, in windows that overlap.
 *
 * @throws OpenELMError INVALID_ARGUMENT, also for an empty text, and as `OpenELM.score`; or the reason
 *   of `options.signal`.
 */
export async function perplexity(
  model: OpenELM,
  text: string,
  options?: PerplexityOptions,
): Promise<Perplexity> {
  if (typeof text !== 'string' || text === '') {
    throw invalidArgument('text', 'a text of at least one character', text)
  }
  if (!(model instanceof OpenELM)) throw invalidArgument('model', 'an OpenELM', model)
  const rules = {
    contextLength: optional(
      integer(2, model.contextLength),
      Math.min(model.contextLength, model.config.maxContextLength),
    ),
    stride: optional(integer(1)),
    signal: optional(abortSignal),
    onProgress: optional(callback<NonNullable<PerplexityOptions['onProgress']>>()),
  } satisfies RulesOf<PerplexityOptions>
  const { contextLength, signal, onProgress, ...given } = readOptions(options, rules)
  const halfWindow = Math.floor(contextLength / 2)
  const stride = integer(1, contextLength - 1)('options.stride', given.stride ?? halfWindow)

  const tokens = await model.tokenizer.encodeAsync(text, { signal })
  const ids = Int32Array.from(tokens)
  using session = model.createSession({ contextLength })
  let logprob = 0
  let begin = 0
  for (let scored = 1; scored < tokens.length; ) {
    const end = Math.min(begin + contextLength, tokens.length)
    const [context, continuation] = [ids.subarray(begin, scored), ids.subarray(scored, end)]
    session.rewind(0)
    const [score] = await session.scoreChoices(context, [continuation], signal)
    logprob += score!.logprob
    scored = end
    begin += stride
    onProgress?.(scored - 1, tokens.length - 1)
  }
  const numTokens = tokens.length - 1 // the beginning of the text is given
  const bytes = Buffer.byteLength(text)
  return {
    perplexity: Math.exp(-logprob / numTokens),
    bitsPerByte: -logprob / Math.LN2 / bytes,
    tokens: numTokens,
    bytes,
  }
}

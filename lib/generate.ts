import { onAbort } from './abortable.js'
import type { GenerateSettings } from './generate-options.js'
import type { GenerateChunk, GenerateResult } from './generation-stream.js'
import type { NativeSampler, NativeSession } from './native-session.js'
import { toSample } from './sampler.js'
import { StopSequences } from './stop-sequences.js'
import type { TokenStream } from './token-stream.js'

/** What a generation begins with. */
export interface GenerationStart {
  readonly session: NativeSession
  readonly sampler: NativeSampler
  /** What the session does not hold yet of the text to continue. */
  readonly tokens: Int32Array
  /** Makes text of the tokens drawn. */
  readonly characters: TokenStream
  /** The tokens that end the text, whether they are to be heeded or not. */
  readonly eosTokenIds: readonly number[]
  readonly usage: Omit<GenerateResult['usage'], 'completionTokens'>
  /** Told of each token drawn before anyone else. */
  readonly onToken: (token: number) => void
}

/**
 * The decode loop: appends the tokens to the session, then one token after the other, each drawn by the
 * sampler from the scores of those before. The last token drawn is not appended, once the session is
 * idle.
 */
export async function* decode(
  start: GenerationStart,
  settings: GenerateSettings,
): AsyncGenerator<GenerateChunk, GenerateResult> {
  const { session, sampler, characters } = start
  const { maxTokens, signal } = settings
  const ends = new Set([...settings.stopTokens, ...(settings.ignoreEos ? [] : start.eosTokenIds)])
  const stop = new StopSequences(settings.stopSequences)
  const clock = new Clock()
  const tokens: number[] = []
  let text = ''
  let next = start.tokens

  const forget = onAbort(signal, () => session.cancel())
  try {
    for (;;) {
      const goesOn = tokens.length + 1 < maxTokens
      signal?.throwIfAborted()
      const sample = toSample(await clock.time(session.sample(next, sampler, goesOn)))
      signal?.throwIfAborted()
      start.onToken(sample.token)
      tokens.push(sample.token)
      next = Int32Array.of(sample.token)

      const isEnd = ends.has(sample.token)
      let piece = isEnd ? '' : stop.push(characters.push(sample.token))
      const isStopped = isEnd || stop.found
      const isFull = tokens.length === maxTokens || session.position === session.contextLength
      if (!stop.found && (isEnd || isFull)) piece += stop.push(characters.end()) + stop.end()
      text += piece
      yield { text: piece, ...sample }

      if (isStopped || isFull) {
        return {
          text,
          tokens,
          finishReason: isStopped ? 'stop' : 'length',
          usage: { ...start.usage, completionTokens: tokens.length },
          timings: clock.timings(start.tokens.length, tokens.length),
        }
      }
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    forget()
  }
}

/** Measures how long tokens were waited for; what the caller does between them does not count. */
class Clock {
  #prefillMs: number | undefined
  #decodeMs = 0

  async time<Result>(work: Promise<Result>): Promise<Result> {
    const begin = performance.now()
    const result = await work
    const ms = performance.now() - begin
    if (this.#prefillMs === undefined) this.#prefillMs = ms
    else this.#decodeMs += ms
    return result
  }

  timings(promptTokens: number, completionTokens: number): GenerateResult['timings'] {
    const prefillMs = this.#prefillMs ?? 0
    const decodeMs = this.#decodeMs
    const perSecond = (tokens: number, ms: number) => (ms > 0 ? (tokens / ms) * 1000 : 0)
    return {
      prefillMs,
      decodeMs,
      prefillTokensPerSecond: perSecond(promptTokens, prefillMs),
      decodeTokensPerSecond: perSecond(completionTokens - 1, decodeMs),
    }
  }
}

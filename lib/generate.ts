import { invalidArgument } from './errors.js'
import { loadNative, type NativeSample, type NativeSession } from './native.js'
import { type SamplerOptions, validateSamplerOptions } from './sampler.js'
import { StopSequences } from './stop-sequences.js'
import type { Tokenizer } from './tokenizer.js'
import { readBoolean, readInteger, readSignal } from './validate.js'

export interface GenerateOptions extends SamplerOptions {
  /** The most tokens to generate, from 1 up. Default 256; generation also ends when the context is full. */
  maxTokens?: number
  /** Texts that end the generation when they come; they are not part of its text. Default none. */
  stopSequences?: readonly string[]
  /** Whether to go on after the end-of-text token. Default false. */
  ignoreEos?: boolean
  /** Aborts the generation, which then rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface TokenLogprob {
  readonly token: number
  /** Natural logarithm of the probability that the model itself gives the token. */
  readonly logprob: number
}

/** One generated token. */
export interface GenerateChunk {
  /**
   * The text that is now certain: whole characters, and none that may begin a stop sequence. Often the
   * token's own, sometimes '', sometimes that of several tokens.
   */
  readonly text: string
  readonly token: number
  /** Only with `logprobs` above 0. */
  readonly logprob?: number
  /** The likeliest tokens, most likely first. Only with `logprobs` above 0. */
  readonly topLogprobs?: readonly TokenLogprob[]
}

export interface GenerateResult {
  /** The generated text, without the prompt. */
  readonly text: string
  /** The generated tokens, with the end-of-text token or those of the stop sequence that ended them. */
  readonly tokens: number[]
  /** 'stop': end-of-text or a stop sequence came; 'length': maxTokens or the context was reached. */
  readonly finishReason: 'stop' | 'length'
  readonly usage: { readonly promptTokens: number; readonly completionTokens: number }
  readonly timings: {
    /** Milliseconds to the first token. */
    readonly prefillMs: number
    /** Milliseconds for the other tokens. */
    readonly decodeMs: number
    readonly prefillTokensPerSecond: number
    readonly decodeTokensPerSecond: number
  }
}

export interface DecodeSettings {
  sampler: ReturnType<typeof validateSamplerOptions>
  maxTokens: number
  stopSequences: readonly string[]
  ignoreEos: boolean
  signal: AbortSignal | undefined
}

/** What the decode loop has to know of a tokenizer. */
export type TokenWriter = Pick<Tokenizer, 'vocabSize' | 'bosTokenId' | 'eosTokenIds' | 'stream'>

/** Checks what a caller gave and fills in the defaults. */
export function validateGenerateOptions(options: GenerateOptions): DecodeSettings {
  const sampler = validateSamplerOptions(options)
  const maxTokens = readInteger('options.maxTokens', options.maxTokens, {
    min: 1,
    max: 2 ** 31 - 1,
    fallback: 256,
  })
  return {
    sampler,
    maxTokens,
    stopSequences: readStopSequences(options.stopSequences),
    ignoreEos: readBoolean('options.ignoreEos', options.ignoreEos, false),
    signal: readSignal('options.signal', options.signal),
  }
}

function readStopSequences(value: unknown): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalidArgument('options.stopSequences', 'an array', value)
  for (const [index, stop] of value.entries()) {
    if (typeof stop === 'string' && stop.length > 0) continue
    throw invalidArgument(`options.stopSequences[${index}]`, 'a string that is not empty', stop)
  }
  return value
}

/**
 * The decode loop: appends the prompt to the session, then one token after the other, each drawn by the
 * sampler from the scores of those before. The last token drawn is not appended, once the session is
 * idle.
 */
export async function* decode(
  session: NativeSession,
  tokenizer: TokenWriter,
  prompt: Int32Array,
  options: DecodeSettings,
): AsyncGenerator<GenerateChunk, GenerateResult> {
  const sampler = new (loadNative().Sampler)(tokenizer.vocabSize, options.sampler)
  const continuation = session.position > 0 || prompt.some(id => id !== tokenizer.bosTokenId)
  const characters = tokenizer.stream({ continuation })
  const stop = new StopSequences(options.stopSequences)
  const tokens: number[] = []
  let text = ''
  let next = prompt
  const start = performance.now()
  let firstToken: number | undefined

  const { signal } = options
  const cancel = () => session.cancel()
  signal?.addEventListener('abort', cancel)
  try {
    for (;;) {
      const goesOn = tokens.length + 1 < options.maxTokens
      signal?.throwIfAborted()
      const sample = await session.sample(next, sampler, goesOn)
      signal?.throwIfAborted()
      firstToken ??= performance.now()
      tokens.push(sample.token)
      next = Int32Array.of(sample.token)

      let piece = stop.push(characters.push(sample.token))
      const isEos = tokenizer.eosTokenIds.includes(sample.token) && !options.ignoreEos
      const isStopped = stop.found || isEos
      const isFull =
        tokens.length === options.maxTokens || session.position === session.contextLength
      if (!stop.found && (isEos || isFull)) piece += stop.push(characters.end()) + stop.end()
      text += piece
      yield { text: piece, token: sample.token, ...logprobsOf(sample, options.sampler.logprobs) }

      if (isStopped || isFull) {
        return {
          text,
          tokens,
          finishReason: isStopped ? 'stop' : 'length',
          usage: { promptTokens: prompt.length, completionTokens: tokens.length },
          timings: measure(prompt.length, tokens.length, start, firstToken, performance.now()),
        }
      }
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

function logprobsOf(sample: NativeSample, wanted: number): Omit<GenerateChunk, 'text' | 'token'> {
  if (wanted === 0) return {}
  const topLogprobs = Array.from(sample.topTokens!, (token, index) => ({
    token,
    logprob: sample.topLogprobs![index]!,
  }))
  return { logprob: sample.logprob!, topLogprobs }
}

function measure(
  promptTokens: number,
  completionTokens: number,
  start: number,
  firstToken: number,
  end: number,
): GenerateResult['timings'] {
  const prefillMs = firstToken - start
  const decodeMs = end - firstToken
  const perSecond = (tokens: number, ms: number) => (ms > 0 ? (tokens / ms) * 1000 : 0)
  return {
    prefillMs,
    decodeMs,
    prefillTokensPerSecond: perSecond(promptTokens, prefillMs),
    decodeTokensPerSecond: perSecond(completionTokens - 1, decodeMs),
  }
}

import { onAbort } from './abortable.js'
import type { CachedSequence } from './cached-sequence.js'
import type { GenerateSettings } from './generate-options.js'
import type { GenerateChunk, GenerateResult } from './generation-stream.js'
import { loadNative } from './native.js'
import type { NativeConstrainedText } from './native-constraint.js'
import type { NativeDrafter, NativeSampler } from './native-session.js'
import type { CheckedPrompt, PromptEncoder } from './prompt.js'
import { toSample } from './sampler.js'
import { StopSequences } from './stop-sequences.js'
import type { TokenStream } from './token-stream.js'

/**
 * Continues a sequence with a prompt and what the model makes of it. When it ends, or is left, the
 * sequence holds what was given so far; where that is nothing, it is as it was.
 */
export async function* generate(
  sequence: CachedSequence,
  prompts: PromptEncoder,
  prompt: CheckedPrompt,
  settings: GenerateSettings,
): AsyncGenerator<GenerateChunk, GenerateResult> {
  sequence.begin()
  const before = sequence.tokens
  const { signal } = settings
  const room = sequence.contextLength - before.length
  let tokens: number[] = []
  try {
    const ids = await prompts.encodeBehind(before.length, prompt, { room, signal })
    tokens = [...before, ...ids]
    const isContinued = before.length > 0 || ids.some(id => id !== prompts.bosTokenId)
    const ends = new Set([
      ...settings.stopTokens,
      ...(settings.ignoreEos ? [] : prompts.eosTokenIds),
    ])
    const { responseConstraint } = settings
    const constrained =
      responseConstraint &&
      (await prompts.constrained(responseConstraint, { ends, isContinued, signal }))
    const missing = await sequence.prepare(tokens, tokens.length - 1)
    const held = sequence.cachedLength
    const stopSequences = [...prompts.stopSequences(prompt), ...settings.stopSequences]
    const sampler = new (loadNative().Sampler)(prompts.vocabSize, settings.sampler)
    sampler.accept(Int32Array.from(tokens.slice(0, held)))
    const start = {
      sequence,
      sampler,
      drafter: sequence.drafters.start(settings.drafts, tokens, sequence.contextLength),
      missing,
      tokens,
      characters: prompts.characters(stopSequences, isContinued),
      constrained,
      ends,
      usage: { promptTokens: ids.length, cachedTokens: Math.max(0, held - before.length) },
    }
    return yield* decode(start, { ...settings, stopSequences })
  } finally {
    // The last token drawn is not in the cache.
    await sequence.end(sequence.tokens === tokens ? tokens.slice(0, -1) : undefined, signal)
  }
}

/** What a generation begins with. */
interface GenerationStart {
  readonly sequence: CachedSequence
  readonly sampler: NativeSampler
  readonly drafter: NativeDrafter | undefined
  /** What the cache does not hold yet of the text to continue. */
  readonly missing: Int32Array
  /** The text to continue, and then all of it. */
  readonly tokens: number[]
  /** Makes text of the tokens drawn. */
  readonly characters: TokenStream
  /** What the text must be, if it must be something. */
  readonly constrained: NativeConstrainedText | undefined
  /** The tokens that end the text. */
  readonly ends: ReadonlySet<number>
  readonly usage: Pick<GenerateResult['usage'], 'promptTokens' | 'cachedTokens'>
}

/**
 * The decode loop: appends the tokens that are missing, then one token after the other, each drawn by the
 * sampler from the scores of those before. The last token drawn is not appended, once the session is
 * idle.
 */
async function* decode(
  start: GenerationStart,
  settings: GenerateSettings,
): AsyncGenerator<GenerateChunk, GenerateResult> {
  const { sequence, sampler, drafter, characters, constrained, ends } = start
  const { native, contextLength } = sequence
  const { maxTokens, signal } = settings
  const stop = new StopSequences(settings.stopSequences)
  const clock = new Clock()
  const tokens: number[] = []
  let acceptedDraftTokens = 0
  let text = ''
  let next = start.missing
  const draw = async () => {
    signal?.throwIfAborted()
    const left = maxTokens - tokens.length - 1
    return native.sample(next, sampler, left > 0, constrained, drafter, left)
  }

  const forget = onAbort(signal, () => native.cancel())
  try {
    for (;;) {
      const drawn = await clock.time(draw())
      const sample = toSample(drawn)
      signal?.throwIfAborted()
      start.tokens.push(sample.token)
      sequence.tokens = start.tokens
      tokens.push(sample.token)
      if (drawn.isDrafted) acceptedDraftTokens++
      next = Int32Array.of(sample.token)

      const isEnd = ends.has(sample.token)
      let piece = isEnd ? '' : stop.push(characters.push(sample.token))
      const isComplete = isEnd || drawn.isLast === true
      const isStopped = isComplete || stop.found
      const isFull = tokens.length === maxTokens || native.position === contextLength
      if (!stop.found && (isComplete || isFull)) piece += stop.push(characters.end()) + stop.end()
      text += piece
      yield { text: piece, ...sample }

      if (isStopped || isFull) {
        return {
          text,
          tokens,
          finishReason: isStopped ? 'stop' : 'length',
          usage: {
            ...start.usage,
            completionTokens: tokens.length,
            ...(drafter && { acceptedDraftTokens }),
          },
          timings: clock.timings(start.missing.length, tokens.length),
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

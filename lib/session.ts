import type { CachedSequence } from './cached-sequence.js'
import { type CallOptions, callRules } from './call-options.js'
import { invalidArgument } from './errors.js'
import { generate } from './generate.js'
import {
  type GenerateOptions,
  type GenerateSettings,
  readGenerateOptions,
} from './generate-options.js'
import {
  type GenerateChunk,
  type GenerateResult,
  type GenerationStream,
  generationStream,
  resultOf,
} from './generation-stream.js'
import type { NativeSession } from './native-session.js'
import { integer, readOptions, tokenIds } from './options.js'
import type { CheckedPrompt, Prompt, PromptEncoder } from './prompt.js'
import {
  rowsFrom,
  type Score,
  type ScoresOptions,
  scoreOf,
  scoresRules,
  type TokenScore,
  tokenScores,
} from './token-scores.js'
import type { TokenIds } from './tokenizer.js'

/**
 * One sequence of tokens and its KV cache: what is said once is computed once. Sessions of one model
 * decode together, in batches. A session does one thing at a time: while a call is under way, or a
 * stream is neither at its end nor left, every other call throws BUSY.
 */
export class Session {
  readonly #sequence: CachedSequence
  readonly #prompts: PromptEncoder

  /** @internal Use `OpenELM.createSession`. */
  constructor(sequence: CachedSequence, prompts: PromptEncoder) {
    this.#sequence = sequence
    this.#prompts = prompts
  }

  /** Tokens that it can hold; one more can be generated. */
  get contextLength(): number {
    return this.#sequence.contextLength
  }

  /** @internal */
  get native(): NativeSession {
    return this.#sequence.native
  }

  /**
   * How many tokens the sequence has: all that were appended and generated, with the last one generated,
   * which is computed by the next call. 0 after `dispose`.
   */
  get position(): number {
    return this.#sequence.tokens.length
  }

  /** The tokens of the sequence: a copy. */
  get tokens(): number[] {
    return [...this.#sequence.tokens]
  }

  /**
   * Appends a prompt, and what the model continues it with. Only the first text of a session begins with
   * the beginning-of-text token. An empty prompt goes on with what the session holds.
   *
   * When the promise is fulfilled, the session holds the prompt and all of `result.tokens`, those that
   * ended the generation among them. When it rejects, or a stream is left, it holds what was given so
   * far; where that is nothing, it is as it was.
   *
   * @param prompt Text or token ids; messages only while the session is empty, see `OpenELM.createChat`.
   * @throws OpenELMError CONTEXT_OVERFLOW when the prompt does not fit, OUT_OF_MEMORY,
   *   NON_FINITE_LOGITS, INVALID_TOKENIZER, BUSY, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult> {
    return resultOf(this.stream(prompt, options))
  }

  /**
   * As `generate`, token by token. Arguments are checked now, and the work begins with the first `next()`.
   *
   * @throws OpenELMError INVALID_ARGUMENT; the stream itself throws what `generate` rejects with.
   */
  stream(prompt: Prompt, options?: GenerateOptions): GenerationStream {
    const settings = readGenerateOptions(options, this.#prompts.vocabSize)
    const checked = this.#prompts.check('prompt', prompt, this.position === 0 ? 1 : 0)
    return generationStream(this.run(checked, settings))
  }

  /**
   * Appends tokens and returns the scores of the token that comes next, [vocabSize]: the logits after
   * the last of them.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW when they do not fit; BUSY, DISPOSED, INVALID_ARGUMENT; or the
   *   reason of `options.signal`. The session is then as it was.
   */
  async append(tokens: TokenIds, options?: CallOptions): Promise<Float32Array> {
    const ids = tokenIds(this.#prompts.vocabSize)('tokens', tokens)
    const { signal } = readOptions(options, callRules)
    const sequence = [...this.#sequence.tokens, ...ids]
    const logits = await this.#sequence.call(sequence, sequence.length - 1, signal, missing =>
      this.native.logits(missing, false),
    )
    this.#sequence.tokens = sequence
    return logits
  }

  /**
   * How likely a continuation of the sequence is. The session stays as it was.
   *
   * @throws OpenELMError INVALID_ARGUMENT, also for an empty session; otherwise as `append`.
   */
  async score(continuation: string | TokenIds, options?: CallOptions): Promise<Score> {
    const checked = this.#prompts.checkContinuation(continuation)
    const { signal } = readOptions(options, callRules)
    const room = this.contextLength - this.position
    const tokens = await this.#prompts.encode(checked, { addBos: false, room, signal })
    if (this.position === 0) throw invalidArgument('the session', 'one that holds tokens', this)
    return scoreOf(tokenScores(tokens, await this.#scores(tokens, 1, signal)))
  }

  /**
   * How likely each of these tokens is, given those before it. The first of an empty session has none,
   * and is left out. The session stays as it was, but tokens that are appended next cost nothing.
   *
   * @throws OpenELMError as `append`.
   */
  async scores(tokens: TokenIds, options?: ScoresOptions): Promise<TokenScore[]> {
    const ids = tokenIds(this.#prompts.vocabSize)('tokens', tokens)
    const { top, signal } = readOptions(options, scoresRules)
    const scored = this.position === 0 ? ids.subarray(1) : ids
    return tokenScores(scored, await this.#scores(ids, top, signal))
  }

  /**
   * Forgets the tokens from `position` on. Those that are appended again cost nothing as long as they
   * are the same.
   *
   * @throws OpenELMError INVALID_ARGUMENT unless `position` is an integer from 0 to the present one; BUSY,
   *   DISPOSED.
   */
  rewind(position: number): void {
    this.#sequence.checkIdle()
    const kept = integer(0, this.position)('position', position)
    this.#sequence.tokens = this.#sequence.tokens.slice(0, kept)
  }

  /**
   * A new session with the same tokens; the two go on independently.
   *
   * @throws OpenELMError OUT_OF_MEMORY, DISPOSED; BUSY, also for the moment that a call that was aborted
   *   takes to end.
   */
  fork(): Session {
    return new Session(this.#sequence.fork(), this.#prompts)
  }

  /** Gives the memory of the cache back. Idempotent; a call under way rejects with DISPOSED. */
  dispose(): void {
    this.#sequence.dispose()
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal A generation whose arguments were checked. */
  run(
    prompt: CheckedPrompt,
    settings: GenerateSettings,
  ): AsyncGenerator<GenerateChunk, GenerateResult> {
    return generate(this.#sequence, this.#prompts, prompt, settings)
  }

  async #scores(ids: Int32Array, top: number, signal: AbortSignal | undefined) {
    const sequence = [...this.#sequence.tokens, ...ids]
    const first = Math.max(1, this.position)
    const targets = Int32Array.from(sequence.slice(first))
    return this.#sequence.call(sequence, first - 1, signal, (missing, held) =>
      this.native.scores(missing, rowsFrom(first - 1 - held, targets.length), targets, top),
    )
  }

  /**
   * @internal Appends a context, and says how likely each of these choices is after it. The first tokens
   * of all are scored by what follows the context once, and the last ones are not computed.
   *
   * @param choices of at least one token each, of which all but the last must fit behind the context.
   */
  async scoreChoices(
    context: Int32Array,
    choices: readonly Int32Array[],
    signal?: AbortSignal,
  ): Promise<Score[]> {
    const start = [...this.#sequence.tokens, ...context]
    const [choice = new Int32Array(0), ...others] = choices
    const targets = Int32Array.from([...others.map(([token]) => token!), ...choice])
    const sequence = [...start, ...choice.slice(0, -1)]
    const result = await this.#sequence.call(sequence, start.length - 1, signal, missing => {
      const row = missing.length - Math.max(1, choice.length)
      const rows = [...others.map(() => row), ...rowsFrom(row, choice.length)]
      return this.native.scores(missing, Int32Array.from(rows), targets, 1)
    })
    this.#sequence.tokens = start
    const scored = tokenScores(targets, result)
    const scores = choices.slice(0, 1).map(() => scoreOf(scored.slice(others.length)))
    for (const [i, other] of others.entries()) {
      scores.push(scoreOf([scored[i]!, ...(await this.#scoreRest(start, other, signal))]))
    }
    return scores
  }

  /** All but the first token of what comes after `start`, which the cache holds. */
  async #scoreRest(start: readonly number[], choice: Int32Array, signal: AbortSignal | undefined) {
    const targets = choice.slice(1)
    if (targets.length === 0) return []
    const sequence = [...start, ...choice.slice(0, -1)]
    const result = await this.#sequence.call(sequence, start.length, signal, missing =>
      this.native.scores(missing, rowsFrom(0, missing.length), targets, 1),
    )
    return tokenScores(targets, result)
  }
}

import type {
  GenerateChunk,
  GenerateOptions,
  GenerateResult,
  Session,
  TokenScore,
} from '../index.js'
import type { Context } from './context.js'
import type { Visit } from './queue.js'
import type { Lease } from './slots.js'

/** What a request wants to have generated. */
export interface GenerationRequest {
  readonly prompts: readonly Int32Array[]
  /** Answers to each prompt. */
  readonly choices: number
  /** 0 for none: then the prompt alone is computed, and that only if its scores are asked for. */
  readonly maxTokens: number
  readonly options: GenerateOptions
  /** How many of the likeliest tokens are to be reported in the place of each token of a prompt. */
  readonly promptLogprobs: number | undefined
  readonly cachePrompt: boolean
}

/** Told of the choices as they come; those of the first prompt come first. */
export interface ChoiceListener {
  /** Before any token of a choice. */
  begin(index: number, promptScores: readonly TokenScore[] | undefined): void
  chunk(index: number, chunk: GenerateChunk): void
  end(index: number, finishReason: GenerateResult['finishReason']): void
}

/** What a request took, in tokens. */
export interface Usage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
}

/** A prompt that was computed for several answers. */
interface Start {
  readonly lease: Lease
  readonly scores: readonly TokenScore[] | undefined
}

/**
 * Runs all generations of a request, as many at a time as the queue lets.
 *
 * @param onBegin called when the first of them begins.
 * @throws the reason of `signal`; OpenELMError as `Session.generate`.
 */
export async function runGenerations(
  context: Context,
  request: GenerationRequest,
  visit: Visit,
  listener: ChoiceListener,
  { signal, onBegin }: { signal: AbortSignal; onBegin: () => void },
): Promise<Usage> {
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const runs = request.prompts.map(prompt => new PromptRun(context, request, prompt, either))
  const jobs = Array.from({ length: runs.length * request.choices }, (_, i) => i).values()
  const work = async () => {
    for (const index of jobs) {
      using _ = await visit.begin(either)
      onBegin()
      const run = runs[Math.floor(index / request.choices)]!
      await run.generate(index % request.choices, index, listener)
    }
  }
  const workers = Math.min(context.settings.parallel, runs.length * request.choices)
  const all = Array.from({ length: workers }, () =>
    work().catch(error => {
      failed.abort(error)
      throw error
    }),
  )
  await Promise.allSettled(all)
  for (const run of runs) run.dispose()
  await Promise.all(all)
  const sum = (count: (run: PromptRun) => number) => runs.reduce((sum, run) => sum + count(run), 0)
  return {
    promptTokens: sum(run => run.promptTokens),
    cachedTokens: sum(run => run.cachedTokens),
    completionTokens: sum(run => run.completionTokens),
  }
}

/** The answers to one prompt. */
class PromptRun {
  cachedTokens = 0
  completionTokens = 0
  readonly #context: Context
  readonly #request: GenerationRequest
  readonly #prompt: Int32Array
  readonly #signal: AbortSignal
  /** Where there are several choices. */
  #start: Promise<Start> | undefined
  #missing: number

  constructor(
    context: Context,
    request: GenerationRequest,
    prompt: Int32Array,
    signal: AbortSignal,
  ) {
    this.#context = context
    this.#request = request
    this.#prompt = prompt
    this.#signal = signal
    this.#missing = request.choices
  }

  get promptTokens(): number {
    return this.#prompt.length
  }

  async generate(choice: number, index: number, listener: ChoiceListener): Promise<void> {
    if (this.#request.choices === 1) {
      using lease = this.#take()
      listener.begin(index, await this.#score(lease.session))
      await this.#decode(lease.session, this.#prompt, { choice, index, listener })
      return
    }
    this.#start ??= this.#begin()
    const { lease, scores } = await this.#start
    using fork = lease.session.fork()
    listener.begin(index, scores)
    await this.#decode(fork, [], { choice, index, listener })
    if (--this.#missing === 0) this.dispose()
  }

  /** Gives back what all choices began with. Idempotent; not while one of them is generated. */
  dispose(): void {
    const start = this.#start
    this.#start = undefined
    start?.then(
      ({ lease }) => lease[Symbol.dispose](),
      () => {},
    )
  }

  #take(): Lease {
    const { cachePrompt, maxTokens, promptLogprobs } = this.#request
    const { model, slots } = this.#context
    const room = Math.min(model.contextLength, this.#prompt.length + maxTokens)
    // A cache holds no scores of the tokens in it.
    return slots.take(this.#prompt, room, cachePrompt && promptLogprobs === undefined)
  }

  async #begin(): Promise<Start> {
    const lease = this.#take()
    try {
      const signal = this.#signal
      const scores = await this.#score(lease.session)
      const before = performance.now()
      await lease.session.append(this.#prompt, { signal })
      this.#countPrompt(lease.cachedTokens, performance.now() - before)
      return { lease, scores }
    } catch (error) {
      lease[Symbol.dispose]()
      throw error
    }
  }

  async #score(session: Session): Promise<TokenScore[] | undefined> {
    const { promptLogprobs: top } = this.#request
    if (top === undefined || this.#prompt.length < 2) return top === undefined ? undefined : []
    return session.scores(this.#prompt, { top, signal: this.#signal })
  }

  async #decode(
    session: Session,
    prompt: Int32Array | [],
    { choice, index, listener }: { choice: number; index: number; listener: ChoiceListener },
  ): Promise<void> {
    const { maxTokens, options } = this.#request
    if (maxTokens === 0) return listener.end(index, 'length')
    const seed = options.seed === undefined ? undefined : BigInt(options.seed) + BigInt(choice)
    const settings = { ...options, seed, maxTokens, signal: this.#signal }
    const stream = session.stream(prompt, settings)
    for await (const chunk of stream) listener.chunk(index, chunk)
    const result = await stream.result
    this.completionTokens += result.usage.completionTokens
    this.#context.metrics.countAnswer(result)
    if (prompt.length > 0) {
      // Those that were scored for this very request are none that cost nothing.
      const isScored = this.#request.promptLogprobs !== undefined
      this.#countPrompt(isScored ? 0 : result.usage.cachedTokens, result.timings.prefillMs)
    }
    listener.end(index, result.finishReason)
  }

  #countPrompt(cachedTokens: number, ms: number): void {
    this.cachedTokens = cachedTokens
    this.#context.metrics.countPrompt(this.promptTokens, cachedTokens, ms / 1000)
  }
}

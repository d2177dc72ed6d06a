import type { TokenScore } from '../index.js'
import { boolean, integer, optional, type RulesOf } from '../options.js'
import { type AnswerFormat, answer, type Delta } from './answer.js'
import type { Context, Exchange } from './context.js'
import { CompletionLogprobs, type ScoredToken } from './logprobs.js'
import { ApiError, contextLengthExceeded } from './openai-error.js'
import { readCommonParameters, readParameters, refuse } from './parameters.js'

const rules = {
  max_tokens: optional(integer(0), 16),
  echo: optional(boolean, false),
  // Some clients send false for none.
  logprobs: optional((name, value) => (value === false ? undefined : integer(0, 20)(name, value))),
} satisfies RulesOf<Record<string, unknown>>

/** `POST /v1/completions` */
export async function completions(exchange: Exchange): Promise<void> {
  const { context, body, signal } = exchange
  using visit = context.queue.enter()
  refuse(body, { suffix: 'OpenELM does not fill in the middle of a text' })
  const given = readPrompts(body.prompt)
  const common = readCommonParameters(body, context, given.length)
  const { max_tokens, echo, logprobs } = readParameters(body, rules)
  const prompts: Int32Array[] = []
  for (const prompt of given) prompts.push(await encode(context, prompt, signal))
  const options = logprobs === undefined ? {} : { logprobs: Math.max(1, logprobs) }
  const request = {
    ...common,
    prompts,
    maxTokens: Math.min(max_tokens, context.settings.maxTokens),
    options: { ...common.options, ...options },
    promptLogprobs: echo && logprobs !== undefined ? Math.max(1, logprobs) : undefined,
  }
  const echoes = echo ? given.map((text, i) => ({ text, tokens: prompts[i]! })) : undefined
  const format = new CompletionFormat(context, { echoes, choices: common.choices, logprobs })
  await answer(exchange, visit, request, format)
}

type GivenPrompt = string | readonly number[]

/** @throws ApiError 400 */
function readPrompts(prompt: unknown): GivenPrompt[] {
  if (typeof prompt === 'string') return [prompt]
  if (Array.isArray(prompt) && prompt.length > 0) {
    if (prompt.every(part => typeof part === 'number')) return [prompt]
    if (prompt.every(part => typeof part === 'string' || Array.isArray(part))) return prompt
  }
  const expected = 'a text, token ids, or an array of texts or of arrays of token ids'
  throw new ApiError(400, `expected prompt to be ${expected}`, {
    code: 'invalid_value',
    param: 'prompt',
  })
}

/** @throws OpenELMError INVALID_ARGUMENT, CONTEXT_OVERFLOW; ApiError 400 context_length_exceeded */
async function encode({ model }: Context, prompt: GivenPrompt, signal: AbortSignal) {
  const tokens = await model.encode(prompt, { signal })
  if (tokens.length <= model.contextLength) return tokens
  throw contextLengthExceeded(tokens.length, model.contextLength)
}

interface Echo {
  readonly text: GivenPrompt
  readonly tokens: Int32Array
}

class CompletionFormat implements AnswerFormat {
  readonly objects = { whole: 'text_completion', event: 'text_completion' }
  readonly idPrefix = 'cmpl'
  readonly hasLogprobs: boolean
  readonly #context: Context
  readonly #echoes: readonly Echo[] | undefined
  readonly #choices: number
  readonly #top: number
  /** Of each choice under way. */
  readonly #logprobs = new Map<number, CompletionLogprobs>()

  constructor(
    context: Context,
    options: {
      echoes: readonly Echo[] | undefined
      choices: number
      logprobs: number | undefined
    },
  ) {
    this.#context = context
    this.#echoes = options.echoes
    this.#choices = options.choices
    this.hasLogprobs = options.logprobs !== undefined
    this.#top = options.logprobs ?? 0
  }

  first(index: number, promptScores: readonly TokenScore[] | undefined): object | undefined {
    const text = this.#echoedText(index)
    if (text === undefined) return undefined
    return this.#choice(index, text, this.#echoedTokens(index, promptScores), null)
  }

  next({ index, text, chunks }: Delta): object {
    return this.#choice(index, text, chunks, null)
  }

  last(index: number, finishReason: string): object {
    this.#logprobs.delete(index)
    return { index, text: '', logprobs: null, finish_reason: finishReason }
  }

  whole({ index, text, chunks, promptScores, finishReason }: Parameters<AnswerFormat['whole']>[0]) {
    const tokens = [...this.#echoedTokens(index, promptScores), ...chunks]
    return this.#choice(index, (this.#echoedText(index) ?? '') + text, tokens, finishReason)
  }

  #choice(
    index: number,
    text: string,
    tokens: readonly ScoredToken[],
    finishReason: string | null,
  ): object {
    const logprobs = this.hasLogprobs ? this.#formatter(index).format(tokens) : null
    return { index, text, logprobs, finish_reason: finishReason }
  }

  #formatter(index: number): CompletionLogprobs {
    const known = this.#logprobs.get(index)
    if (known) return known
    const { tokenizer } = this.#context.model
    const made = new CompletionLogprobs(tokenizer, this.#top, this.#echoes === undefined)
    this.#logprobs.set(index, made)
    return made
  }

  #echoed(index: number): Echo | undefined {
    return this.#echoes?.[Math.floor(index / this.#choices)]
  }

  #echoedText(index: number): string | undefined {
    const echo = this.#echoed(index)
    if (echo === undefined) return undefined
    if (typeof echo.text === 'string') return echo.text
    return this.#context.model.tokenizer.decode(echo.tokens)
  }

  #echoedTokens(index: number, scores: readonly TokenScore[] | undefined): readonly ScoredToken[] {
    const echo = this.#echoed(index)
    if (echo === undefined || scores === undefined) return []
    return [{ token: echo.tokens[0]! }, ...scores]
  }
}

import type { GenerateResult, Message } from '../index.js'
import { arrayOf, boolean, integer, object, optional, type RulesOf } from '../options.js'
import { type AnswerFormat, answer, type Delta, type WholeChoice } from './answer.js'
import type { Context, Exchange } from './context.js'
import { chatLogprobs } from './logprobs.js'
import {
  ApiError,
  contextLengthExceeded,
  toApiError,
  unsupportedParameter,
} from './openai-error.js'
import { readCommonParameters, readParameters, refuse } from './parameters.js'

const rules = {
  max_tokens: optional(integer(1)),
  max_completion_tokens: optional(integer(1)),
  logprobs: optional(boolean, false),
  top_logprobs: optional(integer(0, 20), 0),
  response_format: optional(object),
  messages: arrayOf(object),
} satisfies RulesOf<Record<string, unknown>>

const noTools = 'OpenELM was not trained to use tools'

/** `POST /v1/chat/completions` */
export async function chatCompletions(exchange: Exchange): Promise<void> {
  const { context, body, signal } = exchange
  using visit = context.queue.enter()
  const { model, settings } = context
  refuse(body, { tools: noTools, tool_choice: noTools, functions: noTools, function_call: noTools })
  const common = readCommonParameters(body, context, 1)
  const { messages, response_format, ...values } = readParameters(body, rules)
  const responseConstraint = constraintOf(response_format)
  const maxTokens = values.max_completion_tokens ?? values.max_tokens ?? model.contextLength
  const tokens = await encode(context, messages, signal)
  const top = values.logprobs ? values.top_logprobs : undefined
  const request = {
    ...common,
    prompts: [tokens],
    maxTokens: Math.min(maxTokens, settings.maxTokens),
    options: {
      ...common.options,
      responseConstraint,
      stopSequences: [...model.chatStopSequences, ...(common.options.stopSequences ?? [])],
      ...(top !== undefined && { logprobs: Math.max(1, top) }),
    },
    promptLogprobs: undefined,
  }
  await answer(exchange, visit, request, new ChatFormat(context, top))
}

type Json = Readonly<Record<string, unknown>>

/**
 * What an answer must fit. A schema that is not supported is found when the generation begins.
 *
 * @throws OpenELMError INVALID_ARGUMENT, ApiError 400
 */
function constraintOf(format: Json | undefined): Json | undefined {
  if (format === undefined || format.type === 'text') return undefined
  if (format.type === 'json_object') return { type: 'object' }
  if (format.type !== 'json_schema') {
    throw unsupportedParameter('response_format', 'its types are text, json_object and json_schema')
  }
  const { schema = {} } = object('response_format.json_schema', format.json_schema) as Json
  return object('response_format.json_schema.schema', schema) as Json
}

/** @throws ApiError 400 */
async function encode({ model }: Context, given: readonly object[], signal: AbortSignal) {
  if (given.length === 0) {
    const message = 'expected messages to be at least one message'
    throw new ApiError(400, message, { code: 'invalid_value', param: 'messages' })
  }
  const messages = given.map(message => {
    const { role } = message as { role?: unknown }
    return role === 'developer' ? { ...message, role: 'system' } : message
  })
  let tokens: Int32Array
  try {
    tokens = await model.encode(messages as Message[], { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw toApiError(error, { prompt: 'messages' })
  }
  if (tokens.length <= model.contextLength) return tokens
  throw contextLengthExceeded(tokens.length, model.contextLength)
}

class ChatFormat implements AnswerFormat {
  readonly objects = { whole: 'chat.completion', event: 'chat.completion.chunk' }
  readonly idPrefix = 'chatcmpl'
  readonly hasLogprobs: boolean
  readonly #context: Context
  readonly #top: number

  /** @param top how many of the likeliest tokens are reported; undefined for no log-probabilities. */
  constructor(context: Context, top: number | undefined) {
    this.#context = context
    this.hasLogprobs = top !== undefined
    this.#top = top ?? 0
  }

  first(index: number): object {
    const delta = { role: 'assistant', content: '' }
    return { index, delta, logprobs: null, finish_reason: null }
  }

  next({ index, text, chunks }: Delta): object {
    const logprobs = this.#logprobs(chunks)
    return { index, delta: { content: text }, logprobs, finish_reason: null }
  }

  last(index: number, finishReason: GenerateResult['finishReason']): object {
    return { index, delta: {}, logprobs: null, finish_reason: finishReason }
  }

  whole({ index, text, chunks, finishReason }: WholeChoice): object {
    const message = { role: 'assistant', content: text, refusal: null }
    return { index, message, logprobs: this.#logprobs(chunks), finish_reason: finishReason }
  }

  #logprobs(chunks: Delta['chunks']): object | null {
    return this.hasLogprobs ? chatLogprobs(this.#context.model.tokenizer, this.#top, chunks) : null
  }
}

import type { GenerateChunk, GenerateResult, TokenScore } from '../index.js'
import type { Context, Exchange } from './context.js'
import { EventStream, sendJson } from './event-stream.js'
import { type GenerationRequest, runGenerations, type Usage } from './generations.js'
import { toApiError } from './openai-error.js'
import type { Visit } from './queue.js'

/** Tokens that come within so many milliseconds are one event, of which a screen shows 60 a second. */
const gatherMs = 15

/** A part of a choice, as it comes. */
export interface Delta {
  readonly index: number
  readonly text: string
  readonly chunks: readonly GenerateChunk[]
}

/** A part of a choice that is not sent yet. */
interface HeldDelta extends Delta {
  text: string
  readonly chunks: GenerateChunk[]
}

/** How the answers to a request look: what differs between completions and chat completions. */
export interface AnswerFormat {
  /** The event that a choice begins with; undefined for none. */
  first(index: number, promptScores: readonly TokenScore[] | undefined): object | undefined
  /** An event of the text between. */
  next(delta: Delta): object
  /** The event that a choice ends with. */
  last(index: number, finishReason: GenerateResult['finishReason']): object
  /** A choice that is answered as a whole. */
  whole(choice: WholeChoice): object
  /** Whether events without text tell something. */
  readonly hasLogprobs: boolean
  /** What the whole answer and its events are called. */
  readonly objects: { readonly whole: string; readonly event: string }
  readonly idPrefix: string
}

/** A choice that is answered as a whole. */
export interface WholeChoice extends Delta {
  readonly promptScores: readonly TokenScore[] | undefined
  readonly finishReason: GenerateResult['finishReason']
}

export interface AnswerRequest extends GenerationRequest {
  readonly streams: boolean
  readonly includesUsage: boolean
}

/** Generates what a request asks for, and answers it. */
export async function answer(
  exchange: Exchange,
  visit: Visit,
  request: AnswerRequest,
  format: AnswerFormat,
): Promise<void> {
  const send = request.streams ? stream : sendWhole
  await send(exchange, visit, request, format)
}

async function sendWhole(
  exchange: Exchange,
  visit: Visit,
  request: AnswerRequest,
  format: AnswerFormat,
): Promise<void> {
  const choices: { text: string; chunks: GenerateChunk[]; scores: WholeChoice['promptScores'] }[] =
    []
  const answers: object[] = []
  const usage = await run(exchange, visit, request, {
    begin(index, scores) {
      choices[index] = { text: '', chunks: [], scores }
    },
    chunk(index, chunk) {
      const choice = choices[index]!
      choice.text += chunk.text
      if (format.hasLogprobs) choice.chunks.push(chunk)
    },
    end(index, finishReason) {
      const { text, chunks, scores } = choices[index]!
      answers[index] = format.whole({ index, text, chunks, promptScores: scores, finishReason })
      delete choices[index]
    },
  })
  sendJson(exchange.res, 200, {
    ...head(exchange.context, format.idPrefix, format.objects.whole),
    choices: answers,
    usage: formatUsage(usage),
  })
}

async function stream(
  exchange: Exchange,
  visit: Visit,
  request: AnswerRequest,
  format: AnswerFormat,
): Promise<void> {
  /** What was not sent yet of each choice: an event for each token would cost more than a small model. */
  const held = new Map<number, HeldDelta>()
  let timer: NodeJS.Timeout | undefined
  let lastTime = Number.NEGATIVE_INFINITY
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (events.isFull) return
    lastTime = performance.now()
    for (const delta of held.values()) sendChoice(format.next(delta))
    held.clear()
  }
  /** What choices begin with: sent with their first token, until which an error is a status. */
  const firsts = new Map<number, object>()
  const sendFirst = (index: number) => {
    const first = firsts.get(index)
    firsts.delete(index)
    if (first) sendChoice(first)
  }
  const events = new EventStream(exchange.res, flush)
  const top = head(exchange.context, format.idPrefix, format.objects.event)
  const rest = request.includesUsage ? { usage: null } : {}
  const sendChoice = (choice: object) => {
    events.send(JSON.stringify({ ...top, choices: [choice], ...rest }))
  }
  try {
    const usage = await run(exchange, visit, request, {
      begin(index, scores) {
        const first = format.first(index, scores)
        if (first) firsts.set(index, first)
      },
      chunk(index, chunk) {
        if (firsts.size > 0) sendFirst(index)
        if (chunk.text === '' && !format.hasLogprobs) return
        let delta = held.get(index)
        if (!delta) {
          delta = { index, text: '', chunks: [] }
          held.set(index, delta)
        }
        delta.text += chunk.text
        if (format.hasLogprobs) delta.chunks.push(chunk)
        if (timer !== undefined) return
        const wait = lastTime + gatherMs - performance.now()
        if (wait > 0) timer = setTimeout(flush, wait)
        else flush()
      },
      end(index, finishReason) {
        sendFirst(index)
        const delta = held.get(index)
        held.delete(index)
        if (delta) sendChoice(format.next(delta))
        sendChoice(format.last(index, finishReason))
      },
    })
    if (request.includesUsage) {
      events.send(JSON.stringify({ ...top, choices: [], usage: formatUsage(usage) }))
    }
    events.send('[DONE]')
  } catch (error) {
    if (!events.hasBegun || exchange.signal.aborted) throw error
    flush()
    events.send(JSON.stringify(toApiError(error)))
  } finally {
    clearTimeout(timer)
  }
  events.end()
}

type Listener = Parameters<typeof runGenerations>[3]

/** Runs the generations, and keeps the times. */
async function run(
  { context, signal, startTime }: Exchange,
  visit: Visit,
  request: AnswerRequest,
  listener: Listener,
): Promise<Usage> {
  const { queueSeconds, timeToFirstTokenSeconds } = context.metrics
  const seconds = () => (performance.now() - startTime) / 1000
  let hasBegun = false
  let hasToken = false
  const watched: Listener = {
    ...listener,
    chunk(index, chunk) {
      if (!hasToken) timeToFirstTokenSeconds.observe(seconds())
      hasToken = true
      listener.chunk(index, chunk)
    },
  }
  const onBegin = () => {
    if (!hasBegun) queueSeconds.observe(seconds())
    hasBegun = true
  }
  return runGenerations(context, request, visit, watched, { signal, onBegin })
}

function head({ model, settings }: Context, idPrefix: string, object: string): object {
  return {
    id: `${idPrefix}-${crypto.randomUUID()}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model: settings.modelId,
    // What the numbers of an answer depend on.
    system_fingerprint: `openelm-${model.backend}-${model.dtype}`,
  }
}

function formatUsage({ promptTokens, cachedTokens, completionTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  }
}

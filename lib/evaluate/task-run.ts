import { OpenELMError } from '../errors.js'
import type { OpenELM } from '../model.js'
import type { Session } from '../session.js'
import { finishInSlices, pauses, type Steps } from '../steps.js'
import { type Answer, type AnswersFile, answersKey } from './answers-file.js'
import { readRows } from './data-files.js'
import { type Document, documentsOf } from './documents.js'
import { type EncodedRequest, harnessLength, RequestEncoder, truncate } from './encode-request.js'
import { examplesNeeded } from './few-shot.js'
import { inAnyOrder } from './in-any-order.js'
import { chanceOf, metrics, resultName } from './metrics.js'
import type { Row } from './row.js'
import type { Run } from './suites.js'

/** What lm-evaluation-harness writes of a document in its samples, and its metrics by their names. */
export interface EvaluationSample {
  readonly doc_id: number
  readonly doc: Readonly<Record<string, unknown>>
  /** The index of the correct choice; where choices share their continuation, that. */
  readonly target: number | string
  readonly arguments: readonly (readonly [context: string, continuation: string])[]
  readonly resps: readonly (readonly (readonly [logprob: number, isGreedy: boolean])[])[]
  readonly filtered_resps: readonly (readonly [logprob: number, isGreedy: boolean])[]
  readonly [metric: string]: unknown
}

interface TaskRunSettings {
  readonly data: string
  readonly limit?: number | undefined
  readonly shard: { readonly index: number; readonly count: number }
  readonly sessions?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface PreparedDocument extends Document {
  readonly encoded: readonly EncodedRequest[]
  /** Of all its requests, each context counted once. */
  readonly numTokens: number
}

interface KnownAnswers {
  readonly answers: AnswersFile
  readonly fingerprint: string
}

/** The documents of one task, from rows to samples. */
export class TaskRun {
  readonly #model: OpenELM
  readonly #run: Run
  readonly #settings: TaskRunSettings

  constructor(model: OpenELM, run: Run, settings: TaskRunSettings) {
    this.#model = model
    this.#run = run
    this.#settings = settings
  }

  /** Makes tokens of all requests of the documents that are to be scored, so that the work is known. */
  async prepare(rows: readonly Row[]): Promise<PreparedDocument[]> {
    const pool = await this.#pool(rows)
    return finishInSlices(this.#prepare(rows, pool), this.#settings.signal)
  }

  /**
   * Scores documents in several sessions, the longest first, and yields each when it is finished. Those
   * with known answers come first of all.
   */
  async *score(documents: readonly PreparedDocument[], known?: KnownAnswers) {
    const left: { document: PreparedDocument; key: string }[] = []
    const pause = pauses(this.#settings.signal)
    for (const document of documents) {
      await pause()
      const key = known ? answersKey(known.fingerprint, document.encoded) : ''
      const answers = known?.answers.get(key)
      if (answers) yield this.#finished(document, answers)
      else left.push({ document, key })
    }
    if (left.length === 0) return
    left.sort((a, b) => b.document.numTokens - a.document.numTokens)
    const controller = new AbortController()
    const { signal: given } = this.#settings
    const signal = AbortSignal.any([controller.signal, ...(given ? [given] : [])])
    const sessions: Session[] = []
    try {
      await this.#open(
        sessions,
        left.map(({ document }) => document),
        signal,
      )
      const work = async (session: Session, item: (typeof left)[number]) => {
        const answers = await scoreDocument(session, item.document.encoded, signal)
        return { ...item, answers }
      }
      const abort = () => controller.abort()
      for await (const { document, key, answers } of inAnyOrder(sessions, left, work, abort)) {
        known?.answers.add(key, answers)
        yield this.#finished(document, answers)
      }
    } finally {
      for (const session of sessions) session.dispose()
    }
  }

  /** Fills `sessions`: each holds what the contexts of the documents begin with. */
  async #open(
    sessions: Session[],
    documents: readonly PreparedDocument[],
    signal: AbortSignal,
  ): Promise<void> {
    const front = commonFront(documents)
    const contextLength = Math.min(longest(documents), this.#maxLength)
    const { sessions: given } = this.#settings
    const count = given ?? numSessionsFor(documents, front.length, contextLength)
    const session = this.#model.createSession({ contextLength })
    sessions.push(session)
    if (front.length > 0) await session.scoreChoices(front, [], signal)
    while (sessions.length < Math.min(count, documents.length)) sessions.push(session.fork())
  }

  get #maxLength(): number {
    return Math.min(harnessLength, this.#model.contextLength)
  }

  async #pool(rows: readonly Row[]): Promise<readonly Row[]> {
    const { task, numFewshot } = this.#run
    const { data, signal } = this.#settings
    if (!task.fewShot || numFewshot === 0) return []
    const { split } = task.fewShot
    const pool = split === task.split ? rows : await readRows(data, task, split, signal)
    const needed = examplesNeeded(numFewshot, task.fewShot)
    if (pool.length >= needed) return pool
    const message = `${task.name}: ${needed} examples are needed, the ${split} split has ${pool.length}`
    throw new OpenELMError('INVALID_DATA', message)
  }

  *#prepare(rows: readonly Row[], pool: readonly Row[]): Steps<PreparedDocument[]> {
    const { task, numFewshot } = this.#run
    const { index, count } = this.#settings.shard
    const encoder = new RequestEncoder(this.#model.tokenizer)
    const prepared: PreparedDocument[] = []
    for (const document of documentsOf(task, rows, { ...this.#settings, numFewshot, pool })) {
      yield ''
      if (document.id % count !== index) continue
      const encoded: EncodedRequest[] = []
      for (const request of document.requests) {
        encoded.push(yield* encoder.encode(request))
        yield ''
      }
      prepared.push(this.#cut(document, encoded))
    }
    return prepared
  }

  #cut(document: Document, encoded: readonly EncodedRequest[]): PreparedDocument {
    const cut = encoded.map(request => truncate(request, this.#maxLength))
    if (cut.includes(undefined)) {
      const message = `a choice must have 1 to ${this.#maxLength} tokens`
      throw new OpenELMError('INVALID_DATA', `${document.row.place}: ${message}`)
    }
    const requests = cut as EncodedRequest[]
    const contexts = byContext(requests).map(({ context }) => context.length)
    const continuations = requests.map(({ continuation }) => continuation.length)
    const numTokens = [...contexts, ...continuations].reduce((sum, length) => sum + length, 0)
    return { ...document, encoded: requests, numTokens }
  }

  #finished(document: PreparedDocument, answers: readonly Answer[]) {
    const { id, row, question, requests, numTokens } = document
    const logprobs = answers.map(({ logprob }) => logprob)
    const pairs = answers.map(({ logprob, isGreedy }) => [logprob, isGreedy] as const)
    const scores = this.#run.task.metrics.map(metric => {
      return [resultName(metric), metrics[metric](question, logprobs)] as const
    })
    const { contexts, continuations, gold } = question
    const sample: EvaluationSample = {
      doc_id: id,
      doc: row.values,
      target: contexts.length > 1 ? continuations[gold]! : gold,
      arguments: requests.map(({ context, continuation }) => [context, continuation]),
      resps: pairs.map(pair => [pair]),
      filtered_resps: pairs,
      ...Object.fromEntries(scores),
    }
    return { numTokens, sample, chance: chanceOf(question) }
  }
}

async function scoreDocument(
  session: Session,
  requests: readonly EncodedRequest[],
  signal: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const { context, places } of byContext(requests)) {
    const continuations = places.map(place => requests[place]!.continuation)
    session.rewind(0) // it goes on with what the context shares with the one before
    const scores = await session.scoreChoices(context, continuations, signal)
    for (const [i, place] of places.entries()) {
      const { logprob, isGreedy } = scores[i]!
      answers[place] = { logprob, isGreedy }
    }
  }
  return answers
}

/** The distinct contexts, and which requests have each. */
function byContext(requests: readonly EncodedRequest[]) {
  const groups: { context: Int32Array; places: number[] }[] = []
  for (const [place, { context }] of requests.entries()) {
    const group = groups.find(other => Buffer.compare(bytes(other.context), bytes(context)) === 0)
    if (group) group.places.push(place)
    else groups.push({ context, places: [place] })
  }
  return groups
}

function bytes({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Tokens that a session must hold for any of the documents; it never holds the last one of a choice. */
function longest(documents: readonly PreparedDocument[]): number {
  const lengths = documents.map(({ encoded }) => {
    return Math.max(
      ...encoded.map(({ context, continuation }) => context.length + continuation.length),
    )
  })
  return lengths.reduce((most, length) => Math.max(most, length - 1), 1)
}

/**
 * What the contexts of the shorter half of the documents begin with: the instructions and examples that
 * all share, which the longest ones may have lost when they were cut.
 */
function commonFront(documents: readonly PreparedDocument[]): Int32Array {
  const shorter = documents.slice(Math.floor(documents.length / 2))
  const contexts = shorter.map(({ encoded: [request] }) => request!.context)
  return contexts.reduce((front, context) => {
    const end = front.findIndex((token, i) => token !== context[i])
    return end < 0 ? front : front.subarray(0, end)
  })
}

/** Tokens of several batches, so that the next batch is full while the results of one are taken. */
const tokensUnderWay = 512

/** What all sessions hold at most, where that leaves as many as are worth while. */
const mostPositions = 16384

/** How many sessions have so many tokens under way, when each computes a context or a choice. */
function numSessionsFor(
  documents: readonly PreparedDocument[],
  frontLength: number,
  contextLength: number,
): number {
  const sum = (of: (document: PreparedDocument) => number) => {
    return documents.reduce((total, document) => total + of(document), 0)
  }
  const isLong = ({ continuation }: EncodedRequest) => continuation.length > 1
  const calls = sum(({ encoded }) => Math.max(1, encoded.filter(isLong).length))
  const tokens = sum(({ numTokens }) => Math.max(1, numTokens - frontLength))
  const wanted = Math.ceil((tokensUnderWay * calls) / tokens)
  return Math.max(4, Math.min(wanted, 32, Math.floor(mostPositions / contextLength)))
}

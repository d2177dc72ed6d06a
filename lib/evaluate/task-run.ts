import { OpenELMError } from '../errors.js'
import type { OpenELM } from '../model.js'
import { finishInSlices, type Steps } from '../steps.js'
import { type AnswersFile, answersKey } from './answers-file.js'
import { readRows } from './data-files.js'
import { type Document, documentsOf } from './documents.js'
import { type EncodedRequest, harnessLength, RequestEncoder, truncate } from './encode-request.js'
import { examplesNeeded } from './few-shot.js'
import { inAnyOrder } from './in-any-order.js'
import { metrics, resultName } from './metrics.js'
import type { Row } from './row.js'
import { type Answer, type ScoringSession, scoreContinuations } from './score-continuations.js'
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
  readonly sessions: number
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
    const { index, count } = this.#settings.shard
    const { signal } = this.#settings
    const pool = await this.#pool(rows)
    const documents = await finishInSlices(this.#documents(rows, pool), signal)
    const encoder = new RequestEncoder(this.#model.tokenizer, signal)
    const prepared: PreparedDocument[] = []
    for (const document of documents) {
      if (document.id % count !== index) continue
      const encoded: EncodedRequest[] = []
      for (const request of document.requests) encoded.push(await encoder.encode(request))
      prepared.push(this.#cut(document, encoded))
    }
    return prepared
  }

  /**
   * Scores documents in several sessions, the longest first, and yields each when it is finished. Those
   * with known answers come first of all.
   */
  async *score(documents: readonly PreparedDocument[], known?: KnownAnswers) {
    const left: { document: PreparedDocument; key: string }[] = []
    for (const document of documents) {
      const key = known ? answersKey(known.fingerprint, document.encoded) : ''
      const answers = known?.answers.get(key)
      if (answers) yield this.#finished(document, answers)
      else left.push({ document, key })
    }
    if (left.length === 0) return
    left.sort((a, b) => b.document.numTokens - a.document.numTokens)
    const controller = new AbortController()
    const { signal: given, sessions: numSessions } = this.#settings
    const signal = AbortSignal.any([controller.signal, ...(given ? [given] : [])])
    const contextLength = sessionLength(left.map(({ document }) => document))
    const sessions = Array.from({ length: Math.min(numSessions, left.length) }, () =>
      this.#model.createSession({ contextLength: Math.min(contextLength, this.#maxLength) }),
    )
    try {
      const work = async (session: ScoringSession, item: (typeof left)[number]) => {
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

  *#documents(rows: readonly Row[], pool: readonly Row[]): Steps<Document[]> {
    const { task, numFewshot } = this.#run
    const documents: Document[] = []
    for (const document of documentsOf(task, rows, { ...this.#settings, numFewshot, pool })) {
      documents.push(document)
      yield ''
    }
    return documents
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
    return { numTokens, sample }
  }
}

/** Tokens that a session must hold for any of the documents; it never holds the last one of a choice. */
function sessionLength(documents: readonly PreparedDocument[]): number {
  const requests = documents.flatMap(({ encoded }) => encoded)
  return requests.reduce((longest, { context, continuation }) => {
    return Math.max(longest, context.length + continuation.length)
  }, 1)
}

async function scoreDocument(
  session: ScoringSession,
  requests: readonly EncodedRequest[],
  signal: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const { context, places } of byContext(requests)) {
    const continuations = places.map(place => requests[place]!.continuation)
    const scored = await scoreContinuations(session, context, continuations, signal)
    for (const [i, place] of places.entries()) answers[place] = scored[i]!
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

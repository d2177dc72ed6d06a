import { onAbort } from '../abortable.js'
import { OpenELMError } from '../errors.js'
import { generationStream } from '../generation-stream.js'
import type { GenerateChunk, GenerateResult, GenerationStream } from '../index.js'
import { abortSignal, optional } from '../options.js'
import { type Answer, type Call, type ChatState, fromSent } from './messages.js'
import { listen, type Port } from './port.js'

/** What is asked for, beside the number that the client gives it. */
type Question = Omit<Call, 'id'> & {
  readonly signal?: AbortSignal | undefined
  /** Is told what the chat is that the call is about. */
  readonly onState?: ((state: ChatState) => void) | undefined
}

interface Pending {
  readonly question: Question
  readonly onChunks: (chunks: readonly GenerateChunk[]) => void
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Asks the other end of a port, and gives each answer to whoever asked. */
export class Client {
  readonly #port: Port
  readonly #pending = new Map<number, Pending>()
  #nextId = 0
  #isClosed = false

  constructor(port: Port) {
    this.#port = port
    listen(
      port,
      message => this.#take(message as Answer),
      () => this.#end(),
    )
  }

  async call<Result>(question: Question): Promise<Result> {
    return this.#ask<Result>(question, () => {})
  }

  /** A generation that the question begins. */
  stream(question: Question): GenerationStream {
    return generationStream(this.#chunks(question))
  }

  close(): void {
    this.#port.close()
    this.#end()
  }

  async *#chunks(question: Question): AsyncGenerator<GenerateChunk, GenerateResult> {
    const left = new AbortController()
    const signal = question.signal ? AbortSignal.any([question.signal, left.signal]) : left.signal
    let chunks: GenerateChunk[] = []
    let wake = () => {}
    const ended = this.#ask<GenerateResult>({ ...question, signal }, come => {
      chunks.push(...come)
      wake()
    })
    let isEnded = false
    const note = () => {
      isEnded = true
      wake()
    }
    ended.then(note, note)
    try {
      for (;;) {
        const come = chunks
        chunks = []
        yield* come
        if (chunks.length > 0) continue
        if (isEnded) return await ended
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    } finally {
      left.abort()
      // The chat is free again once the other side has ended the generation.
      await ended.catch(() => {})
    }
  }

  async #ask<Result>(question: Question, onChunks: Pending['onChunks']): Promise<Result> {
    const { method, args, chat, signal } = question
    signal?.throwIfAborted()
    if (this.#isClosed) throw closed()
    const id = this.#nextId++
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { question, onChunks, resolve, reject })
    })
    const forget = onAbort(signal, () => this.#port.postMessage({ id, abort: true }))
    try {
      this.#port.postMessage({ id, method, args, ...(chat === undefined ? {} : { chat }) })
      return (await answer) as Result
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      forget()
      this.#pending.delete(id)
    }
  }

  #take(answer: Answer): void {
    const pending = this.#pending.get(answer.id)
    if (!pending) return
    if ('chunks' in answer) {
      pending.onChunks(answer.chunks)
      return
    }
    if (answer.state) pending.question.onState?.(answer.state)
    if ('error' in answer) pending.reject(fromSent(answer.error))
    else pending.resolve(answer.result)
  }

  #end(): void {
    this.#isClosed = true
    for (const { reject } of this.#pending.values()) reject(closed())
  }
}

/** Takes the signal out of options: a port cannot pass it on. */
export function split<Options extends { signal?: AbortSignal | undefined }>(
  options: Options | undefined,
): { signal: AbortSignal | undefined; rest: Omit<Options, 'signal'> | undefined } {
  if (options === undefined) return { signal: undefined, rest: undefined }
  const { signal, ...rest } = options
  return { signal: optional(abortSignal)('options.signal', signal), rest }
}

function closed(): OpenELMError {
  return new OpenELMError('DISPOSED', 'the connection to the model is closed')
}

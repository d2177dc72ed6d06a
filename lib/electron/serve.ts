import { invalidArgument, OpenELMError } from '../errors.js'
import type { Chat, GenerateChunk, GenerateResult, GenerationStream, OpenELM } from '../index.js'
import { type Answer, type Call, type ChatMade, readRequest, toSent } from './messages.js'
import { listen, type Port } from './port.js'

/**
 * Lets whoever has the other end of a port use a model by `connect`, and nothing else of this process. A
 * model can be served to many ports. Once a port is closed, what it has under way ends and the memory of
 * its chats is given back; the model stays loaded.
 */
export function serve(model: OpenELM, port: Port): void {
  const server = new Server(model, port)
  listen(
    port,
    message => server.take(message),
    () => server.end(),
  )
}

/** Milliseconds for which chunks are gathered into one message: a screen shows 60 pictures a second. */
const gatherMs = 16

class Server {
  readonly #model: OpenELM
  readonly #port: Port
  readonly #calls = new Map<number, AbortController>()
  readonly #chats = new Map<number, Chat>()

  constructor(model: OpenELM, port: Port) {
    this.#model = model
    this.#port = port
  }

  take(message: unknown): void {
    const request = readRequest(message)
    if (request === undefined) return
    if ('abort' in request) this.#calls.get(request.id)?.abort()
    else void this.#answer(request)
  }

  end(): void {
    for (const call of this.#calls.values()) call.abort()
    for (const chat of this.#chats.values()) chat.dispose()
    this.#chats.clear()
  }

  async #answer(call: Call): Promise<void> {
    const { id } = call
    const controller = new AbortController()
    this.#calls.set(id, controller)
    const outcome = await this.#run(call, controller.signal).then(
      result => ({ result }),
      error => ({ error: toSent(error) }),
    )
    this.#calls.delete(id)
    const chat = this.#chats.get(call.chat ?? -1)
    this.#post({ id, ...outcome, state: chat && stateOf(chat) })
  }

  /** The methods check what they are given: it comes from the other side as it is. */
  async #run({ id, method, args, chat: number }: Call, signal: AbortSignal): Promise<unknown> {
    const [first, second] = args as [never, object | undefined]
    const options = { ...second, signal }
    if (number === undefined) {
      const model = this.#model
      if (method === 'stream') return this.#send(id, model.stream(first, options))
      if (method === 'count') return (await model.tokenizer.encodeAsync(first, options)).length
      if (method === 'createChat') return this.#keep(id, model.createChat(first))
    } else {
      if (method === 'dispose') return this.#drop(number)
      const chat = this.#chats.get(number)
      if (!chat) throw new OpenELMError('DISPOSED', 'the chat was used after dispose()')
      if (method === 'stream') return this.#send(id, chat.stream(first, options))
      if (method === 'append') return chat.append(first, options)
      if (method === 'measure') return chat.measure(first, options)
      if (method === 'fork') return this.#keep(id, chat.fork())
      if (method === 'reset') return chat.reset()
    }
    throw invalidArgument('method', 'one that can be called through a port', method)
  }

  #keep(id: number, chat: Chat): ChatMade {
    this.#chats.set(id, chat)
    return { chat: id, contextLength: chat.contextLength, state: stateOf(chat) }
  }

  #drop(number: number): void {
    this.#chats.get(number)?.dispose()
    this.#chats.delete(number)
  }

  /** Posts the chunks of a generation, some at a time, and returns its result. */
  async #send(id: number, stream: GenerationStream): Promise<GenerateResult> {
    let chunks: GenerateChunk[] = []
    let timer: NodeJS.Timeout | undefined
    const post = () => {
      timer = undefined
      this.#post({ id, chunks })
      chunks = []
    }
    try {
      for (;;) {
        const { done, value } = await stream.next()
        if (done) return value
        chunks.push(value)
        timer ??= setTimeout(post, gatherMs)
      }
    } finally {
      clearTimeout(timer)
      if (chunks.length > 0) post()
    }
  }

  #post(answer: Answer): void {
    this.#port.postMessage(answer)
  }
}

function stateOf({ messages, contextUsage }: Chat) {
  return { messages, contextUsage }
}

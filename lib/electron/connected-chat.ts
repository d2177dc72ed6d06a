import { resultOf } from '../generation-stream.js'
import type {
  CallOptions,
  GenerateOptions,
  GenerateResult,
  GenerationStream,
  Message,
} from '../index.js'
import { type Client, split } from './client.js'
import type { ChatMade, ChatState } from './messages.js'

/** A conversation with a model at the other end of a port. Methods are those of `Chat`. */
export class ConnectedChat {
  /** Tokens that the conversation can have. */
  readonly contextLength: number
  readonly #client: Client
  readonly #chat: number
  #state: ChatState

  /** @internal Use `ConnectedModel.createChat`. */
  constructor(client: Client, { chat, contextLength, state }: ChatMade) {
    this.contextLength = contextLength
    this.#client = client
    this.#chat = chat
    this.#state = state
  }

  /** What was said and is not forgotten, after the last call that has ended. */
  get messages(): readonly Message[] {
    return this.#state.messages
  }

  /** How many tokens the conversation has, after the last call that has ended. */
  get contextUsage(): number {
    return this.#state.contextUsage
  }

  /** As `Chat.send`. */
  async send(content: Message['content'], options?: GenerateOptions): Promise<GenerateResult> {
    return resultOf(this.stream(content, options))
  }

  /** As `Chat.stream`, but that the stream throws what is wrong with arguments. */
  stream(content: Message['content'], options?: GenerateOptions): GenerationStream {
    const { signal, rest } = split(options)
    return this.#client.stream(this.#about('stream', [content, rest], signal))
  }

  /** As `Chat.append`. */
  async append(message: Message, options?: CallOptions): Promise<void> {
    await this.#client.call(this.#about('append', [message], split(options).signal))
  }

  /** As `Chat.measure`. */
  async measure(content: Message['content'], options?: CallOptions): Promise<number> {
    return this.#client.call(this.#about('measure', [content], split(options).signal))
  }

  /** As `Chat.fork`. */
  async fork(): Promise<ConnectedChat> {
    return new ConnectedChat(this.#client, await this.#client.call(this.#about('fork', [])))
  }

  /** As `Chat.reset`. */
  async reset(): Promise<void> {
    await this.#client.call(this.#about('reset', []))
  }

  /** Gives the memory back. Idempotent; a call under way rejects with DISPOSED. */
  async dispose(): Promise<void> {
    await this.#client.call(this.#about('dispose', []))
  }

  /** As `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  #about(method: string, args: readonly unknown[], signal?: AbortSignal) {
    const onState = (state: ChatState) => {
      this.#state = state
    }
    return { method, args, signal, chat: this.#chat, onState }
  }
}

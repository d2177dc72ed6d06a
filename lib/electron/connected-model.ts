import { resultOf } from '../generation-stream.js'
import type {
  CallOptions,
  ChatOptions,
  GenerateOptions,
  GenerateResult,
  GenerationStream,
  Prompt,
} from '../index.js'
import { Client, split } from './client.js'
import { ConnectedChat } from './connected-chat.js'
import type { ChatMade } from './messages.js'
import type { Port } from './port.js'

/** A model at the other end of a port. Methods are those of `OpenELM`, with the same options and errors. */
export class ConnectedModel {
  readonly #client: Client

  /** @internal Use `connect`. */
  constructor(port: Port) {
    this.#client = new Client(port)
  }

  /** As `OpenELM.generate`. */
  async generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult> {
    return resultOf(this.stream(prompt, options))
  }

  /** As `OpenELM.stream`, but that the stream throws what is wrong with arguments. */
  stream(prompt: Prompt, options?: GenerateOptions): GenerationStream {
    const { signal, rest } = split(options)
    return this.#client.stream({ method: 'stream', args: [prompt, rest], signal })
  }

  /** As `OpenELM.createChat`. */
  async createChat(options?: ChatOptions): Promise<ConnectedChat> {
    const made = await this.#client.call<ChatMade>({ method: 'createChat', args: [options] })
    return new ConnectedChat(this.#client, made)
  }

  /** What of the model's tokenizer can be asked for. */
  readonly tokenizer = {
    /** How many tokens a text has, without a beginning-of-text token. */
    count: async (text: string, options?: CallOptions): Promise<number> => {
      const { signal } = split(options)
      return this.#client.call({ method: 'count', args: [text, { addBos: false }], signal })
    },
  }

  /** Closes the port. What is under way ends on both sides. */
  close(): void {
    this.#client.close()
  }
}

import { decode, type GenerateOptions, validateGenerateOptions } from '../generate.js'
import type { OpenELM } from '../model.js'
import type { Session } from '../session.js'

export interface ConversationOptions {
  /**
   * zephyr is what Apple tuned the Instruct models with; its marks are plain text, but for the
   * end-of-text token after each message. none leaves every message as it is.
   */
  template: 'zephyr' | 'none'
  /** What the conversation begins with; only with a template. */
  system?: string
}

/** A conversation that stays in one session, so that each turn costs only what is new in it. */
export class Conversation {
  readonly #model: OpenELM
  readonly #options: ConversationOptions
  readonly #session: Session
  /** The end of the last answer, as far as the session does not hold it. */
  #rest: number[] = []

  constructor(model: OpenELM, options: ConversationOptions) {
    this.#model = model
    this.#options = options
    this.#session = model.createSession()
  }

  /** Whether what was said before leaves no room for a message and an answer. */
  isFullFor(message: string): boolean {
    const { position, contextLength } = this.#session.native
    return position > 0 && position + this.#turn(message).length >= contextLength
  }

  /** Begins again with nothing said. */
  restart(): void {
    this.#session.rewind(0)
    this.#rest = []
  }

  /** Says something and gives the text of the answer as it comes. What an abort cuts off was not said. */
  async *say(message: string, options: GenerateOptions): AsyncGenerator<string, void> {
    const prompt = this.#turn(message)
    const begin = this.#session.position + prompt.length
    const tokens: number[] = []
    let answer = ''
    const stopSequences = this.#options.template === 'zephyr' ? ['<|user|>'] : []
    try {
      const chunks = decode(
        this.#session.native,
        this.#model.tokenizer,
        Int32Array.from(prompt),
        validateGenerateOptions({ ...options, stopSequences }),
      )
      for await (const { token, text } of chunks) {
        tokens.push(token)
        answer += text
        yield text
      }
    } finally {
      await this.#session.native.whenIdle()
      if (tokens.length > 0) this.#keep(begin, tokens, answer)
    }
  }

  /** The tokens of a turn up to the answer. */
  #turn(message: string): number[] {
    const { bosTokenId, eosTokenId } = this.#model.config
    const isFirst = this.#session.position === 0
    const tokens = isFirst ? [bosTokenId] : [...this.#rest]
    for (const [i, text] of this.#texts(message, isFirst).entries()) {
      if (i > 0) tokens.push(eosTokenId)
      const line = isFirst && i === 0 ? text : `\n${text}`
      for (const token of this.#model.tokenizer.encode(line, { addBos: false })) tokens.push(token)
    }
    return tokens
  }

  #texts(message: string, isFirst: boolean): string[] {
    const { template, system } = this.#options
    if (template === 'none') return [message]
    const turn = [`<|user|>\n${message}`, '<|assistant|>\n']
    return isFirst && system !== undefined ? [`<|system|>\n${system}`, ...turn] : turn
  }

  /** Keeps of an answer that begins at a position of the session what was shown of it. */
  #keep(begin: number, tokens: number[], answer: string): void {
    const { tokenizer, config } = this.#model
    const textOf = (length: number) =>
      tokenizer.decode(tokens.slice(0, length), { continuation: true })
    let length = tokens.length
    while (textOf(length).length > answer.length) length--
    if (tokenizer.eosTokenIds.includes(tokens[length - 1]!)) length--

    const end = Math.min(begin + length, this.#session.position)
    this.#session.rewind(end)
    this.#rest = tokens.slice(end - begin, length)
    if (this.#options.template === 'zephyr') this.#rest.push(config.eosTokenId)
  }
}

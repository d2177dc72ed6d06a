import { type AdapterOption, adapterRules } from '../adapters/adapter-choice.js'
import { type CallOptions, callRules } from '../call-options.js'
import { OpenELMError } from '../errors.js'
import {
  type GenerateOptions,
  type GenerateSettings,
  readGenerateOptions,
} from '../generate-options.js'
import {
  type GenerateChunk,
  type GenerateResult,
  type GenerationStream,
  generationStream,
  resultOf,
} from '../generation-stream.js'
import { contextLength } from '../load-options.js'
import { oneOf, optional, type RulesOf, readOptions } from '../options.js'
import type { PromptEncoder } from '../prompt.js'
import type { Session } from '../session.js'
import { needsBos, withSystem } from './encode-chat.js'
import { type Message, type PlainMessage, readContent, readMessages } from './message.js'
import { addText, type Parts, partsAfter, withoutSpaceAtEnd } from './parts.js'

/** Options of `OpenELM.createChat`. */
export interface ChatOptions extends AdapterOption {
  /** What the conversation begins with, such as a system message. Default nothing. */
  messages?: readonly Message[] | undefined
  /** Tokens that the conversation can have, from 1 to 2^20. Default the model's `contextLength`. */
  contextLength?: number | undefined
  /**
   * What is done when a conversation leaves too little room for an answer. Default 'oldest': the oldest
   * messages but a system message are forgotten, down to half of the context at once. With 'error',
   * CONTEXT_OVERFLOW is thrown when it does not fit.
   */
  truncate?: 'oldest' | 'error' | undefined
}

export const chatRules = {
  messages: optional(readMessages, []),
  contextLength: optional(contextLength),
  truncate: optional(oneOf('oldest', 'error'), 'oldest'),
  ...adapterRules,
} satisfies RulesOf<ChatOptions>

/** A conversation as the model sees it. */
interface State {
  readonly messages: readonly PlainMessage[]
  /** The tokens of the conversation. */
  readonly tokens: readonly number[]
  /** What those are the tokens of; undefined where they are not exactly those of a text. */
  readonly parts: Parts | undefined
}

/**
 * A conversation with a model, in one session: a turn costs what is new in it. It does one thing at a
 * time: a call throws BUSY while an answer is neither at its end nor left.
 *
 * An answer that is aborted or left stays in the conversation as far as it was given. If nothing was
 * given, or the turn failed otherwise before that, the conversation is as if the message had not been
 * sent. Either way the chat can be used again at once.
 */
export class Chat {
  /** Tokens that the conversation can have. */
  readonly contextLength: number
  readonly #session: Session
  readonly #prompts: PromptEncoder
  readonly #first: State
  readonly #truncate: 'oldest' | 'error'
  #state: State
  #isBusy = false

  /** @internal Use `OpenELM.createChat`. */
  constructor(
    session: Session,
    prompts: PromptEncoder,
    options: { messages: readonly PlainMessage[]; truncate: 'oldest' | 'error' },
    state?: State,
  ) {
    this.contextLength = session.contextLength
    this.#session = session
    this.#prompts = prompts
    this.#truncate = options.truncate
    this.#first = { messages: options.messages, tokens: [], parts: undefined }
    this.#state = state ?? this.#first
  }

  /** What was said so far and is not forgotten: a copy. */
  get messages(): readonly Message[] {
    return this.#state.messages.map(message => ({ ...message }))
  }

  /** How many tokens the conversation has, as far as the model has seen it. */
  get contextUsage(): number {
    return this.#state.tokens.length
  }

  /**
   * Sends a message of the user and returns the answer. Beside what ends any generation, the mark of the
   * next turn ends it. `usage.promptTokens` counts the whole conversation, of which `usage.cachedTokens`
   * were computed in earlier turns.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW when the message does not fit, or with `truncate: 'error'` the
   *   conversation; INVALID_ARGUMENT, also when the chat template refuses the conversation; BUSY,
   *   DISPOSED, OUT_OF_MEMORY, NON_FINITE_LOGITS, INVALID_TOKENIZER; or the reason of `options.signal`.
   */
  async send(content: Message['content'], options?: GenerateOptions): Promise<GenerateResult> {
    return resultOf(this.stream(content, options))
  }

  /**
   * As `send`, token by token. Arguments are checked now, and the work begins with the first `next()`.
   *
   * @throws OpenELMError INVALID_ARGUMENT; the stream itself throws what `send` rejects with.
   */
  stream(content: Message['content'], options?: GenerateOptions): GenerationStream {
    const settings = readGenerateOptions(options, this.#prompts.vocabSize)
    return generationStream(this.#answer(userMessage(content), settings))
  }

  /**
   * Adds a message without having it answered, and computes it.
   *
   * @throws OpenELMError as `send`; the conversation is then as it was.
   */
  async append(message: Message, options?: CallOptions): Promise<void> {
    const [added] = readMessages('messages', [message])
    const { signal } = readOptions(options, callRules)
    this.#begin()
    try {
      const messages = [...this.#state.messages, added!]
      const next = await this.#fit(messages, { answers: false, room: this.contextLength, signal })
      this.#session.rewind(0)
      await this.#session.append(next.tokens, { signal })
      this.#state = next
    } finally {
      this.#isBusy = false
    }
  }

  /**
   * How many tokens a message of the user would add, with the marks around it.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW when it is too long whatever its tokens are; INVALID_ARGUMENT,
   *   INVALID_TOKENIZER; or the reason of `options.signal`.
   */
  async measure(content: Message['content'], options?: CallOptions): Promise<number> {
    const messages = [...this.#state.messages, userMessage(content)]
    const { signal } = readOptions(options, callRules)
    const before = this.contextUsage
    const { tokens } = await this.#encode(messages, true, signal)
    return tokens.length - before
  }

  /**
   * A new chat with the same conversation; the two go on independently.
   *
   * @throws OpenELMError DISPOSED, OUT_OF_MEMORY; BUSY, also for the moment that an answer that was
   *   aborted takes to end.
   */
  fork(): Chat {
    this.#checkIdle()
    const options = { messages: this.#first.messages, truncate: this.#truncate }
    return new Chat(this.#session.fork(), this.#prompts, options, this.#state)
  }

  /**
   * Begins again with the messages that the chat was created with.
   *
   * @throws OpenELMError BUSY.
   */
  reset(): void {
    this.#checkIdle()
    this.#state = this.#first
  }

  /** Gives the memory back. Idempotent; a call under way rejects with DISPOSED. */
  dispose(): void {
    this.#session.dispose()
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  async *#answer(
    message: PlainMessage,
    settings: GenerateSettings,
  ): AsyncGenerator<GenerateChunk, GenerateResult> {
    this.#begin()
    try {
      const { signal, maxTokens } = settings
      const room = this.contextLength - Math.min(maxTokens, Math.floor(this.contextLength / 4))
      const messages = [...this.#state.messages, message]
      const asked = await this.#fit(messages, { answers: true, room, signal })
      const stopSequences = [...this.#prompts.chatTemplate.stopSequences, ...settings.stopSequences]
      this.#session.rewind(0)
      const prompt = Int32Array.from(asked.tokens)
      const chunks = this.#session.run(prompt, { ...settings, stopSequences })
      return yield* this.#remember(asked, chunks)
    } finally {
      this.#isBusy = false
    }
  }

  /** Passes an answer on, and makes what was given of it part of the conversation. */
  async *#remember(
    asked: State,
    chunks: AsyncGenerator<GenerateChunk, GenerateResult>,
  ): AsyncGenerator<GenerateChunk, GenerateResult> {
    const drawn: number[] = []
    let answer = ''
    try {
      for (;;) {
        const { done, value } = await chunks.next()
        if (done) return value
        drawn.push(value.token)
        answer += value.text
        yield value
      }
    } finally {
      if (drawn.length > 0) this.#state = this.#withAnswer(asked, drawn, answer)
      await chunks.return(undefined as never)
    }
  }

  /** A conversation with an answer, of whose tokens those are kept that its text was given of. */
  #withAnswer({ messages, tokens, parts }: State, drawn: number[], answer: string): State {
    const textOf = (length: number) =>
      this.#prompts.tokenizer.decode(drawn.slice(0, length), { continuation: true })
    let length = drawn.length
    while (textOf(length).length > answer.length) length--
    while (length > 0 && textOf(length - 1) === answer) length--
    const isWhole = textOf(length) === answer
    return {
      messages: [...messages, { role: 'assistant', content: answer }],
      tokens: [...tokens, ...drawn.slice(0, length)],
      parts: isWhole && parts ? addText(parts, answer) : undefined,
    }
  }

  /** The conversation, without its oldest messages where it takes more than `room`. */
  async #fit(
    messages: readonly PlainMessage[],
    options: { answers: boolean; room: number; signal: AbortSignal | undefined },
  ): Promise<State> {
    const { answers, room, signal } = options
    const encode = (kept: readonly PlainMessage[]) => this.#encode(kept, answers, signal)
    if (this.#truncate === 'error') return encode(messages)
    const begin = messages[0]?.role === 'system' ? 1 : 0
    const isTooLong = ({ tokens }: State, most: number) => tokens.length > most
    let state = await ifShort(encode(messages))
    if (state && !isTooLong(state, room)) return state
    const last = messages.length - 1
    for (let i = begin + 1; i <= last; i++) {
      if (messages[i]!.role !== 'user' && i < last) continue
      const kept = [...messages.slice(0, begin), ...messages.slice(i)]
      state = i < last ? await ifShort(encode(kept)) : await encode(kept)
      if (state && !isTooLong(state, this.contextLength / 2)) return state
    }
    return state ?? encode(messages)
  }

  /** The conversation in tokens, of which those stay that were computed for the same text. */
  async #encode(
    messages: readonly PlainMessage[],
    answers: boolean,
    signal: AbortSignal | undefined,
  ): Promise<State> {
    const { tokenizer, chatTemplate } = this.#prompts
    const { tokens, parts: said } = this.#state
    this.#prompts.checkLength(messages, this.contextLength)
    const rendered = chatTemplate.render(withSystem(chatTemplate, messages), tokenizer, answers)
    const parts = answers ? rendered : withoutSpaceAtEnd(rendered)
    const rest = said && partsAfter(parts, said)
    const encoded = rest
      ? [...tokens, ...(await tokenizer.encodeAsync(rest, { addBos: false, signal }))]
      : await tokenizer.encodeAsync(parts, { addBos: needsBos(parts, tokenizer), signal })
    return { messages, tokens: encoded, parts }
  }

  #begin(): void {
    this.#checkIdle()
    this.#isBusy = true
  }

  #checkIdle(): void {
    if (this.#isBusy) throw new OpenELMError('BUSY', 'the chat already has a call under way')
  }
}

function userMessage(content: unknown): PlainMessage {
  return { role: 'user', content: readContent('content', content) }
}

/** Undefined for a conversation that is too long whatever its tokens are. */
async function ifShort(state: Promise<State>): Promise<State | undefined> {
  return state.catch(error => {
    if (error instanceof OpenELMError && error.code === 'CONTEXT_OVERFLOW') return undefined
    throw error
  })
}

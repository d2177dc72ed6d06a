import { needsBos, renderChat } from './chat/encode-chat.js'
import { type Message, type PlainMessage, readMessages } from './chat/message.js'
import type { ChatTemplate } from './chat/template.js'
import type { OpenELMConfig } from './config.js'
import type { ConstraintSource } from './constraint/constraint-source.js'
import { Constraints } from './constraint/constraints.js'
import { invalidArgument, OpenELMError } from './errors.js'
import type { TextParts } from './load-text-parts.js'
import type { NativeConstrainedText } from './native-constraint.js'
import { tokenIds } from './options.js'
import type { TokenStream } from './token-stream.js'
import type { TokenIds, Tokenizer } from './tokenizer.js'

/**
 * What a model continues: a text, token ids, which are taken as they are, or the messages of a
 * conversation, which the model is to answer.
 */
export type Prompt = string | TokenIds | readonly Message[]

/** A prompt that was checked, and that its caller cannot change any more. */
export type CheckedPrompt = string | Int32Array | PlainMessage[]

interface EncodePromptOptions {
  /** Whether a text begins with BOS. Default true. */
  readonly addBos?: boolean
  /** The most tokens that there is room for. */
  readonly room: number
  readonly signal?: AbortSignal | undefined
}

const kinds = 'a string, an array or an Int32Array of token ids, or an array of messages'

/** Makes tokens of the prompts of one model. */
export class PromptEncoder {
  readonly vocabSize: number
  readonly bosTokenId: number
  readonly eosTokenIds: readonly number[]
  readonly #tokenizer: Tokenizer | OpenELMError
  readonly #chatTemplate: ChatTemplate | OpenELMError
  #constraints: Constraints | undefined

  constructor(
    { vocabSize, bosTokenId }: OpenELMConfig,
    eosTokenIds: readonly number[],
    { tokenizer, chatTemplate }: TextParts,
  ) {
    this.vocabSize = vocabSize
    this.bosTokenId = bosTokenId
    this.eosTokenIds = eosTokenIds
    this.#tokenizer = tokenizer
    this.#chatTemplate = chatTemplate
  }

  /** @throws OpenELMError INVALID_TOKENIZER when there is none. */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer instanceof OpenELMError) throw this.#tokenizer
    return this.#tokenizer
  }

  /** @throws OpenELMError INVALID_TOKENIZER when the model's cannot be used. */
  get chatTemplate(): ChatTemplate {
    if (this.#chatTemplate instanceof OpenELMError) throw this.#chatTemplate
    return this.#chatTemplate
  }

  /** @throws OpenELMError INVALID_TOKENIZER unless conversations can be encoded. */
  checkChatTemplate(): void {
    for (const part of [this.#tokenizer, this.#chatTemplate]) {
      if (part instanceof OpenELMError) throw part
    }
  }

  /** @throws OpenELMError INVALID_ARGUMENT, also for fewer than `minTokens` token ids. */
  check(name: string, prompt: unknown, minTokens = 1): CheckedPrompt {
    if (typeof prompt === 'string') return prompt
    if (areMessages(prompt)) return readMessages(name, prompt)
    return tokenIds(this.vocabSize, { min: minTokens, expected: kinds })(name, prompt)
  }

  /** What ends an answer to a prompt, beside what the caller says. */
  stopSequences(prompt: CheckedPrompt): readonly string[] {
    return Array.isArray(prompt) ? this.chatTemplate.stopSequences : []
  }

  /** @throws OpenELMError CONTEXT_OVERFLOW for a prompt that has no room, however it is encoded. */
  async encode(prompt: CheckedPrompt, options: EncodePromptOptions): Promise<Int32Array> {
    if (prompt instanceof Int32Array) return prompt
    const { addBos = true, signal } = options
    this.checkLength(prompt, options.room)
    if (typeof prompt === 'string') {
      return Int32Array.from(await this.tokenizer.encodeAsync(prompt, { addBos, signal }))
    }
    const parts = renderChat(this.tokenizer, this.chatTemplate, prompt)
    const isBare = needsBos(parts, this.tokenizer)
    return Int32Array.from(await this.tokenizer.encodeAsync(parts, { addBos: isBare, signal }))
  }

  /**
   * The tokens of a prompt that comes after so many others; a text begins with BOS where there are none.
   *
   * @throws OpenELMError INVALID_ARGUMENT for messages that come after tokens, or when there is no token
   *   at all; CONTEXT_OVERFLOW.
   */
  async encodeBehind(
    position: number,
    prompt: CheckedPrompt,
    options: Omit<EncodePromptOptions, 'addBos'>,
  ): Promise<Int32Array> {
    if (position > 0 && Array.isArray(prompt)) {
      throw invalidArgument('prompt', 'text or token ids once a session holds tokens', prompt)
    }
    const ids = await this.encode(prompt, { ...options, addBos: position === 0 })
    if (position + ids.length === 0) throw invalidArgument('prompt', 'at least 1 token', prompt)
    return ids
  }

  /**
   * The tokens of a context and its continuation, and how many are the context's. Two texts are encoded
   * together, and white space at the end of the context is the continuation's.
   */
  async encodePair(
    context: CheckedPrompt,
    continuation: string | Int32Array,
    options: { room: number; signal: AbortSignal | undefined },
  ) {
    if (typeof context === 'string' && typeof continuation === 'string' && continuation !== '') {
      const all = await this.encode(context + continuation, options)
      const alone = await this.encode(context.trimEnd(), options)
      const differs = alone.findIndex((token, i) => token !== all[i])
      return { all, contextTokens: differs < 0 ? alone.length : differs }
    }
    const before = await this.encode(context, options)
    const after = await this.encode(continuation, { ...options, addBos: false })
    const all = new Int32Array(before.length + after.length)
    all.set(before)
    all.set(after, before.length)
    return { all, contextTokens: before.length }
  }

  /** @throws OpenELMError INVALID_ARGUMENT. */
  checkContinuation(continuation: unknown): string | Int32Array {
    if (typeof continuation === 'string') return continuation
    const expected = 'a string, or an array or an Int32Array of token ids'
    return tokenIds(this.vocabSize, { min: 0, expected })('continuation', continuation)
  }

  /** What makes text of tokens: without a tokenizer, nothing, which stop sequences cannot do without. */
  characters(stopSequences: readonly string[], continuation: boolean): TokenStream {
    if (stopSequences.length === 0 && this.#tokenizer instanceof OpenELMError) {
      return { push: () => '', end: () => '' }
    }
    return this.tokenizer.stream({ continuation })
  }

  /**
   * A text that is to fit a constraint.
   *
   * @param options ends: the tokens that may end it; isContinued: whether it continues another.
   * @throws OpenELMError INVALID_ARGUMENT, also for what is not supported; INVALID_TOKENIZER; or the
   *   reason of the signal.
   */
  async constrained(
    source: ConstraintSource,
    options: { ends: ReadonlySet<number>; isContinued: boolean; signal: AbortSignal | undefined },
  ): Promise<NativeConstrainedText> {
    const { ends, isContinued, signal } = options
    const { vocabSize, tokenizer } = this
    const bytesOf = (token: number) => tokenizer.bytesOf(token)
    this.#constraints ??= new Constraints({ vocabSize, bytesOf })
    const constraint = await this.#constraints.get(source, signal)
    return constraint.begin(ends, tokenizer.prependsSpace && !isContinued)
  }

  /**
   * Refuses what is too long whatever its tokens are, so that nobody waits for them.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW
   */
  checkLength(prompt: string | readonly PlainMessage[], room: number): void {
    const { longestToken } = this.tokenizer
    const texts = typeof prompt === 'string' ? [prompt] : prompt.map(({ content }) => content)
    const length = texts.reduce((sum, text) => sum + text.length, 0)
    if (length <= room * longestToken) return
    throw new OpenELMError(
      'CONTEXT_OVERFLOW',
      `${length} characters do not fit in a context of ${room} tokens, ` +
        `of which each stands for at most ${longestToken}`,
    )
  }
}

function areMessages(prompt: unknown): boolean {
  return Array.isArray(prompt) && typeof prompt[0] === 'object' && prompt[0] !== null
}

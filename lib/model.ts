import { abortable } from './abortable.js'
import { type AdapterChoice, type AdapterOption, adapterRules } from './adapters/adapter-choice.js'
import { type NamedAdapterSpec, namedAdapterSpec } from './adapters/adapter-spec.js'
import {
  type ChosenAdapters,
  type LoadedAdapter,
  LoadedAdapters,
} from './adapters/loaded-adapters.js'
import type { BackendName } from './backends.js'
import { CachedSequence } from './cached-sequence.js'
import { type CallOptions, callRules } from './call-options.js'
import { Chat, type ChatOptions, chatRules } from './chat/chat.js'
import { type EncodeChatOptions, encodeChat } from './chat/encode-chat.js'
import type { Message } from './chat/message.js'
import type { DType } from './checkpoint.js'
import type { OpenELMConfig } from './config.js'
import { addDraftModel } from './draft-options.js'
import { OpenELMError } from './errors.js'
import {
  type GenerateOptions,
  type GenerateSettings,
  readModelGenerateOptions,
} from './generate-options.js'
import {
  type GenerateChunk,
  type GenerateResult,
  type GenerationStream,
  generationStream,
  resultOf,
} from './generation-stream.js'
import { type LoadedModel, loadModel } from './load-model.js'
import { contextLength, type LoadOptions, readLoadOptions } from './load-options.js'
import type { NativeModel } from './native.js'
import type { NativeSession } from './native-session.js'
import { optional, readOptions, string, tokenIds } from './options.js'
import { type CheckedPrompt, type Prompt, PromptEncoder } from './prompt.js'
import { Session } from './session.js'
import {
  rowsFrom,
  type Score,
  type ScoresOptions,
  scoreOf,
  scoresRules,
  type TokenScore,
  tokenScores,
} from './token-scores.js'
import type { TokenIds, Tokenizer } from './tokenizer.js'

/** A loaded model. All methods may be called at any time; sessions are decoded together, in batches. */
export class OpenELM {
  /** What config.json says of the model. */
  readonly config: OpenELMConfig
  /** What computes. */
  readonly backend: BackendName
  /** The name of the processor or of the GPU, as `backends()` has it. */
  readonly device: string
  /** What the matrices are kept as in memory. */
  readonly dtype: DType
  /** Tokens that a session can hold, unless it is given another length. */
  readonly contextLength: number
  readonly #native: NativeModel
  readonly #prompts: PromptEncoder
  readonly #adapters: LoadedAdapters
  #disposal: Promise<void> | undefined

  private constructor(
    { checkpoint, native, backend, dtype, textParts }: LoadedModel,
    contextLength: number | undefined,
  ) {
    this.config = checkpoint.config
    this.backend = backend
    this.device = native.device
    this.dtype = dtype
    this.contextLength = contextLength ?? checkpoint.config.maxContextLength
    this.#native = native
    addDraftModel(this, native)
    this.#adapters = new LoadedAdapters(native, checkpoint.config, dtype)
    this.#prompts = new PromptEncoder(checkpoint.config, checkpoint.eosTokenIds, textParts)
  }

  /**
   * Loads a model.
   *
   * @param source A directory with config.json and *.safetensors: one file, or shards with an index. Or
   *   the name of the model that the package carries, 'openelm-nano'; a directory of that name is
   *   './openelm-nano'. Or `owner/name` or `owner/name@revision` of a model of the Hugging Face hub: it is
   *   taken as it was last pulled, and pulled if it never was.
   * @throws OpenELMError MODEL_NOT_FOUND, INVALID_CONFIG, INVALID_CHECKPOINT, INVALID_TOKENIZER,
   *   IO_ERROR, OUT_OF_MEMORY, BACKEND_UNAVAILABLE, ADDON_NOT_FOUND, INVALID_ARGUMENT; as `pull`; as
   *   `loadAdapter`.
   */
  static async load(source: string, options?: LoadOptions): Promise<OpenELM> {
    const settings = readLoadOptions(options)
    const loaded = await loadModel(string('source', source), settings)
    const model = new OpenELM(loaded, settings.contextLength)
    try {
      for (const spec of settings.adapters) await model.#adapters.load(spec)
      settings.signal?.throwIfAborted()
    } catch (error) {
      await model.dispose()
      throw error
    }
    return model
  }

  /**
   * @throws OpenELMError INVALID_TOKENIZER when no tokenizer came with the model and LLaMA's has more
   *   tokens than its vocabulary; token ids can still be used, and what they generate has no text.
   */
  get tokenizer(): Tokenizer {
    return this.#prompts.tokenizer
  }

  /** Bytes held now, without those of `adapters`. */
  get memory(): { weights: number; kvCache: number } {
    return { weights: this.#native.weightBytes, kvCache: this.#native.kvCacheBytes }
  }

  /** What is loaded beside the weights, in that order. */
  get adapters(): readonly LoadedAdapter[] {
    return this.#adapters.list
  }

  /**
   * Loads an adapter, which calls and sessions can then choose: LoRA or DoRA, of PEFT, mlx-lm or CoreNet.
   * The weights stay as they are. An adapter computes with float32, beside weights of any dtype, and costs
   * as much again as the share of them that it has. It is for backend 'cpu'.
   *
   * @returns its name.
   * @throws OpenELMError INVALID_ARGUMENT, also for a name that is taken; INVALID_ADAPTER,
   *   INVALID_CHECKPOINT when it is none of this model, BACKEND_UNAVAILABLE on a GPU, for which `merge`
   *   writes a model with the adapter in its weights; IO_ERROR, OUT_OF_MEMORY, DISPOSED.
   */
  async loadAdapter(adapter: string | NamedAdapterSpec): Promise<string> {
    return this.#adapters.load(namedAdapterSpec('adapter', adapter))
  }

  /**
   * Forgets an adapter. Sessions that have it keep it, and its memory, until they are disposed.
   *
   * @throws OpenELMError INVALID_ARGUMENT when there is none of this name.
   */
  unloadAdapter(name: string): void {
    this.#adapters.unload(string('name', name))
  }

  /**
   * The tokens of a conversation up to the answer that the model is to give, as `generate` makes them of
   * messages. No special token comes of what the messages say.
   *
   * @throws OpenELMError INVALID_ARGUMENT, also when the model's chat template refuses the messages;
   *   INVALID_TOKENIZER when that template cannot be used, or as `tokenizer`.
   */
  encodeChat(messages: readonly Message[], options?: EncodeChatOptions): Int32Array {
    return encodeChat(this.tokenizer, this.#prompts.chatTemplate, messages, options)
  }

  /**
   * The tokens of a prompt, as `generate` makes them. Text is encoded in slices of a few milliseconds,
   * between which the event loop turns.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW for a text that is too long whatever its tokens are;
   *   INVALID_TOKENIZER, INVALID_ARGUMENT; or the reason of `options.signal`.
   */
  async encode(prompt: Prompt, options?: CallOptions): Promise<Int32Array> {
    const { signal } = readOptions(options, callRules)
    const room = this.contextLength
    return this.#prompts.encode(this.#prompts.check('prompt', prompt), { room, signal })
  }

  /**
   * The texts that begin another turn of a conversation. `generate` ends an answer to messages where one
   * comes; who gives it the tokens of messages has to name them as `stopSequences`.
   *
   * @throws OpenELMError INVALID_TOKENIZER when the model's chat template cannot be used.
   */
  get chatStopSequences(): readonly string[] {
    return this.#prompts.chatTemplate.stopSequences
  }

  /**
   * Continues a prompt, in a session of its own of just the length needed.
   *
   * @param prompt A text, which is encoded with the beginning-of-text token in front, as the models were
   *   trained; token ids, which are taken as they are; or the messages of a conversation, which the model
   *   is to answer.
   * @throws OpenELMError CONTEXT_OVERFLOW when the prompt is longer than the context, OUT_OF_MEMORY,
   *   NON_FINITE_LOGITS, INVALID_TOKENIZER, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async generate(
    prompt: Prompt,
    options?: GenerateOptions & AdapterOption,
  ): Promise<GenerateResult> {
    return resultOf(this.stream(prompt, options))
  }

  /**
   * As `generate`, token by token. Arguments are checked now, and the work begins with the first `next()`.
   *
   * @throws OpenELMError INVALID_ARGUMENT; the stream itself throws what `generate` rejects with.
   */
  stream(prompt: Prompt, options?: GenerateOptions & AdapterOption): GenerationStream {
    const { adapter, settings } = readModelGenerateOptions(options, this.config.vocabSize)
    const checked = this.#prompts.check('prompt', prompt)
    using _ = this.#adapters.choose(adapter) // which refuses what there is not
    return generationStream(this.#run(checked, settings, adapter))
  }

  /**
   * Scores after each token, row-major [tokens.length, vocabSize].
   *
   * @throws OpenELMError CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async logits(tokens: TokenIds, options?: CallOptions & AdapterOption): Promise<Float32Array> {
    const ids = tokenIds(this.config.vocabSize)('tokens', tokens)
    const { signal, adapter } = readOptions(options, { ...callRules, ...adapterRules })
    using adapters = this.#adapters.choose(adapter)
    return this.#call(ids.length, adapters, signal, native => native.logits(ids, true))
  }

  /**
   * How likely a continuation is. Two texts are encoded together, and white space at the end of the
   * context is the continuation's, as lm-evaluation-harness has it. A token that both have a part in is
   * the continuation's, too.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async score(
    context: Prompt,
    continuation: string | TokenIds,
    options?: CallOptions & AdapterOption,
  ): Promise<Score> {
    const { signal, adapter } = readOptions(options, { ...callRules, ...adapterRules })
    using adapters = this.#adapters.choose(adapter)
    const { all, contextTokens } = await this.#prompts.encodePair(
      this.#prompts.check('context', context),
      this.#prompts.checkContinuation(continuation),
      { room: this.contextLength, signal },
    )
    const tokens = all.subarray(contextTokens)
    if (tokens.length === 0) return { logprob: 0, tokens: 0, isGreedy: true }
    const scores = await this.#call(all.length, adapters, signal, native =>
      native.scores(all, rowsFrom(contextTokens - 1, tokens.length), tokens, 1),
    )
    return scoreOf(tokenScores(tokens, scores))
  }

  /**
   * How likely each token but the first is, given those before it.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async scores(tokens: TokenIds, options?: ScoresOptions & AdapterOption): Promise<TokenScore[]> {
    const ids = tokenIds(this.config.vocabSize)('tokens', tokens)
    const { top, signal, adapter } = readOptions(options, { ...scoresRules, ...adapterRules })
    const targets = ids.subarray(1)
    using adapters = this.#adapters.choose(adapter)
    const scores = await this.#call(ids.length, adapters, signal, native =>
      native.scores(ids, rowsFrom(0, targets.length), targets, top),
    )
    return tokenScores(targets, scores)
  }

  /**
   * A new, empty session, which has its adapter for good.
   *
   * @param options contextLength: tokens it can hold, from 1 to 2^20; default that of the model.
   * @throws OpenELMError OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT.
   */
  createSession(options?: { contextLength?: number | undefined } & AdapterOption): Session {
    const rules = {
      contextLength: optional(contextLength, this.contextLength),
      ...adapterRules,
    }
    const { contextLength: length, adapter } = readOptions(options, rules)
    using adapters = this.#adapters.choose(adapter)
    return this.#open(length, adapters)
  }

  /**
   * A new conversation, in a session of its own.
   *
   * @throws OpenELMError INVALID_ARGUMENT, OUT_OF_MEMORY, DISPOSED; INVALID_TOKENIZER when the model's
   *   chat template cannot be used, or as `tokenizer`.
   */
  createChat(options?: ChatOptions): Chat {
    const {
      contextLength = this.contextLength,
      adapter,
      ...settings
    } = readOptions(options, chatRules)
    this.#prompts.checkChatTemplate()
    using adapters = this.#adapters.choose(adapter)
    return new Chat(this.#open(contextLength, adapters), this.#prompts, settings)
  }

  /**
   * Gives all memory back. Calls under way, and later ones, reject with DISPOSED. Idempotent.
   */
  async dispose(): Promise<void> {
    // Once only: new work in a listener of 'beforeExit' would keep the process alive for ever.
    this.#disposal ??= this.#native.dispose()
    await this.#disposal
  }

  /** As `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  #open(contextLength: number, { ids, scales }: ChosenAdapters): Session {
    const native = this.#native.createSession(contextLength, ids, scales)
    return new Session(new CachedSequence(native), this.#prompts)
  }

  /** A generation whose arguments were checked. */
  async *#run(
    prompt: CheckedPrompt,
    settings: GenerateSettings,
    adapter: AdapterChoice,
  ): AsyncGenerator<GenerateChunk, GenerateResult> {
    const { contextLength } = this
    const { maxTokens, signal } = settings
    using adapters = this.#adapters.choose(adapter)
    const tokens = await this.#prompts.encode(prompt, { room: contextLength, signal })
    const stopSequences = [...this.#prompts.stopSequences(prompt), ...settings.stopSequences]
    const session = this.#open(Math.min(contextLength, tokens.length + maxTokens), adapters)
    try {
      return yield* session.run(tokens, { ...settings, stopSequences })
    } finally {
      session.dispose()
    }
  }

  /** A native call in a session of so many tokens. */
  async #call<Result>(
    length: number,
    { ids, scales }: ChosenAdapters,
    signal: AbortSignal | undefined,
    start: (native: NativeSession) => Promise<Result>,
  ): Promise<Result> {
    if (length > this.contextLength) {
      throw new OpenELMError(
        'CONTEXT_OVERFLOW',
        `${length} tokens do not fit in a context of ${this.contextLength}`,
      )
    }
    const native = this.#native.createSession(length, ids, scales)
    try {
      const cancel = () => native.cancel()
      return await abortable(signal, () => ({ promise: start(native), cancel }))
    } finally {
      native.dispose()
    }
  }
}

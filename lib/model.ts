import { abortable } from './abortable.js'
import { type BackendName, backends } from './backends.js'
import { type EncodeChatOptions, encodeChat } from './chat/encode-chat.js'
import type { Message } from './chat/message.js'
import type { ChatTemplate } from './chat/template.js'
import { type Checkpoint, type DType, openCheckpoint } from './checkpoint.js'
import type { OpenELMConfig } from './config.js'
import { invalidArgument, OpenELMError, type OpenELMErrorCode } from './errors.js'
import {
  decode,
  type GenerateChunk,
  type GenerateOptions,
  type GenerateResult,
  type TokenWriter,
  validateGenerateOptions,
} from './generate.js'
import { contextLength, type LoadOptions, readLoadOptions } from './load-options.js'
import { loadTextParts, type TextParts } from './load-text-parts.js'
import { loadNative, type NativeModel } from './native.js'
import { nativeConfig } from './native-config.js'
import { nativeTensors } from './native-tensors.js'
import { optional, readOptions } from './options.js'
import { Session } from './session.js'
import type { TokenIds, Tokenizer } from './tokenizer.js'
import { readObject, readSignal, readTokens } from './validate.js'

export type { LoadOptions } from './load-options.js'
export type Prompt = string | TokenIds

const promptKinds = 'a string, or an array or an Int32Array of token ids'

/** A loaded model. All methods may be called at any time; sessions are decoded together, in batches. */
export class OpenELM {
  readonly config: OpenELMConfig
  readonly backend: BackendName
  readonly dtype: DType
  readonly #native: NativeModel
  #disposal: Promise<void> | undefined
  /** @internal Tokens that its sessions hold. */
  readonly contextLength: number
  readonly #tokenizer: Tokenizer | OpenELMError
  readonly #eosTokenIds: readonly number[]
  readonly #chatTemplate: ChatTemplate | OpenELMError

  private constructor(
    checkpoint: Checkpoint,
    options: ReturnType<typeof readLoadOptions> & { backend: BackendName },
    native: NativeModel,
    { tokenizer, chatTemplate }: TextParts,
  ) {
    this.config = checkpoint.config
    this.backend = options.backend
    this.dtype = options.dtype ?? checkpoint.dtype
    this.#native = native
    this.contextLength = options.contextLength ?? checkpoint.config.maxContextLength
    this.#tokenizer = tokenizer
    this.#eosTokenIds = checkpoint.eosTokenIds
    this.#chatTemplate = chatTemplate
  }

  /**
   * Loads a model.
   *
   * @param source A directory with config.json and *.safetensors: one file, or shards with an index. Or
   *   the name of the model that the package carries, 'openelm-nano'; a directory of that name is
   *   './openelm-nano'.
   * @throws OpenELMError MODEL_NOT_FOUND, INVALID_CONFIG, INVALID_CHECKPOINT, INVALID_TOKENIZER,
   *   IO_ERROR, OUT_OF_MEMORY, BACKEND_UNAVAILABLE, ADDON_NOT_FOUND, INVALID_ARGUMENT.
   */
  static async load(source: string, options?: LoadOptions): Promise<OpenELM> {
    if (typeof source !== 'string') throw invalidArgument('source', 'a string', source)
    const valid = readLoadOptions(options)
    valid.signal?.throwIfAborted()
    const checkpoint = await openCheckpoint(source)
    const textParts = await loadTextParts(checkpoint, valid)
    const dtype = valid.dtype ?? checkpoint.dtype
    const nativeOptions = {
      config: nativeConfig(checkpoint.config),
      tensors: nativeTensors(checkpoint),
      dtype,
      deviceIndex: valid.deviceIndex,
      threads: valid.threads,
      kvCacheDtype: valid.kvCacheDtype,
      mmap: valid.mmap,
    }
    const { signal, report } = reporter(valid.signal, valid.onProgress)
    const { native, backend } = await loadOn(valid.backend, backend =>
      abortable(
        signal,
        () => loadNative().load({ ...nativeOptions, backend }, report),
        native => native.dispose(),
      ),
    )
    return new OpenELM(checkpoint, { ...valid, backend }, native, textParts)
  }

  /**
   * @throws OpenELMError INVALID_TOKENIZER when no tokenizer came with the model and LLaMA's has more
   *   tokens than its vocabulary; token ids can still be used, and what they generate has no text.
   */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer instanceof OpenELMError) throw this.#tokenizer
    return this.#tokenizer
  }

  /**
   * The tokens of a conversation up to the answer that the model is to give: what `generate` takes. No
   * special token comes of what the messages say.
   *
   * @throws OpenELMError INVALID_ARGUMENT, also when the model's chat template refuses the messages;
   *   INVALID_TOKENIZER when that template cannot be used, or as `tokenizer`.
   */
  encodeChat(messages: readonly Message[], options?: EncodeChatOptions): Int32Array {
    if (this.#chatTemplate instanceof OpenELMError) throw this.#chatTemplate
    return encodeChat(this.tokenizer, this.#chatTemplate, messages, options)
  }

  /** Bytes held now. */
  get memory(): { weights: number; kvCache: number } {
    return { weights: this.#native.weightBytes, kvCache: this.#native.kvCacheBytes }
  }

  /**
   * Continues a prompt. Text is encoded with the beginning-of-text token in front, as the models were
   * trained; token ids are taken as they are.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW when the prompt is longer than the context, OUT_OF_MEMORY,
   *   NON_FINITE_LOGITS, DISPOSED, INVALID_ARGUMENT; or the reason of `options.signal`.
   */
  async generate(prompt: Prompt, options?: GenerateOptions): Promise<GenerateResult> {
    const stream = this.stream(prompt, options)
    for (;;) {
      const { done, value } = await stream.next()
      if (done) return value
    }
  }

  /** The same, token by token; the generator's return value is the whole result. */
  async *stream(
    prompt: Prompt,
    options?: GenerateOptions,
  ): AsyncGenerator<GenerateChunk, GenerateResult> {
    const valid = validateGenerateOptions(readObject('options', options))
    const tokens = await this.#encode('prompt', prompt, valid.signal)
    const writer = this.#writer(valid.stopSequences)
    const session = this.#native.createSession(this.contextLength)
    try {
      return yield* decode(session, writer, tokens, valid)
    } finally {
      session.dispose()
    }
  }

  /**
   * Scores after each token, row-major [tokens.length, vocabSize].
   *
   * @throws OpenELMError CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT.
   */
  async logits(tokens: TokenIds): Promise<Float32Array> {
    const ids = readTokens('tokens', tokens, this.config.vocabSize)
    return this.#withSession(ids.length, session => session.native.logits(ids, true))
  }

  /**
   * How likely a continuation is: the sum of the natural logarithms of the probabilities of its
   * tokens, their number, and whether greedy decoding would produce it. Two texts are encoded together,
   * and white space at the end of the context is the continuation's, as lm-evaluation-harness has it.
   * A token that both have a part in is the continuation's, too.
   *
   * @throws OpenELMError CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT; or the reason of
   *   `options.signal`.
   */
  async score(
    context: Prompt,
    continuation: Prompt,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<{ logprob: number; tokens: number; isGreedy: boolean }> {
    const signal = readSignal('options.signal', readObject('options', options).signal)
    const { all, contextTokens } = await this.#encodeBoth(context, continuation)
    const tokens = all.length - contextTokens
    if (tokens === 0) return { logprob: 0, tokens, isGreedy: true }
    const { logprobs, topTokens } = await this.#withSession(all.length, session =>
      abortable(signal, () => ({
        promise: session.native.scores(all, contextTokens, 1),
        cancel: () => session.native.cancel(),
      })),
    )
    const logprob = logprobs.reduce((sum, value) => sum + value, 0)
    return { logprob, tokens, isGreedy: topTokens.every((id, i) => id === all[contextTokens + i]) }
  }

  /**
   * A new, empty session.
   *
   * @param options contextLength: tokens it can hold, from 1 to 2^20; default that of the model.
   * @throws OpenELMError OUT_OF_MEMORY, DISPOSED, INVALID_ARGUMENT.
   */
  createSession(options?: { contextLength?: number | undefined }): Session {
    const rules = { contextLength: optional(contextLength, this.contextLength) }
    const native = this.#native.createSession(readOptions(options, rules).contextLength)
    return new Session(native, this.config.vocabSize)
  }

  /**
   * Gives all memory back. Calls under way, and later ones, reject with DISPOSED. Idempotent.
   */
  async dispose(): Promise<void> {
    // Once only: new work in a listener of 'beforeExit' would keep the process alive for ever.
    this.#disposal ??= this.#native.dispose()
    await this.#disposal
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  async #withSession<Result>(
    length: number,
    use: (session: Session) => Promise<Result>,
  ): Promise<Result> {
    if (length > this.contextLength) {
      throw new OpenELMError(
        'CONTEXT_OVERFLOW',
        `${length} tokens do not fit in a context of ${this.contextLength}`,
      )
    }
    const session = this.createSession({ contextLength: length })
    try {
      return await use(session)
    } finally {
      session.dispose()
    }
  }

  /** What makes text of tokens: without a tokenizer, none, which stop sequences cannot do without. */
  #writer(stopSequences: readonly string[]): TokenWriter {
    if (stopSequences.length > 0 || !(this.#tokenizer instanceof OpenELMError)) {
      return this.tokenizer
    }
    const { vocabSize, bosTokenId } = this.config
    const stream = () => ({ push: () => '', end: () => '' })
    return { vocabSize, bosTokenId, eosTokenIds: this.#eosTokenIds, stream }
  }

  async #encode(name: string, prompt: Prompt, signal?: AbortSignal): Promise<Int32Array> {
    if (typeof prompt !== 'string') {
      return readTokens(name, prompt, this.config.vocabSize, { expected: promptKinds })
    }
    return Int32Array.from(await this.#encodeText(prompt, { signal }))
  }

  /** Refuses a text that is too long whatever its tokens are, so that nobody waits for them. */
  async #encodeText(
    text: string,
    options: { addBos?: boolean; signal?: AbortSignal | undefined },
  ): Promise<number[]> {
    const { longestToken } = this.tokenizer
    if (text.length > this.contextLength * longestToken) {
      throw new OpenELMError(
        'CONTEXT_OVERFLOW',
        `${text.length} characters do not fit in a context of ${this.contextLength} tokens, ` +
          `of which each stands for at most ${longestToken}`,
      )
    }
    return this.tokenizer.encodeAsync(text, options)
  }

  async #encodeBoth(context: Prompt, continuation: Prompt) {
    if (typeof context === 'string' && typeof continuation === 'string' && continuation !== '') {
      const all = await this.#encode('context', context + continuation)
      const alone = await this.#encode('context', context.trimEnd())
      const differs = alone.findIndex((token, i) => token !== all[i])
      return { all, contextTokens: differs < 0 ? alone.length : differs }
    }
    const before = await this.#encode('context', context)
    const after =
      typeof continuation === 'string'
        ? await this.#encodeText(continuation, { addBos: false })
        : readTokens('continuation', continuation, this.config.vocabSize, {
            min: 0,
            expected: promptKinds,
          })
    const all = new Int32Array(before.length + after.length)
    all.set(before)
    all.set(after, before.length)
    return { all, contextTokens: before.length }
  }
}

/** A signal that is also aborted, with what it throws, when the caller's `onProgress` throws. */
function reporter(signal: AbortSignal | undefined, onProgress: LoadOptions['onProgress']) {
  if (onProgress === undefined) return { signal, report: undefined }
  const failure = new AbortController()
  const report = (loadedBytes: number, totalBytes: number) => {
    try {
      onProgress(loadedBytes, totalBytes)
    } catch (error) {
      failure.abort(error)
    }
  }
  return { signal: AbortSignal.any([failure.signal, ...(signal ? [signal] : [])]), report }
}

function preferredBackend(): BackendName {
  const available = backends().filter(backend => backend.available && backend.name !== 'cpu')
  return available[0]?.name ?? 'cpu'
}

/** Loads on the backend asked for; under 'auto' on the CPU where a GPU turns out not to do. */
async function loadOn(
  choice: 'auto' | BackendName,
  load: (backend: BackendName) => Promise<NativeModel>,
): Promise<{ native: NativeModel; backend: BackendName }> {
  const backend = choice === 'auto' ? preferredBackend() : choice
  try {
    return { native: await load(backend), backend }
  } catch (error) {
    if (choice !== 'auto' || backend === 'cpu' || !isFailureOfDevice(error)) throw error
    return { native: await load('cpu'), backend: 'cpu' }
  }
}

/** Whether another device may do better: this one is too small, cannot run the model, or has failed. */
function isFailureOfDevice(error: unknown): boolean {
  const codes: OpenELMErrorCode[] = ['OUT_OF_MEMORY', 'BACKEND_UNAVAILABLE', 'INTERNAL']
  return error instanceof OpenELMError && codes.includes(error.code)
}

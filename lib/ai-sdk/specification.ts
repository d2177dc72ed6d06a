/**
 * What is needed here of version 3 of the AI SDK's specification of language models: the types of
 * `@ai-sdk/provider` 3, which versions 6 and 7 of `ai` take. A test holds them against those.
 */

/** A model as the AI SDK takes it, for example `generateText({ model })`. */
export interface LanguageModelV3 {
  readonly specificationVersion: 'v3'
  /** Whose model it is: 'openelm'. */
  readonly provider: string
  readonly modelId: string
  /** None: the AI SDK downloads files itself, and there are none that a language model here could read. */
  readonly supportedUrls: Record<string, RegExp[]>
  /** Answers a prompt. @throws OpenELMError as `OpenELM.generate`. */
  doGenerate(options: LanguageModelV3CallOptions): Promise<LanguageModelV3GenerateResult>
  /**
   * Answers a prompt, piece by piece. Once the signal is aborted the stream errs with its reason; other
   * failures are its last part.
   *
   * @throws OpenELMError INVALID_ARGUMENT
   */
  doStream(options: LanguageModelV3CallOptions): Promise<LanguageModelV3StreamResult>
}

/** What the AI SDK asks of a model. */
export interface LanguageModelV3CallOptions {
  readonly prompt: readonly LanguageModelV3Message[]
  readonly maxOutputTokens?: number | undefined
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly presencePenalty?: number | undefined
  readonly frequencyPenalty?: number | undefined
  readonly stopSequences?: readonly string[] | undefined
  readonly seed?: number | undefined
  readonly responseFormat?:
    | { readonly type: 'text' }
    | { readonly type: 'json'; readonly schema?: object | undefined }
    | undefined
  readonly tools?: readonly object[] | undefined
  readonly toolChoice?: object | undefined
  readonly abortSignal?: AbortSignal | undefined
  /** `openelm`: options of `OpenELM.generate` that the AI SDK has no name for. */
  readonly providerOptions?: Readonly<Record<string, object>> | undefined
}

/** What one side says. The AI SDK knows more kinds of parts than a model here can read. */
export interface LanguageModelV3Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content:
    | string
    | readonly { readonly type: string; readonly text?: string | undefined }[]
}

/** What a generation made. */
export interface LanguageModelV3GenerateResult {
  content: { type: 'text'; text: string }[]
  finishReason: LanguageModelV3FinishReason
  usage: LanguageModelV3Usage
  warnings: LanguageModelV3Warning[]
  response: LanguageModelV3Response
}

/** A generation under way. */
export interface LanguageModelV3StreamResult {
  stream: ReadableStream<LanguageModelV3StreamPart>
}

/** The parts of a stream, in this order; the text in as many deltas as come. */
export type LanguageModelV3StreamPart =
  | { type: 'stream-start'; warnings: LanguageModelV3Warning[] }
  | ({ type: 'response-metadata' } & LanguageModelV3Response)
  | { type: 'text-start'; id: string }
  | { type: 'text-delta'; id: string; delta: string }
  | { type: 'text-end'; id: string }
  | { type: 'finish'; finishReason: LanguageModelV3FinishReason; usage: LanguageModelV3Usage }
  | { type: 'error'; error: unknown }

/** Why a generation ended. */
export interface LanguageModelV3FinishReason {
  unified: 'stop' | 'length'
  raw: string
}

/** Numbers of tokens. */
export interface LanguageModelV3Usage {
  inputTokens: {
    total: number
    noCache: number
    cacheRead: number
    cacheWrite: undefined
  }
  outputTokens: { total: number; text: number; reasoning: undefined }
}

/** That something that was asked for is not done. */
export interface LanguageModelV3Warning {
  type: 'unsupported'
  feature: string
  details?: string
}

/** Which answer it is. */
export interface LanguageModelV3Response {
  id: string
  modelId: string
  timestamp: Date
}

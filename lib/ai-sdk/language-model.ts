import type { GenerateOptions, GenerateResult, GenerationStream, OpenELM } from '../index.js'
import { optional, type RulesOf, readOptions, rule, string } from '../options.js'
import { readPrompt } from './read-prompt.js'
import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3GenerateResult,
  LanguageModelV3StreamPart,
  LanguageModelV3StreamResult,
  LanguageModelV3Warning,
} from './specification.js'

/** A model of this package: an `OpenELM`, or one that `openelm/electron` is connected to. */
export type TextModel = Pick<OpenELM, 'generate' | 'stream'>

/** Options of {@link openelm}. */
export interface LanguageModelOptions {
  /** What the model is called in answers and logs. Default 'openelm'. */
  readonly modelId?: string | undefined
}

export const textModel = rule('an OpenELM', (value): value is TextModel => {
  const { generate, stream } = Object(value)
  return typeof generate === 'function' && typeof stream === 'function'
})

const rules = { modelId: optional(string, 'openelm') } satisfies RulesOf<LanguageModelOptions>

/**
 * A model for the AI SDK, versions 6 and 7: `generateText({ model: openelm(model), prompt })`. Messages
 * are taken by the model's chat template. Calls that are under way at the same time share passes over
 * the weights.
 *
 * JSON that is asked for, by `Output.object` and the like, fits its schema, unless `maxOutputTokens` cuts
 * it short. Errors are those of `OpenELM.generate`. `providerOptions.openelm` takes its options that the AI SDK has
 * no name for, such as `minP` and `repetitionPenalty`; tools give a warning, and files an error.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function openelm(model: TextModel, options?: LanguageModelOptions): LanguageModelV3 {
  return new LanguageModel(textModel('model', model), readOptions(options, rules).modelId)
}

class LanguageModel implements LanguageModelV3 {
  readonly specificationVersion = 'v3'
  readonly provider = 'openelm'
  readonly supportedUrls = {}
  readonly modelId: string
  readonly #model: TextModel

  constructor(model: TextModel, modelId: string) {
    this.#model = model
    this.modelId = modelId
  }

  async doGenerate(options: LanguageModelV3CallOptions): Promise<LanguageModelV3GenerateResult> {
    const prompt = readPrompt(options.prompt)
    const result = await this.#model.generate(prompt, generateOptions(options))
    return {
      content: [{ type: 'text', text: result.text }],
      ...endOf(result),
      warnings: warningsOf(options),
      response: this.#response(),
    }
  }

  async doStream(options: LanguageModelV3CallOptions): Promise<LanguageModelV3StreamResult> {
    const prompt = readPrompt(options.prompt)
    const chunks = this.#model.stream(prompt, generateOptions(options))
    const first: LanguageModelV3StreamPart[] = [
      { type: 'stream-start', warnings: warningsOf(options) },
      { type: 'response-metadata', ...this.#response() },
    ]
    return { stream: streamOf(chunks, first, options.abortSignal) }
  }

  #response() {
    return { id: crypto.randomUUID(), modelId: this.modelId, timestamp: new Date() }
  }
}

function generateOptions(options: LanguageModelV3CallOptions): GenerateOptions {
  const { responseFormat } = options
  return {
    ...options.providerOptions?.openelm,
    maxTokens: options.maxOutputTokens,
    temperature: options.temperature,
    topP: options.topP,
    topK: options.topK,
    presencePenalty: options.presencePenalty,
    frequencyPenalty: options.frequencyPenalty,
    stopSequences: options.stopSequences,
    seed: options.seed,
    // Without a schema, any JSON.
    responseConstraint: responseFormat?.type === 'json' ? (responseFormat.schema ?? {}) : undefined,
    signal: options.abortSignal,
  }
}

function warningsOf({ tools = [] }: LanguageModelV3CallOptions): LanguageModelV3Warning[] {
  return tools.length > 0 ? [{ type: 'unsupported', feature: 'tools' }] : []
}

function endOf({ finishReason, usage }: GenerateResult) {
  const { promptTokens, cachedTokens, completionTokens } = usage
  return {
    finishReason: { unified: finishReason, raw: finishReason },
    usage: {
      inputTokens: {
        total: promptTokens,
        noCache: promptTokens - cachedTokens,
        cacheRead: cachedTokens,
        cacheWrite: undefined,
      },
      outputTokens: { total: completionTokens, text: completionTokens, reasoning: undefined },
    },
  }
}

/**
 * The parts of a generation, made as fast as it goes, whether they are read or not: the AI SDK does not
 * tell when whoever reads its streams leaves them, and a generation that waits would keep its memory.
 */
function streamOf(
  chunks: GenerationStream,
  first: readonly LanguageModelV3StreamPart[],
  signal: AbortSignal | undefined,
): ReadableStream<LanguageModelV3StreamPart> {
  let isLeft = false
  const pump = async (controller: ReadableStreamDefaultController<LanguageModelV3StreamPart>) => {
    const id = 'text'
    const give = (part: LanguageModelV3StreamPart) => {
      if (!isLeft) controller.enqueue(part)
    }
    try {
      first.forEach(give)
      give({ type: 'text-start', id })
      for await (const { text } of chunks)
        if (text !== '') give({ type: 'text-delta', id, delta: text })
      const result = await chunks.result
      give({ type: 'text-end', id })
      give({ type: 'finish', ...endOf(result) })
    } catch (error) {
      if (signal?.aborted) return controller.error(signal.reason)
      give({ type: 'error', error })
    }
    if (!isLeft) controller.close()
  }
  return new ReadableStream({
    start(controller) {
      void pump(controller)
    },
    async cancel() {
      isLeft = true
      await chunks.return(undefined as never)
    },
  })
}

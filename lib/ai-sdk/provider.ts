import { OpenELMError } from '../errors.js'
import { object, type RulesOf, readOptions } from '../options.js'
import { openelm, type TextModel, textModel } from './language-model.js'
import type { LanguageModelV3 } from './specification.js'

/** Options of {@link createOpenELM}. */
export interface ProviderOptions {
  /** The models, by the names under which they can be asked for. */
  readonly models: Readonly<Record<string, TextModel>>
}

/** Several models, for `createProviderRegistry` and `customProvider` of the AI SDK. */
export interface ProviderV3 {
  readonly specificationVersion: 'v3'
  /** @throws OpenELMError MODEL_NOT_FOUND, which the AI SDK knows as a `NoSuchModelError`. */
  languageModel(modelId: string): LanguageModelV3
  /** There are no such models. @throws OpenELMError as `languageModel`. */
  embeddingModel(modelId: string): never
  /** There are no such models. @throws OpenELMError as `languageModel`. */
  imageModel(modelId: string): never
}

const rules = {
  models(name, value) {
    const models = Object.entries(object(name, value))
    return Object.fromEntries(models.map(([id, model]) => [id, textModel(`${name}.${id}`, model)]))
  },
} satisfies RulesOf<ProviderOptions>

/**
 * A provider of models for the AI SDK, each made by {@link openelm}.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function createOpenELM(options: ProviderOptions): ProviderV3 {
  const { models } = readOptions(options, rules)
  return {
    specificationVersion: 'v3',
    languageModel(modelId) {
      const model = Object.hasOwn(models, modelId) ? models[modelId] : undefined
      return model ? openelm(model, { modelId }) : noSuchModel('languageModel', modelId)
    },
    embeddingModel: modelId => noSuchModel('embeddingModel', modelId),
    imageModel: modelId => noSuchModel('imageModel', modelId),
  }
}

/** The marks by which the AI SDK tells errors of its own, whichever copy of it made them. */
const marks = ['vercel.ai.error', 'vercel.ai.error.AI_NoSuchModelError'].map(name =>
  Symbol.for(name),
)

function noSuchModel(modelType: string, modelId: string): never {
  const error = new OpenELMError('MODEL_NOT_FOUND', `no such ${modelType}: ${modelId}`)
  throw Object.assign(error, { modelType, modelId }, ...marks.map(mark => ({ [mark]: true })))
}

/**
 * Models for the AI SDK (the package `ai`), versions 6 and 7.
 *
 * @module
 */
export { type LanguageModelOptions, openelm, type TextModel } from './language-model.js'
export { createOpenELM, type ProviderOptions, type ProviderV3 } from './provider.js'
export type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3FinishReason,
  LanguageModelV3GenerateResult,
  LanguageModelV3Message,
  LanguageModelV3Response,
  LanguageModelV3StreamPart,
  LanguageModelV3StreamResult,
  LanguageModelV3Usage,
  LanguageModelV3Warning,
} from './specification.js'

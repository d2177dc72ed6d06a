/**
 * Loading models and generating with them.
 *
 * @module
 */
export { type BackendInfo, type BackendName, backends } from './backends.js'
export type { EncodeChatOptions } from './chat/encode-chat.js'
export type { Message } from './chat/message.js'
export type { DType } from './checkpoint.js'
export { type OpenELMConfig, parseConfig, presets } from './config.js'
export { errorCodes, OpenELMError, type OpenELMErrorCode } from './errors.js'
export type { GenerateChunk, GenerateOptions, GenerateResult, TokenLogprob } from './generate.js'
export { type LoadOptions, OpenELM, type Prompt } from './model.js'
export { type Perplexity, type PerplexityOptions, perplexity } from './perplexity.js'
export type { SamplerOptions } from './sampler.js'
export type { Session } from './session.js'
export type {
  DecodeOptions,
  EncodeAsyncOptions,
  EncodeOptions,
  TokenIds,
  Tokenizer,
  TokenStream,
} from './tokenizer.js'

/**
 * Loading models and generating with them.
 *
 * @module
 */
export type { AdapterOption, AdapterShare } from './adapters/adapter-choice.js'
export type { AdapterSpec, NamedAdapterSpec } from './adapters/adapter-spec.js'
export type { LoadedAdapter } from './adapters/loaded-adapters.js'
export { type BackendInfo, type BackendName, backends } from './backends.js'
export type { CallOptions } from './call-options.js'
export { Chat, type ChatOptions } from './chat/chat.js'
export type { EncodeChatOptions } from './chat/encode-chat.js'
export type { Message } from './chat/message.js'
export {
  countParameters,
  type Multipliers,
  type OpenELMConfig,
  parseConfig,
  presets,
  readConfig,
} from './config.js'
export type { JsonSchema } from './constraint/constraint-source.js'
export type { DraftOptions } from './draft-options.js'
export { errorCodes, OpenELMError, type OpenELMErrorCode } from './errors.js'
export { checkGenerateOptions, type GenerateOptions } from './generate-options.js'
export type {
  GenerateChunk,
  GenerateResult,
  GenerationStream,
  Sample,
  TokenLogprob,
} from './generation-stream.js'
export { type PullOptions, pull } from './hub/pull.js'
export type { LoadOptions } from './load-options.js'
export { type MachineInfo, type MachineSpeed, machineInfo, measureMachine } from './machine.js'
export { OpenELM } from './model.js'
export { type Perplexity, type PerplexityOptions, perplexity } from './perplexity.js'
export type { Prompt } from './prompt.js'
export { Sampler } from './sampler.js'
export type { SamplerOptions } from './sampler-options.js'
export { Session } from './session.js'
export { type DType, dtypes } from './tensor-headers.js'
export { decodeText } from './text.js'
export type { Score, ScoresOptions, TokenScore } from './token-scores.js'
export type { TokenStream } from './token-stream.js'
export type {
  DecodeOptions,
  EncodeAsyncOptions,
  EncodeOptions,
  TokenIds,
  Tokenizer,
} from './tokenizer.js'

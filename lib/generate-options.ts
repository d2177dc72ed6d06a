import { type AdapterChoice, adapterRules } from './adapters/adapter-choice.js'
import type { NativeSamplerOptions } from './native-session.js'
import {
  abortSignal,
  arrayOf,
  boolean,
  integer,
  optional,
  type RulesOf,
  readOptions,
  rule,
  tokenIds,
  type ValuesOf,
} from './options.js'
import { type SamplerOptions, samplerRules, toNative } from './sampler-options.js'
import type { TokenIds } from './tokenizer.js'

export interface GenerateOptions extends SamplerOptions {
  /** The most tokens to generate, from 1 up. Default 256; generation also ends when the context is full. */
  maxTokens?: number | undefined
  /** Texts that end the generation when they come; they are not part of its text. Default none. */
  stopSequences?: readonly string[] | undefined
  /**
   * Tokens that end the generation when they come, beside the model's own end-of-text tokens and whatever
   * `ignoreEos` says; they are not part of its text. Default none.
   */
  stopTokens?: TokenIds | undefined
  /** Whether to go on after an end-of-text token. Default false. */
  ignoreEos?: boolean | undefined
  /** Aborts the generation, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** {@link GenerateOptions}, checked and complete. */
export interface GenerateSettings {
  readonly sampler: NativeSamplerOptions
  readonly maxTokens: number
  readonly stopSequences: readonly string[]
  readonly stopTokens: Int32Array
  readonly ignoreEos: boolean
  readonly signal: AbortSignal | undefined
}

function rulesFor(vocabSize: number) {
  return {
    ...samplerRules(vocabSize),
    maxTokens: optional(integer(1, 2 ** 31 - 1), 256),
    stopSequences: optional(arrayOf(stopSequence), []),
    stopTokens: optional(tokenIds(vocabSize, { min: 0 }), new Int32Array()),
    ignoreEos: optional(boolean, false),
    signal: optional(abortSignal),
  } satisfies RulesOf<GenerateOptions>
}

const stopSequence = rule(
  'a string that is not empty',
  (value): value is string => typeof value === 'string' && value !== '',
)

/** @throws OpenELMError INVALID_ARGUMENT */
export function readGenerateOptions(options: unknown, vocabSize: number): GenerateSettings {
  return settingsOf(readOptions(options, rulesFor(vocabSize)))
}

/**
 * As `readGenerateOptions`, where the adapter may be chosen, too.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readModelGenerateOptions(
  options: unknown,
  vocabSize: number,
): { adapter: AdapterChoice; settings: GenerateSettings } {
  const rules = { ...rulesFor(vocabSize), ...adapterRules }
  const { adapter, ...values } = readOptions(options, rules)
  return { adapter, settings: settingsOf(values) }
}

function settingsOf(values: ValuesOf<ReturnType<typeof rulesFor>>): GenerateSettings {
  const { maxTokens, stopSequences, stopTokens, ignoreEos, signal, ...sampler } = values
  return {
    sampler: toNative(sampler),
    maxTokens,
    stopSequences,
    stopTokens,
    ignoreEos,
    signal,
  }
}

/**
 * Checks options before there is a model: all but whether token ids are in its vocabulary.
 *
 * @throws OpenELMError INVALID_ARGUMENT, whose `argument` says which option is wrong.
 */
export function checkGenerateOptions(options: GenerateOptions): void {
  readOptions(options, rulesFor(2 ** 31))
}

import { type AdapterChoice, adapterRules } from './adapters/adapter-choice.js'
import {
  type ConstraintSource,
  constraintSource,
  type JsonSchema,
} from './constraint/constraint-source.js'
import {
  checkDraftSettings,
  type DraftOptions,
  type DraftSettings,
  draftRules,
} from './draft-options.js'
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

export interface GenerateOptions extends SamplerOptions, DraftOptions {
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
  /**
   * What the text must be: JSON that fits a schema, or a text that a regular expression matches from its
   * start to its end. It then ends with the last character that may come, at the latest; `maxTokens`, the
   * context or a stop sequence may still cut it short, which `finishReason` 'length' tells of the first
   * two. Default anything.
   *
   * Of JSON Schema (draft 2020-12) this is the part that OpenAI's strict mode has, and what zod makes of
   * everyday schemas; keywords that are not supported are refused when the generation begins. Objects
   * have their keys in the order of the schema, and others only where `additionalProperties` says so.
   */
  responseConstraint?: JsonSchema | RegExp | undefined
  /** Aborts the generation, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** {@link GenerateOptions}, checked and complete. */
export interface GenerateSettings {
  readonly sampler: NativeSamplerOptions
  readonly drafts: DraftSettings
  readonly maxTokens: number
  readonly stopSequences: readonly string[]
  readonly stopTokens: Int32Array
  readonly ignoreEos: boolean
  readonly responseConstraint: ConstraintSource | undefined
  readonly signal: AbortSignal | undefined
}

/** Stands for the size of a vocabulary that is not known yet. */
const anyVocabSize = 2 ** 31

function rulesFor(vocabSize: number) {
  return {
    ...samplerRules(vocabSize),
    ...draftRules(vocabSize === anyVocabSize ? undefined : vocabSize),
    maxTokens: optional(integer(1, 2 ** 31 - 1), 256),
    stopSequences: optional(arrayOf(stopSequence), []),
    stopTokens: optional(tokenIds(vocabSize, { min: 0 }), new Int32Array()),
    ignoreEos: optional(boolean, false),
    responseConstraint: optional(constraintSource),
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
  const {
    maxTokens,
    stopSequences,
    stopTokens,
    ignoreEos,
    responseConstraint,
    signal,
    draftModel,
    promptLookup,
    numDraftTokens,
    ...sampler
  } = values
  const drafts = { draftModel, promptLookup, numDraftTokens }
  checkDraftSettings(drafts)
  return {
    sampler: toNative(sampler),
    drafts,
    maxTokens,
    stopSequences,
    stopTokens,
    ignoreEos,
    responseConstraint,
    signal,
  }
}

/**
 * Checks options before there is a model: all but whether token ids are in its vocabulary.
 *
 * @throws OpenELMError INVALID_ARGUMENT, whose `argument` says which option is wrong.
 */
export function checkGenerateOptions(options: GenerateOptions): void {
  settingsOf(readOptions(options, rulesFor(anyVocabSize)))
}

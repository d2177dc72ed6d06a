import { invalidArgument } from './errors.js'
import type { OpenELM } from './model.js'
import type { NativeModel } from './native.js'
import { boolean, integer, optional, type Rule, type RulesOf, rule } from './options.js'

/**
 * How to guess the tokens that come next, so that the model checks several at a time, which costs little
 * more than one. The tokens are the same with as without, in less time where the guesses are good.
 */
export interface DraftOptions {
  /**
   * A small model of the same vocabulary, which guesses what it finds likeliest. One that is disposed
   * meanwhile, or whose context is full, guesses nothing more. Default none.
   */
  draftModel?: OpenELM | undefined
  /**
   * Whether to guess what followed the last tokens where they came before, in the prompt or in what was
   * generated: for texts that repeat themselves or quote. Not together with `draftModel`. Default false.
   */
  promptLookup?: boolean | undefined
  /** The most tokens to guess at a time, from 1 to 16; fewer while guesses are wrong. Default 8. */
  numDraftTokens?: number | undefined
}

/** {@link DraftOptions}, checked. */
export interface DraftSettings {
  readonly draftModel: OpenELM | undefined
  readonly promptLookup: boolean
  readonly numDraftTokens: number
}

const nativeModels = new WeakMap<object, NativeModel>()

/** Lets a model be a draft model. */
export function addDraftModel(model: OpenELM, native: NativeModel): void {
  nativeModels.set(model, native)
}

/** What computes a model that drafts. */
export function nativeModelOf(model: OpenELM): NativeModel {
  return nativeModels.get(model)!
}

/** @param vocabSize undefined where the model that drafts are for is not known yet. */
export function draftRules(vocabSize: number | undefined) {
  return {
    draftModel: optional(draftModel(vocabSize)),
    promptLookup: optional(boolean, false),
    numDraftTokens: optional(integer(1, 16), 8),
  } satisfies RulesOf<DraftOptions>
}

const loadedModel = rule('a model that was loaded', (value): value is OpenELM =>
  nativeModels.has(value as object),
)

function draftModel(vocabSize: number | undefined): Rule<OpenELM> {
  return (name, value) => {
    const model = loadedModel(name, value)
    if (vocabSize === undefined || model.config.vocabSize === vocabSize) return model
    const expected = `a model of a vocabulary of ${vocabSize} tokens`
    throw invalidArgument(name, expected, `one of ${model.config.vocabSize}`)
  }
}

/** @throws OpenELMError INVALID_ARGUMENT when two things are to draft. */
export function checkDraftSettings({ draftModel, promptLookup }: DraftSettings): void {
  if (draftModel && promptLookup) {
    throw invalidArgument('options.promptLookup', 'false beside a draftModel', true)
  }
}
